"""Paired and unpaired differences: by hand, and how often their intervals hold the truth."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scores.intervals import CONFIDENCE
from eval.scores.paired_intervals import (
    detectable_between,
    mcnemar,
    minimal_detectable_effect,
    paired_bootstrap,
    unpaired_bootstrap,
)


def test_same_seed_same_interval():
    first, second = np.random.default_rng(2).random((2, 300))
    assert paired_bootstrap(first, second, seed=5) == paired_bootstrap(first, second, seed=5)
    assert paired_bootstrap(first, second, seed=5) != paired_bootstrap(first, second, seed=6)


def test_two_contenders_that_never_differ_are_not_certainly_equal():
    same = np.arange(500) % 2
    found = paired_bootstrap(same, same)
    assert found.value == 0
    assert found.low == pytest.approx(-3 / 502, abs=1e-9)  # the rule of three
    assert found.high == pytest.approx(3 / 502, abs=1e-9)


def test_none_right_in_either_group_is_not_certainly_no_difference():
    found = unpaired_bootstrap(np.zeros(500), np.zeros(250))
    assert found.value == 0
    assert found.high == pytest.approx(3 / 502, abs=2 / 502)
    assert found.low == pytest.approx(-3 / 252, abs=2 / 252)


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_an_extreme_difference_lies_within_its_interval(value):
    ones, zeros = np.ones(40), np.zeros(40)
    found = paired_bootstrap(ones, zeros) if value > 0 else paired_bootstrap(zeros, ones)
    assert found.value == value
    assert found.low <= value <= found.high
    assert found.high - found.low > 0.02


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 9)), min_size=1, max_size=50)
)
def test_paired_differences_are_antisymmetric_in_value_and_ordered(rows):
    first, second, clusters = (np.array(column) for column in zip(*rows, strict=True))
    ahead, behind = (
        paired_bootstrap(first, second, clusters, resamples=200),
        paired_bootstrap(second, first, clusters, resamples=200),
    )
    assert -1 <= ahead.low <= ahead.value <= ahead.high <= 1
    assert ahead.value == pytest.approx(-behind.value)


def test_clusters_widen_a_paired_interval():
    rng = np.random.default_rng(3)
    first, second = np.repeat(rng.random(100) < 0.6, 8), np.repeat(rng.random(100) < 0.5, 8)
    alone, clustered = (
        paired_bootstrap(first, second),
        paired_bootstrap(first, second, np.repeat(np.arange(100), 8)),
    )
    assert alone.value == pytest.approx(clustered.value)
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def _contenders(rng, n, first_rate, second_rate):
    """Two contenders whose successes correlate through the difficulty of the question."""
    shared, own = rng.standard_normal(n), rng.standard_normal((2, n))
    skill = 0.7**0.5 * shared + 0.3**0.5 * own
    bars = np.array([[NormalDist().inv_cdf(first_rate)], [NormalDist().inv_cdf(second_rate)]])
    return skill < bars


@pytest.mark.parametrize(
    ("n", "first_rate", "second_rate"), [(100, 0.65, 0.6), (300, 0.97, 0.99), (60, 0.5, 0.3)]
)
def test_paired_intervals_cover_the_truth(n, first_rate, second_rate):
    rng, trials = np.random.default_rng(4), 500
    hits = 0
    for trial in range(trials):
        found = paired_bootstrap(
            *_contenders(rng, n, first_rate, second_rate), resamples=400, seed=trial
        )
        hits += found.low <= first_rate - second_rate <= found.high
    assert 0.92 <= hits / trials <= 0.995


@pytest.mark.parametrize(("first_rate", "second_rate"), [(0.5, 0.4), (0.01, 0.0)])
def test_unpaired_intervals_cover_the_truth(first_rate, second_rate):
    rng, trials = np.random.default_rng(5), 500
    hits = 0
    for trial in range(trials):
        found = unpaired_bootstrap(
            rng.random(150) < first_rate, rng.random(100) < second_rate, resamples=400, seed=trial
        )
        hits += found.low <= first_rate - second_rate <= found.high
    assert hits / trials >= 0.92


def test_pairing_sees_what_two_separate_groups_hide():
    rng, trials = np.random.default_rng(7), 120
    seen = {"paired": 0, "unpaired": 0}
    for trial in range(trials):
        first, second = _contenders(rng, 500, 0.65, 0.6)
        seen["paired"] += paired_bootstrap(first, second, resamples=400, seed=trial).low > 0
        seen["unpaired"] += unpaired_bootstrap(first, second, resamples=400, seed=trial).low > 0
    assert seen["paired"] / trials > 0.5
    assert seen["unpaired"] / trials < 0.45


def test_minimal_detectable_effect_by_hand_and_by_power():
    assert minimal_detectable_effect(100, spread=1.0) == pytest.approx(
        (1.959964 + 0.841621) / 10, abs=1e-5
    )
    assert minimal_detectable_effect(400) == pytest.approx(minimal_detectable_effect(100) / 2)


def test_an_effect_called_detectable_is_seen_four_times_in_five():
    rng, trials, gap = np.random.default_rng(8), 300, 0.069
    pairs = [_contenders(rng, 400, 0.6 + gap, 0.6) for _ in range(trials)]
    effect = np.mean([detectable_between(first, second, np.arange(400)) for first, second in pairs])
    seen = np.mean(
        [
            paired_bootstrap(first, second, resamples=400, seed=t).low > 0
            for t, (first, second) in enumerate(pairs)
        ]
    )
    assert effect == pytest.approx(gap, abs=0.003)
    assert seen == pytest.approx(0.8, abs=0.08)


def test_a_thousand_different_clusters_are_no_trouble():
    first, second = np.random.default_rng(9).random((2, 1000))  # no two alike: the slow case
    found = paired_bootstrap(first, second, np.arange(1000), resamples=2000)
    assert found.value == pytest.approx((first - second).mean())
    half = 1.96 * (first - second).std() / 1000**0.5
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert CONFIDENCE == 0.95


def test_mcnemar_by_hand():
    first, second = np.array([1] * 10 + [0] * 2 + [1] * 30), np.array([0] * 10 + [1] * 2 + [1] * 30)
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(second, first) == mcnemar(first, second)
    assert mcnemar(first, first) == 1
    assert mcnemar([1, 0], [0, 1]) == 1
    assert 0 < mcnemar(np.ones(900), np.zeros(900)) < 1e-200


def test_mcnemar_counts_a_cluster_once():
    first, second = np.repeat([1, 1, 1, 0], 5), np.repeat([0, 0, 0, 0], 5)
    assert mcnemar(first, second, np.repeat(np.arange(4), 5)) == pytest.approx(2 / 2**3)
    assert mcnemar([1, 0, 1, 0], [0, 1, 0, 1], np.array([0, 0, 1, 1])) == 1, (
        "a cluster in which neither is ahead says nothing"
    )


def test_mcnemar_rejects_no_more_often_than_it_says():
    rng = np.random.default_rng(10)
    found = np.array([mcnemar(*_contenders(rng, 200, 0.6, 0.6)) for _ in range(1000)])
    assert (found <= 0.05).mean() <= 0.065


def test_pseudo_clusters_shrink_where_differences_within_a_cluster_cancel():
    first, second = np.tile([1, 0, 0], 30), np.tile([0, 1, 0], 30)
    alone, clustered = (
        paired_bootstrap(first, second),
        paired_bootstrap(first, second, np.repeat(np.arange(30), 3)),
    )
    assert alone.high > 0.05 and clustered.high < 0.02
