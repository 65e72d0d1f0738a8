"""The ruler behind equivalent sizes: abilities from answers item by item, and a line of ability
over log2(size) through a ladder of models.

logit P(item i, model m) = a_family + b log2(N_m) - d_i, between a guess floor and a ceiling, in two
steps. Abilities first: the difficulties d_i are normal and integrated out (with few models, fitting
each of them would stretch the slope by models / (models - 1)). Then the line, whose residuals say
what no number of items can: how far a model of some size is off the ladder's own rule.

Sources: Rasch 1960; Bock and Aitkin 1981 (marginal likelihood); Incompressible Knowledge Probes,
arXiv:2604.24827 (recall-equivalent size); Xiao et al. 2024, arXiv:2412.04315 (capability-equivalent
size, Densing law).
"""

from typing import NamedTuple, Self

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
            "equivalent sizes: a model answered no item that the ladder answered; evaluate it on the ladder's questions"
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


class Line(NamedTuple):
    """A straight line of ability over log2(size): estimate first, then draws."""

    intercept_R: np.ndarray  # mean over families, logits at size 1
    slope_R: np.ndarray  # logits an octave

    def octave_of(self, abilities_R: np.ndarray) -> np.ndarray:
        """Gives log2(size) where the line reaches these abilities; a slope that is hardly above 0
        gives a far end, not a fault.
        """
        return (abilities_R - self.intercept_R) / np.maximum(self.slope_R, 1e-3)


class Ruler(NamedTuple):
    """A ladder that measures.

    Args:
        line: with draws of the items only.
        loose: with draws of the items and of how far the ladder's models stray from their line: for
            differences.
        off_octaves: root mean square of the error for a model of a family (or size) that was left
            out: for positions.
        groups: families or sizes that were left out in turn.
        ends: log2 of the smallest and the largest size.
    """

    line: Line
    loose: Line
    off_octaves: float
    groups: int
    ends: tuple[float, float]

    @classmethod
    def fit(
        cls,
        found: Abilities,
        log2_K: np.ndarray,
        families_K: np.ndarray,
        *,
        what: str,
        seed: Seed = 0,
    ) -> Self:
        """Gives the ruler of a ladder whose models are the first K of `found`.

        Args:
            log2_K: log2 of each model's parameters.
            families_K: name of each model's family, which has an intercept of its own.
            what: named in refusals.

        Raises:
            ShardError: too few models, sizes that do not differ, or an ability that does not
                clearly grow with size.
        """
        log2_K, families_K = np.asarray(log2_K, dtype=float), np.asarray(families_K, dtype=object)
        line, loose = straight_lines(found, log2_K, families_K, what=what, seed=seed)
        low, high = np.quantile(loose.slope_R[1:], [0.025, 0.975])
        if low <= 0:
            raise ShardError(
                f"equivalent sizes: {what} does not clearly grow along the ladder ({line.slope_R[0]:+.2f} logits an octave, "
                f"95 % {low:+.2f}..{high:+.2f}); add models, sizes further apart or seeds"
            )
        off_octaves, groups = _left_out(found, log2_K, families_K, what)
        return cls(line, loose, off_octaves, groups, (float(log2_K.min()), float(log2_K.max())))


def straight_lines(
    found: Abilities, log2_K: np.ndarray, families_K: np.ndarray, *, what: str, seed: Seed = 0
) -> tuple[Line, Line]:
    """Gives the line through a ladder with draws of the items only, and with draws of the scatter
    about the line as well.

    Args:
        found: abilities; the ladder's models come first.
        log2_K: log2 of each model's parameters.
        families_K: of each model.
        what: named in refusals.

    Raises:
        ShardError: fewer models than families + 2, or no family with two sizes.
    """
    rungs, families = len(log2_K), sorted(set(families_K))
    degrees = rungs - len(families) - 1
    if degrees < 1 or _spread(log2_K, families_K) < 1e-6:
        raise ShardError(
            f"equivalent sizes: {rungs} model(s) of {len(families)} family(ies) with {len(set(np.round(log2_K, 6)))} size(s) are no ladder "
            f"for {what}; wanted at least 3 of one family, of different sizes (and one more for each further family)"
        )
    draws_RK, variance_K = found.draws_RM[:, :rungs], found.errors_M[:rungs] ** 2
    weights_K = _weights(draws_RK[0], variance_K, log2_K, families_K)
    line = _line(draws_RK, weights_K, log2_K, families_K)
    rng = np.random.default_rng(seed)
    residuals_K = draws_RK[0] - _fitted(draws_RK[0], weights_K, log2_K, families_K)
    scale_K = weights_K / weights_K.mean()
    total_R = (scale_K * residuals_K**2).sum() / rng.chisquare(degrees, len(draws_RK) - 1)
    # what the items' own noise does not explain
    beyond_R = np.maximum(0.0, total_R - (scale_K * variance_K).mean())
    noise_RK = (
        np.sqrt(beyond_R)[:, None] * rng.standard_normal((len(beyond_R), rungs)) / np.sqrt(scale_K)
    )
    return line, _line(
        draws_RK + np.vstack([np.zeros(rungs), noise_RK]), weights_K, log2_K, families_K
    )


