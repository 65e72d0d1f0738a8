"""The scorecard: what each contender can do and what it knows, side by side, with intervals and
paired differences.

A metric whose suite or mode was not asked is absent, never zero.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.report.html import to_html
from eval.report.tables import to_markdown, to_terminal
from eval.scores.answer_table import ARITHMETIC, Columns, main_answers, read_answers, select
from eval.scores.calibration import Curve, calibration
from eval.scores.calibration import curves as confidence_curves
from eval.scores.effort import curves as effort_curves
from eval.scores.effort import need_slope, under_budgets
from eval.scores.intervals import (
    Entry,
    detectable_between,
    entry,
    mcnemar,
    paired_bootstrap,
    unpaired_bootstrap,
)
from eval.scores.lookup_use import lookup
from eval.scores.outcomes import Entries, accuracies, economy, honesty, stream
from eval.scores.pass_at_k import several_tries, template_collapse
from eval.scores.recall import Facts, Recall, measure
from eval.suites.names import CLOSED_BOOK, FACTS_AND_ZERO, SELF_CONTAINED, TAUGHT_FACTS
from recipes.vocabulary import EDITED, AnswerMode, Arm, Contender, Outcome, Suite

__all__ = ["add_sizes", "build_scorecard", "save_scorecard", "to_markdown", "to_terminal"]

Scorecard = dict[str, Any]  # the schema-1 document that scorecard.json holds

# a teacher that knows less than this above never-trained facts has no recall to retain
NEAR_NEVER = 0.05


def build_scorecard(
    answers: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    *,
    recipe: str,
    contenders: list[str],
    bootstrap: int,
    seed: int,
    chance: float = 0.0,
) -> Scorecard:
    """Gives the scorecard of a run; the same answers in any order and the same seed give the same
    numbers.

    Args:
        answers: one mapping an answer, or one mapping of columns; rows of contenders that are not
            listed are left out.
        recipe: name of the recipe.
        contenders: in the order of display; `teacher`, `student` and `control` have a part in pairs
            and headline.
        bootstrap: resamples of an interval.
        seed: of the resampling.
        chance: reasoning accuracy of a guesser, 0..1, taken off both sides of reasoning_retained.

    Returns:
        The schema-1 document.

    Raises:
        ShardError: a column is missing, an outcome is unknown or a question was answered twice.
    """
    table = read_answers(answers)
    everything = {name: select(table, contender=name) for name in contenders}
    sheets = {name: main_answers(sheet) for name, sheet in everything.items()}
    metrics: dict[str, dict[str, Entry]] = {}
    paired: dict[str, dict[str, Entry]] = {}
    curves: dict[str, dict[str, Curve]] = {}
    for contender, sheet in sheets.items():
        recalls, entries = _closed_book(sheet, bootstrap, seed)
        entries = {
            **accuracies(sheet),
            **entries,
            **honesty(sheet, bootstrap, seed),
            **economy(sheet, bootstrap, seed),
        }
        teachers = None if contender == Contender.TEACHER else Contender.TEACHER
        entries |= _where_told(
            everything[contender], sheet, everything.get(teachers), bootstrap, seed
        )
        _put(metrics, contender, entries)
        _put(
            curves,
            contender,
            confidence_curves(sheet, sheets.get(teachers))
            | effort_curves(everything[contender], sheet, entries),
        )
        _put(
            paired,
            f"{contender}-never_trained",
            {suite: recall.minus_never for suite, recall in recalls.items()},
        )
        _put(
            paired,
            f"{contender}-never_trained",
            {"recall_generated": _generated_minus_never(sheet, bootstrap, seed)},
        )
    for first, second in pairs(contenders):
        _put(
            paired,
            f"{first}-{second}",
            _differences(sheets[first], sheets[second], bootstrap, seed),
        )
    others = [name for name in contenders if name != Contender.TEACHER]
    headlines = {name: _headline(metrics, paired, name, chance) for name in others}
    return {
        "schema": 1,
        "recipe": recipe,
        "contenders": list(contenders),
        "metrics": metrics,
        "curves": curves,
        "paired": paired,
        "headline": {**headlines.get(Contender.STUDENT, {}), "separation_octaves": None},
        "headline_by_contender": headlines,
        "statistics": {
            "bootstrap": bootstrap,
            "seed": seed,
            "confidence": 0.95,
            "reasoning_chance": chance,
        },
    }


def add_sizes(card: Scorecard, sizes: dict[str, Any]) -> None:
    """Puts equivalent sizes into a scorecard; the headline is how many octaves farther apart the
    student is than the reference.

    Args:
        card: from build_scorecard.
        sizes: from equivalent_sizes.
    """
    change = sizes["octaves"].get(Contender.STUDENT, {}).get("change")
    card["sizes"] = sizes
    card["headline"]["separation_octaves"] = change and change["value"]


def save_scorecard(
    card: Scorecard, folder: str | os.PathLike[str], samples: Iterable[Mapping[str, Any]] = ()
) -> None:
    """Writes scorecard.json, scorecard.md and report.html, each by rename; the same card gives the
    same bytes.

    Args:
        card: from build_scorecard.
        folder: made where absent.
        samples: a few answers to show in report.html, rows as build_scorecard takes them, with an
            optional `prompt`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "scorecard.md", to_markdown(card))
    _write(folder / "report.html", to_html(card, list(samples)))
    _write(folder / "scorecard.json", json.dumps(card, indent=1, allow_nan=False) + "\n")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


