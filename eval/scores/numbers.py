"""The kinds of numbers: what was counted, and how its interval comes about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.scores.answers.columns import Columns
from eval.scores.intervals import (
    Entry,
    Interval,
    cluster_means,
    cluster_sums,
    cluster_variance,
    entry,
    newcombe,
    percentile_interval,
    rate,
    rate_interval,
    resampled_totals,
    wilson,
    wilson_of_variance,
)
from eval.scores.measured import Bootstrap
from eval.scores.paired_intervals import (
    detectable_between,
    mcnemar,
    paired_bootstrap,
    unpaired_bootstrap,
)
from recipes.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class Rate:
    """The share of hits, mean over clusters, with Wilson's interval."""

    clusters_N: np.ndarray
    hits_N: np.ndarray  # 0..1
    answers: int | None = None  # that the hits rest on; None: one each

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the rate; None where there are no answers."""
        return rate(self.clusters_N, self.hits_N, self.answers)


@dataclass(frozen=True, slots=True)
class OutcomeShare:
    """The share of answers with one outcome, mean over clusters, with Wilson's interval."""

    rows: Columns
    outcome: Outcome = Outcome.CORRECT

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the share; None where there are no answers."""
        return rate(self.rows.clusters_N, self.rows.has("outcome", self.outcome))


@dataclass(frozen=True, slots=True)
class ClusterRate:
    """The mean of the rates of clusters, with Wilson's interval over as many trials as clusters."""

    rates_C: np.ndarray
    answers: int

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the mean; None where there are no clusters."""
        if not len(self.rates_C):
            return None
        return entry(rate_interval(self.rates_C), self.answers, len(self.rates_C))


@dataclass(frozen=True, slots=True)
class RateDifference:
    """One rate minus another of other answers, with Newcombe's interval."""

    first: Rate
    second: Rate

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the difference; None where either has no answers."""
        both = (self.first, self.second)
        if not all(len(one.hits_N) for one in both):
            return None
        means_C = [cluster_means(one.clusters_N, one.hits_N) for one in both]
        apart = newcombe(*(rate_interval(rates_C) for rates_C in means_C))
        return entry(apart, sum(len(one.hits_N) for one in both), sum(map(len, means_C)))


@dataclass(frozen=True, slots=True)
class AboveChance:
    """The mean over groups of (rate - chance) / (1 - chance); the ends add the groups' Wilson ends
    in squares.

    Source: Cohen 1960 (the correction); Zou and Donner 2008 (adding ends in squares).
    """

    groups: Sequence[tuple[Rate, float]]  # with the chance of each, 0..1

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the mean; below 0 where a contender does worse than chance."""
        if not self.groups:
            return None
        rates = [cluster_means(group.clusters_N, group.hits_N) for group, _ in self.groups]
        above_G3 = [
            [(end - chance) / (1 - chance) for end in rate_interval(rates_C)]
            for rates_C, (_, chance) in zip(rates, self.groups, strict=True)
        ]
        value_G, low_G, high_G = np.array(above_G3).T
        value = value_G.mean()
        down, up = np.hypot.reduce(value_G - low_G), np.hypot.reduce(high_G - value_G)
        num_groups = len(self.groups)
        return entry(
            Interval(value, value - down / num_groups, value + up / num_groups),
            sum(len(group.hits_N) for group, _ in self.groups),
            sum(map(len, rates)),
        )


