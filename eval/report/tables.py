"""The scorecard as text: an aligned table for the terminal, and the same cells in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from eval.scores.sizes.size_interval import Size, in_words, parameters_text
from eval.suites.catalog import MEANINGS
from recipes.metrics import METRICS, Metric, in_order

Row = list[str]

LEGEND = (
    "[low, high]: 95 % interval over clusters (answers about one fact are one cluster). "
    "< : none seen, upper end of the interval. n: answers. detectable: the smallest true "
    "difference this many clusters would show with 80 % power. p: McNemar's exact test."
)


def cell(name: str, found: dict[str, float] | None) -> str:
    """Gives a number with its interval; an absent one is blank, and a rate of nothing prints its
    upper end: "< 0.8 %".
    """
    if found is None:
        return ""
    metric = METRICS.get(name, Metric())
    if metric.decimals is not None:
        return "{0:.{3}f} [{1:.{3}f}, {2:.{3}f}]".format(
            *(found[end] for end in ("value", "low", "high")), metric.decimals
        )
    if found["value"] <= 0 and not metric.signed:
        return f"< {100 * found['high']:.1f} %"
    return f"{100 * found['value']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def difference_cell(found: dict[str, float]) -> str:
    """Gives a difference in percentage points with its interval."""
    return f"{100 * found['value']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def headline_cells(card: dict[str, Any]) -> list[tuple[str, str]]:
    """Gives (label, text) of what the student kept, for as much as was measured."""
    shares = [
        (key.replace("_", " "), value)
        for key, value in card["headline"].items()
        if value is not None
    ]
    return [
        (label, f"{100 * value:.1f} %" if "retained" in label else f"{value:.2f}")
        for label, value in shares
    ]


def metric_rows(card: dict[str, Any]) -> list[Row]:
    """Gives the table of metrics, header first: name, n, one column a contender."""
    rows = [["metric", "n", *card["contenders"]]]
    for name in in_order(card["metrics"]):
        found = card["metrics"][name]
        rows.append(
            [
                name,
                _span(entry["n"] for entry in found.values()),
                *(cell(name, found.get(c)) for c in card["contenders"]),
            ]
        )
    return rows


def paired_rows(card: dict[str, Any]) -> list[Row]:
    """Gives the table of differences, header first."""
    rows = [["difference (points)", "pair", "value", "n", "detectable", "p"]]
    for name in in_order(card["paired"]):
        for pair, found in card["paired"][name].items():
            detectable = f"{100 * found['mde']:.1f}" if "mde" in found else ""
            chance = f"{found['mcnemar_p']:.2g}" if "mcnemar_p" in found else ""
            rows.append([name, pair, difference_cell(found), str(found["n"]), detectable, chance])
    return rows


def size_rows(card: dict[str, Any]) -> list[Row]:
    """Gives the table of equivalent sizes, header first; only the header where no ladder was laid
    beside the run.
    """
    sizes = card.get("sizes", {})
    rows = [
        [
            "like a model of",
            "reasoning (active)",
            "recall (total)",
            "octaves apart",
            f"against {sizes.get('reference') or 'nobody'}",
        ]
    ]
    for name in card["contenders"]:
        places = [sizes.get(axis, {}).get(name) for axis in ("reasoning", "recall")]
        apart: Size | None = sizes.get("octaves", {}).get(name)
        if any(places):
            shown = [in_words(place, parameters_text) if place else "" for place in places]
            doublings = (apart, apart.get("change") if apart else None)
            caption = [in_words(one, "{:+.1f}".format) if one else "" for one in doublings]
            rows.append([name, *shown, *caption])
    return rows


def _span(counts: Iterable[int]) -> str:
    """One number where all contenders answered as many, else the range."""
    ordered = sorted(counts)
    return str(ordered[0]) if ordered[0] == ordered[-1] else f"{ordered[0]}-{ordered[-1]}"


def meaning_lines(card: dict[str, Any]) -> list[str]:
    """Gives one line for each metric of the card whose name does not say it all, and for each that
    is void for a contender.
    """
    meanings = {name: metric.meaning for name, metric in METRICS.items()}
    meanings |= MEANINGS | card.get("harness", {})
    void = card.get("void", {})
    return [
        *(f"{name}: {meanings[name]}" for name in in_order(card["metrics"]) if meanings.get(name)),
        *(f"{name} of {who}: {why}" for name in void for who, why in void[name].items()),
    ]


def to_terminal(card: dict[str, Any]) -> str:
    """Gives the scorecard as aligned text, headline first.

    Args:
        card: from build_scorecard.

    Returns:
        Lines for a terminal, ASCII, with a final newline.
    """
    headline = [f"{label:<22}{text:>9}" for label, text in headline_cells(card)]
    blocks = [
        [f"scorecard of {card['recipe']}"],
        headline,
        *(_aligned(*table) for table in _tables(card)),
    ]
    return (
        "\n\n".join(
            "\n".join(block) for block in [*blocks, [LEGEND, *meaning_lines(card)]] if block
        )
        + "\n"
    )


def _tables(card: dict[str, Any]) -> list[tuple[list[Row], int]]:
    """The tables in order, each with how many of its leading columns are text."""
    return [(metric_rows(card), 1), (paired_rows(card), 2), (size_rows(card), 1)]


def _aligned(rows: Sequence[Row], left: int) -> list[str]:
    """Columns of equal width, the first `left` of them flush left; nothing where there is only a
    header.
    """
    if len(rows) < 2:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = ["<" if index < left else ">" for index in range(len(widths))]
    head, *lines = (
        "  ".join(f"{t:{s}{w}}" for t, s, w in zip(row, signs, widths, strict=True)).rstrip()
        for row in rows
    )
    return [head, "-" * len(head), *lines]


def to_markdown(card: dict[str, Any]) -> str:
    """Gives the scorecard as GitHub Markdown, headline first; a model card can hold it as it is."""
    headline = [f"**{label}: {text}**" for label, text in headline_cells(card)]
    tables = [_pipes(*table) for table in _tables(card)]
    notes = [LEGEND, *(f"- {line}" for line in meaning_lines(card))]
    parts = [
        f"# Scorecard of {_escaped(card['recipe'])}",
        "  \n".join(headline),
        *tables,
        notes[0],
        "\n".join(notes[1:]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _pipes(rows: Sequence[Row], left: int) -> str:
    if len(rows) < 2:
        return ""
    rule = ["---" if index < left else "---:" for index in range(len(rows[0]))]
    return "\n".join(
        "| " + " | ".join(map(_escaped, row)) + " |" for row in [rows[0], rule, *rows[1:]]
    )


def _escaped(text: str) -> str:
    """Text that Markdown takes literally inside a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
