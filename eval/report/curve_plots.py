"""The curves of the report: small drawings with a shade for the interval and each name at the end
of its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.report.charts import group, shape, style
from eval.report.svg import (
    LETTER,
    ROW,
    SHARES,
    Axis,
    Ticks,
    axes,
    axis_of,
    band,
    clipped,
    compact,
    label,
    line,
    mark,
    nice,
    path,
    plain,
    spread,
    svg,
)
from recipes.metrics import part_key

Card = dict[str, Any]
Curves = Mapping[str, Sequence[Mapping[str, float]]]  # name -> points

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 380, 262, 46, 30, 214
NAME_LETTERS = 13  # of a name at the end of a line
MANY_POINTS = 24  # a curve of more points is a line without marks
FLOOR_NATS = 1e-3  # entropies below this are drawn here
WIDE = 16  # times from the smallest to the largest x over which the axis is logarithmic


@dataclass(frozen=True)
class CurveKind:
    """How a curve is drawn and what its reader is to see in it."""

    title: str
    good: str  # what good looks like
    x: str
    y: str
    x_share: bool = False
    y_share: bool = True
    diagonal: bool = False
    y_log: bool = False
    zoom: bool = False  # the y axis ends where the curves do


KINDS = {
    "recall_by_exposure": CurveKind(
        "Recall by exposure",
        "Good for a student: at the floor, however often a fact was shown.",
        "exposure",
        "recall",
    ),
    "calibration": CurveKind(
        "Calibration",
        "Good: on the dashed line. Below it, surer than right.",
        "confidence",
        "correct",
        x_share=True,
        diagonal=True,
    ),
    "risk_coverage": CurveKind(
        "Risk and coverage",
        "Good: low at the left, where it is surest.",
        "answered",
        "wrong",
        x_share=True,
        zoom=True,
    ),
    "deferral": CurveKind(
        "Deferral",
        "Good: steep at the left; few questions passed on fix most.",
        "passed to the teacher",
        "correct",
        x_share=True,
    ),
    "accuracy_by_difficulty": CurveKind(
        "Accuracy by difficulty", "Good: falls no sooner than the teacher.", "difficulty", "correct"
    ),
    "tokens_by_difficulty": CurveKind(
        "Length by difficulty",
        "Good: short where it is easy, longer where it is hard.",
        "difficulty",
        "tokens",
        False,
        False,
    ),
    "accuracy_by_budget": CurveKind(
        "Accuracy by budget", "Good: rises early, then stays.", "tokens allowed", "correct"
    ),
    "accuracy_by_distractors": CurveKind(
        "Accuracy by distractors",
        "Good: flat; what does not matter is passed over.",
        "distractors",
        "correct",
    ),
    "edit_frontier": CurveKind(
        "Edit frontier",
        "Good: high at the left: much is kept where little is recalled. Select split.",
        "recall",
        "kept",
        x_share=True,
    ),
    "entropy": CurveKind(
        "Entropy over training",
        "Good: comes down to the teacher (dashed), no further. Shade: range of steps.",
        "step",
        "nats",
        y_share=False,
        y_log=True,
    ),
}


def curve_figures(card: Card) -> list[str]:
    """Gives a figure for each curve that the card has; a contender without points is left out."""
    found = {"recall_by_exposure": _by_exposure(card), **card.get("curves", {})}
    drawn = {
        name: {who: points for who, points in found.get(name, {}).items() if points}
        for name in KINDS
    }
    return [_figure(card, KINDS[name], curves) for name, curves in drawn.items() if curves]


def _by_exposure(card: Card) -> Curves:
    """The classes of exposure among the metrics, as a curve."""
    curves: dict[str, list[dict[str, float]]] = {}
    for name in sorted(card["metrics"], key=part_key):
        group_name, _, exposure = name.partition("/exposure_")
        if group_name == "recall" and exposure.isdecimal():
            for who, entry in card["metrics"][name].items():
                curves.setdefault(who, []).append(
                    {
                        "x": int(exposure),
                        "y": entry["value"],
                        **{k: entry[k] for k in ("low", "high", "n")},
                    }
                )
    return curves


def _figure(card: Card, kind: CurveKind, curves: Curves) -> str:
    x, y, ticks = _scales(kind, curves)
    marks = axes(x, y, ticks, (kind.x, kind.y))
    if kind.diagonal:
        marks.append(line(x.at(0), y.at(0), x.at(1), y.at(1), "ideal"))
    order = [c for c in card["contenders"] if c in curves] + sorted(
        set(curves) - set(card["contenders"])
    )
    shades = [
        group(style(card, who), [shade]) for who in order if (shade := _shade(curves[who], x, y))
    ]
    marks += shades + [
        group(_class(card, who), _marks(shape(card, who), who, curves[who], kind, (x, y)))
        for who in order
    ]
    drawing = svg(
        WIDTH,
        HEIGHT,
        f"{kind.title}: {kind.y} over {kind.x}",
        [*marks, *_names(card, curves, (x, y))],
    )
    return (
        f"<figure><figcaption><b>{kind.title}</b> {plain(kind.good)}</figcaption>{drawing}</figure>"
    )


def _class(card: Card, who: str) -> str:
    """A teacher on another arm's tokens has that arm's colour, dashed."""
    return style(card, who) + (" beside" if who not in card["contenders"] else "")


def _x_scale(kind: CurveKind, xs: Sequence[float], right: float) -> tuple[Axis, Ticks]:
    if kind.x_share:
        return Axis(0, 1, LEFT, right), SHARES
    wide = min(xs) > 0 and max(xs) >= WIDE * min(xs)
    return axis_of(xs, LEFT, right, log=wide and kind.x != "step")


def _scales(kind: CurveKind, curves: Curves) -> tuple[Axis, Axis, tuple[Ticks, Ticks]]:
    points = [point for curve in curves.values() for point in curve]
    right = WIDTH - 24 - LETTER * max(len(clipped(_called(who), NAME_LETTERS)) for who in curves)
    x, x_ticks = _x_scale(kind, [point["x"] for point in points], right)
    highest = max(_edge(point, "high") for point in points)
    if kind.y_log:
        lowest = max(FLOOR_NATS, min(point["y"] for point in points))
        y = Axis(lowest / 1.5, max(highest, 2 * lowest) * 1.2, BOTTOM, TOP, log=True)
        return x, y, (x_ticks, y.ticks())
    if kind.y_share and not (kind.zoom and highest < 0.5):
        return x, Axis(0, 1, BOTTOM, TOP), (x_ticks, SHARES)
    step = nice(highest / 4) if highest > 0 else 0.25
    y = Axis(0, step * -(-highest // step) if highest > 0 else 1, BOTTOM, TOP)
    percent = [(value, f"{100 * value:.3g}") for value, _ in y.ticks()]
    return (
        x,
        y,
        (
            x_ticks,
            [*percent[:-1], (percent[-1][0], percent[-1][1] + " %")] if kind.y_share else y.ticks(),
        ),
    )


def _edge(point: Mapping[str, float], edge: str) -> float:
    """An end of the interval; the value itself where none was measured."""
    return point["y"] if point.get(edge) is None else point[edge]


def _shade(points: Sequence[Mapping[str, float]], x: Axis, y: Axis) -> str:
    around = [(x.at(p["x"]), y.at(_edge(p, "low")), y.at(_edge(p, "high"))) for p in points]
    return band(around) if len(points) > 1 and any(low != high for _, low, high in around) else ""


def _marks(
    number: int,
    who: str,
    points: Sequence[Mapping[str, float]],
    kind: CurveKind,
    frame: tuple[Axis, Axis],
) -> list[str]:
    x, y = frame
    at = [(x.at(point["x"]), y.at(point["y"])) for point in points]
    if len(points) > MANY_POINTS:
        return [path(at, "curve thin")]
    lone = (
        [
            line(
                at[0][0],
                y.at(_edge(points[0], "low")),
                at[0][0],
                y.at(_edge(points[0], "high")),
                "whisker",
            )
        ]
        if len(at) == 1
        else []
    )
    caption = [f"{who}: {kind.x} {compact(p['x'])}, {kind.y} {_value(kind, p)}" for p in points]
    return [
        *lone,
        path(at, "curve"),
        *(mark(number, *point, words, 3.5) for point, words in zip(at, caption, strict=True)),
    ]


def _value(kind: CurveKind, point: Mapping[str, float]) -> str:
    """A point's value as its title says it, with the interval and n where they were measured."""
    scale, unit = (100, " %") if kind.y_share else (1, "")
    caption = f"{scale * point['y']:.3g}{unit}"
    if point.get("low") is not None and point.get("high") is not None:
        caption += f" [{scale * point['low']:.3g}, {scale * point['high']:.3g}]"
    return caption + (f", n {point['n']:g}" if point.get("n") is not None else "")


def _called(who: str) -> str:
    """`student/teacher`, the teacher on the student's tokens, is called teacher; colour and dashes
    say on whose.
    """
    return who.partition("/")[2] or who


def _names(card: Card, curves: Curves, frame: tuple[Axis, Axis]) -> list[str]:
    x, y = frame
    ends = {who: y.at(points[-1]["y"]) + 4 for who, points in curves.items()}
    rows = spread(ends, TOP + 4, max(BOTTOM + 4, TOP + ROW * len(curves)))
    marks = []
    for who, row in rows.items():
        named = (
            [mark(shape(card, who), x.end + 11, row - 4, radius=3.5)]
            if who in card["contenders"]
            else []
        )
        marks.append(
            group(
                style(card, who),
                [*named, label(x.end + 19, row, clipped(_called(who), NAME_LETTERS), kind="own")],
            )
        )
    return marks
