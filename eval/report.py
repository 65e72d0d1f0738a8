"""The scorecard as one self-contained HTML page: inline SVG, no script, no network, light and dark.

Model output is shown as text only: everything that is not ours passes through `_text`.
"""

import html
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from eval.tables import LEGEND, cell, headline_cells, meaning_lines, metric_names, metric_rows, paired_rows

Card = dict[str, Any]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")  # Okabe and Ito, then two more
QUESTIONS_PER_SUITE = 4
TEXT_LIMIT = 600  # characters of one answer
PLOT = (560, 400)  # width, height
FRAME = (64, 20, 530, 344)  # left, top, right, bottom of the plotting area
BAR, GAP, LABEL, BARS_WIDTH = 13, 14, 150, 470  # pixels of a bar chart
UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # what XML 1.0 does not allow

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #62676d; --rule: #dcdfe3; --paper: #fff; --panel: #f6f7f8; --core: #009e7316; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa1a9; --rule: #363b41; --paper: #15181b; --panel: #1d2125; --core: #009e7330; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; font-weight: 650; letter-spacing: -.015em; margin: 0 0 1.5rem; }
h2 { font-size: 1.1rem; font-weight: 650; margin: 2.75rem 0 .25rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 1.5rem 0 .5rem; }
p.note, li, figcaption { color: var(--soft); font-size: .87rem; margin: .25rem 0 .75rem; max-width: 46rem; }
.headline { display: flex; flex-wrap: wrap; gap: 1rem; }
.headline div { background: var(--panel); border-radius: .6rem; padding: .9rem 1.3rem; min-width: 13rem; }
.headline b { display: block; font-size: 1.9rem; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.2; }
.headline span { color: var(--soft); font-size: .87rem; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; height: auto; max-width: 46rem; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .soft { fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .whisker { stroke: var(--ink); stroke-width: 1.2; opacity: .75; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
.one :is(th, td):first-child, .two :is(th, td):nth-child(-n+2), .three :is(th, td) { text-align: left; }
.three td { white-space: pre-wrap; vertical-align: top; overflow-wrap: anywhere; }
.three td:nth-child(-n+2) { white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .87rem; margin: .5rem 0; }
.key i { display: inline-block; width: .75rem; height: .75rem; border-radius: 50%; margin-right: .4rem; }
"""


def to_html(card: Card, samples: Sequence[Mapping[str, Any]]) -> str:
    """Gives the whole report as one HTML document that is also well-formed XML; the same card and samples give the same text.

    Args:
        card: from build_scorecard.
        samples: answers to show, in the order wanted; the first 4 questions of a suite are shown, with every contender's answer.

    Returns:
        The document, safe to open whatever the models wrote.
    """
    families = [name for name in metric_names(card) if name.startswith("reasoning/")]
    exposures = [name for name in metric_names(card) if name.startswith("recall/exposure_")]
    title = f"Scorecard of {_text(card['recipe'])}"
    body = [
        f"<h1>{title}</h1>",
        _headline(card),
        _section("Reasoning against recall", "Up is better at reasoning, left knows less by heart. Bars: 95 % intervals.", _plane(card)),
        _section("Reasoning by family", "Share of correct answers.", _bars(card, families)),
        _section("Recall by exposure", "By how often a fact was trained, relative to the rarest.", _bars(card, exposures)),
        _section("All numbers", LEGEND, _table(metric_rows(card), "one") + _meanings(card)),
        _section("Differences", "First minus second on the same questions, in percentage points.", _table(paired_rows(card), "two")),
        _section("A few answers", "As the models wrote them.", _samples(samples)),
    ]
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    head = f'<meta charset="utf-8"/>{viewport}<title>{title}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(filter(None, body)) + "\n</body></html>\n"


def _text(value: object) -> str:
    """Any text as harmless HTML: markup escaped, characters that no document may hold replaced."""
    return html.escape(UNPRINTABLE.sub("?", str(value)))


def _section(title: str, note: str, content: str) -> str:
    return f'<section><h2>{title}</h2><p class="note">{_text(note)}</p>{content}</section>' if content else ""


def _headline(card: Card) -> str:
    cells = "".join(f"<div><b>{_text(text)}</b><span>{_text(label)}</span></div>" for label, text in headline_cells(card))
    return f'<div class="headline">{cells}</div>' if cells else ""


def _table(rows: Sequence[Sequence[str]], kind: str) -> str:
    """A table; `kind` says how many leading columns are text."""
    if len(rows) < 2:
        return ""
    body = "".join(_row(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table class="{kind}"><thead>{_row(rows[0], "th")}</thead><tbody>{body}</tbody></table></div>'


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(text)}</{tag}>" for text in cells) + "</tr>"


def _meanings(card: Card) -> str:
    lines = "".join(f"<li>{_text(line)}</li>" for line in meaning_lines(card))
    return f"<ul>{lines}</ul>" if lines else ""


def _color(card: Card, contender: str) -> str:
    return COLORS[card["contenders"].index(contender) % len(COLORS)]


def _key(card: Card, contenders: Sequence[str]) -> str:
    marks = "".join(f'<span><i style="background:{_color(card, name)}"></i>{_text(name)}</span>' for name in contenders)
    return f'<div class="key">{marks}</div>'


def _svg(width: float, height: float, label: str, marks: Sequence[str]) -> str:
    return f'<figure><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_text(label)}">{"".join(marks)}</svg></figure>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _label(x: float, y: float, text: str, anchor: str = "start", kind: str = "", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{more}>{_text(text)}</text>'


def _plane(card: Card) -> str:
    """Recall on x, reasoning on y, one point a contender."""
    recall, reasoning = (card["metrics"].get(name, {}) for name in ("recall", "reasoning"))
    shown = [name for name in card["contenders"] if name in recall and name in reasoning]
    if not shown:
        return ""
    points = {name: (_x(recall[name]["value"]), _y(reasoning[name]["value"])) for name in shown}
    marks = _axes()
    for name, (x, y) in points.items():
        marks += [_line(_x(recall[name]["low"]), y, _x(recall[name]["high"]), y, "whisker")]
        marks += [_line(x, _y(reasoning[name]["low"]), x, _y(reasoning[name]["high"]), "whisker")]
        told = f"{name}: recall {cell('recall', recall[name])}, reasoning {cell('reasoning', reasoning[name])}"
        marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{_color(card, name)}"><title>{_text(told)}</title></circle>']
    return _svg(*PLOT, "Recall against reasoning of each contender", marks + _point_labels(points)) + _key(card, shown)


def _x(fraction: float) -> float:
    return FRAME[0] + fraction * (FRAME[2] - FRAME[0])


def _y(fraction: float) -> float:
    return FRAME[3] - fraction * (FRAME[3] - FRAME[1])


def _axes() -> list[str]:
    left, top, right, bottom = FRAME
    core = f'<rect x="{left}" y="{top}" width="{_x(0.25) - left:.1f}" height="{_y(0.75) - top:.1f}" fill="var(--core)"/>'
    marks = [core, _label(left + 8, _y(0.75) - 8, "cognitive core", kind="soft")]
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        x, y, told = _x(fraction), _y(fraction), f"{fraction:.0%}"
        marks += [_line(x, top, x, bottom, "grid"), _line(left, y, right, y, "grid")]
        marks += [_label(x, bottom + 18, told, "middle", "soft"), _label(left - 8, y + 4, told, "end", "soft")]
    turned = f' transform="rotate(-90 16 {_y(0.5):g})"'
    return [*marks, _label(_x(0.5), bottom + 42, "recall", "middle"), _label(16, _y(0.5), "reasoning", "middle", more=turned)]


def _point_labels(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names under their points, pushed on where they would cover each other; above them at the floor, left of them at the right edge."""
    marks: list[str] = []
    placed: list[tuple[float, float]] = []
    for name, (x, y) in sorted(points.items(), key=lambda item: (item[1][1], item[1][0], item[0])):
        step = 1 if y < _y(0.1) else -1
        row = y + (17 if step > 0 else -9)
        while any(abs(x - other_x) < 90 and abs(row - other_row) < 14 for other_x, other_row in placed):
            row += step
        placed.append((x, row))
        right = x < (FRAME[0] + FRAME[2]) / 2
        marks.append(_label(x + (9 if right else -9), row, name, "start" if right else "end"))
    return marks


def _bars(card: Card, names: Sequence[str]) -> str:
    """One group of bars a metric, one bar a contender, with whiskers."""
    if not names:
        return ""
    marks, top = [], 8.0
    for name in names:
        found = card["metrics"][name]
        height = BAR * len(found)
        marks.append(_label(LABEL - 10, top + height / 2 + 4, name.partition("/")[2].replace("_", " "), "end"))
        for row, contender in enumerate(c for c in card["contenders"] if c in found):
            marks += _bar(found[contender], top + BAR * row, _color(card, contender), f"{contender}: {cell(name, found[contender])}")
        top += height + GAP
    grid = [_line(LABEL + f * BARS_WIDTH, 0, LABEL + f * BARS_WIDTH, top - 4, "grid") for f in (0, 0.25, 0.5, 0.75, 1)]
    ticks = [_label(LABEL + f * BARS_WIDTH, top + 12, f"{f:.0%}", "middle", "soft") for f in (0, 0.5, 1)]
    shown = [c for c in card["contenders"] if any(c in card["metrics"][name] for name in names)]
    return _svg(LABEL + BARS_WIDTH + 30, top + 20, "Bars by contender", grid + marks + ticks) + _key(card, shown)


def _bar(found: Mapping[str, float], top: float, color: str, told: str) -> list[str]:
    start, middle = LABEL + found["low"] * BARS_WIDTH, top + (BAR - 2) / 2
    size = f'width="{max(found["value"], 0) * BARS_WIDTH:.1f}" height="{BAR - 2}"'
    bar = f'<rect x="{LABEL}" y="{top:.1f}" {size} rx="2" fill="{color}"><title>{_text(told)}</title></rect>'
    return [bar, _line(start, middle, LABEL + found["high"] * BARS_WIDTH, middle, "whisker")]


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    """A table a suite: the first few questions, every contender's answer to each."""
    suites = list(dict.fromkeys(sample["suite"] for sample in samples))
    return "".join(_suite_samples(suite, [sample for sample in samples if sample["suite"] == suite]) for suite in suites)


def _suite_samples(suite: str, samples: Sequence[Mapping[str, Any]]) -> str:
    kept = list(dict.fromkeys(sample["question_id"] for sample in samples))[:QUESTIONS_PER_SUITE]
    chosen = sorted((s for s in samples if s["question_id"] in kept), key=lambda s: kept.index(s["question_id"]))
    rows = [["contender", "outcome", "answer"]]
    tables = []
    for _, asked in groupby(chosen, key=lambda s: s["question_id"]):
        answers = list(asked)
        lines = [[f"{s['contender']} ({s['mode']})", s["outcome"], _short(s["text"])] for s in answers]
        tables.append(f'<p class="note">{_text(_asked(answers[0]))}</p>' + _table(rows + lines, "three"))
    return f"<h3>{_text(suite)}</h3>" + "".join(tables)


def _asked(sample: Mapping[str, Any]) -> str:
    return f"{_short(sample.get('prompt') or sample['question_id'])} (reference: {sample['gold'] or 'none'})"


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " ..."
