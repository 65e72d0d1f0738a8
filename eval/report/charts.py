"""The drawings of the report: what a contender can do against what it knows, its bars, its sizes on
the ladder, and the attacks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.svg import (
    LETTER,
    ROW,
    SHARES,
    Axis,
    Ticks,
    axes,
    axis_of,
    clipped,
    compact,
    label,
    line,
    mark,
    path,
    plain,
    svg,
)
from eval.report.tables import cell

Card = dict[str, Any]

NUM_STYLES = 12  # classes s0 to s11 of the style sheet
PLANE = (Axis(0, 1, 44, 430), Axis(0, 1, 336, 30))  # recall, reasoning
CORE = 0.25  # the corner that is shaded: recall under it, reasoning over 1 - it
LADDER = (44, 404, 236, 34)  # left, right, bottom, top
BAR, GAP, BARS_LEFT, BARS_WIDTH = 11, 12, 104, 300  # pixels of a bar chart
ATTACKS = {
    "recall": "as it was trained",
    "recall_prompts": "asked in other ways",
    "recall_four_bit": "rounded to 4 bits",
    "recall_relearned_others": "rest, after relearning",
    "recall_relearned_taught": "relearned themselves",
}
TOOL_USE = {
    "base_full": "base at hand: right",
    "base_swapped_follows": "entry changed: follows",
    "base_deleted_abstains": "entry gone: declines",
    "base_off_abstains": "no base: declines",
    "multi_hop": "two look-ups: right",
    "given_with_tools": "fact given: right",
    "reasoning_with_tools": "reasoning: right",
    "python_arithmetic": "long sums: right",
}
ROWS_LEFT, ROWS_WIDTH = 148, 156
# facts sit in all parameters, thinking uses the active ones
AXIS_OF = {"recall": "total", "reasoning": "active"}
FAMILY_KINDS = ("solid", "hollow", "third")  # lines of the ladder's families
OUTSIDE = {"below": "< ", "above": "> "}  # of the ladder: it is only known on which side
BEYOND = {"< ": " or less", "> ": " or more"}


def style(card: Card, name: str) -> str:
    """Gives the class of a contender; `student/teacher` has that of student, a stranger the neutral
    one.
    """
    own = name if name in card["contenders"] else name.partition("/")[0]
    return (
        f"s{card['contenders'].index(own) % NUM_STYLES}" if own in card["contenders"] else "s-none"
    )


def shape(card: Card, name: str) -> int:
    """Gives the number of a contender's mark."""
    kind = style(card, name)
    return 0 if kind == "s-none" else int(kind[1:])


def group(kind: str, marks: Sequence[str]) -> str:
    """Gives marks in the colour of a class."""
    return f'<g class="{kind}">{"".join(marks)}</g>'


def key(card: Card, contenders: Sequence[str]) -> str:
    """Gives the legend: mark and name of each contender."""
    named = "".join(f"<span>{badge(card, name)}{plain(name)}</span>" for name in contenders)
    return f'<div class="key">{named}</div>'


def badge(card: Card, name: str) -> str:
    """Gives the mark of a contender beside its name in running text."""
    return f'<svg class="badge {style(card, name)}" viewBox="0 0 14 14" aria-hidden="true">{mark(shape(card, name), 7, 7)}</svg>'


def plane(card: Card) -> str:
    """Gives recall on x, reasoning on y, one point a contender; empty where nobody has both."""
    recall, reasoning = (card["metrics"].get(name, {}) for name in ("recall", "reasoning"))
    shown = [name for name in card["contenders"] if name in recall and name in reasoning]
    if not shown:
        return ""
    x, y = PLANE
    points = {name: (x.at(recall[name]["value"]), y.at(reasoning[name]["value"])) for name in shown}
    size = f'width="{x.at(CORE) - x.start:.1f}" height="{y.at(1 - CORE) - y.end:.1f}"'
    marks = [
        f'<rect class="core" x="{x.start}" y="{y.end}" {size}/>',
        *axes(x, y, (SHARES, SHARES), ("recall", "reasoning")),
    ]
    marks.append(label(x.start + 8, y.at(1 - CORE) - 8, "cognitive core", kind="goal"))
    for name, (at_x, at_y) in points.items():
        told = f"{name}: recall {cell('recall', recall[name])}, reasoning {cell('reasoning', reasoning[name])}"
        across = line(x.at(recall[name]["low"]), at_y, x.at(recall[name]["high"]), at_y, "whisker")
        upright = line(
            at_x, y.at(reasoning[name]["low"]), at_x, y.at(reasoning[name]["high"]), "whisker"
        )
        marks.append(
            group(
                style(card, name), [across, upright, mark(shape(card, name), at_x, at_y, told, 6)]
            )
        )
    return svg(
        450,
        380,
        "Recall against reasoning of each contender",
        [*marks, *_point_labels(card, points, PLANE)],
    )


