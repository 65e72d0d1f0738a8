"""How effort and accuracy answer to what is asked: difficulty, token caps, and snippets that do not
matter.
"""

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.sheet import Sheet
from eval.scores.measured import Numbers, Points
from eval.scores.numbers import Estimate, Mean, OutcomeShare
from eval.suites.catalog import HELD_OUT
from recipes.vocabulary import AnswerMode, BaseState, Outcome, Suite


def effort(sheet: Sheet) -> Numbers:
    """Gives need_slope, and accuracy_under_budget/CAP: reasoning when no more than CAP tokens may
    be written.

    Args:
        sheet: answers of one contender; `budget` is the cap, 0 none.
    """
    yield "need_slope", need_slope(sheet.main)
    for cap, rows in _capped(sheet):
        yield f"accuracy_under_budget/{cap}", OutcomeShare(rows)


def _capped(sheet: Sheet) -> list[tuple[int, Columns]]:
    capped = select(
        sheet.answers, suite=Suite.REASONING, mode=AnswerMode.FREE, base=BaseState.NONE, sample=0
    )
    caps = sorted({int(cap) for cap in capped["budget"]} - {0})
    return [(cap, select(capped, budget=cap)) for cap in caps]


def need_slope(main: Columns) -> Estimate | None:
    """Gives by how much log(tokens) grows with one level of difficulty, over correct reasoning
    answers.

    Levels of different families do not compare, so the slope is within families, one for all. None
    with a single level or with fewer than three clusters.

    Args:
        main: main answers of one contender.

    Returns:
        Nats a level: 0.7 is twice the tokens for one level more.
    """
    rows = _graded_by_level(select(main, outcome=Outcome.CORRECT))
    rows = rows.at(rows["completion_tokens"] > 0)
    return slope(
        rows["difficulty"], np.log(rows["completion_tokens"]), rows["family"], rows["cluster"]
    )


def slope(
    level_N: np.ndarray, log_N: np.ndarray, families_N: np.ndarray, clusters_N: np.ndarray
) -> Estimate | None:
    """Gives the slope of `log_N` on `level_N` within families, with an interval that knows the
    clusters.

    Of width zero where the logarithm follows the level exactly.

    Source: White 1980; Liang and Zeger 1986 (the spread of a slope whose errors are unequal and
    clustered).
    """
    level_N, log_N = (_within(families_N, column) for column in (level_N, log_N))
    num_clusters, spread = len(set(clusters_N)), float(level_N @ level_N)
    if num_clusters < 3 or spread <= 1e-12:
        return None
    value = float(level_N @ log_N / spread)
    return Estimate(value, level_N * (log_N - value * level_N) / spread, clusters_N)


def _graded_by_level(main: Columns) -> Columns:
    reasoning = select(main, suite=Suite.REASONING, mode=AnswerMode.FREE)
    return reasoning.at(~np.isnan(reasoning["difficulty"]))


def _within(families_N: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    """Values less the mean of their family."""
    _, index_N = np.unique(families_N, return_inverse=True)
    return (
        values_N
        - (np.bincount(index_N, weights=values_N) / np.maximum(np.bincount(index_N), 1))[index_N]
        if len(index_N)
        else values_N
    )


def effort_curves(sheet: Sheet) -> Points:
    """Gives the points of accuracy_by_difficulty, tokens_by_difficulty, accuracy_by_budget and
    accuracy_by_distractors.

    Args:
        sheet: answers of one contender.
    """
    by_level = _graded_by_level(sheet.main)
    for level in np.unique(by_level["difficulty"]):
        rows = by_level.at(by_level["difficulty"] == level)
        yield "accuracy_by_difficulty", level, OutcomeShare(rows)
        right = select(rows, outcome=Outcome.CORRECT)
        yield "tokens_by_difficulty", level, Mean(right["cluster"], right["completion_tokens"])
    for cap, rows in _capped(sheet):
        yield "accuracy_by_budget", cap, OutcomeShare(rows)
    rows = _with_distractors(sheet)
    for count in np.unique(rows["distractors"]):
        found = OutcomeShare(select(rows, distractors=int(count)))
        yield "accuracy_by_distractors", count, found


def _with_distractors(sheet: Sheet) -> Columns:
    """Answers to the suites that were asked with more than one number of distractors."""
    rows = select(
        sheet.answers,
        suite=HELD_OUT,
        mode=AnswerMode.FREE,
        base=BaseState.NONE,
        budget=0,
        sample=0,
    )
    suites_N = rows["suite"]
    varied = tuple(
        suite
        for suite in sorted(set(suites_N))
        if len(set(rows["distractors"][suites_N == suite])) > 1
    )
    return select(rows, suite=varied)
