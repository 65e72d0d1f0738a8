"""The drawings of the report: what a contender can do against what it knows, its bars, the attacks,
and the use of tools.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.svg import (
    LETTER,
    ROW,
    SHARES,
    Axis,
    axes,
    clipped,
    label,
    line,
    mark,
    plain,
    svg,
)
from eval.report.tables import cell

Card = dict[str, Any]

NUM_STYLES = 12  # classes s0 to s11 of the style sheet
PLANE = (Axis(0, 1, 44, 430), Axis(0, 1, 336, 30))  # recall, reasoning
CORE = 0.25  # the corner that is shaded: recall under it, reasoning over 1 - it
BAR, GAP, BARS_LEFT, BARS_WIDTH = 11, 12, 104, 300  # pixels of a bar chart
ATTACKS = {
    "recall": "as it was trained",
    "recall_prompts": "asked in other ways",
    "recall_four_bit": "rounded to 4 bits",
    "recall_relearned_others": "rest, after relearning",
    "recall_relearned_taught": "relearned themselves",
}
TOOL_USE = {
    "kb_full.correct": "base at hand: right",
    "kb_swapped.followed": "entry changed: follows",
    "kb_deleted.abstained": "entry gone: declines",
    "kb_off.abstained": "no base: declines",
    "multi_hop": "two look-ups: right",
    "given_with_tools.correct": "fact given: right",
    "reasoning_with_tools.correct": "reasoning: right",
    "long_sums": "long sums: right",
}
ROWS_LEFT, ROWS_WIDTH = 148, 156


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
    return (
        f'<svg class="badge {style(card, name)}" viewBox="0 0 14 14" aria-hidden="true">'
        f"{mark(shape(card, name), 7, 7)}</svg>"
    )


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
        caption = (
            f"{name}: recall {cell('recall', recall[name])}, reasoning "
            f"{cell('reasoning', reasoning[name])}"
        )
        across = line(x.at(recall[name]["low"]), at_y, x.at(recall[name]["high"]), at_y, "whisker")
        upright = line(
            at_x, y.at(reasoning[name]["low"]), at_x, y.at(reasoning[name]["high"]), "whisker"
        )
        marks.append(
            group(
                style(card, name),
                [across, upright, mark(shape(card, name), at_x, at_y, caption, 6)],
            )
        )
    return svg(
        450,
        380,
        "Recall against reasoning of each contender",
        [*marks, *point_labels(card, points, PLANE)],
    )


def point_labels(
    card: Card,
    points: Mapping[str, tuple[float, float]],
    frame: tuple[Axis, Axis],
    more: Mapping[str, str] | None = None,
) -> list[str]:
    """Gives the names beside their points, moved where two would cover each other.

    A name moves up where its point is in the lower half, else down.

    Args:
        card: its contenders have colours.
        points: contender -> pixels of its point.
        frame: the axes, x and y.
        more: contender -> what is written behind its name.
    """
    x_axis, y_axis = frame
    marks: list[str] = []
    placed: list[tuple[float, float, float]] = []  # middle, half the width, row
    for name, (x, y) in sorted(points.items(), key=lambda item: (item[1][1], item[1][0], item[0])):
        step = -1 if y > (y_axis.start + y_axis.end) / 2 else 1
        side, anchor = (9, "start") if x < (x_axis.start + x_axis.end) / 2 else (-9, "end")
        caption = clipped(name, 20) + (more or {}).get(name, "")
        half = LETTER * len(caption) / 2
        middle = x + side + (half if side > 0 else -half)
        row = y + (18 if step > 0 else -9)
        while any(
            abs(middle - other) < half + wide and abs(row - other_row) < ROW
            for other, wide, other_row in placed
        ):
            row += step
        placed.append((middle, half, row))
        marks.append(group(style(card, name), [label(x + side, row, caption, anchor, "own")]))
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
        label(BARS_LEFT + f * BARS_WIDTH, top + 12, caption, "middle", "soft")
        for f, caption in SHARES
    ]
    return svg(BARS_LEFT + BARS_WIDTH + 30, top + 20, "Bars by contender", grid + marks + ticks)


def _bar(found: Mapping[str, float], at: tuple[float, float, float], caption: str) -> list[str]:
    """A bar from (left, top) on a scale so many pixels wide, with its interval."""
    left, top, width = at
    middle = top + (BAR - 2) / 2
    size = f'width="{max(found["value"], 0) * width:.1f}" height="{BAR - 2}"'
    bar = (
        f'<rect class="bar" x="{left}" y="{top:.1f}" {size} rx="1.5"><title>'
        f"{plain(caption)}</title></rect>"
    )
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
        {m: caption for m, caption in TOOL_USE.items() if name in card["metrics"].get(m, {})}
        for name in asked
    ]
    return [
        _rows(card, name, caption, f"{name} with tools")
        for name, caption in zip(asked, shown, strict=True)
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
        caption = cell(name, found).partition(" [")[0]
        marks += [
            label(ROWS_LEFT - 8, top + 8, named, "end"),
            label(right + 8, top + 8, caption, kind="soft"),
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
    return (
        f"<figure><figcaption>{badge(card, contender)}{plain(contender)}</figcaption>"
        f"{drawing}</figure>"
    )
