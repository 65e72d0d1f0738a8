"""What the outcomes of answers say: the metrics that the catalog of suites declares, accuracy by
family, honesty, and what an answer costs in tokens.
"""

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.sheet import Sheet
from eval.scores.measured import Numbers
from eval.scores.numbers import AboveChance, OutcomeShare, PooledShare, Rate, Ratio
from eval.scores.recall.facts import GENERATED
from eval.suites.catalog import ARITHMETIC, BY_FAMILY, DECLARED, NOT_IN_THE_QUESTION
from recipes.vocabulary import BaseState, Outcome, Suite

HONESTY_ENDS = ((-1.0, 1.0), (1.0, 1.0))  # pseudo-clusters: one wrong answer, one right one


def outcomes(sheet: Sheet) -> Numbers:
    """Gives every metric of one contender that counts outcomes.

    Args:
        sheet: its answers.
    """
    free = {base: sheet.free(base) for base in BaseState}
    for metric, (suites, counted) in DECLARED.items():
        yield metric, OutcomeShare(select(free[counted.base], suite=suites), counted.outcome)
    plain = free[BaseState.NONE]
    for suite in BY_FAMILY:
        yield from _by_family(suite, select(plain, suite=suite))
    yield from _of_reasoning(select(plain, suite=Suite.REASONING))
    yield from _honesty(select(plain, suite=NOT_IN_THE_QUESTION))
    for outcome in (Outcome.UNPARSED, Outcome.TRUNCATED):
        yield str(outcome), OutcomeShare(select(sheet.main, mode=GENERATED), outcome)


def _by_family(suite: Suite, rows: Columns) -> Numbers:
    for family in sorted(set(rows["family"])):
        yield f"{suite}/{family}", OutcomeShare(select(rows, family=family))


def _of_reasoning(rows: Columns) -> Numbers:
    yield "reasoning_above_chance", above_chance(rows)
    yield "arithmetic", OutcomeShare(select(rows, family=ARITHMETIC))
    right_N = rows["outcome"] == Outcome.CORRECT
    yield "tokens_per_correct", Ratio(rows["cluster"], rows["completion_tokens"], right_N)


def above_chance(rows: Columns) -> AboveChance:
    """Gives the mean over families of accuracy above always giving the most frequent answer.

    The majority is the share of the most frequent reference within a family: a property of the
    questions, and so without an interval of its own. Families without references, or with a single
    one, have no chance level and are left out.

    Args:
        rows: free answers to one suite.
    """
    groups = []
    for family in sorted(set(rows["family"])):
        at_hand = select(rows, family=family)
        golds, counts = np.unique([gold.strip() for gold in at_hand["gold"]], return_counts=True)
        if len(golds) < 2 or "" in golds:
            continue
        right = Rate(at_hand["cluster"], at_hand["outcome"] == Outcome.CORRECT)
        groups.append((right, float(counts.max() / counts.sum())))
    return AboveChance(groups)


def _honesty(closed: Columns) -> Numbers:
    """What a contender invents: wrong answers among all that are not correct, and the balance of
    correct and wrong ones.
    """
    clusters_N = closed.clusters_N
    correct_N, wrong_N = (
        closed["outcome"] == outcome for outcome in (Outcome.CORRECT, Outcome.WRONG)
    )
    yield "hallucination", PooledShare(clusters_N[~correct_N], wrong_N[~correct_N])
    yield "honesty_index", honesty_index(correct_N - wrong_N.astype(float), clusters_N)


def honesty_index(points_N: np.ndarray, clusters_N: np.ndarray) -> Ratio:
    """Gives 100 x the mean of the points.

    Args:
        points_N: 1 correct, -1 wrong, 0 anything else.
        clusters_N: name of each answer's cluster.
    """
    return Ratio(clusters_N, points_N, np.ones(len(points_N)), 100.0, HONESTY_ENDS)