def _point_labels(
    card: Card,
    points: Mapping[str, tuple[float, float]],
    frame: tuple[Axis, Axis],
    more: Mapping[str, str] | None = None,
) -> list[str]:
    """Names, with more to say, beside their points; pushed on where they would cover each other, up
    at the floor, else down.
    """
    x_axis, y_axis = frame
    marks: list[str] = []
    placed: list[tuple[float, float, float]] = []  # middle, half the width, row
    for name, (x, y) in sorted(points.items(), key=lambda item: (item[1][1], item[1][0], item[0])):
        step = -1 if y > (y_axis.start + y_axis.end) / 2 else 1
        side, anchor = (9, "start") if x < (x_axis.start + x_axis.end) / 2 else (-9, "end")
        told = clipped(name, 20) + (more or {}).get(name, "")
        half = LETTER * len(told) / 2
        middle = x + side + (half if side > 0 else -half)
        row = y + (18 if step > 0 else -9)
        while any(
            abs(middle - other) < half + wide and abs(row - other_row) < ROW
            for other, wide, other_row in placed
        ):
            row += step
        placed.append((middle, half, row))
        marks.append(group(style(card, name), [label(x + side, row, told, anchor, "own")]))
    return marks


def bars(card: Card, names: Sequence[str]) -> str:
    """Gives one group of bars a metric, one bar a contender, with whiskers."""
    if not names:
        return ""
    marks, top = [], 8.0
    for name in names:
        found = card["metrics"][name]
        shown = [contender for contender in card["contenders"] if contender in found]
        part = name.partition("/")[2].replace("_", " ")
        marks.append(
            label(BARS_LEFT - 18, top + BAR * len(shown) / 2 + 3, clipped(part, 14), "end")
        )
        for row, contender in enumerate(shown):
            drawn = _bar(
                found[contender],
                (BARS_LEFT, top + BAR * row, BARS_WIDTH),
                f"{contender}: {cell(name, found[contender])}",
            )
            sign = mark(
                shape(card, contender), BARS_LEFT - 8, top + BAR * row + BAR / 2 - 1, radius=3
            )
            marks.append(group(style(card, contender), [sign, *drawn]))
        top += BAR * len(shown) + GAP
    grid = [
        line(BARS_LEFT + f * BARS_WIDTH, 0, BARS_LEFT + f * BARS_WIDTH, top - 4, "grid")
        for f, _ in SHARES
    ]
    ticks = [
        label(BARS_LEFT + f * BARS_WIDTH, top + 12, told, "middle", "soft") for f, told in SHARES
    ]
    return svg(BARS_LEFT + BARS_WIDTH + 30, top + 20, "Bars by contender", grid + marks + ticks)


def _bar(found: Mapping[str, float], at: tuple[float, float, float], told: str) -> list[str]:
    """A bar from (left, top) on a scale so many pixels wide, with its interval."""
    left, top, width = at
    middle = top + (BAR - 2) / 2
    size = f'width="{max(found["value"], 0) * width:.1f}" height="{BAR - 2}"'
    bar = f'<rect class="bar" x="{left}" y="{top:.1f}" {size} rx="1.5"><title>{plain(told)}</title></rect>'
    return [
        bar,
        line(
            left + max(found["low"], 0) * width,
            middle,
            left + found["high"] * width,
            middle,
            "whisker over",
        ),
    ]


