"""The scorecard as one self-contained HTML page: inline SVG, no script, no network, light and dark.

Model output is shown as text only: everything that is not ours passes through `plain`. What the
card does not hold is not drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.charts import attacks, bars, key, plane, tool_use
from eval.report.curve_plots import curve_figures
from eval.report.ladder_plot import ladder, ladder_key, octaves, refusals
from eval.report.published import published_figures
from eval.report.sections import answers, gates, headline, meanings, pair, section, table, tiles
from eval.report.style import STYLE
from eval.report.svg import plain
from eval.report.tables import LEGEND, metric_rows, paired_rows
from recipes.metrics import in_order

Card = dict[str, Any]

ATTACKED = (
    "Gone, or only hidden? Good: no bar passes the dashed line, but for facts that were "
    "taught again themselves."
)
WITH_TOOLS = "What it does when it may look things up and run programs. Good: every bar is full."
PUBLISHED = (
    "Grey: what others published, with other prompts and matching; a few points mean "
    "nothing. Part of no number here."
)
CURVES = "Shades: 95 % intervals. A mark shows its numbers when pointed at."


def to_html(card: Card, samples: Sequence[Mapping[str, Any]]) -> str:
    """Gives the whole report as one HTML document that is also well-formed XML; the same card and
    samples give the same text.

    Args:
        card: from build_scorecard; `curves`, `sizes` and `gates` are drawn where it has them.
        samples: answers to show, in the order wanted; the first 4 questions of a suite are shown,
            with every contender's answer.

    Returns:
        The document, safe to open whatever the models wrote.
    """
    families = [name for name in in_order(card["metrics"]) if name.startswith("reasoning/")]
    body = [
        f"<header><h1><small>Scorecard</small>{plain(card['recipe'])}</h1>"
        f"{headline(card)}</header>",
        section(
            "Gates",
            "What the student had to reach to be published, as the recipe stood when this was "
            "scored.",
            gates(card),
        ),
        pair(
            [
                section(
                    "Reasoning against recall",
                    "Good: up and to the left, in the shaded corner. Lines: 95 % intervals.",
                    _plane(card),
                ),
                section(
                    "Reasoning by family",
                    "Share of correct answers. Good: as long as the teacher's.",
                    _bars(card, families),
                ),
            ]
        ),
        section(
            "Sizes",
            "The rung that scores the same. Good: reasons like a large one, recalls like a small "
            "one.",
            _sizes(card),
        ),
        section("Beside published scores", PUBLISHED, _published(card)),
        section("Recall under attack", ATTACKED, _small(attacks(card))),
        section("With tools", WITH_TOOLS, _small(tool_use(card))),
        section("Curves", CURVES, _curves(card)),
        section(
            "Answers side by side",
            "As the models wrote them; thinking, calls and results in grey.",
            answers(card, samples),
        ),
        section(
            "All numbers", LEGEND, table(metric_rows(card), "one", "All numbers") + meanings(card)
        ),
        section(
            "Differences",
            "First minus second on the same questions, in points.",
            table(paired_rows(card), "two", "Differences"),
        ),
    ]
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    head = (
        f'<meta charset="utf-8"/>{viewport}<title>Scorecard of {plain(card["recipe"])}</title>'
        f"<style>{STYLE}</style>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(filter(None, body))
        + "\n</body></html>\n"
    )


def _plane(card: Card) -> str:
    drawing = plane(card)
    shown = [
        name
        for name in card["contenders"]
        if all(name in card["metrics"].get(metric, {}) for metric in ("recall", "reasoning"))
    ]
    return drawing and f"<figure>{drawing}</figure>{key(card, shown)}"


def _bars(card: Card, names: Sequence[str]) -> str:
    shown = [
        contender
        for contender in card["contenders"]
        if any(contender in card["metrics"][name] for name in names)
    ]
    return f"<figure>{bars(card, names)}</figure>{key(card, shown)}" if names else ""


def _sizes(card: Card) -> str:
    ladders = "".join(ladder(card, metric) for metric in ("reasoning", "recall"))
    refused = "".join(f'<p class="note">{plain(why)}</p>' for why in refusals(card))
    return (
        tiles(octaves(card))
        + refused
        + (f'<div class="pair">{ladders}</div>{ladder_key(card)}' if ladders else "")
    )


def _published(card: Card) -> str:
    figures = "".join(published_figures(card))
    return figures and f'<div class="pair">{figures}</div>'


def _small(charts: Sequence[str]) -> str:
    return f'<div class="small">{"".join(charts)}</div>' if charts else ""


def _curves(card: Card) -> str:
    figures = "".join(curve_figures(card))
    return figures and f'<div class="curves">{figures}</div>'