def _put(into: dict[str, dict[str, Any]], column: str, found: Mapping[str, Any]) -> None:
    """Adds what was measured; None and a curve without points were not."""
    for name, one in found.items():
        if one:
            into.setdefault(name, {})[column] = one


def _where_told(
    sheet: Columns, main: Columns, teacher: Columns | None, bootstrap: int, seed: int
) -> Entries:
    """What needs more than the plain columns: confidence, difficulty, several tries, token caps, a
    base to look things up in.
    """
    return {
        **calibration(main),
        "need_slope": need_slope(main),
        "template_collapse": template_collapse(main),
        **under_budgets(sheet),
        **several_tries(sheet, teacher),
        **lookup(sheet, main, bootstrap, seed),
    }


def _facts(sheet: Columns, suite: str) -> Facts | None:
    rows = select(sheet, suite=suite)
    return Facts.read(rows) if len(rows["suite"]) else None


def _closed_book(sheet: Columns, bootstrap: int, seed: int) -> tuple[dict[str, Recall], Entries]:
    """Recall of each closed-book suite, and every number that comes of it."""
    trained, never, teacher_only = (_facts(sheet, suite) for suite in CLOSED_BOOK)
    suites = {
        Suite.RECALL: (trained, trained),
        Suite.RECALL_TEACHER_ONLY: (teacher_only, teacher_only),
    }
    for exposure, facts in trained.by_exposure().items() if trained else ():
        # luck within a class depends on the values of that class
        suites[f"recall/exposure_{exposure}"] = (facts, facts)
    recalls = {
        name: found
        for name, (facts, frequent) in suites.items()
        if facts
        and (found := measure(facts, frequent, never, resamples=bootstrap, seed=stream(seed, name)))
    }
    entries: Entries = {name: found.recall for name, found in recalls.items()}
    entries["recall_generated"] = trained.generated() if trained else None
    entries["recall_never_trained"] = never.generated() if never else None
    if Suite.RECALL in recalls:
        entries |= {
            "forced_choice": recalls[Suite.RECALL].choice,
            "forced_choice_floor": recalls[Suite.RECALL].floor,
        }
    return {suite: recalls[suite] for suite in TAUGHT_FACTS if suite in recalls}, entries


def _generated_minus_never(sheet: Columns, bootstrap: int, seed: int) -> Entry | None:
    trained, never = (_facts(sheet, suite) for suite in FACTS_AND_ZERO)
    if not (trained and never and trained.best_mode() and never.best_mode()):
        return None
    first, second = (facts.rates(facts.best_mode()) for facts in (trained, never))
    apart = unpaired_bootstrap(
        first, second, resamples=bootstrap, seed=stream(seed, "recall_generated")
    )
    return entry(apart, trained.answers[trained.best_mode()].sum(), len(first))