def attacks(card: Card) -> list[str]:
    """Gives one small chart a contender: its recall, and its recall after each attack; none where
    nothing was attacked.
    """
    names = [name for name in ATTACKS if name in card["metrics"]]
    attacked = [
        c
        for c in card["contenders"]
        if any(c in card["metrics"][name] for name in names if name != "recall")
    ]
    return [
        _attacked(card, contender, [name for name in names if contender in card["metrics"][name]])
        for contender in attacked
    ]


def _attacked(card: Card, contender: str, names: Sequence[str]) -> str:
    before = card["metrics"].get("recall", {}).get(contender)
    return _rows(
        card,
        contender,
        {name: ATTACKS[name] for name in names},
        f"Recall of {contender} under attack",
        "recall",
        before,
    )


def tool_use(card: Card) -> list[str]:
    """Gives one small chart a contender: what it does with tools at hand; none where nobody was
    asked with tools.
    """
    asked = [
        name
        for name in card["contenders"]
        if any(name in card["metrics"].get(metric, {}) for metric in TOOL_USE)
    ]
    shown = [
        {m: told for m, told in TOOL_USE.items() if name in card["metrics"].get(m, {})}
        for name in asked
    ]
    return [
        _rows(card, name, told, f"{name} with tools")
        for name, told in zip(asked, shown, strict=True)
    ]


def _rows(
    card: Card,
    contender: str,
    names: Mapping[str, str],
    title: str,
    main: str = "",
    before: Mapping[str, float] | None = None,
) -> str:
    """One bar a metric, `main` in the full colour (all where there is none); a dashed line at
    `before`: what lies right of it came back.
    """
    marks, right = [], ROWS_LEFT + ROWS_WIDTH
    for row, (name, named) in enumerate(names.items()):
        found, top = card["metrics"][name][contender], 8 + 24 * row
        kind = style(card, contender) + (" after" if main not in ("", name) else "")
        told = cell(name, found).partition(" [")[0]
        marks += [
            label(ROWS_LEFT - 8, top + 8, named, "end"),
            label(right + 8, top + 8, told, kind="soft"),
        ]
        marks.append(
            group(
                kind,
                _bar(
                    found,
                    (ROWS_LEFT, top, ROWS_WIDTH),
                    f"{contender}, {named}: {cell(name, found)}",
                ),
            )
        )
    bottom = 24 * len(names)
    if before:
        at = ROWS_LEFT + before["value"] * ROWS_WIDTH
        marks.append(line(at, 0, at, bottom, "before"))
    grid = [
        line(ROWS_LEFT + f * ROWS_WIDTH, 0, ROWS_LEFT + f * ROWS_WIDTH, bottom, "grid")
        for f in (0, 0.5, 1)
    ]
    drawing = svg(right + 68, bottom + 4, title, grid + marks)
    return f"<figure><figcaption>{badge(card, contender)}{plain(contender)}</figcaption>{drawing}</figure>"


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
    told = f"{name}: octaves from recall size to reasoning size{_interval(entry)}"
    change = entry.get("change")
    return told + (f"; against {reference} {_octaves(change)}{_interval(change)}" if change else "")


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
    return OUTSIDE.get(entry.get("censored"), "")


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
        told = f"{name}: {cell(metric, scores[name])}, like {_sign(entry)}{compact(entry['value'])} {column} parameters"
        low, high = (
            edge if entry.get(name_of) is None else entry[name_of]
            for name_of, edge in (("low", x.low), ("high", x.high))
        )
        whisker = line(x.at(low), at_y, x.at(high), at_y, "whisker")
        marks.append(
            group(style(card, name), [whisker, mark(shape(card, name), at_x, at_y, told, 5.5)])
        )
    drawing = svg(
        430,
        280,
        f"{metric} over {column} parameters",
        [*marks, *_point_labels(card, points, (x, y), beyond)],
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
            f'<circle class="rung" cx="{at_x:.1f}" cy="{at_y:.1f}" r="3"><title>{plain(_told(rung, metric, column))}</title></circle>'
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
            f'<span><svg class="badge long" viewBox="0 0 28 14" aria-hidden="true">{line_of}</svg>{plain(family)}</span>'
        )
    return f'<div class="key">{"".join(named)}</div>' if named else ""


def _told(rung: Mapping[str, Any], metric: str, column: str) -> str:
    return f"{rung['name']}: {compact(rung[column])} {column} parameters, {metric} {100 * rung[metric]:.1f} %"