def _design(log2_K: np.ndarray, families_K: np.ndarray) -> np.ndarray:
    """[K, F + 1]: which family, and log2(size) about the mean."""
    one_hot_KF = (families_K[:, None] == np.array(sorted(set(families_K)), dtype=object)).astype(
        float
    )
    return np.column_stack([one_hot_KF, log2_K - log2_K.mean()])


def _spread(log2_K: np.ndarray, families_K: np.ndarray) -> float:
    """Largest distance of a size from the mean of its family, octaves."""
    return max(float(np.ptp(log2_K[families_K == family])) for family in set(families_K)) / 2


def _solution(weights_K: np.ndarray, design_KP: np.ndarray) -> np.ndarray:
    """[P, K]: abilities to coefficients, weighted least squares."""
    root_K = np.sqrt(weights_K)
    return np.linalg.pinv(design_KP * root_K[:, None]) * root_K


def _line(
    draws_RK: np.ndarray, weights_K: np.ndarray, log2_K: np.ndarray, families_K: np.ndarray
) -> Line:
    found_RP = draws_RK @ _solution(weights_K, _design(log2_K, families_K)).T
    slope_R = found_RP[:, -1]
    return Line(found_RP[:, :-1].mean(axis=1) - slope_R * log2_K.mean(), slope_R)


def _fitted(
    theta_K: np.ndarray, weights_K: np.ndarray, log2_K: np.ndarray, families_K: np.ndarray
) -> np.ndarray:
    design_KP = _design(log2_K, families_K)
    return design_KP @ (_solution(weights_K, design_KP) @ theta_K)


def _weights(
    theta_K: np.ndarray, variance_K: np.ndarray, log2_K: np.ndarray, families_K: np.ndarray
) -> np.ndarray:
    """1 / (variance + scatter), with the scatter that makes the weighted residuals as large as they
    should be (Paule and Mandel 1982).
    """
    degrees = len(theta_K) - len(set(families_K)) - 1
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        weights_K = 1 / (variance_K + middle)
        residuals_K = theta_K - _fitted(theta_K, weights_K, log2_K, families_K)
        low, high = (
            (middle, high) if (weights_K * residuals_K**2).sum() > degrees else (low, middle)
        )
    return 1 / (variance_K + high)


def _left_out(
    found: Abilities, log2_K: np.ndarray, families_K: np.ndarray, what: str
) -> tuple[float, int]:
    """Root mean square of log2(size told / size true) for families that the line has not seen; for
    sizes where there is one family only.
    """
    several = len(set(families_K)) > 1
    groups_K = families_K if several else np.round(log2_K, 6)
    theta_K, weights_K = (
        found.draws_RM[0, : len(log2_K)],
        1 / (found.errors_M[: len(log2_K)] ** 2 + 0.1),
    )
    errors, groups = [], sorted(set(groups_K))
    for group in groups:
        out_K = groups_K == group
        if _spread(log2_K[~out_K], families_K[~out_K]) < 1e-6:
            continue
        rest = _line(theta_K[None, ~out_K], weights_K[~out_K], log2_K[~out_K], families_K[~out_K])
        if rest.slope_R[0] <= 0:
            raise ShardError(
                f"equivalent sizes: {what} does not grow along the ladder once {group} is left out; add models or seeds"
            )
        errors += list(rest.octave_of(theta_K[out_K]) - log2_K[out_K])
    return float(np.sqrt(np.mean(np.square(errors)))), len(groups)
