"""Look-up by hand: the arms of the base, when it is called, and how much of the gain it brings."""

from itertools import chain

import numpy as np
import pytest

from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet
from eval.scores.lookup_use import Closure, lookup_use
from eval.scores.measured import Bootstrap, measured
from eval.scores.outcomes import outcomes
from tests.eval.test_scorecard import row

# how the metrics of look-ups begin; the others count outcomes
LOOKUPS = (
    "kb_",
    "lookup",
    "unknown_",
    "known_",
    "youden",
    "retrieval",
    "multi_hop",
    "long_sums",
    "given_",
    "reasoning_w",
)


def found_in(rows):
    sheet = Sheet.of(read_answers(rows), "student")
    found = measured(chain(outcomes(sheet), lookup_use(sheet)), Bootstrap(400, 1))
    return {name: one for name, one in found.items() if name.startswith(LOOKUPS)}


def test_without_a_base_nothing_is_measured():
    assert found_in([row(), row(suite="reasoning")]) == {}


def test_arms_by_hand():
    rows = [
        row(question=f"q{n}", base="OFF", outcome="correct" if n < 1 else "abstained")
        for n in range(4)
    ]
    rows += [
        row(question=f"q{n}", base="FULL", outcome="correct" if n < 3 else "wrong")
        for n in range(4)
    ]
    rows += [
        row(question=f"q{n}", base="DELETED", outcome="abstained" if n < 2 else "wrong")
        for n in range(4)
    ]
    rows += [
        row(
            question="q0",
            base="SWAPPED",
            gold="Oslo",
            swapped_gold="Rome",
            text="<think> x.</think> Rome.",
            outcome="wrong",
        )
    ]
    rows += [row(question="q1", base="SWAPPED", gold="Oslo", swapped_gold="Rome", text="Oslo.")]
    found = found_in(rows)
    deleted = {"kb_deleted.abstained": 0.5, "kb_swapped.followed": 0.5}
    expected = {"kb_off.correct": 0.25, "kb_off.abstained": 0.75, "kb_full.correct": 0.75} | deleted
    assert {name: one["value"] for name, one in found.items()} == expected


def test_calls_count_as_needed_where_most_tries_without_base_fail():
    rows = []
    for n, (tries, called) in enumerate([("ccw", 0), ("cww", 1), ("www", 1), ("www", 0)]):
        rows += [
            row(
                question=f"q{n}", base="OFF", sample=k, outcome="correct" if one == "c" else "wrong"
            )
            for k, one in enumerate(tries)
        ]
        rows += [row(question=f"q{n}", base="FULL", searched=called)]
    rows += [row(suite="open_book", question=f"o{n}", searched=n % 2) for n in range(4)]
    found = found_in(rows)
    assert found["unknown_with_tools.searched"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert (
        found["known_with_tools.searched"]["value"],
        found["known_with_tools.searched"]["n"],
    ) == (
        pytest.approx(2 / 5),
        5,
    )
    assert found["youden_j"]["value"] == pytest.approx(2 / 3 - 2 / 5, abs=1e-6)
    assert (
        -1
        <= found["youden_j"]["low"]
        <= found["youden_j"]["value"]
        <= found["youden_j"]["high"]
        <= 1
    )


def test_an_answer_after_a_call_is_not_known_by_heart():
    rows = [row(question="q0", searched=1), row(question="q1", searched=0)]
    found = found_in(rows)
    assert "unknown_with_tools.searched" not in found, "nobody knows whether q0 was known"
    assert (
        found["known_with_tools.searched"]["value"],
        found["known_with_tools.searched"]["n"],
    ) == (0, 1)


def test_closure_by_hand_and_its_ends_when_all_is_right():
    names, others = np.arange(100), np.arange(100, 200)
    off, full, given = names < 20, names < 60, others < 190
    found = Closure((names, full), (names, off), (others, given)).interval(2000, 1)
    assert found.value == pytest.approx((0.6 - 0.2) / (0.9 - 0.2))
    assert found.low < found.value < found.high
    sure = Closure((names, np.ones(100)), (names, np.zeros(100)), (others, np.ones(100))).interval(
        2000, 1
    )
    assert sure.value == 1 and sure.low < 0.99 and sure.high > 1.01, (
        "a hundred of a hundred is not certainly all"
    )


def test_there_is_no_share_of_a_gain_that_may_be_none():
    names = np.arange(20)
    assert (
        Closure((names, names < 6), (names, names < 5), (names + 100, names < 7)).interval(500, 1)
        is None
    )
    assert (
        Closure((names, names < 6), (names, names < 5), (names[:0], names[:0] < 7)).interval(500, 1)
        is None
    )
