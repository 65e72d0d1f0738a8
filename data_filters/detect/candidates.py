"""A character range that may state a fact: what detectors return, whoever they are."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from data_filters.text.dates import Date
from recipes.vocabulary import Kind

NAMED = frozenset((Kind.NAME, Kind.PERSON, Kind.PLACE, Kind.ORGANISATION, Kind.TITLE))


class Found(NamedTuple):
    """Offsets are characters; a start stands where a word or number of the text begins."""

    start: int
    end: int
    kind: str  # number, quantity, date, name, person, place, organisation, title, answer
    detector: str  # numbers, names, titles, answer, gazetteer, ner, ...
    value: int | Fraction | None = None  # of a quantity
    date: Date | None = None
    unit: str = ""  # of a quantity


# A detector of one's own: texts to spans, one list a text. spaCy comes in like this, and so may any
# model. It travels to other processes, so it is a function of a module or an object that can be
# pickled.
Detector = Callable[[Sequence[str]], list[list[Found]]]


def without_overlap(found: Iterable[Found]) -> list[Found]:
    """In the order of the text; of two that overlap the one that came first in `found` stays."""
    taken: list[Found] = []
    covered: set[int] = set()
    for one in found:
        places = range(one.start, one.end)
        if covered.isdisjoint(places):
            covered.update(places)
            taken.append(one)
    return sorted(taken, key=lambda one: one.start)
