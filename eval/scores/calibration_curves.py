"""The curves of confidence: calibration, risk, and what is gained by handing answers on to the
teacher.

When answers are handed on, a declined one goes first.
"""

import numpy as np

from eval.scores.answers.columns import Columns, pooled, select
from eval.scores.answers.sheet import Sheet
from eval.scores.calibration import Claims, bins_of, claims, kept_share, risk
from eval.scores.measured import Points
from eval.scores.numbers import PooledRate
from recipes.vocabulary import AnswerMode, Outcome, Suite

STEPS = tuple(step / 10 for step in range(11))


def confidence_curves(sheet: Sheet, teacher: Sheet | None) -> Points:
    """Gives the points of the curves calibration, risk_coverage and deferral; none where no answer
    has a confidence.

    Args:
        sheet: of one contender.
        teacher: of the teacher, read together with it; None for the teacher itself: it has nobody
            to ask.
    """
    if teacher is not None:
        for share, number in _deferral(sheet.main, teacher.main):
            yield "deferral", share, number
    if found := claims(sheet.main):
        index_N = bins_of(found.confidence_N)
        for place in range(index_N.max() + 1):
            yield "calibration", *_bin(found, index_N == place)
        for share in STEPS[1:]:
            yield "risk_coverage", share, risk(found, share)


def _bin(found: Claims, at: np.ndarray) -> tuple[float, PooledRate]:
    """The mean confidence of a bin of claims, and the share of them that are right."""
    return (
        float(found.confidence_N[at].mean()),
        PooledRate(found.clusters_N[at], found.right_N[at]),
    )


def _deferral(main: Columns, teacher: Columns) -> list[tuple[float, PooledRate]]:
    """Accuracy of contender and teacher together when the least confident share goes to the
    teacher; a declined answer goes first.
    """
    own, other = (_answerable(answers) for answers in (main, teacher))
    own = own.at(~np.isnan(own["confidence"]) | (own["outcome"] == Outcome.ABSTAINED))
    if np.isnan(own["confidence"]).all():
        return []
    asked_N, asked_M = (pooled(answers, "suite", "question_id") for answers in (own, other))
    common, own_at, other_at = np.intersect1d(asked_N, asked_M, return_indices=True)
    if not len(common):
        return []
    declined_N = own["outcome"][own_at] == Outcome.ABSTAINED
    confidence_N = np.where(declined_N, -1.0, own["confidence"][own_at])
    own_N, other_N = (
        answers["outcome"][at] == Outcome.CORRECT
        for answers, at in ((own, own_at), (other, other_at))
    )
    clusters_N = own.clusters_N[own_at]
    kept = {share: kept_share(confidence_N, 1 - share) for share in STEPS}
    return [
        (share, PooledRate(clusters_N, kept_N * own_N + (1 - kept_N) * other_N))
        for share, kept_N in kept.items()
    ]


def _answerable(main: Columns) -> Columns:
    """Free answers to questions that have an answer."""
    free = select(main, mode=AnswerMode.FREE)
    return free.at(free["suite"] != Suite.UNANSWERABLE)
