"""A character range that may state a fact: what every detector yields."""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from data_filters.text.dates import Date
from recipes.vocabulary import Kind

NAMED = frozenset((Kind.NAME, Kind.PERSON, Kind.PLACE, Kind.ORGANISATION, Kind.TITLE))


class CandidateSpan(NamedTuple):
    """Offsets are characters; a start stands where a word or number of the text begins."""

    start: int
    end: int
    kind: str  # number, quantity, date, name, person, place, organisation, title, answer
    detector: str  # numbers, names, titles, answer, gazetteer, ner, ...
    value: int | Fraction | None = None  # of a quantity
    date: Date | None = None
    unit: str = ""  # of a quantity


def without_overlap(candidates: Iterable[CandidateSpan]) -> list[CandidateSpan]:
    """In the order of the text; of two that overlap the one that came first stays."""
    taken: list[CandidateSpan] = []
    covered: set[int] = set()
    for one in candidates:
        places = range(one.start, one.end)
        if covered.isdisjoint(places):
            covered.update(places)
            taken.append(one)
    return sorted(taken, key=lambda one: one.start)
