"""What several tries of the same problem show: coverage beyond the first try, steadiness, variety,
and answers of one shape.
"""

from typing import NamedTuple

import numpy as np

from eval.ask.text_features import EMPTY
from eval.scores.answers.columns import Columns, pooled, select
from eval.scores.answers.sheet import Sheet
from eval.scores.measured import Numbers
from eval.scores.numbers import Estimate, Rate
from eval.suites.catalog import SELF_CONTAINED
from recipes.vocabulary import AnswerMode, Outcome, Suite


class Tries(NamedTuple):
    """Problems that had at least two drawn tries, in sorted order; one row a problem."""

    question_Q: np.ndarray
    cluster_Q: np.ndarray
    right_Q: np.ndarray  # tries that were right
    tries_Q: np.ndarray
    distinct_Q: np.ndarray  # different final answers


def tries(sheet: Columns) -> Tries | None:
    """Gives the drawn tries at reasoning problems of one contender, without base or token cap; None
    where there was one each.

    The greedy answer is no draw: among the tries it would make pass@k the estimate of nothing.

    Args:
        sheet: all answers of one contender; `sample` numbers the tries from 1, 0 is the greedy
            answer.
    """
    rows = select(sheet, suite=Suite.REASONING, mode=AnswerMode.FREE, base="", budget=0)
    rows = rows.at(rows["sample"] > 0)
    rows = rows.at(rows["distractors"] == rows["distractors"].min(initial=0))
    question_Q, first_Q, index_N, tries_Q = np.unique(
        rows["question_id"], return_index=True, return_inverse=True, return_counts=True
    )
    if not (tries_Q > 1).any():
        return None
    right_Q = np.bincount(index_N, weights=rows["outcome"] == Outcome.CORRECT).astype(np.int64)
    keep_Q = tries_Q > 1
    distinct_Q = np.bincount(
        np.unique(np.column_stack([index_N, rows["answer_digest"]]), axis=0)[:, 0],
        minlength=len(question_Q),
    )
    return Tries(
        *(
            column[keep_Q]
            for column in (question_Q, rows["cluster"][first_Q], right_Q, tries_Q, distinct_Q)
        )
    )


def pass_at(k: int, right_Q: np.ndarray, tries_Q: np.ndarray) -> np.ndarray:
    """Gives, for each problem, the chance that k of its tries drawn without replacement hold a
    right one.

    It is unbiased for the chance that k fresh tries do, which 1 - (1 - right / tries)^k is not.

    Args:
        k: 1..least number of tries.
        right_Q: tries that were right.
        tries_Q: all tries.

    Source: Chen et al. 2021, arXiv 2107.03374, equation 1.
    """
    wrong_Q = tries_Q - right_Q
    drawn_KQ = np.arange(k)[:, None]
    return 1 - np.prod(np.clip(wrong_Q - drawn_KQ, 0, None) / (tries_Q - drawn_KQ), axis=0)


def several_tries(sheet: Sheet, teacher: Sheet | None) -> Numbers:
    """Gives pass_at_k, pass_gap, nines, distinct_answers and coverage_of_teacher; nothing where
    there was one try a problem.

    k runs over the powers of two up to the least number of tries that any problem had, and that
    number itself.

    Args:
        sheet: answers of one contender.
        teacher: answers of the teacher; None for the teacher itself.
    """
    found = tries(sheet.answers)
    if not found:
        return
    most = int(found.tries_Q.min())
    ks = sorted({most, *(2**power for power in range(most.bit_length()))})
    at_Q = {k: pass_at(k, found.right_Q, found.tries_Q) for k in ks}
    # a wrong one among them
    not_all_Q = pass_at(most, found.tries_Q - found.right_Q, found.tries_Q)
    each_Q = {f"pass_at_k/{k}": at_Q[k] for k in ks}
    each_Q |= {
        "pass_gap": at_Q[most] - at_Q[1],
        "nines": 1 - not_all_Q,
        "distinct_answers": found.distinct_Q / found.tries_Q,
    }
    for name, value_Q in each_Q.items():
        yield name, Rate(found.cluster_Q, value_Q, int(found.tries_Q.sum()))
    if teacher is not None and (others := tries(teacher.answers)):
        yield "coverage_of_teacher", _coverage(found, others)


def _coverage(own: Tries, teacher: Tries) -> Rate:
    """Share of the problems that the teacher solves in any try that the contender solves in any
    try.
    """
    _, own_at, other_at = np.intersect1d(own.question_Q, teacher.question_Q, return_indices=True)
    solved_at = own_at[teacher.right_Q[other_at] > 0]
    return Rate(own.cluster_Q[solved_at], own.right_Q[solved_at] > 0)


def template_collapse(sheet: Sheet) -> Numbers:
    """Gives template_collapse: the chance that answers to two problems of different families have
    the same shape; nothing with fewer than two families.

    1 for a model that fills one template whatever it is asked; a model that lets the problem decide
    is at what its families share by nature, so it is to be read beside the teacher's. Answers that
    all differ give 0.

    Args:
        sheet: answers of one contender; its free answers to the self-contained suites count.
    """
    rows = select(sheet.free(), suite=SELF_CONTAINED)
    shapes_N, kinds_N = (
        rows["template_digest"],
        np.unique(pooled(rows, "suite", "family"), return_inverse=True)[1],
    )
    if len(set(kinds_N)) < 2 or (shapes_N == EMPTY).any():
        return
    same_N, of_family_N, both_N = (
        _peers(labels) for labels in (shapes_N, kinds_N, np.column_stack([kinds_N, shapes_N]))
    )
    alike_N, strangers_N = same_N - both_N, len(shapes_N) - of_family_N
    value = float(alike_N.sum() / strangers_N.sum())
    influence_N = 2 * (alike_N - value * strangers_N) / strangers_N.sum()
    clusters_N = rows.clusters_N
    # pairs: they can know more than answers
    trials = (len(set(clusters_N)), strangers_N.sum() / 2)
    yield "template_collapse", Estimate(value, influence_N, clusters_N, trials)


def _peers(labels_N: np.ndarray) -> np.ndarray:
    """How many answers, itself included, carry the label of each."""
    _, index_N, counts_U = np.unique(labels_N, axis=0, return_inverse=True, return_counts=True)
    return counts_U[index_N]
