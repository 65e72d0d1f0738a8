"""The interval of an equivalent size, whose ends may lie beyond the ladder, and its text."""

from collections.abc import Callable
from typing import NamedTuple, NotRequired, Self, TypedDict

import numpy as np

from eval.scores.intervals import CONFIDENCE


class Size(TypedDict):
    """A size in parameters, or a distance in octaves; None where the ladder cannot say."""

    value: float | None
    low: float | None  # None: the interval is open on that side
    high: float | None
    censored: str | None  # "below" or "above" `value`, or "unknown"; None: all is known
    change: NotRequired["Size"]  # against the reference contender


class SizeInterval(NamedTuple):
    """Draws of a log2 size, the estimate first.

    A draw inside the ladder has low = high. For one beyond an end only the side is known: its low
    or its high is infinite.
    """

    low_R: np.ndarray
    high_R: np.ndarray

    @classmethod
    def within(cls, octave_R: np.ndarray, ends: tuple[float, float]) -> Self:
        """Gives draws of which those outside the ladder are known as outside and no more.

        Args:
            octave_R: log2(size).
            ends: log2 of the smallest and of the largest size of the ladder.
        """
        least, most = ends
        low_R = np.where(octave_R < least, -np.inf, np.minimum(octave_R, most))
        return cls(low_R, np.where(octave_R > most, np.inf, np.maximum(octave_R, least)))

    def minus(self, other: Self) -> Self:
        """Gives the difference, draw by draw, octaves."""
        return type(self)(self.low_R - other.high_R, self.high_R - other.low_R)

    def entry(self) -> Size:
        """Gives the estimate with its interval, log2."""
        tail = (1 - CONFIDENCE) / 2
        least, most = float(self.low_R[0]), float(self.high_R[0])
        below, above = np.isneginf(least), np.isposinf(most)
        value = None if below and above else most if below else least
        censored = "unknown" if value is None else "below" if below else "above" if above else None
        low, high = (
            float(np.quantile(r[1:], q, method="nearest"))
            for r, q in ((self.low_R, tail), (self.high_R, 1 - tail))
        )
        if value is not None:  # an interval holds its value
            low, high = min(low, value), max(high, value)
        return Size(value=value, low=_known(low), high=_known(high), censored=censored)


def _known(number: float) -> float | None:
    return number if np.isfinite(number) else None


def each_end(size: Size, change: Callable[[float], float]) -> Size:
    """Gives a size with its value and both ends changed, e.g. rounded; open ends stay open."""
    value, low, high = (
        None if number is None else change(number)
        for number in (size["value"], size["low"], size["high"])
    )
    return Size(value=value, low=low, high=high, censored=size["censored"])


def in_words(size: Size, show: Callable[[float], str]) -> str:
    """Gives a size as text, e.g. "1.2M [0.8M, -]" or "below 0.1M [-, 0.1M]"; - is an open end.

    Args:
        size: with any ends.
        show: text of a number: parameters_text, or "{:+.1f}".format for octaves.
    """
    if size["value"] is None:
        return "outside the ladder"
    low, high = ("-" if end is None else show(end) for end in (size["low"], size["high"]))
    side = f"{size['censored']} " if size["censored"] else ""
    return f"{side}{show(size['value'])} [{low}, {high}]"


def parameters_text(count: float) -> str:
    """Gives a number of parameters in two digits, e.g. 950k, 1.2M, 27B."""
    power = min(3, max(0, int(np.log10(max(count, 1)) // 3)))
    number = count / 1000**power
    return f"{number:.{1 if number < 9.95 else 0}f}" + ("", "k", "M", "B")[power]
