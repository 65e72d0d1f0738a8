"""The drawings of equivalent sizes: the rungs of the ladder over their size, and each contender
where its score puts it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.charts import Card, group, point_labels, shape, style
from eval.report.svg import (
    SHARES,
    Axis,
    Ticks,
    axes,
    axis_of,
    compact,
    line,
    mark,
    path,
    plain,
    svg,
)
from eval.report.tables import cell
from recipes.vocabulary import Suite

LADDER = (44, 404, 236, 34)  # left, right, bottom, top
# facts sit in all parameters, thinking uses the active ones
AXIS_OF: dict[str, str] = {Suite.RECALL: "total", Suite.REASONING: "active"}
FAMILY_KINDS = ("solid", "hollow", "third")  # lines of the ladder's families
OUTSIDE = {"below": "< ", "above": "> "}  # of the ladder: it is only known on which side
BEYOND = {"< ": " or less", "> ": " or more"}


def octaves(card: Card) -> list[tuple[str, str]]:
    """Gives (label, text) of how far apart reasoning and recall lie, in doublings of size, one a
    contender.
    """
    sizes = card.get("sizes", {})
    found = sizes.get("octaves", {})
    return [
        (_apart(name, found[name], sizes.get("reference")), _octaves(found[name]))
        for name in card["contenders"]
        if found.get(name)
    ]


def _apart(name: str, entry: Mapping[str, Any], reference: str | None) -> str:
    caption = f"{name}: octaves from recall size to reasoning size{_interval(entry)}"
    change = entry.get("change")
    return caption + (
        f"; against {reference} {_octaves(change)}{_interval(change)}" if change else ""
    )


def _octaves(entry: Mapping[str, Any]) -> str:
    return "unknown" if entry["value"] is None else f"{_sign(entry)}{entry['value']:+.1f}"


def _interval(entry: Mapping[str, Any]) -> str:
    """An interval whose ends may be open: outside the ladder nothing is known."""
    low, high = (
        "open" if entry.get(edge) is None else f"{entry[edge]:+.1f}" for edge in ("low", "high")
    )
    return "" if low == high == "open" else f" [{low}, {high}]"


def _sign(entry: Mapping[str, Any]) -> str:
    """Says that a size lies beyond an end of the ladder."""
    return OUTSIDE.get(entry.get("censored") or "", "")


def refusals(card: Card) -> list[str]:
    """Gives, for each axis that this ladder cannot measure, why."""
    return [f"{axis}: {why}" for axis, why in card.get("sizes", {}).get("refused", {}).items()]


def ladder(card: Card, metric: str) -> str:
    """Gives the rungs' scores over their size, with each contender where its score puts it; empty
    where there is no ladder.
    """
    sizes, column = card.get("sizes", {}), AXIS_OF[metric]
    rungs = [
        rung
        for rung in sizes.get("ladder", [])
        if rung.get(metric) is not None and rung.get(column)
    ]
    scores = card["metrics"].get(metric, {})
    found = {
        c: sizes.get(metric, {})[c]
        for c in card["contenders"]
        if sizes.get(metric, {}).get(c) and c in scores
    }
    placed = {name: entry for name, entry in found.items() if entry.get("value")}
    if not rungs:
        return ""
    left, right, bottom, top = LADDER
    seen = [rung[column] for rung in rungs] + [entry["value"] for entry in placed.values()]
    x, ticks = _sizes_axis(seen, left, right)
    y = Axis(0, 1, bottom, top)
    marks = axes(x, y, (ticks, SHARES), (f"{column} parameters", metric)) + _rungs(
        rungs, metric, column, (x, y)
    )
    points = {
        name: (x.at(entry["value"]), y.at(scores[name]["value"])) for name, entry in placed.items()
    }
    beyond = {name: BEYOND.get(_sign(entry), "") for name, entry in placed.items()}
    for name, entry in placed.items():
        at_x, at_y = points[name]
        caption = (
            f"{name}: {cell(metric, scores[name])}, like {_sign(entry)}{compact(entry['value'])} "
            f"{column} parameters"
        )
        low, high = (
            edge if entry.get(name_of) is None else entry[name_of]
            for name_of, edge in (("low", x.low), ("high", x.high))
        )
        whisker = line(x.at(low), at_y, x.at(high), at_y, "whisker")
        marks.append(
            group(style(card, name), [whisker, mark(shape(card, name), at_x, at_y, caption, 5.5)])
        )
    drawing = svg(
        430,
        280,
        f"{metric} over {column} parameters",
        [*marks, *point_labels(card, points, (x, y), beyond)],
    )
    return f"<figure><figcaption>{metric} over {column} parameters</figcaption>{drawing}</figure>"


def _sizes_axis(sizes: Sequence[float], left: float, right: float) -> tuple[Axis, Ticks]:
    axis, _ = axis_of([min(sizes) / 1.6, max(sizes) * 1.6], left, right, log=True)
    return axis, axis.ticks()


def _rungs(
    rungs: Sequence[Mapping[str, Any]], metric: str, column: str, frame: tuple[Axis, Axis]
) -> list[str]:
    """Each family of the ladder as a line of its own kind."""
    x, y = frame
    marks = []
    for number, family in enumerate(families(rungs)):
        own = sorted(
            (rung for rung in rungs if str(rung["family"]) == family), key=lambda rung: rung[column]
        )
        points = [(x.at(rung[column]), y.at(rung[metric])) for rung in own]
        dots = [
            f'<circle class="rung" cx="{at_x:.1f}" cy="{at_y:.1f}" r="3"><title>'
            f"{plain(_told(rung, metric, column))}</title></circle>"
            for rung, (at_x, at_y) in zip(own, points, strict=True)
        ]
        marks.append(
            group(FAMILY_KINDS[number % len(FAMILY_KINDS)], [path(points, "steps"), *dots])
        )
    return marks


def families(rungs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Gives the families of a ladder by name."""
    return sorted({str(rung["family"]) for rung in rungs})


def ladder_key(card: Card) -> str:
    """Gives the legend of the ladder: how the line of each family looks."""
    named = []
    for number, family in enumerate(families(card.get("sizes", {}).get("ladder", []))):
        dot = '<circle class="rung" cx="14" cy="7" r="3"/>'
        line_of = group(
            FAMILY_KINDS[number % len(FAMILY_KINDS)], [path([(0, 7), (28, 7)], "steps"), dot]
        )
        named.append(
            f'<span><svg class="badge long" viewBox="0 0 28 14" aria-hidden="true">{line_of}</svg>'
            f"{plain(family)}</span>"
        )
    return f'<div class="key">{"".join(named)}</div>' if named else ""


def _told(rung: Mapping[str, Any], metric: str, column: str) -> str:
    return (
        f"{rung['name']}: {compact(rung[column])} {column} parameters, {metric} "
        f"{100 * rung[metric]:.1f} %"
    )
