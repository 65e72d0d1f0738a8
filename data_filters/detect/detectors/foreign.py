"""Words of another language inside an English message: each stretch is one span, so that nothing is
taken out of the middle of it.
"""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.language.tell import foreign_stretches, speaks_other
from recipes.vocabulary import Kind


def find_foreign(reading: Reading) -> Iterator[CandidateSpan]:
    """Stretches in another script, and sentences in another language, that no message gives as they
    stand.
    """
    text = reading.text
    for start, end in foreign_stretches(text):
        if not reading.prompt.contains(text[start:end]):
            yield CandidateSpan(start, end, Kind.ANSWER, "foreign")
    for sentence in reading.sentences:
        words = sentence.words
        if len(words) > 5 and speaks_other([token.text for token in words]):
            start, end = sentence.tokens[0].start, sentence.tokens[-1].end
            if not reading.prompt.contains(text[start:end]):
                yield CandidateSpan(start, end, Kind.ANSWER, "foreign")
