"""Names in a message: runs of capitalised words, with their initials, particles and company
endings.
"""

from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.names.spans import NameSpans
from data_filters.detect.names.words import NameWords
from data_filters.detect.reading import Reading


def find_names(reading: Reading) -> Iterator[CandidateSpan]:
    """Runs of names, cut where the prompt knows parts of them."""
    words, spans = NameWords(reading), NameSpans(reading)
    for sentence in reading.sentences:
        if sentence.names:
            for run in words.runs(sentence):
                yield from spans.cut(run)


def find_numbered_names(reading: Reading) -> Iterator[CandidateSpan]:
    """Names that end in a figure: "Island 4" is no number."""
    return (one for one in reading.found_by(find_names) if reading.text[one.end - 1].isdigit())
