"""Intervals: values by hand, properties, and coverage by simulation."""

import time
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scores.answer_table import (
    BATCH_ROWS,
    COLUMNS,
    GIST,
    OPTIONAL,
    main_answers,
    read_answers,
    select,
)
from eval.scores.intervals import (
    CONFIDENCE,
    Interval,
    cluster_means,
    cluster_variance,
    detectable_between,
    mcnemar,
    minimal_detectable_effect,
    newcombe,
    paired_bootstrap,
    rate,
    resampled_totals,
    unpaired_bootstrap,
    wilson,
    wilson_of_variance,
)
from recipes.errors import ShardError


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


def test_clustered_rates_cover_the_truth():
    rng, trials = np.random.default_rng(6), 500
    hits = 0
    for _ in range(trials):
        known = np.repeat(rng.random(80) < 0.2, 3)  # three phrasings stand and fall together
        found = rate(np.repeat(np.arange(80), 3), known)
        hits += found["low"] <= 0.2 <= found["high"]
    assert 0.93 <= hits / trials <= 0.98


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
    rng = np.random.default_rng(9)
    first, second = rng.random((2, 1000))  # no two alike: the slow case
    start = time.perf_counter()
    paired_bootstrap(first, second, np.arange(1000), resamples=2000)
    assert time.perf_counter() - start < 30  # it does not grow with the square of anything
    assert CONFIDENCE == 0.95


def test_cluster_means_by_hand():
    assert cluster_means(np.array(["b", "a", "b"], dtype=object), np.array([1, 0, 0])).tolist() == [
        0.0,
        0.5,
    ]


def _row(**changed):
    blank = dict.fromkeys(COLUMNS, "") | {
        "exposure": 0,
        "completion_tokens": 3,
        "outcome": "correct",
        "mode": "free",
    }
    return blank | {"contender": "student", "suite": "basics", "question_id": "q"} | changed


def test_rows_and_columns_read_the_same():
    rows = [_row(question_id="b", gold=None), _row(question_id="a", outcome="wrong")]
    from_rows = read_answers(iter(rows))
    from_columns = read_answers({name: [row[name] for row in rows] for name in COLUMNS})
    assert from_rows["question_id"].tolist() == ["a", "b"]
    assert from_rows["gold"].tolist() == ["", ""]
    assert set(from_rows) == set(COLUMNS) - {"text"} | set(GIST) | set(OPTIONAL) - {
        "swapped_gold"
    } | {"swapped"}
    for name, column in from_rows.items():
        np.testing.assert_array_equal(column, from_columns[name])
    assert read_answers(from_rows) is from_rows, "columns that were read are given back"
    assert select(from_rows, outcome="wrong")["question_id"].tolist() == ["a"]
    assert select(from_rows, outcome=("wrong", "correct"))["question_id"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([_row(), _row()], "student/basics/free/q was answered twice"),
        ([_row(outcome="right")], r"outcomes \['right'\]"),
        (
            [{name: value for name, value in _row().items() if name != "cluster"}],
            r"columns \['cluster'\] are missing",
        ),
        (
            {name: [value] for name, value in _row().items() if name != "mode"},
            r"columns \['mode'\] are missing",
        ),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(rows, told):
    with pytest.raises(ShardError, match=told):
        read_answers(rows)


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


def test_pseudo_clusters_shrink_where_differences_within_a_cluster_cancel():
    first, second = np.tile([1, 0, 0], 30), np.tile([0, 1, 0], 30)
    alone, clustered = (
        paired_bootstrap(first, second),
        paired_bootstrap(first, second, np.repeat(np.arange(30), 3)),
    )
    assert alone.high > 0.05 and clustered.high < 0.02


def test_columns_that_nobody_told_are_filled_in():
    columns = read_answers(
        [
            _row(),
            _row(question_id="r", confidence=0.5, difficulty=2, sample=None, searched=0, base=None),
        ]
    )
    assert columns["confidence"].tolist()[1] == 0.5 and np.isnan(columns["confidence"][0])
    assert (
        np.isnan(columns["difficulty"][0])
        and np.isnan(columns["searched"][0])
        and columns["searched"][1] == 0
    )
    assert all(columns[name].tolist() == [0, 0] for name in ("sample", "distractors", "budget"))
    assert (
        columns["base"].tolist() == ["", ""]
        and not columns["swapped"].any()
        and not columns["follows"].any()
    )


def test_what_stays_of_an_answer_does_not_grow_with_its_text():
    rows = [
        _row(question_id=str(n), text=f"<think> {n} " + "x" * 100_000 + "</think> 7.")
        for n in range(3)
    ]
    columns = read_answers(iter(rows))
    assert sum(column.nbytes for column in columns.values()) < 3 * 250
    assert len(set(columns["said"])) == 1, "the same final answer"
    assert len(set(columns["shape"])) == 1, "numbers aside, the same text"
    assert columns["choice"].tolist() == ["", "", ""]
    assert read_answers([_row(mode="choice", text=" Oslo ")])["choice"].tolist() == ["Oslo"]


def test_many_rows_are_read_like_few():
    rows = [
        _row(question_id=f"{n:05d}", outcome="wrong" if n % 3 else "correct")
        for n in range(2 * BATCH_ROWS + 5)
    ]
    columns = read_answers(iter(rows[::-1]))
    assert columns["question_id"].tolist() == [row["question_id"] for row in rows]
    assert columns["outcome"].tolist() == [row["outcome"] for row in rows]


def test_what_stays_of_an_answer_is_small():
    tracemalloc.start()
    columns = read_answers(
        _row(question_id=f"{n // 8:06d}", sample=n % 8, text=f"{n}", confidence=0.5)
        for n in range(5 * BATCH_ROWS)
    )
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 75 * len(columns["suite"]), (
        "an eighth of a question's name and its place, and the row"
    )


def test_the_same_question_in_other_ways_is_not_the_same_answer():
    ways = [
        {},
        {"sample": 1},
        {"base": "OFF"},
        {"budget": 64},
        {"distractors": 3},
        {"mode": "note"},
    ]
    columns = read_answers([_row(**way) for way in reversed(ways)])
    assert len(columns["suite"]) == len(ways)
    main = main_answers(columns)
    assert main["mode"].tolist() == ["free", "note"]
    with pytest.raises(
        ShardError, match="student/basics/free/q/sample 1/base OFF was answered twice"
    ):
        read_answers([_row(sample=1, base="OFF")] * 2)


def test_the_main_answer_has_the_fewest_distractors_it_was_asked_with():
    columns = read_answers(
        [_row(distractors=count, completion_tokens=count) for count in (8, 2, 4)]
    )
    assert main_answers(columns)["completion_tokens"].tolist() == [2]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"base": "full"}, r"bases \['full'\]"),
        ({"confidence": 1.5}, "confidence 1.5 is not within 0..1"),
    ],
)
def test_strange_optional_cells_are_refused(changed, told):
    with pytest.raises(ShardError, match=told):
        read_answers([_row(**changed)])
