"""Intervals: values by hand, properties, and coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scores.intervals import (
    Interval,
    cluster_means,
    cluster_variance,
    newcombe,
    rate,
    resampled_totals,
    wilson,
    wilson_of_variance,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 500, 0.0, 0.007624),
        (11, 500, 0.012326, 0.038967),
        (5, 10, 0.236593, 0.763407),
        (500, 500, 0.992376, 1.0),
    ],
)
def test_wilson_gives_the_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=2e-5)


def test_wilson_knows_nothing_without_trials():
    assert wilson(0, 0) == (0.0, 1.0)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_rate_and_stays_a_rate(n, share):
    low, high = wilson(share * n, n)
    assert 0 <= low <= share * n / n <= high <= 1
    assert high > low


@given(hits=st.lists(st.booleans(), min_size=1, max_size=60), width=st.integers(1, 5))
def test_rates_are_ordered_and_count_clusters(hits, width):
    clusters = np.arange(len(hits)) // width
    found = rate(clusters, np.array(hits))
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert (found["n"], found["clusters"]) == (len(hits), len(set(clusters)))


def test_a_rate_is_the_mean_over_clusters_and_its_interval_counts_clusters():
    found = rate(np.array(["a", "a", "a", "b"], dtype=object), np.array([1, 1, 1, 0]))
    assert found["value"] == 0.5
    assert (found["low"], found["high"]) == pytest.approx(wilson(1, 2), abs=1e-6)


def test_a_rate_of_nothing_is_absent():
    assert rate(np.array([]), np.array([])) is None


def test_asking_a_fact_twice_adds_no_certainty():
    hits = np.array([1, 0, 1, 1, 0, 1, 0, 1] * 10)
    once = rate(np.arange(80), hits)
    twice = rate(np.repeat(np.arange(80), 2), np.repeat(hits, 2))
    assert (once["low"], once["high"]) == (twice["low"], twice["high"])


def test_newcombe_matches_the_published_example():
    # Newcombe 1998, table II row (a), method 10: 56/70 against 48/80
    first, second = Interval(56 / 70, *wilson(56, 70)), Interval(48 / 80, *wilson(48, 80))
    assert newcombe(first, second) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)


def test_resampled_totals_start_with_the_sample_and_have_its_mean_and_variance():
    rows = np.array([[1.0, 2.0]] * 30 + [[0.0, 1.0]] * 70)
    totals = resampled_totals(rows, 20_000, np.random.default_rng(0))
    assert totals[0].tolist() == [30.0, 130.0]
    assert totals[1:].mean(axis=0) == pytest.approx([30, 130], abs=0.15)
    assert totals[1:, 0].var() == pytest.approx(100 * 0.3 * 0.7, rel=0.05)
    assert (totals[:, 1] - totals[:, 0] == 100).all(), "columns of a cluster are drawn together"


def test_resampling_counts_distinct_rows_as_drawing_one_by_one_does():
    values, rng = np.array([0.0, 0.0, 0.5, 1.0, 1.0, 1.0]), np.random.default_rng(1)
    ours = resampled_totals(values[:, None], 40_000, rng)[1:, 0]
    plain = values[rng.integers(0, 6, size=(40_000, 6))].sum(axis=1)
    for total in np.arange(0, 6.5, 0.5):
        assert (ours == total).mean() == pytest.approx((plain == total).mean(), abs=0.012)


def test_clustered_rates_cover_the_truth():
    rng, trials = np.random.default_rng(6), 500
    hits = 0
    for _ in range(trials):
        known = np.repeat(rng.random(80) < 0.2, 3)  # three phrasings stand and fall together
        found = rate(np.repeat(np.arange(80), 3), known)
        hits += found["low"] <= 0.2 <= found["high"]
    assert 0.93 <= hits / trials <= 0.98


def test_cluster_means_by_hand():
    assert cluster_means(np.array(["b", "a", "b"], dtype=object), np.array([1, 0, 0])).tolist() == [
        0.0,
        0.5,
    ]


@given(
    value=st.floats(0, 1),
    variance=st.floats(0, 1),
    least=st.integers(1, 50),
    more=st.integers(0, 200),
)
def test_effective_trials_stay_between_clusters_and_answers(value, variance, least, more):
    found = wilson_of_variance(value, variance, least, least + more)
    narrow, wide = (wilson(value * n, n) for n in (least + more, least))
    assert wide[0] - 1e-9 <= found.low <= narrow[0] + 1e-9
    assert narrow[1] - 1e-9 <= found.high <= wide[1] + 1e-9


def test_a_plain_rate_has_the_trials_it_has():
    hits = np.arange(40) < 13
    assert wilson_of_variance(13 / 40, 13 * 27 / 40**3, 40, 40)[1:] == pytest.approx(wilson(13, 40))
    assert cluster_variance((hits - 13 / 40) / 40, np.arange(40)) == pytest.approx(
        13 * 27 / 40**3 * 40 / 39
    )


def test_clusters_whose_answers_differ_are_worth_more_than_one_answer():
    rng = np.random.default_rng(11)
    clusters, hits = np.repeat(np.arange(100), 4), rng.random(400) < 0.5
    found, together = rate(clusters, hits), rate(clusters, np.repeat(hits[:100], 4))
    assert found["high"] - found["low"] < 0.65 * (together["high"] - together["low"])
