"""Scales, ticks and labels: numbers lie where they say, round numbers are the ticks, labels keep
apart.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report.svg import ROW, Axis, axis_of, compact, nice, spread

names = st.text("abcdefgh", min_size=1, max_size=4)


def test_an_axis_is_linear_or_logarithmic_and_stops_at_its_ends():
    assert [Axis(0, 10, 100, 0).at(value) for value in (-5, 0, 2.5, 10, 99)] == [100, 100, 75, 0, 0]
    assert [Axis(1, 100, 0, 50, log=True).at(value) for value in (0, 1, 10, 100)] == [0, 0, 25, 50]


@pytest.mark.parametrize(
    ("low", "high", "log", "told"),
    [
        (0, 1, False, "0 0.5 1"),
        (0, 100, False, "0 50 100"),
        (3, 17, False, "5 10 15"),
        (20_000, 3e7, True, "100k 1M 10M"),
        (0.004, 9, True, "0.01 0.1 1"),
        (30, 80, True, "50"),
        (0.8, 1.2, True, "1"),
    ],
)
def test_ticks_are_round_numbers(low, high, log, told):
    assert " ".join(text for _, text in Axis(low, high, 0, 100, log).ticks()) == told


def test_few_values_are_their_own_ticks():
    assert [text for _, text in axis_of([64, 1, 4, 16, 4], 0, 200, log=True)[1]] == [
        "1",
        "4",
        "16",
        "64",
    ]
    assert [text for _, text in axis_of([0, 1, 1000], 0, 200)[1]] == ["0", "500", "1000"], (
        "not where they would cover each other"
    )
    axis, ticks = axis_of([7, 7], 0, 200)
    assert (axis.at(7), ticks) == (100, [(7, "7")])


@given(st.floats(1e-9, 1e12))
def test_a_nice_number_is_no_less_and_at_most_two_and_a_half_times_as_much(value):
    assert value * (1 - 1e-8) <= nice(value) <= 2.5 * value * (1 + 1e-8)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (4096, "4096"),
        (9999.6, "10k"),
        (12_000, "12k"),
        (999_999, "1M"),
        (1.3e9, "1.3B"),
    ],
)
def test_numbers_are_short(value, told):
    assert compact(value) == told


@given(st.dictionaries(names, st.floats(0, 200), min_size=1, max_size=12))
def test_labels_keep_a_row_apart_inside_the_frame_and_in_order(wanted):
    rows = spread(wanted, 10, 190)
    heights = sorted(rows.values())
    assert all(below - above >= ROW - 1e-9 for above, below in pairwise(heights))
    assert heights[0] >= 10 - 1e-9 and heights[-1] <= 190 + 1e-9
    assert sorted(rows, key=lambda name: (rows[name], name)) == sorted(
        wanted, key=lambda name: (wanted[name], name)
    )


def test_a_label_with_room_stays_where_it_was_wanted():
    assert spread({"a": 50, "b": 100}, 10, 190) == {"a": 50, "b": 100}
