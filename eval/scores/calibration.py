"""Whether a contender knows what it knows: its confidence against whether it was right.

A declined answer claims nothing, so it has no part in calibration.
"""

from dataclasses import dataclass
from functools import cache
from math import erf
from typing import NamedTuple

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.sheet import Sheet
from eval.scores.intervals import Entry, Interval, cluster_variance, entry
from eval.scores.measured import Bootstrap, Numbers
from eval.scores.numbers import Estimate
from eval.suites.catalog import NOT_IN_THE_QUESTION
from recipes.vocabulary import AnswerMode, Outcome

KEPT = 0.8  # share of the claims that risk_at_80 looks at
BINS, LEAST_IN_BIN = 10, 20
# of the claims on either side of a threshold say how often one at the threshold is wrong
NEIGHBOURS = 0.1
FOLDED_TO = 6.0  # beyond so many standard deviations |gap + noise| has the mean |gap|


class Claims(NamedTuple):
    """Answers that claim something, each with its confidence, whether it was right, and its
    cluster.
    """

    confidence_N: np.ndarray
    right_N: np.ndarray
    clusters_N: np.ndarray


def claims(main: Columns) -> Claims | None:
    """Gives the closed-book answers that were not declined and have a confidence; None where there
    are none.

    They come from the first mode that has any: free, the begun note, forced choice.

    Args:
        main: main answers of one contender.
    """
    closed = select(main, suite=NOT_IN_THE_QUESTION)
    declined_N = closed["outcome"] == Outcome.ABSTAINED
    claimed = closed.at(~np.isnan(closed["confidence"]) & ~declined_N)
    for mode in AnswerMode:
        rows = select(claimed, mode=mode)
        if len(rows["mode"]):
            return Claims(
                rows["confidence"],
                (rows["outcome"] == Outcome.CORRECT).astype(float),
                rows.clusters_N,
            )
    return None


def calibration(sheet: Sheet) -> Numbers:
    """Gives auroc, ece and risk_at_80 of one contender's closed-book answers; nothing where no
    answer has a confidence.

    Args:
        sheet: its answers.
    """
    if found := claims(sheet.main):
        yield "auroc", auroc(found)
        yield "ece", CalibrationError(found)
        yield "risk_at_80", risk(found, KEPT)


def auroc(found: Claims) -> Estimate | None:
    """Gives the chance that a right answer is more confident than a wrong one, ties counting half;
    None without both.

    Args:
        found: n claims.

    Returns:
        0..1; 0.5 for confidence that says nothing.

    Source: DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 (clusters).
    """
    right = found.right_N > 0
    num_right, num_wrong = int(right.sum()), int((~right).sum())
    if not num_right or not num_wrong:
        return None
    below_N, above_N = (
        _placed(found.confidence_N, found.confidence_N[~right]),
        1 - _placed(found.confidence_N, found.confidence_N[right]),
    )
    placed_N = np.where(right, below_N, above_N)
    value = float(placed_N[right].mean())
    influence_N = (placed_N - value) / np.where(right, num_right, num_wrong)
    least = min(len(set(found.clusters_N[side])) for side in (right, ~right))
    return Estimate(value, influence_N, found.clusters_N, trials=(least, len(right)))


def _placed(values_N: np.ndarray, others_M: np.ndarray) -> np.ndarray:
    """Share of the others that lie below each value, ties counting half."""
    ordered_M = np.sort(others_M)
    return (
        np.searchsorted(ordered_M, values_N, "left") + np.searchsorted(ordered_M, values_N, "right")
    ) / (2 * len(ordered_M))


