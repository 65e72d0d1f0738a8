"""The parts of a drawing as SVG text: scales with ticks, marks that differ in shape as well as in
colour, labels that keep apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from data_filters.report.escape import plain

Ticks = Sequence[tuple[float, str]]  # value, what is written there

SHAPES = (  # corners (0: a circle), degrees of the first one
    (0, 0),
    (4, 45),
    (3, -90),
    (4, 0),
    (3, 90),
    (5, -90),
    (6, 0),
    (3, 180),
    (3, 0),
    (5, 90),
    (6, 30),
    (8, 22.5),
)
ROW = 14  # pixels from one label to the next
LETTER = 7.4  # pixels of a letter at 12 pixels, in bold
SHARES = ((0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1, "100 %"))
MAX_OWN_TICKS = 6  # up to so many different values, they are the ticks


def clipped(text: str, letters: int) -> str:
    """Gives a text that is no longer than so many letters."""
    return text if len(text) <= letters else text[: letters - 2] + ".."


def compact(value: float) -> str:
    """Gives a number in few letters: 0.05, 4096, 12k, 3M."""
    if value == int(value) and abs(value) < 10_000:
        return str(int(value))
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Axis:
    """A scale from numbers to pixels; what lies outside is drawn at the edge."""

    low: float
    high: float
    start: float  # pixels where `low` lies
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Gives the pixel of a number."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Ticks:
        """Gives round numbers inside: powers of ten on a log axis, else steps of 1, 2 or 5."""
        if self.log:
            powers = range(
                math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1
            )
            tens = [10.0**power for power in powers]
            if len(tens) < 2:
                tens = [
                    m * 10.0**p for p in range(powers.start - 1, powers.stop + 1) for m in (1, 2, 5)
                ]
            return [(value, compact(value)) for value in tens if self.low <= value <= self.high]
        step = nice((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(number * step, compact(number * step)) for number in range(first, last + 1)]


def nice(value: float) -> float:
    """Gives the smallest of 1, 2 or 5 times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * next((m for m in (1, 2, 5) if m * power >= value * (1 - 1e-9)), 10)


def axis_of(
    values: Sequence[float], start: float, end: float, log: bool = False
) -> tuple[Axis, Ticks]:
    """Gives an axis that holds all values, with its ticks: the values themselves where they are
    few.
    """
    low, high = min(values), max(values)
    own = sorted(set(values))
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    axis = Axis(low, high, start, end, log)
    return axis, [(value, compact(value)) for value in own] if len(own) <= MAX_OWN_TICKS and apart(
        axis, own
    ) else axis.ticks()


def apart(axis: Axis, values: Sequence[float]) -> bool:
    """Says whether labels at these values would keep clear of each other."""
    return all(abs(axis.at(b) - axis.at(a)) >= 30 for a, b in pairwise(values))


def svg(width: float, height: float, caption: str, marks: Sequence[str]) -> str:
    """Gives one drawing; `caption` is for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{plain(caption)}">'
        f"{''.join(marks)}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Gives a straight line of a class of the style sheet."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def label(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    """Gives a line of text."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{plain(text)}</text>'


def mark(style: int, x: float, y: float, caption: str = "", radius: float = 5) -> str:
    """Gives the mark of a contender: a shape of its own, so that it is known without its colour."""
    corners, turn = SHAPES[style % len(SHAPES)]
    title = f"<title>{plain(caption)}</title>" if caption else ""
    if not corners:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{title}</circle>'
    reach = radius * (1.4 if corners == 3 else 1.2)
    angles = [math.radians(turn + 360 * n / corners) for n in range(corners)]
    points = " ".join(
        f"{x + reach * math.cos(a):.1f},{y + reach * math.sin(a):.1f}" for a in angles
    )
    return f'<polygon class="dot" data-at="{x:.1f} {y:.1f}" points="{points}">{title}</polygon>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Gives a line through points."""
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def band(points: Sequence[tuple[float, float, float]]) -> str:
    """Gives the shade between the lower and the upper y of each x."""
    around = [(x, low) for x, low, _ in points] + [(x, high) for x, _, high in reversed(points)]
    return f'<polygon class="band" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in around)}"/>'


def axes(x: Axis, y: Axis, ticks: tuple[Ticks, Ticks], names: tuple[str, str]) -> list[str]:
    """Gives grid, ticks and the names of both axes; the name of y stands above its axis, to be read
    without turning the head.
    """
    marks = []
    for value, caption in ticks[0]:
        marks += [
            line(x.at(value), y.start, x.at(value), y.end, "grid"),
            label(x.at(value), y.start + 17, caption, "middle", "soft"),
        ]
    for value, caption in ticks[1]:
        marks += [
            line(x.start, y.at(value), x.end, y.at(value), "grid"),
            label(x.start - 7, y.at(value) + 4, caption, "end", "soft"),
        ]
    return [
        *marks,
        label((x.start + x.end) / 2, y.start + 36, names[0], "middle"),
        label(4, y.end - 12, names[1]),
    ]


def spread(wanted: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Gives each name a height near the wanted one, a row apart from the next, none outside top and
    bottom while there is room.
    """
    order = sorted(wanted, key=lambda name: (wanted[name], name))
    rows: list[float] = []
    for name in order:
        rows.append(max(wanted[name], top, rows[-1] + ROW if rows else top))
    limit = bottom
    for index in range(len(rows) - 1, -1, -1):
        rows[index] = min(rows[index], limit)
        limit = rows[index] - ROW
    return dict(zip(order, rows, strict=True))
