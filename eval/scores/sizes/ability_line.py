"""A line of ability over log2(size) through a ladder of models: the ruler of equivalent sizes.

ability_m = a_family + b log2(N_m). The residuals of the line say what no number of items can: how
far a model of some size is off the ladder's own rule.

Sources: Incompressible Knowledge Probes, arXiv:2604.24827 (recall-equivalent size); Xiao et al.
2024, arXiv:2412.04315 (capability-equivalent size, Densing law).
"""

from typing import NamedTuple, Self

import numpy as np

from eval.scores.intervals import Seed
from eval.scores.sizes.abilities import Abilities
from recipes.errors import ShardError


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
                f"equivalent sizes: {what} does not clearly grow along the ladder "
                f"({line.slope_R[0]:+.2f} logits an octave, "
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
            f"equivalent sizes: {rungs} model(s) of {len(families)} family(ies) with "
            f"{len(set(np.round(log2_K, 6)))} size(s) are no ladder "
            f"for {what}; expected at least 3 of one family, of different sizes (and one more for "
            "each further family)"
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
                f"equivalent sizes: {what} does not grow along the ladder once {group} is left "
                "out; add models or seeds"
            )
        errors += list(rest.octave_of(theta_K[out_K]) - log2_K[out_K])
    return float(np.sqrt(np.mean(np.square(errors)))), len(groups)