@dataclass(frozen=True, slots=True)
class PooledShare:
    """The share of hits, mean over answers, with Wilson's interval over as many trials as clusters
    have any.
    """

    clusters_N: np.ndarray
    hits_N: np.ndarray

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the share; None where there are no answers."""
        if not len(self.hits_N):
            return None
        value, clusters = float(self.hits_N.mean()), len(set(self.clusters_N))
        interval = Interval(value, *wilson(value * clusters, clusters))
        return entry(interval, len(self.hits_N), clusters)


@dataclass(frozen=True, slots=True)
class PooledRate:
    """The mean over answers, not over clusters, with an interval that knows the clusters."""

    clusters_N: np.ndarray
    values_N: np.ndarray  # 0..1

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry:
        """Gives the mean."""
        count = len(self.values_N)
        value, sizes_C = float(self.values_N.mean()), cluster_sums(self.clusters_N, np.ones(count))
        variance = cluster_variance((self.values_N - value) / count, self.clusters_N)
        # clusters, counted less where a few hold most of the answers
        least = count**2 / float(sizes_C[:, 0] @ sizes_C[:, 0])
        return entry(wilson_of_variance(value, variance, least, count), count, len(sizes_C))


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over clusters of what is not below zero, with a normal interval."""

    clusters_N: np.ndarray
    values_N: np.ndarray

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the mean; None for fewer than two clusters, which have no spread."""
        if not len(self.values_N):
            return None
        means_C = cluster_means(self.clusters_N, self.values_N)
        if len(means_C) < 2:
            return None
        value, half = float(means_C.mean()), 1.96 * float(means_C.std(ddof=1)) / len(means_C) ** 0.5
        interval = Interval(value, max(value - half, 0.0), value + half)
        return entry(interval, len(self.values_N), len(means_C))


@dataclass(frozen=True, slots=True)
class Ratio:
    """The sum of one thing over the sum of another, resampled by cluster.

    Draws without any of the second are left out of the interval.
    """

    clusters_N: np.ndarray
    above_N: np.ndarray
    below_N: np.ndarray
    scale: float = 1.0
    pseudo_P2: Sequence[tuple[float, float]] = ()  # (above, below) of pseudo-clusters

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives scale x above / below; None where there is none of the second."""
        if not self.below_N.any():
            return None
        summed_C2 = cluster_sums(self.clusters_N, self.above_N, self.below_N)
        above_R, below_R = resampled_totals(
            summed_C2,
            bootstrap.resamples,
            np.random.default_rng(bootstrap.stream(name)),
            np.array(self.pseudo_P2) if self.pseudo_P2 else None,
        ).T
        some_R = below_R > 0
        ratio_R = self.scale * above_R[some_R] / below_R[some_R]
        return entry(percentile_interval(ratio_R), len(self.above_N), len(summed_C2))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with what each answer contributed to its deviation; answers of one cluster move
    together.
    """

    value: float
    influence_N: np.ndarray  # by how much the number would move for each answer; sums to about 0
    clusters_N: np.ndarray
    # least and most trials of a Wilson interval, e.g. clusters and answers; None: the number is no
    # share of 0..1, and its interval is normal
    trials: tuple[float, float] | None = None
    answers: int | None = None  # None: one each
    clusters: int | None = None  # None: the distinct ones

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry:
        """Gives the number with its interval."""
        variance = cluster_variance(self.influence_N, self.clusters_N)
        if self.trials is None:
            half = 1.96 * variance**0.5
            interval = Interval(self.value, self.value - half, self.value + half)
        else:
            interval = wilson_of_variance(self.value, variance, *self.trials)
        answers = len(self.influence_N) if self.answers is None else self.answers
        clusters = len(set(self.clusters_N)) if self.clusters is None else self.clusters
        return entry(interval, answers, clusters)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The share of right answers of one contender minus that of another on the same questions."""

    first_N: np.ndarray
    second_N: np.ndarray
    clusters_N: np.ndarray

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry:
        """Gives the difference, with the smallest one that could have been seen and its p-value."""
        both = (self.first_N, self.second_N, self.clusters_N)
        apart = paired_bootstrap(*both, resamples=bootstrap.resamples, seed=bootstrap.stream(name))
        return {
            **entry(apart, len(self.first_N), len(set(self.clusters_N))),
            "mde": round(detectable_between(*both), 6),
            # significant digits: a small p is not a p of 0
            "mcnemar_p": float(f"{mcnemar(*both):.6g}"),
        }


@dataclass(frozen=True, slots=True)
class UnpairedDifference:
    """The mean rate of some clusters minus that of others."""

    first_C: np.ndarray
    second_C: np.ndarray
    answers: int  # behind the first

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry:
        """Gives the difference; its clusters are those of the first."""
        apart = unpaired_bootstrap(
            self.first_C,
            self.second_C,
            resamples=bootstrap.resamples,
            seed=bootstrap.stream(name),
        )
        return entry(apart, self.answers, len(self.first_C))
