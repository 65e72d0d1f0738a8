"""The parts of the report that are not drawings: tiles, gates, tables, sample answers side by
side.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from data_filters.records.tool_calls import calls_of
from eval.ask.text_features import text_features
from eval.report.charts import badge
from eval.report.style import SIGNS
from eval.report.svg import plain
from eval.report.tables import headline_cells, meaning_lines
from recipes.vocabulary import AnswerMode, BaseState, Outcome

Card = dict[str, Any]
Sample = Mapping[str, Any]

QUESTIONS_PER_SUITE = 4
TEXT_LIMIT = 600  # characters of one answer
STATES = {
    BaseState.FULL: "with tools",
    BaseState.DELETED: "entry gone",
    BaseState.SWAPPED: "entry changed",
    BaseState.OFF: "base off",
}


def section(title: str, note: str, content: str) -> str:
    """Gives a part of the page, or nothing where it has no content."""
    return (
        f'<section><h2>{title}</h2><p class="note">{plain(note)}</p>{content}</section>'
        if content
        else ""
    )


def pair(sections: Sequence[str]) -> str:
    """Gives sections that stand beside each other where there is room."""
    shown = [part for part in sections if part]
    return f'<div class="pair">{"".join(shown)}</div>' if len(shown) > 1 else "".join(shown)


def tiles(cells: Sequence[tuple[str, str]]) -> str:
    """Gives big numbers from (label, text)."""
    shown = "".join(
        f"<div><b>{plain(text)}</b><span>{plain(caption)}</span></div>" for caption, text in cells
    )
    return f'<div class="headline">{shown}</div>' if shown else ""


def headline(card: Card) -> str:
    """Gives what the student kept, as tiles."""
    return tiles(headline_cells(card))


def gates(card: Card) -> str:
    """Gives each condition of the recipe, whether it holds, and what was found."""
    lines = "".join(_gate(gate) for gate in card.get("gates") or ())
    return f'<ul class="gates">{lines}</ul>' if lines else ""


def _gate(gate: Mapping[str, Any]) -> str:
    found = gate.get("found")
    number = f"{found:.4g}" if isinstance(found, float) else found
    shown = "" if number in (None, "") else f"<em>found: {plain(number)}</em>"
    kind, sign, word = (
        (Outcome.CORRECT, SIGNS[Outcome.CORRECT], "holds")
        if gate["holds"]
        else (Outcome.WRONG, SIGNS[Outcome.WRONG], "fails")
    )
    return (
        f'<li><span class="outcome {kind}">{sign} {word}</span><span class="wanted">'
        f"{plain(gate['text'])}</span>{shown}</li>"
    )


def table(rows: Sequence[Sequence[str]], kind: str, caption: str) -> str:
    """Gives a table, header first, in a box that scrolls by itself; `kind` says how many leading
    columns are text.
    """
    if len(rows) < 2:
        return ""
    body = "".join(_row(row, "td") for row in rows[1:])
    inner = (
        f'<table class="{kind}"><thead>{_row(rows[0], "th")}</thead><tbody>{body}</tbody></table>'
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{plain(caption)}">'
        f"{inner}</div>"
    )


def _row(cells: Sequence[str], tag: str) -> str:
    first, *rest = map(plain, cells)
    broken = re.sub("([_/])", r"\1<wbr/>", first)  # names are long: here they may be broken
    return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in (broken, *rest)) + "</tr>"


def meanings(card: Card) -> str:
    """Gives the metrics whose names do not say it all."""
    lines = "".join(f"<li>{plain(caption)}</li>" for caption in meaning_lines(card))
    return f"<ul>{lines}</ul>" if lines else ""


def answers(card: Card, samples: Sequence[Sample]) -> str:
    """Gives a fold a suite: the first few questions, and every contender's answer to each side by
    side; the first fold is open.
    """
    suites = list(dict.fromkeys(sample["suite"] for sample in samples))
    folds = (
        _suite(card, suite, [s for s in samples if s["suite"] == suite], index == 0)
        for index, suite in enumerate(suites)
    )
    return "".join(folds)


def _suite(card: Card, suite: str, samples: Sequence[Sample], is_open: bool) -> str:
    kept = list(dict.fromkeys(sample["question_id"] for sample in samples))[:QUESTIONS_PER_SUITE]
    modes = list(dict.fromkeys(sample["mode"] for sample in samples))
    chosen = [sample for sample in samples if sample["question_id"] in kept]
    chosen.sort(
        key=lambda s: (
            kept.index(s["question_id"]),
            modes.index(s["mode"]),
            _place(card, s["contender"]),
        )
    )
    asked = [
        list(group) for _, group in groupby(chosen, key=lambda s: (s["question_id"], s["mode"]))
    ]
    count = f"{len(kept)} question{'s' if len(kept) > 1 else ''}"
    name = plain(suite.replace("_", " "))
    body = "".join(_question(card, group) for group in asked)
    opened = ' open=""' if is_open else ""
    return (
        f"<details{opened}><summary><h3>{name}</h3><span>{count}</span></summary>{body}</details>"
    )


def _place(card: Card, contender: str) -> int:
    """Columns in the order of the card, strangers last."""
    return (
        card["contenders"].index(contender)
        if contender in card["contenders"]
        else len(card["contenders"])
    )


def _question(card: Card, asked: Sequence[Sample]) -> str:
    first = asked[0]
    prompt = plain(_short(first.get("prompt") or first["question_id"]))
    mode = (
        "" if first["mode"] == AnswerMode.FREE else f", asked as {first['mode'].replace('_', ' ')}"
    )
    reference = plain(f"(reference: {first['gold'] or 'none'}{mode})")
    caption = f"<p>{prompt} <span>{reference}</span></p>"
    return (
        f'<div class="asked">{caption}<div class="answers">'
        f"{''.join(_answer(card, sample) for sample in asked)}</div></div>"
    )


def _answer(card: Card, sample: Sample) -> str:
    """One contender's answer: the outcome as colour, sign and word; calls, results and thinking in
    a softer ink.
    """
    outcome, who = str(sample["outcome"]), sample["contender"]
    kind = outcome if outcome in SIGNS else ""
    sign = SIGNS.get(outcome, "")
    if sample.get("swapped_gold") and text_features(sample)["follows"]:
        kind, sign, outcome = Outcome.CORRECT, SIGNS[Outcome.CORRECT], "follows"
    if base := sample.get("base"):
        who = f"{who}, {STATES.get(base, base)}" + (
            f" to {sample['swapped_gold']}" if sample.get("swapped_gold") else ""
        )
    thought, closed, said = _short(sample["text"]).partition("</think>")
    soft = _calls(sample.get("talk") or "") + (thought + closed if closed else "")
    text = (f"<span>{plain(soft)}</span>" if soft else "") + plain(said if closed else thought)
    head = f"<span>{badge(card, sample['contender'])}{plain(who)}</span>"
    return (
        f'<article class="answer {kind}"><header>{head}<span class="outcome">{sign} '
        f"{plain(outcome)}</span></header><p>{text}</p></article>"
    )


def _calls(talk: str) -> str:
    """What was called and what came back before the answer, a line each."""
    lines = talk.split("\n")
    last = max(
        (number for number, text in enumerate(lines) if text.startswith("assistant: ")), default=0
    )
    return "".join(f"{_call(text)}\n" for text in lines[:last])


def _call(text: str) -> str:
    """`assistant: [{"function": {"name": "lookup", ...}}]` as `lookup: what was asked`; other lines
    as they stand.
    """
    try:
        calls = (
            calls_of({"tool_calls": text.removeprefix("assistant: ")})
            if text.startswith("assistant: [")
            else []
        )
        return (
            "\n".join(
                f"{call['name']}: {', '.join(map(str, call['arguments'].values()))}"
                for call in calls
            )
            or text
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # a call that the model broke off
        return text


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " ..."
