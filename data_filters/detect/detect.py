"""Where a message may state a fact: the detectors, in one list, and what becomes of their spans."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

from data_filters.detect.candidates import CandidateSpan, without_overlap
from data_filters.detect.detectors.answers import find_answers
from data_filters.detect.detectors.foreign import find_foreign
from data_filters.detect.detectors.numbers import find_numbers
from data_filters.detect.detectors.terms import find_terms
from data_filters.detect.detectors.titles import find_titles
from data_filters.detect.names.find import find_names, find_numbered_names
from data_filters.detect.reading import Detector, Reading
from data_filters.detect.uncapitalised.glued import find_glued_names, without_stamps
from data_filters.detect.uncapitalised.lower_case import find_lower_case_names
from data_filters.detect.uncapitalised.scores import find_scores

# Each with the entry of filter.detectors that switches it on; "" is always on. Of two spans that
# overlap, the one of the earlier detector stays.
DETECTORS: tuple[tuple[str, Detector], ...] = (
    ("", find_terms),
    ("", find_foreign),
    ("names", find_titles),
    ("names", find_glued_names),
    ("numbers", find_scores),
    ("names", find_numbered_names),
    ("numbers", find_numbers),
    ("names", find_names),
    ("names", find_lower_case_names),
    ("answer", find_answers),
)


def detect(
    reading: Reading, switched_on: Collection[str], more: Sequence[Detector] = ()
) -> list[CandidateSpan]:
    """The spans of a message that may state a fact, in order and without overlap; none in one that
    is in another language than English.

    The prompt decides how a run of capitalised words falls apart: in "Mara Oslo" after a prompt
    that names Mara, Mara and Oslo are two spans; two words that the prompt does not know stay one
    span.

    Args:
        reading: the message.
        switched_on: any of "numbers" (with dates), "names" (with titles), "answer".
        more: further detectors, a model for instance; where their spans overlap with ours, the rest
            is kept.
    """
    if not reading.supported:
        return []
    kept = without_overlap(
        one
        for switch, detector in DETECTORS
        if not switch or switch in switched_on
        for one in reading.found_by(detector)
    )
    kept = without_stamps(reading.text, kept)
    others = [one for detector in more for one in detector(reading)]
    return without_overlap([*kept, *_on_words(others, reading, kept)]) if others else kept


def _on_words(
    found: Iterable[CandidateSpan], reading: Reading, kept: Sequence[CandidateSpan]
) -> Iterator[CandidateSpan]:
    """Spans widened to words and numbers; where `kept` covers a part, the words left over. Spans
    past the end of the text vanish.
    """
    ours = {place for one in kept for place in range(one.start, one.end)}
    tokens = [
        token
        for sentence in reading.sentences
        for token in sentence.tokens
        if token.kind in ("word", "number")
    ]
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    for one in found:
        first, behind = bisect_right(ends, one.start), bisect_left(starts, one.end)
        rest = [t for t in tokens[first:behind] if ours.isdisjoint(range(t.start, t.end))]
        if any(not reading.curriculum.knows(token.key) for token in rest):
            yield one._replace(start=rest[0].start, end=rest[-1].end)