def pairs(contenders: list[str]) -> list[tuple[str, str]]:
    """Who is compared: everybody with the teacher (without one, evaluate.models with the first of
    them), student with control, what was edited with arms and with its own controls.
    """
    outside = [
        name
        for name in contenders
        if name not in (Contender.TEACHER, Contender.BASE, *Arm, *EDITED)
    ]
    reference, compared = (
        (Contender.TEACHER, contenders)
        if Contender.TEACHER in contenders
        else ("".join(outside[:1]), outside)
    )
    against = [(name, reference) for name in compared if name != reference]
    further = [
        (Contender.STUDENT, Contender.CONTROL),
        (Contender.EDITED, Contender.STUDENT),
        (Contender.EDITED, Contender.CONTROL),
        (Contender.EDITED, Contender.EDIT_UNHEALED),
    ]
    further += [(Contender.EDIT_UNHEALED, one) for one in (Contender.CONTROL, *EDITED[2:])]
    return against + [pair for pair in further if set(pair) <= set(contenders)]


def _differences(first: Columns, second: Columns, bootstrap: int, seed: int) -> Entries:
    """Paired differences on the questions that both answered."""
    free = {
        suite: [select(sheet, suite=suite, mode=AnswerMode.FREE) for sheet in (first, second)]
        for suite in (*SELF_CONTAINED, Suite.BASICS)
    }
    recall = [_best_elicitation(sheet) for sheet in (first, second)]
    counted = [select(sheet, family=ARITHMETIC) for sheet in free[Suite.REASONING]]
    compared = {**free, "arithmetic": counted, "recall_generated": recall}
    return {
        name: difference(*both, bootstrap, stream(seed, name)) for name, both in compared.items()
    }


def _best_elicitation(sheet: Columns) -> Columns:
    """The generated answers to suite recall in the contender's better mode."""
    facts = _facts(sheet, Suite.RECALL)
    return select(sheet, suite=Suite.RECALL, mode=(facts.best_mode() or "") if facts else "")


def difference(first: Columns, second: Columns, bootstrap: int, seed: list[int]) -> Entry | None:
    """The share of right answers of the first minus that of the second, on the questions that both
    answered; None without any.
    """
    common, first_at, second_at = np.intersect1d(
        first["question_id"], second["question_id"], return_indices=True
    )
    if not len(common):
        return None
    first_N, second_N = (
        first["outcome"][first_at] == Outcome.CORRECT,
        second["outcome"][second_at] == Outcome.CORRECT,
    )
    clusters_N = first["cluster"][first_at]
    apart = paired_bootstrap(first_N, second_N, clusters_N, resamples=bootstrap, seed=seed)
    detectable = round(detectable_between(first_N, second_N, clusters_N), 6)
    # significant digits: a small p is not a p of 0
    chance = float(f"{mcnemar(first_N, second_N, clusters_N):.6g}")
    return {
        **entry(apart, len(common), len(set(clusters_N))),
        "mde": detectable,
        "mcnemar_p": chance,
    }


def _headline(
    metrics: dict[str, dict[str, Entry]],
    paired: dict[str, dict[str, Entry]],
    contender: str,
    chance: float,
) -> dict[str, float]:
    """What a contender kept of the teacher's reasoning and of its recall, as fractions of the
    teacher's.
    """
    retained = {}
    reasoning = metrics.get("reasoning", {})
    if {contender, Contender.TEACHER} <= set(reasoning) and reasoning[Contender.TEACHER][
        "value"
    ] > chance:
        retained["reasoning_retained"] = (reasoning[contender]["value"] - chance) / (
            reasoning[Contender.TEACHER]["value"] - chance
        )
    recall = paired.get("recall", {})
    own, teachers = (recall.get(f"{name}-never_trained") for name in (contender, Contender.TEACHER))
    if own and teachers and teachers["value"] >= NEAR_NEVER:
        retained["recall_retained"] = own["value"] / teachers["value"]
    return {name: round(value, 6) for name, value in retained.items()}
