"""How sure a difference is, and the smallest one that could have been seen.

A resampled difference carries two pseudo-clusters, one at either end of the scale: the adjustment
of Agresti and Min (paired) and of Agresti and Caffo (unpaired) in bootstrap form. It fades as
evidence grows; with no discordance at all among C clusters it leaves about +-3/C, the rule of
three.
"""

from math import comb
from statistics import NormalDist

import numpy as np

from eval.scores.intervals import (
    CONFIDENCE,
    Interval,
    Seed,
    cluster_means,
    cluster_sums,
    percentile_interval,
    resampled_totals,
)


def paired_bootstrap(
    first_N: np.ndarray,
    second_N: np.ndarray,
    clusters_N: np.ndarray | None = None,
    *,
    resamples: int = 2000,
    seed: Seed = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Gives mean(first - second) of two contenders on the same questions, resampling whole
    clusters.

    Pairing removes what both find hard, so the same questions show a smaller difference than an
    unpaired test would. Two pseudo-clusters (-1 and +1, nearer to 0 where differences within a
    cluster cancel) join the resampling, not the value: see the module's text.

    Args:
        first_N: score of the first contender on each question, 0..1.
        second_N: score of the second, same order.
        clusters_N: name of each question's cluster; None: every question is its own.
        resamples: bootstrap draws.
        seed: same seed, same interval.
        confidence: 0..1.

    Returns:
        Interval in -1..1; the value is the mean over clusters of the mean difference within each.

    Source: Miller 2024, arXiv 2411.00640 (paired, clustered); Agresti and Min 2005 (the
    adjustment).
    """
    differences_N = np.asarray(first_N, dtype=float) - np.asarray(second_N, dtype=float)
    differences_C = (
        differences_N if clusters_N is None else cluster_means(clusters_N, differences_N)
    )
    reach = _reach(differences_N, differences_C)
    means = _adjusted_means(differences_C, (-reach, reach), resamples, np.random.default_rng(seed))
    return percentile_interval(means, confidence)


def _reach(differences_N: np.ndarray, differences_C: np.ndarray) -> float:
    """How far a cluster's difference reaches beside a question's: 1 where a cluster is one
    question, or its questions go together.

    A pseudo-cluster of +-1 among clusters that average over several questions would count for
    several clusters.
    """
    spread = float((differences_N**2).mean())
    return min(1.0, float((differences_C**2).mean() / spread) ** 0.5) if spread > 0 else 1.0


def unpaired_bootstrap(
    first_C: np.ndarray,
    second_C: np.ndarray,
    *,
    resamples: int = 2000,
    seed: Seed = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Gives mean(first) - mean(second) of two independent sets of clusters, e.g. facts trained and
    facts never trained.

    Args:
        first_C: rate within each cluster of the first set, 0..1.
        second_C: the same of the second set; its length may differ.
        resamples: bootstrap draws.
        seed: same seed, same interval.
        confidence: 0..1.

    Returns:
        Interval in -1..1.

    Source: Agresti and Caffo 2000 (one success and one failure added to either set).
    """
    rng = np.random.default_rng(seed)
    first, second = (
        _adjusted_means(np.asarray(rates, dtype=float), (0.0, 1.0), resamples, rng)
        for rates in (first_C, second_C)
    )
    return percentile_interval(first - second, confidence)


def _adjusted_means(
    values_C: np.ndarray, pseudo: tuple[float, float], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """The mean itself, then means of draws from the values and the two pseudo-clusters."""
    rows_CK, pseudo_PK = (
        np.column_stack([values, np.ones(len(values))]) for values in (values_C, pseudo)
    )
    sums, counts = resampled_totals(rows_CK, resamples, rng, pseudo_PK).T
    return sums / counts


def mcnemar(
    first_N: np.ndarray, second_N: np.ndarray, clusters_N: np.ndarray | None = None
) -> float:
    """Gives the exact two-sided p-value that two contenders are equally often right, from the
    clusters on which they differ.

    A cluster counts once, for whoever is ahead in it: with one question a cluster that is McNemar's
    test, else the sign test.

    Args:
        first_N: score of the first contender on each question, 0..1.
        second_N: score of the second, same order.
        clusters_N: name of each question's cluster; None: every question is its own.

    Returns:
        0..1; 1 where they differ nowhere.

    Source: McNemar 1947, exact binomial form; Dixon and Mood 1946 (sign test).
    """
    differences_N = np.asarray(first_N, dtype=float) - np.asarray(second_N, dtype=float)
    ahead_C = np.sign(
        differences_N if clusters_N is None else cluster_sums(clusters_N, differences_N)[:, 0]
    )
    up, down = int((ahead_C > 0).sum()), int((ahead_C < 0).sum())
    tail = sum(comb(up + down, few) for few in range(min(up, down) + 1))
    return min(1.0, 2 * tail / 2 ** (up + down))  # of whole numbers, so no underflow at any n


def minimal_detectable_effect(
    n: int, spread: float = 0.5**0.5, power: float = 0.8, confidence: float = CONFIDENCE
) -> float:
    """Gives the smallest true difference that n clusters would show with probability `power`.

    Args:
        n: clusters.
        spread: standard deviation of the difference within a cluster; the default is that of two
            unrelated coin flips, the worst case.
        power: 0..1.
        confidence: of the two-sided interval that must leave out zero, 0..1.

    Returns:
        Difference in the unit of `spread`.
    """
    normal = NormalDist()
    return float(
        (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(power)) * spread / np.sqrt(n)
    )


def detectable_between(first_N: np.ndarray, second_N: np.ndarray, clusters_N: np.ndarray) -> float:
    """Gives the minimal detectable effect of a paired comparison with the spread that it shows,
    pseudo-clusters included.
    """
    differences_N = np.asarray(first_N, dtype=float) - np.asarray(second_N, dtype=float)
    differences_C = cluster_means(clusters_N, differences_N)
    reach = _reach(differences_N, differences_C)
    return minimal_detectable_effect(
        len(differences_C), float(np.append(differences_C, (-reach, reach)).std())
    )
