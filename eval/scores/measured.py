"""How numbers are measured: one seed a number, entries of a scorecard, points of its curves.

Each family of scores (outcomes.py, calibration.py, ...) counts, and gives numbers of the kinds in
numbers.py. `measured` turns them into entries with intervals. A number that is resampled has a
seed of its own, made from its name, so that adding a number moves no other interval.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict

from eval.scores.intervals import Entry


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are resampled: the number of draws, and the seed of a scorecard."""

    resamples: int
    seed: int

    def stream(self, name: str) -> list[int]:
        """Gives the seed of one number."""
        return [self.seed, zlib.crc32(name.encode())]


class Number(Protocol):
    """Anything that was counted."""

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the number with its interval; None where there was nothing to count."""


Numbers = Iterator[tuple[str, Number | None]]  # metric -> number; None: not measured
Points = Iterator[tuple[str, float, Number | None]]  # curve, x, y
Entries = dict[str, Entry]  # metric -> number, for what was measured


class Point(TypedDict):
    """One point of a curve."""

    x: float
    y: float
    low: float  # ends of the 95 % interval of y
    high: float
    n: int  # answers


Curve = list[Point]


def measured(numbers: Iterable[tuple[str, Number | None]], bootstrap: Bootstrap) -> Entries:
    """Gives the entry of each number that was measured."""
    found = {name: number.entry(name, bootstrap) for name, number in numbers if number is not None}
    return {name: one for name, one in found.items() if one is not None}


def measured_curves(points: Points, bootstrap: Bootstrap) -> dict[str, Curve]:
    """Gives the curves whose points were measured, each with its points in the order given."""
    curves: dict[str, Curve] = {}
    for name, x, number in points:
        if number is not None and (found := number.entry(name, bootstrap)) is not None:
            curves.setdefault(name, []).append(point(x, found))
    return curves


def point(x: float, found: Entry) -> Point:
    """Gives a number as a point of a curve."""
    return {
        "x": round(float(x), 6),
        "y": found["value"],
        "low": found["low"],
        "high": found["high"],
        "n": found["n"],
    }
