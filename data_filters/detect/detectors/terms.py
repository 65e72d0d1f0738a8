"""The user's own terms, in any case of letters."""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.language.normal import fold
from data_filters.text.stem import stem
from recipes.vocabulary import Kind


def find_terms(reading: Reading) -> Iterator[CandidateSpan]:
    """Terms of the user's lists, the longest at each word."""
    terms = reading.gazetteer.terms
    if not terms:
        return
    for sentence in reading.sentences:
        words = sentence.words
        keys = [stem(fold(word.text)) for word in words]
        for place, key in enumerate(keys):
            for phrase, kind in terms.get(key, ()):
                if tuple(keys[place : place + len(phrase)]) == phrase:
                    last = words[place + len(phrase) - 1]
                    end = last.end - 2 if last.text.endswith(("'s", "\u2019s")) else last.end
                    kind = Kind.PLACE if kind == "country" else kind
                    yield CandidateSpan(words[place].start, end, kind, "gazetteer")
                    break