def bins_of(confidence_N: np.ndarray) -> np.ndarray:
    """Gives the number of each claim's bin, 0 the least confident: bins of equal count, equal
    confidences never parted.

    At most 10 bins, and about 20 claims in each: the gap of a bin with few claims is mostly noise.
    """
    num_bins = int(np.clip(len(confidence_N) // LEAST_IN_BIN, 1, BINS))
    edges = np.unique(np.quantile(confidence_N, np.arange(1, num_bins) / num_bins))
    _, index_N = np.unique(np.searchsorted(edges, confidence_N, "left"), return_inverse=True)
    return index_N


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """The expected calibration error: the mean over bins of |accuracy - mean confidence|, less what
    noise alone would add.

    The plain sum is never near zero: with 500 claims a calibrated model shows about 0.05. The value
    is the error whose noisy sum is the one seen, if all bins were off by as much; the ends are the
    errors that would show as much or more, and as much or less, once in forty times. Where a single
    bin is off and the others are not, it reads too high.

    Source: Naeini et al. 2015; Kumar, Liang and Ma 2019 (the bias of the plain sum).
    """

    found: Claims

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry:
        """Gives the error, 0..1."""
        found = self.found
        index_N = bins_of(found.confidence_N)
        counts_B = np.bincount(index_N)
        gap_N = found.right_N - found.confidence_N
        gap_B = np.bincount(index_N, weights=gap_N) / counts_B
        influence_N = (gap_N - gap_B[index_N]) / counts_B[index_N]
        bins = [index_N == b for b in range(len(gap_B))]
        noise_B = np.array(
            [_noise(influence_N[at], found.right_N[at], found.clusters_N[at]) for at in bins]
        )
        shown = float(counts_B @ np.abs(gap_B) / counts_B.sum())
        interval = _unbiased(shown, noise_B, counts_B / counts_B.sum())
        return entry(interval, len(gap_N), len(set(found.clusters_N)))


def _noise(influence_N: np.ndarray, right_N: np.ndarray, clusters_N: np.ndarray) -> float:
    """Standard deviation of a bin's gap; a bin that is all right still has that of one right and
    one wrong claim more.
    """
    num_clusters = len(set(clusters_N))
    rate = (right_N.mean() * num_clusters + 1) / (num_clusters + 2)
    seen = cluster_variance(influence_N, clusters_N) if num_clusters > 1 else 0.0
    return float(np.sqrt(max(seen, rate * (1 - rate) / num_clusters)))


def _unbiased(shown: float, noise_B: np.ndarray, weight_B: np.ndarray) -> Interval:
    """The errors, equal in all bins, that fit a sum of absolute noisy gaps."""
    error_G = np.linspace(0, 1, 1001)
    z_GB = error_G[:, None] / noise_B
    folded_GB = np.where(
        z_GB < FOLDED_TO, noise_B * np.interp(z_GB, *_folded_normal()), error_G[:, None]
    )
    mean_G = folded_GB @ weight_B
    spread_G = np.sqrt(
        np.maximum(error_G[:, None] ** 2 + noise_B**2 - folded_GB**2, 0) @ weight_B**2
    )
    low, value, high = (
        float(np.interp(shown, mean_G + z * spread_G, error_G)) for z in (1.96, 0, -1.96)
    )
    return Interval(value, low, high)


@cache
def _folded_normal() -> tuple[np.ndarray, np.ndarray]:
    """The mean of |z + noise| at each z, noise standard normal."""
    z_Z = np.linspace(0, FOLDED_TO, 1201)
    return z_Z, np.sqrt(2 / np.pi) * np.exp(-z_Z * z_Z / 2) + z_Z * np.array(
        [erf(z / 2**0.5) for z in z_Z]
    )


def kept_share(confidence_N: np.ndarray, share: float) -> np.ndarray:
    """Gives how much of each claim belongs to the `share` most confident: 1, 0, and a fraction for
    claims tied at the threshold.
    """
    _, index_N, counts_V = np.unique(confidence_N, return_inverse=True, return_counts=True)
    above_V = len(confidence_N) - np.cumsum(counts_V)
    return np.clip((share * len(confidence_N) - above_V) / counts_V, 0, 1)[index_N]


def risk(found: Claims, share: float) -> Estimate:
    """Gives the share of wrong claims among the most confident ones.

    The threshold moves with the sample too; that part of the spread comes from how often claims
    near it are wrong.

    Args:
        found: n claims.
        share: how many of them count, 0 < share <= 1.

    Source: Geifman and El-Yaniv 2017 (risk and coverage).
    """
    kept_N, wrong_N = kept_share(found.confidence_N, share), 1 - found.right_N
    near_N = kept_share(found.confidence_N, min(share + NEIGHBOURS, 1)) - kept_share(
        found.confidence_N, max(share - NEIGHBOURS, 0)
    )
    value = float(kept_N @ wrong_N / kept_N.sum())
    at_threshold = float(near_N @ wrong_N / near_N.sum())
    influence_N = (wrong_N * kept_N - at_threshold * (kept_N - share) - value * share) / (
        share * len(wrong_N)
    )
    num_clusters = len(set(found.clusters_N))
    # what the threshold adds can make claims worth less than one trial each
    least = 1.0 if 0 < value < 1 else share * num_clusters
    return Estimate(
        min(value, 1.0),
        influence_N,
        found.clusters_N,
        trials=(least, share * len(wrong_N)),
        answers=max(round(share * len(wrong_N)), 1),
        clusters=max(round(share * num_clusters), 1),
    )
