"""What others published on the same public tasks, as grey points beside our contenders. For the eye
only: no number is made of them.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

from eval.report.charts import group, shape, style
from eval.report.svg import (
    LETTER,
    ROW,
    SHARES,
    Axis,
    axes,
    clipped,
    compact,
    label,
    line,
    mark,
    plain,
    svg,
)
from eval.report.tables import cell

Card = dict[str, Any]

LEFT, RIGHT, BOTTOM, TOP = 44, 404, 236, 34
NAME_LETTERS = 16


class Score(NamedTuple):
    """One published score."""

    model: str
    total: float  # parameters
    active: float
    share: float  # 0..1
    source: str


@cache
def published() -> dict[str, list[Score]]:
    """Gives the scores by task; the names of tasks are beginnings of labels."""
    caption = yaml.safe_load(
        resources.files("eval.report").joinpath("published.yaml").read_text(encoding="utf-8")
    )
    return {
        task: [_score(caption["sources"], *row) for row in rows]
        for task, rows in caption["tasks"].items()
    }


def _score(
    sources: Mapping[str, str], model: str, total: float, active: float, percent: float, source: str
) -> Score:
    return Score(model, 1e9 * total, 1e9 * active, percent / 100, sources[source])


def scores_of(metric: str) -> list[Score]:
    """Gives the published scores on the task behind a metric harness/LABEL; none for tasks that the
    table lacks.
    """
    name = metric.removeprefix("harness/").lower()
    return next(
        (
            rows
            for task, rows in published().items()
            if metric.startswith("harness/") and name.startswith(task)
        ),
        [],
    )


def published_figures(card: Card) -> list[str]:
    """Gives a figure for each public task of the card that others published scores on."""
    return [
        _figure(card, name, rows) for name in sorted(card["metrics"]) if (rows := scores_of(name))
    ]


def _figure(card: Card, metric: str, rows: list[Score]) -> str:
    found = card["metrics"][metric]
    sizes = [row.total for row in rows]
    x, y = Axis(min(sizes) / 1.6, max(sizes) * 1.6, LEFT, RIGHT, log=True), Axis(0, 1, BOTTOM, TOP)
    marks = axes(x, y, (x.ticks(), SHARES), ("total parameters", metric))
    marks += [_grey(row, x, y) for row in rows]
    marks += _ours(card, metric, found, y)
    drawing = svg(
        430, 280, f"{metric}: published scores over total parameters, and our contenders", marks
    )
    return f"<figure><figcaption>{plain(metric)}</figcaption>{drawing}</figure>"


def _grey(row: Score, x: Axis, y: Axis) -> str:
    size = compact(row.total) + (
        f" ({compact(row.active)} active)" if row.active != row.total else ""
    )
    caption = plain(f"{row.model}: {size}, {100 * row.share:.1f} %, {row.source}")
    return (
        f'<circle class="published" cx="{x.at(row.total):.1f}" cy="{y.at(row.share):.1f}" '
        f'r="3.5"><title>{caption}</title></circle>'
    )


def _ours(card: Card, metric: str, found: Mapping[str, Any], y: Axis) -> list[str]:
    """Each contender as a level line, since the card does not say its size; names kept apart."""
    marks, last = [], float(BOTTOM + 2 * ROW)
    for name in sorted(
        (c for c in card["contenders"] if c in found), key=lambda c: found[c]["value"]
    ):
        level = y.at(found[name]["value"])
        row = last = min(level - 4, last - ROW)
        caption = clipped(name, NAME_LETTERS)
        parts = [
            line(LEFT, level, RIGHT, level, "level"),
            mark(shape(card, name), LEFT + 6, level, f"{name}: {cell(metric, found[name])}", 5),
            label(RIGHT - LETTER * len(caption), row, caption, "start", "own"),
        ]
        marks.append(group(style(card, name), parts))
    return marks
