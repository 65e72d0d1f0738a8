"""How sure a measured number is: rates, ratios and differences, with the cluster as the unit of
independence.

A percentile bootstrap claims certainty wherever the sample happens not to vary: 0 of 500 right, or
two contenders that agree on every question, would get an interval of width zero. So rates take
Wilson's interval, and a resampled difference carries two pseudo-clusters, one at either end of the
scale: the adjustment of Agresti and Min (paired) and of Agresti and Caffo (unpaired) in bootstrap
form. It fades as evidence grows; with no discordance at all among C clusters it leaves about +-3/C,
the rule of three.
"""

from math import comb
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from data_filters.report.wilson import wilson

Entry = dict[str, float | int]  # one number of the scorecard
Seed = int | list[int]

CONFIDENCE = 0.95
AT_ONCE = 100  # draws of a bootstrap that are held together


class Interval(NamedTuple):
    """A number and the ends of its interval, in the unit of the number."""

    value: float
    low: float
    high: float


def wilson_of_variance(
    value: float, variance: float, least: float, most: float, z: float = 1.96
) -> Interval:
    """Gives Wilson's interval of any number in 0..1, with as many trials as would give a rate of
    that value its variance.

    For a plain rate these are its own trials. At 0 and at 1 an estimated variance is zero and says
    nothing: there `least` counts.

    Args:
        value: 0..1.
        variance: of the value, squared units.
        least: trials that the number rests on in the worst case, e.g. clusters.
        most: trials in the best case, e.g. answers.
        z: normal quantile.

    Source: Kish 1965 (design effect); Korn and Graubard 1998 (effective trials in an interval of a
    rate).
    """
    spread = value * (1 - value)
    trials = (
        least
        if spread <= 0
        else most
        if variance * most <= spread
        else max(spread / variance, least)
    )
    return Interval(value, *wilson(value * trials, trials, z))


def newcombe(first: Interval, second: Interval) -> Interval:
    """Gives first - second for two independent numbers from the intervals of each; asymmetric, and
    never of width zero unless both are.

    Source: Newcombe 1998, method 10 (the square-and-add rule).
    """
    value = first.value - second.value
    down = np.hypot(first.value - first.low, second.high - second.value)
    up = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, float(value - down), float(value + up))


def widest(*intervals: Interval) -> Interval:
    """Gives the value of the first interval and the outermost ends of all."""
    return Interval(
        intervals[0].value, min(i.low for i in intervals), max(i.high for i in intervals)
    )


def resampled_totals(
    rows_CK: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
    pseudo_PK: np.ndarray | None = None,
) -> np.ndarray:
    """Gives the column totals of the sample itself (first row), then of `resamples` draws of as
    many clusters with replacement.

    Totals depend only on how often each *distinct* row is drawn, and those counts are multinomial:
    the same distribution as drawing cluster by cluster, at a cost that does not grow with C where
    rows repeat, as right/wrong rows do.

    Args:
        rows_CK: [clusters, columns], what each cluster adds to each total.
        resamples: number of draws.
        rng: consumed.
        pseudo_PK: pseudo-clusters that join the draws but not the sample; a draw then holds P
            clusters more.

    Returns:
        [1 + resamples, columns].
    """
    all_CK = rows_CK if pseudo_PK is None else np.vstack([rows_CK, pseudo_PK])
    distinct_UK, counts_U = np.unique(all_CK, axis=0, return_counts=True)
    totals_RK = [rows_CK.sum(axis=0, dtype=float)[None]]
    for start in range(0, resamples, AT_ONCE):
        drawn_RU = rng.multinomial(
            len(all_CK), counts_U / len(all_CK), size=min(AT_ONCE, resamples - start)
        )
        totals_RK.append(drawn_RU @ distinct_UK)
    return np.vstack(totals_RK)


def percentile_interval(samples: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Gives samples[0] as the value and the central `confidence` of the rest as its interval,
    stretched to hold the value.
    """
    value, rest = float(samples[0]), samples[1:]
    rest = rest[np.isfinite(rest)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(rest, [tail, 1 - tail]) if rest.size else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value))


def cluster_means(clusters_N: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    """Gives the mean of `values_N` within each cluster, [C], clusters in sorted order."""
    sums_CK = cluster_sums(clusters_N, np.asarray(values_N, dtype=float), np.ones(len(values_N)))
    return sums_CK[:, 0] / sums_CK[:, 1]


def cluster_sums(clusters_N: np.ndarray, *columns_N: np.ndarray) -> np.ndarray:
    """Gives the sum of each column within each cluster, [C, K], clusters in sorted order."""
    _, index_N = np.unique(clusters_N, return_inverse=True)
    return np.column_stack([np.bincount(index_N, weights=column_N) for column_N in columns_N])


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


def cluster_variance(influence_N: np.ndarray, clusters_N: np.ndarray) -> float:
    """Gives the variance of a number from what each answer contributed to its deviation, answers of
    one cluster moving together.

    Args:
        influence_N: by how much the number would move for each answer, already divided by N; sums
            to about zero.
        clusters_N: name of each answer's cluster.

    Returns:
        Squared units of the number; infinite for a single cluster, which says nothing about spread.
    """
    moved_C = cluster_sums(clusters_N, influence_N)[:, 0]
    num_clusters = len(moved_C)
    return (
        float(num_clusters / (num_clusters - 1) * (moved_C**2).sum())
        if num_clusters > 1
        else float("inf")
    )


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


def entry(interval: Interval, n: int, clusters: int) -> Entry:
    """Gives the scorecard's form of a number, rounded to 6 decimals; n counts answers, clusters
    what is independent among them.
    """
    # + 0.0: a zero without sign
    value, low, high = (round(float(number), 6) + 0.0 for number in interval)
    return {"value": value, "low": low, "high": high, "n": int(n), "clusters": int(clusters)}


def rate(clusters_N: np.ndarray, hits_N: np.ndarray, answers: int | None = None) -> Entry | None:
    """Gives the share of hits (mean over clusters) with Wilson's interval; None where there are no
    answers.

    Its trials are between the number of clusters and the number of answers: clusters where answers
    to one of them stand and fall together, more where they differ within.

    Args:
        clusters_N: name of each answer's cluster.
        hits_N: 0..1.
        answers: how many answers the hits rest on; None: one each.
    """
    if len(hits_N) == 0:
        return None
    means_C = cluster_means(clusters_N, hits_N)
    value, num_clusters, num_answers = (
        float(means_C.mean()),
        len(means_C),
        len(hits_N) if answers is None else answers,
    )
    variance = float(means_C.var(ddof=1)) / num_clusters if num_clusters > 1 else float("inf")
    return entry(
        wilson_of_variance(value, variance, num_clusters, num_answers), num_answers, num_clusters
    )


def rate_interval(rates_C: np.ndarray) -> Interval:
    """Gives the mean of per-cluster rates with Wilson's interval, n = number of clusters."""
    value = float(rates_C.mean())
    return Interval(value, *wilson(value * len(rates_C), len(rates_C)))
