"""How sure a measured number is: rates and ratios, with the cluster as the unit of independence.

A percentile bootstrap claims certainty wherever the sample happens not to vary: 0 of 500 right
would get an interval of width zero. So rates take Wilson's interval, and what is resampled can
carry pseudo-clusters.
"""

from collections.abc import Iterable
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np

from data_filters.report.wilson import wilson

Seed = int | list[int]

CONFIDENCE = 0.95
AT_ONCE = 100  # draws of a bootstrap that are held together


class Entry(TypedDict):
    """One number of the scorecard."""

    value: float
    low: float  # ends of its 95 % interval
    high: float
    n: int  # answers
    clusters: int  # what is independent among them
    mde: NotRequired[float]  # of a difference: the smallest one that could have been seen
    mcnemar_p: NotRequired[float]  # of a difference: the p-value of none, 0..1


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


def entry(interval: Interval, n: int, clusters: int) -> Entry:
    """Gives the scorecard's form of a number, rounded to 6 decimals; n counts answers, clusters
    what is independent among them.
    """
    # + 0.0: a zero without sign
    value, low, high = (round(float(number), 6) + 0.0 for number in interval)
    return {"value": value, "low": low, "high": high, "n": int(n), "clusters": int(clusters)}


def known_entry(interval: Interval, n: int, clusters: int) -> Entry | None:
    """Gives the same; None where the number could not be computed and is NaN."""
    return None if np.isnan(interval.value) else entry(interval, n, clusters)


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


def best_rate(rates: Iterable[np.ndarray]) -> Interval:
    """Gives the highest of several mean rates with Wilson's interval; NaN where there is none.

    Args:
        rates: for each, the rate of each cluster; empty ones do not count.
    """
    found = [rate_interval(rates_C) for rates_C in rates if rates_C.size]
    return max(found, default=Interval(np.nan, np.nan, np.nan))


def larger_of(samples_R: np.ndarray, first: Interval, second: Interval) -> Interval:
    """Gives the interval of the larger of two noisy numbers.

    It runs high, so the percentile interval is stretched to the larger of the two numbers' own
    ends.

    Args:
        samples_R: the larger number: of the sample, then of each draw.
        first: one of the two; NaN where it was not measured.
        second: the other.
    """
    ends = Interval(*map(float, np.fmax(first, second)))
    return widest(percentile_interval(samples_R), ends)
