"""A quick look at a model while it trains: reasoning and recall on the select split, against the
teacher.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from data_filters.text.repetition import repetition
from distill.engines.local import LocalEngine
from distill.problems.planted_world import World
from eval.ask.ask import ask
from eval.suites.catalog import PROBED
from eval.suites.questions import Question
from eval.suites.suites import planted_questions, source_questions
from recipes.errors import RecipeError
from recipes.schema import Evaluate
from recipes.vocabulary import AnswerMode, Outcome, Split, Suite


def probe_questions(evaluate: Evaluate, world: World | None, items: int) -> list[Question]:
    """Reasoning problems and recall questions that the scorecard never asks.

    Problems of files have no split by hash, so they are left to the scorecard.

    Raises:
        RecipeError: there is nothing to ask.
    """
    asked = (
        planted_questions(world, seed=evaluate.seed, items=items, split=Split.SELECT)
        if world
        else []
    )
    split = [source for source in evaluate.sources if source.path is None]
    asked += source_questions(
        Suite.REASONING, split, seed=evaluate.seed, items=items, split=Split.SELECT
    )
    chosen = [q for suite in PROBED for q in [q for q in asked if q.suite == suite][:items]]
    if not any(q.suite == Suite.REASONING for q in chosen):
        raise RecipeError(
            "distill.probe.every_steps needs reasoning problems with a split: planted or "
            "reasoning_gym sources in evaluate"
        )
    return chosen


def probe_scores(
    engine: LocalEngine, questions: Sequence[Question], *, max_new_tokens: int, system: str | None
) -> dict[str, Any]:
    """What a model does on the probe.

    Returns:
        reasoning and recall (the better of both elicitations), 0..1, absent where not asked;
        num_reasoning, num_recall; repetition of its answers, 0..1.
    """
    rows = ask(
        engine,
        questions,
        contender="probe",
        max_new_tokens=max_new_tokens,
        system=system,
        progress=lambda *_: None,
    )
    free = [repetition(row["text"]) for row in rows if row["mode"] == AnswerMode.FREE]
    found: dict[str, Any] = {"repetition": round(sum(free) / max(1, len(free)), 4)}
    for suite in PROBED:
        rates = [_rate(rows, suite, mode) for mode in (AnswerMode.FREE, AnswerMode.NOTE)]
        known = [rate for rate in rates if rate is not None]
        if known:
            found |= {suite: max(known), f"num_{suite}": sum(q.suite == suite for q in questions)}
    return found


def _rate(rows: Sequence[Mapping[str, Any]], suite: str, mode: str) -> float | None:
    asked = [
        row["outcome"] == Outcome.CORRECT
        for row in rows
        if row["suite"] == suite and row["mode"] == mode
    ]
    return sum(asked) / len(asked) if asked else None


def against(row: Mapping[str, Any], teacher: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same with reasoning_kept and recall_kept (student / teacher; absent where the teacher
    scores nothing).
    """
    kept = {
        f"{suite}_kept": row[suite] / teacher[suite]
        for suite in PROBED
        if teacher and teacher.get(suite) and suite in row
    }
    return {**row, **kept, "teacher_repetition": teacher["repetition"] if teacher else 0.0}
