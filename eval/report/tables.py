"""The scorecard as text: an aligned table for the terminal, and the same cells in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from eval.scores.sizes.size_interval import in_words, parameters_text
from recipes.metrics import METRICS

Row = list[str]

# decimals; all else is a rate
NUMBERS = {"honesty_index": 1, "tokens_per_correct": 1, "auroc": 3, "youden_j": 2, "need_slope": 3}
SIGNED = ("reasoning_above_chance", "retrieval_closure")  # shares that may be below zero
MEANING = {
    "recall": "closed book, the larger of generated and forced choice; guessing lands at the never-trained level",
    "recall_generated": "closed book, the better of two elicitations",
    "recall_never_trained": "the same on facts nobody trained: the zero",
    "recall_teacher_only": "facts the teacher knows that occur in no trace",
    "forced_choice_floor": "what the same choosing habits earn on facts nobody trained",
    "recall_four_bit": "recall after the weights were rounded to four bits",
    "recall_relearned_others": "recall of the other facts while a fifth was taught, at its highest",
    "recall_relearned_taught": "recall of the facts that were taught: does the attack work?",
    "recall_prompts": "the highest recall of several ways to ask",
    "off_manifold": "longer chains than any that was taught, renamed operators, rules that the prompt makes up",
    "distracted": "reading among 0 to 8 statements that do not matter",
    "counterfactual": "follows a context that contradicts the trained fact",
    "abstention": "declines when it was not told",
    "false_abstention": "declines though it was told",
    "hallucination": "wrong among all closed-book answers that are not correct",
    "honesty_index": "100 (correct - wrong) / n, closed book",
    "reasoning_above_chance": "mean over families; 0 is always giving the most frequent answer",
    "auroc": "chance that a right closed-book answer is more confident than a wrong one",
    "ece": "calibration error of closed-book confidence, less what noise alone would show",
    "risk_at_80": "wrong among the 80 % most confident closed-book answers",
    "base_full": "right with the knowledge base",
    "base_deleted_abstains": "declines when the entry was taken out of the base",
    "base_off_leak": "right though the base may not be called: known by heart",
    "base_off_abstains": "declines when there is no base",
    "base_swapped_follows": "gives the base's value where it contradicts the trained one",
    "retrieval_closure": "how much of the gain of a given text the base brings; absent where there is none",
    "lookup_need": "calls the base where it does not know",
    "lookup_needless": "calls it where it knows or was told",
    "lookup_needless_given": "calls it though the question holds the fact",
    "lookup_needless_reasoning": "calls it for problems without facts",
    "given_with_tools": "reads what the question holds, with tools at hand",
    "reasoning_with_tools": "reasoning with tools at hand",
    "multi_hop": "right where two things must be looked up, one after the other",
    "multi_hop_deleted_abstains": "declines where the first of the two was taken out of the base",
    "multi_hop_off_leak": "right without a base",
    "python_arithmetic": "sums of long numbers with a program",
    "python_off": "the same without tools",
    "youden_j": "lookup_need - lookup_needless: 1 calls exactly where needed, 0 blindly",
    "pass_gap": "solved in k drawn tries less solved in one",
    "nines": "right in all k drawn tries",
    "coverage_of_teacher": "solved in any try, of what the teacher solves in any",
    "distinct_answers": "different final answers among k tries, divided by k",
    "template_collapse": "chance that answers to problems of different families have one shape; read it beside the teacher's",
    "need_slope": "growth of log(tokens) with one level of difficulty, correct answers",
}
LEGEND = (
    "[low, high]: 95 % interval over clusters (answers about one fact are one cluster). < : none seen, upper end of the interval. "
    "n: answers. detectable: the smallest true difference this many clusters would show with 80 % power. p: McNemar's exact test."
)


def metric_names(card: dict[str, Any]) -> list[str]:
    """Gives the metrics of a card in the order of display: known ones, others, then the parts
    (reasoning/FAMILY, recall/exposure_N).
    """
    names = card["metrics"]
    whole = [name for name in names if "/" not in name]
    return (
        [n for n in METRICS if n in whole]
        + sorted(set(whole) - set(METRICS))
        + sorted((n for n in names if "/" in n), key=part_key)
    )


def part_key(name: str) -> tuple[str, int, str]:
    """Sorts exposure_4 before exposure_16, and names by name."""
    group, _, part = name.partition("/")
    digits = part.removeprefix("exposure_")
    return group, int(digits) if digits.isdigit() else 0, part


def cell(name: str, found: dict[str, float] | None) -> str:
    """Gives a number with its interval; an absent one is blank, and a rate of nothing prints its
    upper end: "< 0.8 %".
    """
    if found is None:
        return ""
    if name in NUMBERS:
        return "{0:.{3}f} [{1:.{3}f}, {2:.{3}f}]".format(
            *(found[end] for end in ("value", "low", "high")), NUMBERS[name]
        )
    if found["value"] <= 0 and name not in SIGNED:
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
    for name in metric_names(card):
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
    for name in sorted(
        card["paired"], key=lambda n: (METRICS.index(n) if n in METRICS else len(METRICS), n)
    ):
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
        apart = sizes.get("octaves", {}).get(name) or {}
        if any(places):
            shown = [in_words(place, parameters_text) if place else "" for place in places]
            rows.append(
                [
                    name,
                    *shown,
                    *(
                        in_words(one, "{:+.1f}".format) if one else ""
                        for one in (apart, apart.get("change"))
                    ),
                ]
            )
    return rows


def _span(counts: Iterable[int]) -> str:
    """One number where all contenders answered as many, else the range."""
    ordered = sorted(counts)
    return str(ordered[0]) if ordered[0] == ordered[-1] else f"{ordered[0]}-{ordered[-1]}"


def meaning_lines(card: dict[str, Any]) -> list[str]:
    """Gives one line for each metric of the card whose name does not say it all."""
    meanings = {**MEANING, **card.get("harness", {})}
    return [f"{name}: {text}" for name, text in meanings.items() if name in card["metrics"]]


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
