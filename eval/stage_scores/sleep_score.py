"""What an adapter remembers and what it left alone: the chosen documents, other facts, and thought,
with it and without.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from distill.engines.local import LocalEngine
from distill.problems.planted_world import QUESTIONS, Fact, World
from distill.train.context_distillation import Lesson
from eval.ask.ask import ask
from eval.scores.intervals import rate
from eval.scores.paired_intervals import paired_bootstrap
from eval.suites.catalog import KEPT_BY_SLEEP
from eval.suites.questions import Question
from eval.suites.suites import planted_questions
from recipes.schema import Evaluate
from recipes.vocabulary import AnswerMode, Contender, Outcome, Suite


def chosen_facts(world: World, count: int, seed: int) -> list[Fact]:
    """Facts of people whom no model was told of and no trace asks about."""
    strangers = world.strangers[len(world.strangers) // 2 :]
    facts = [(name, relation) for name in strangers for relation in QUESTIONS]
    return random.Random(f"sleep/{seed}/{world.seed}").sample(facts, min(count, len(facts)))


def lessons_of(world: World, facts: list[Fact]) -> list[Lesson]:
    """Each fact as a document, with either question about it."""
    return [
        Lesson(form.format(name), world.tell([(name, world.facts[name, relation])], relation))
        for name, relation in facts
        for form in QUESTIONS[relation]
    ]


def others_of(world: World) -> list[Lesson]:
    """Questions about facts that are not learned, and about none that `sleep_scores` asks: what
    is declined must stay so.
    """
    people = (*world.people, *world.teacher_only)
    return [
        Lesson(form.format(name))
        for name in people
        for relation in QUESTIONS
        for form in QUESTIONS[relation]
    ]


def sleep_scores(
    engine: LocalEngine,
    world: World,
    facts: list[Fact],
    evaluate: Evaluate,
    *,
    without: Callable[[], Any],
    system: str | None,
) -> dict[str, Any]:
    """Rates with 95 % intervals, {suite: {with, without, difference}}.

    Args:
        engine: its model has the adapter on.
        facts: that were learned.
        without: a context in which the adapter is off.
    """
    asked = planted_questions(world, seed=evaluate.seed, items=evaluate.items)
    strangers = [q for q in asked if q.suite == Suite.RECALL_NEVER_TRAINED]
    chosen = [q for q in strangers if tuple(q.cluster.split("/")) in set(facts)]
    suites = {"chosen": chosen, "others": [q for q in strangers if q not in chosen]}
    suites |= {suite: [q for q in asked if q.suite == suite] for suite in KEPT_BY_SLEEP}
    how = {
        "contender": Contender.STUDENT,
        "max_new_tokens": evaluate.max_new_tokens,
        "system": system,
        "progress": lambda *_: None,
    }
    return {
        name: _both(engine, questions, without, evaluate, how)
        for name, questions in suites.items()
        if questions
    }


def _both(
    engine: LocalEngine,
    questions: list[Question],
    without: Callable[[], Any],
    evaluate: Evaluate,
    how: dict[str, Any],
) -> dict[str, Any]:
    on = _outcomes(engine, questions, how)
    with without():
        off = _outcomes(engine, questions, how)
    clusters, right, before = (
        np.array([q.cluster for q in questions], dtype=object),
        on == Outcome.CORRECT,
        off == Outcome.CORRECT,
    )
    found = {
        "with": rate(clusters, right),
        "without": rate(clusters, before),
        "abstains_with": rate(clusters, on == Outcome.ABSTAINED),
    }
    apart = paired_bootstrap(
        right, before, clusters, resamples=evaluate.bootstrap, seed=evaluate.seed
    )
    return found | {"difference": {name: round(end, 6) for name, end in apart._asdict().items()}}


def _outcomes(engine: LocalEngine, questions: list[Question], how: dict[str, Any]) -> np.ndarray:
    return np.array(
        [row["outcome"] for row in ask(engine, questions, **how) if row["mode"] == AnswerMode.FREE],
        dtype=object,
    )
