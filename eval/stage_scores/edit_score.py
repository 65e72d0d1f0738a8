"""What an edited model still does and knows, on the select split: what a search may look at."""

import json
from collections.abc import Sequence
from pathlib import Path

from data_filters.records.files import short
from distill.engines.local import LocalEngine
from distill.problems.planted_world import World
from distill.problems.splits import fact_split
from eval.ask.ask import ask
from eval.scores.answers.columns import Columns, select
from eval.scores.answers.read import read_answers
from eval.scores.recall.facts import Facts
from eval.scores.recall.recall import measure
from eval.suites.catalog import ARITHMETIC, FACTS_AND_ZERO
from eval.suites.questions import Question
from eval.suites.suites import planted_questions, source_questions
from recipes.errors import RecipeError, ShardError
from recipes.schema import Edit, Evaluate
from recipes.vocabulary import AnswerMode, Contender, Outcome, Split, Suite


def search_questions(evaluate: Evaluate, edit: Edit, world: World | None) -> list[Question]:
    """Questions of the select split: the suites that are to stay, and facts, with strangers' ones
    for the zero.

    Files have no split: those of the search are named apart from those of the scorecard.

    Raises:
        RecipeError: no fact, or no question of a suite that is to stay.
    """
    asked = (
        planted_questions(world, seed=evaluate.seed, items=edit.items, split=Split.SELECT)
        if world
        else []
    )
    procedural = [source for source in evaluate.sources if source.path is None]
    outside = (
        (Suite.REASONING, procedural),
        (Suite.RECALL, edit.recall_sources),
        (Suite.OPEN_BOOK, edit.open_book_sources),
    )
    for suite, sources in outside:
        asked += source_questions(
            suite, sources, seed=evaluate.seed, items=edit.items, split=Split.SELECT
        )
    strangers = [
        q
        for q in asked
        if q.suite == Suite.RECALL_NEVER_TRAINED
        and fact_split(*q.cluster.split("/")) == Split.SELECT
    ]
    suites = (*edit.keep_suites, Suite.RECALL)
    chosen = [q for suite in suites for q in [q for q in asked if q.suite == suite][: edit.items]]
    missing = [suite for suite in suites if not any(q.suite == suite for q in chosen)]
    if missing:
        raise RecipeError(
            f"edit: the search has nothing to ask for {', '.join(missing)}; name "
            "edit.recall_sources or edit.open_book_sources, or "
            "change edit.keep_suites (procedural reasoning comes from evaluate.sources)"
        )
    return chosen + strangers[: edit.items]


def search_score(
    engine: LocalEngine,
    questions: Sequence[Question],
    *,
    keep: Sequence[str],
    max_new_tokens: int,
    system: str | None,
    seed: int,
) -> dict[str, float]:
    """Each suite that is to stay, arithmetic among reasoning, and recall as the scorecard measures
    it, 0..1.
    """
    rows = ask(
        engine,
        questions,
        contender=Contender.EDITED,
        max_new_tokens=max_new_tokens,
        system=system,
        progress=lambda *_: None,
    )
    return _kept_and_recalled(read_answers(rows), keep, seed)


def _kept_and_recalled(table: Columns, keep: Sequence[str], seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for suite in keep:
        rows = select(table, suite=suite, mode=AnswerMode.FREE)
        found[suite] = float((rows["outcome"] == Outcome.CORRECT).mean())
        counted = select(rows, family=ARITHMETIC)
        if suite == Suite.REASONING and len(counted["suite"]):
            found["arithmetic"] = float((counted["outcome"] == Outcome.CORRECT).mean())
    trained, never = (Facts.of_suite(table, suite) for suite in FACTS_AND_ZERO)
    recall = trained and measure(trained, trained, never, resamples=1, seed=seed)
    found[str(Suite.RECALL)] = recall.recall["value"] if recall else 0.0
    return found


def frontier_curves(path: Path) -> dict[str, list[dict[str, float]]]:
    """The outer edge of each method's points: the most that is kept at each recall or below it.

    Args:
        path: edit/frontier.json.

    Returns:
        contender -> points: x recall on the select split, y what is kept (the worst suite against
        before), both 0..1.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        before, keep, points = report["before"], report["rule"]["keep"], report["points"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ShardError(
            f"{path}: no frontier can be read there ({short(fault)}); delete {path.parent} and run "
            "the stage edit again"
        ) from fault
    curves: dict[str, list[dict[str, float]]] = {}
    for row in sorted(points, key=lambda row: row["scores"][Suite.RECALL]):
        kept = min(1.0, *(row["scores"][suite] / before[suite] for suite in keep))
        curve = curves.setdefault(
            Contender.EDIT_UNHEALED
            if row["method"].startswith("kfac")
            else f"edit_{row['method']}",
            [],
        )
        if not curve or kept > curve[-1]["y"]:
            curve.append({"x": round(row["scores"][Suite.RECALL], 6), "y": round(kept, 6)})
    return curves
