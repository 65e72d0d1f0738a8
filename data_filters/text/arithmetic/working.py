"""What a text works out: which of its numbers are results and operands of written calculations, and
which numbers each of its sentences names.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from data_filters.text.arithmetic.chains import Segment, chains
from data_filters.text.arithmetic.scan import TRIES, Item, scan

_ACTIVE = frozenset(("operator", "word"))  # kinds without which nothing is computed or tried
_MAX_NAMED = 24  # numbers of one sentence that others may be computed from


class Role(IntEnum):
    """What a number does in its sentence."""

    STATED = 0
    OPERAND = 1
    RIGHT = 2  # part of an equation that holds, and not its result
    RESULT = 3


@dataclass(slots=True)
class Line:
    """The numbers that a sentence names, and what its calculations come to."""

    numbers: list[Item] = field(default_factory=list)
    made: list[float] = field(default_factory=list)
    supposes: bool = False  # tries a number: "say 37", "suppose that ..."


class Mark(NamedTuple):
    """A number of a text, by where its first figure or letter stands."""

    item: Item
    line: int
    role: Role = Role.STATED
    operands: tuple[int, ...] = ()  # starts of the numbers that it is computed from


class Working:
    """The calculations of a text.

    Args:
        text: read once, in time linear in its length.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.marks: dict[int, Mark] = {}
        self.lines: list[Line] = [Line()]
        sentence: list[Item] = []
        for item in scan(text):
            if item.kind == "break":
                if sentence:
                    self._read(sentence)
                    sentence = []
            else:
                sentence.append(item)
        if sentence:
            self._read(sentence)

    def near(self, number: int) -> list[Line]:
        """A line, and the two before it."""
        return self.lines[max(number - 2, 0) : number + 1]

    def _read(self, items: list[Item]) -> None:
        numbers = [item for item in items if item.kind == "number"]
        if not numbers:
            return
        line, place = Line(numbers[:_MAX_NAMED]), len(self.lines)
        self.lines.append(line)
        for item in numbers:
            self.marks[item.start] = Mark(item, place)
        others = {item.key for item in items if item.kind in _ACTIVE}
        line.supposes = not others.isdisjoint(TRIES)
        if len(numbers) > 1 and not others <= TRIES:
            for chain in chains(self._text, items):
                self._mark(chain, line, place)

    def _mark(self, chain: list[Segment], line: Line, place: int) -> None:
        for segment in chain:
            if segment.operators:
                if segment.value is not None and len(line.made) < _MAX_NAMED:
                    line.made += [segment.value, *segment.totals]
                for item in segment.numbers:
                    self.marks[item.start] = Mark(item, place, Role.OPERAND)
        worked: Segment | None = None
        for one, other in pairwise(chain):
            if one.operators:
                worked = one
            if one.value is None or other.value is None or not agree(one, other):
                worked = None if not other.operators else worked
                continue
            for segment in (one, other):
                if segment.operators:
                    for item in segment.numbers:
                        self.marks[item.start] = Mark(item, place, Role.RIGHT)
            if worked is not None and not other.operators:
                start = other.numbers[0].start
                operands = tuple(item.start for item in worked.numbers)
                self.marks[start] = Mark(other.numbers[0], place, Role.RESULT, operands)
            elif worked is None and other.operators and not one.operators:
                start = one.numbers[0].start
                operands = tuple(item.start for item in other.numbers)
                self.marks[start] = Mark(one.numbers[0], place, Role.RIGHT, operands)


def agree(one: Segment, other: Segment) -> bool:
    """Whether two sides of an equals sign have the same value, as printed: 10 / 3 = 3.33, and
    3 where it is said to be rounded.
    """
    a, b = one.value, other.value
    if a is None or b is None:
        return False
    gap = abs(a - b)
    if gap <= 1e-9 * max(abs(a), abs(b), 1e-3):
        return True
    slack = 0.0
    for segment in (one, other):
        if not segment.operators:
            digits = segment.numbers[0].digits
            if digits > 0 or (digits == 0 and (one.about or other.about)):
                slack = max(slack, 10.0**-digits)
    return gap < slack
