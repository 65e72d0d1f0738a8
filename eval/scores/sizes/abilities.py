"""Abilities of models from their answers, item by item.

logit P(item i, model m) = ability_m - difficulty_i, between a guess floor and a ceiling. The
difficulties are normal and integrated out: with few models, fitting each of them would stretch the
slope by models / (models - 1).

Sources: Rasch 1960; Bock and Aitkin 1981 (marginal likelihood).
"""

from typing import NamedTuple

import numpy as np

from eval.scores.intervals import Seed
from recipes.errors import ShardError

LAPSE = 0.01  # an able model still fails one item in a hundred


# of one item right and one wrong, for every model: a model that is always right keeps a finite
# ability
PSEUDO = 0.5


NODES = np.linspace(-4.0, 4.0, 33)


NODE_SHARES = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


SPREAD_PRIOR = (0.4, 1.0)  # of log(sd of difficulties), normal: matters only where items are few


MAX_STEPS = 100


class Abilities(NamedTuple):
    """Abilities of models on the same items: estimates and bootstrap draws, logits; the average
    item has difficulty 0.
    """

    draws_RM: np.ndarray  # the first row holds the estimates
    errors_M: np.ndarray  # standard errors
    spread: float  # standard deviation of the difficulties


def abilities(
    right_IM: np.ndarray,
    floor_I: np.ndarray,
    clusters_I: np.ndarray,
    *,
    resamples: int = 2000,
    seed: Seed = 0,
) -> Abilities:
    """Gives the ability of each model with a bootstrap over clusters of items, all models drawn
    together.

    The bootstrap resamples each cluster's share of the score equations and takes one Newton step
    from the estimate, which costs one matrix product for all draws. Half a pseudo-item on either
    side joins fit and draws.

    Args:
        right_IM: 1 right, 0 wrong, NaN not asked.
        floor_I: share of right answers of a model that guesses, 0..1.
        clusters_I: name of each item's cluster.
        resamples: draws.
        seed: same seed, same draws.

    Raises:
        ShardError: no items, or a model that was asked none.

    Source: Hu and Kalbfleisch 2000 (the estimating function bootstrap).
    """
    if not right_IM.size or np.isnan(right_IM).all(axis=0).any():
        raise ShardError(
            "equivalent sizes: a model answered no item that the ladder answered; evaluate it on "
            "the ladder's questions"
        )
    items_UK, index_I, counts_U = np.unique(
        np.column_stack([floor_I, np.nan_to_num(right_IM, nan=-1.0)]),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    problem = _Problem(items_UK[:, 1:], items_UK[:, 0], counts_U.astype(float))
    point_P = problem.solve()
    inverse_PP = np.linalg.pinv(-problem.curvature(point_P), hermitian=True)
    scores_UP = problem.scores(point_P)[1]
    _, cluster_I = np.unique(clusters_I, return_inverse=True)
    scores_CP = np.zeros((cluster_I.max() + 1, len(point_P)))
    np.add.at(scores_CP, cluster_I, scores_UP[index_I.ravel()])
    rng = np.random.default_rng(seed)
    drawn_RC = (
        rng.multinomial(len(scores_CP), np.full(len(scores_CP), 1 / len(scores_CP)), size=resamples)
        - 1.0
    )
    ability_M = 1 / (1 + np.exp(-point_P[:-1]))
    luck_RM = PSEUDO * (rng.poisson(1.0, (resamples, len(ability_M))) - 1.0) * (1 - ability_M)
    luck_RM -= PSEUDO * (rng.poisson(1.0, (resamples, len(ability_M))) - 1.0) * ability_M
    moved_RP = drawn_RC @ scores_CP
    moved_RP[:, :-1] += luck_RM
    draws_RM = point_P[:-1] + (moved_RP @ inverse_PP)[:, :-1]
    return Abilities(
        np.vstack([point_P[:-1], draws_RM]), draws_RM.std(axis=0), float(np.exp(point_P[-1]))
    )


class _Problem:
    """The marginal likelihood of abilities and of the log spread of difficulties, on distinct rows
    of answers.
    """

    def __init__(self, right_UM: np.ndarray, floor_U: np.ndarray, counts_U: np.ndarray) -> None:
        self.right, self.asked = right_UM[:, :, None], right_UM[:, :, None] >= 0
        self.floor, self.counts = floor_U[:, None, None], counts_U

    def scores(self, point_P: np.ndarray) -> tuple[float, np.ndarray]:
        """Log-likelihood with its weak priors, and each row's derivatives of its own
        log-likelihood, [U, M + 1].
        """
        theta_M, spread = point_P[:-1], np.exp(point_P[-1])
        logit_MQ = theta_M[:, None] - spread * NODES
        sigmoid_MQ = 1 / (1 + np.exp(-np.clip(logit_MQ, -40, 40)))
        room = 1 - LAPSE - self.floor
        chance = self.floor + room * np.clip(sigmoid_MQ, 1e-12, 1 - 1e-12)
        logs_UMQ = np.where(
            self.asked, np.where(self.right > 0, np.log(chance), np.log1p(-chance)), 0.0
        )
        joint_UQ = logs_UMQ.sum(axis=1) + np.log(NODE_SHARES)
        top_U = joint_UQ.max(axis=1, keepdims=True)
        shares_UQ = np.exp(joint_UQ - top_U)
        total_U = shares_UQ.sum(axis=1, keepdims=True)
        shares_UQ /= total_U
        slope_UMQ = np.where(
            self.asked,
            (self.right - chance) / (chance * (1 - chance)) * room * sigmoid_MQ * (1 - sigmoid_MQ),
            0.0,
        )
        by_theta_UM = np.einsum("umq,uq->um", slope_UMQ, shares_UQ)
        by_spread_U = np.einsum("umq,uq,q->u", slope_UMQ, shares_UQ, -NODES * spread)
        value = float(self.counts @ (np.log(total_U[:, 0]) + top_U[:, 0]))
        value += PSEUDO * float((theta_M - 2 * np.logaddexp(0.0, theta_M)).sum())
        value -= 0.5 * ((point_P[-1] - SPREAD_PRIOR[0]) / SPREAD_PRIOR[1]) ** 2
        return value, np.column_stack([by_theta_UM, by_spread_U])

    def _gradient(self, point_P: np.ndarray, scores_UP: np.ndarray) -> np.ndarray:
        """Derivative of the log-likelihood with its priors."""
        gradient_P = self.counts @ scores_UP
        gradient_P[:-1] += PSEUDO * (1 - 2 / (1 + np.exp(-point_P[:-1])))
        gradient_P[-1] -= (point_P[-1] - SPREAD_PRIOR[0]) / SPREAD_PRIOR[1] ** 2
        return gradient_P

    def curvature(self, point_P: np.ndarray, step: float = 1e-4) -> np.ndarray:
        """Second derivatives, by central differences of the gradient."""
        shifts_PP = step * np.eye(len(point_P))
        ends = ((point_P + shift, point_P - shift) for shift in shifts_PP)
        rows = [
            np.subtract(*(self._gradient(end, self.scores(end)[1]) for end in pair)) / (2 * step)
            for pair in ends
        ]
        return (np.array(rows) + np.array(rows).T) / 2

    def solve(self) -> np.ndarray:
        """The maximum, by steps along the outer products of the scores (Berndt et al. 1974), damped
        until they climb.
        """
        asked_M = (self.counts[:, None] * self.asked[:, :, 0]).sum(axis=0)
        right_M = (self.counts[:, None] * (self.right[:, :, 0] > 0)).sum(axis=0)
        share_M = (right_M + PSEUDO) / (asked_M + 2 * PSEUDO)
        point_P = np.append(np.log(share_M / (1 - share_M)), SPREAD_PRIOR[0])
        (value, scores_UP), damping = self.scores(point_P), 1e-3
        for _ in range(MAX_STEPS):
            gradient_P, sigmoid_M = (
                self._gradient(point_P, scores_UP),
                1 / (1 + np.exp(-point_P[:-1])),
            )
            information_PP = scores_UP.T @ (self.counts[:, None] * scores_UP)
            information_PP += np.diag(
                np.append(2 * PSEUDO * sigmoid_M * (1 - sigmoid_M), 1 / SPREAD_PRIOR[1] ** 2)
            )
            while True:
                step_P = np.linalg.solve(
                    information_PP + damping * np.eye(len(point_P)), gradient_P
                )
                step_P *= min(1.0, 2.0 / max(np.abs(step_P).max(), 1e-12))
                higher, moved_UP = self.scores(point_P + step_P)
                if higher >= value or damping > 1e9:
                    break
                damping = max(10 * damping, 1.0)
            if higher < value:
                break
            point_P, value, scores_UP, damping = point_P + step_P, higher, moved_UP, damping / 10
            if np.abs(step_P).max() < 1e-5:
                break
        return point_P
