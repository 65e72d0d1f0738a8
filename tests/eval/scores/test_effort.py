"""Difficulty, token caps and distractors by hand; reasoning above chance."""

import math

import numpy as np
import pytest

from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet, main_answers
from eval.scores.effort import effort, effort_curves, need_slope, slope
from eval.scores.measured import Bootstrap, measured, measured_curves
from eval.scores.outcomes import above_chance
from tests.eval.test_scorecard import row

BOOTSTRAP = Bootstrap(100, 1)


def solved(number, **changed):
    return row(suite="reasoning", question=f"q{number}", **changed)


def test_need_slope_is_within_families():
    rows = [
        solved(n, family="easy", difficulty=n % 3, completion_tokens=10 * 2 ** (n % 3))
        for n in range(9)
    ]
    rows += [
        solved(n, family="hard", difficulty=5 + n % 3, completion_tokens=9000 * 2 ** (n % 3))
        for n in range(10, 19)
    ]
    rows += [
        solved(n, difficulty=3, completion_tokens=10**6, outcome="wrong") for n in range(20, 25)
    ]
    found = need_slope(main_answers(read_answers(rows))).entry("need_slope", BOOTSTRAP)
    assert found["value"] == pytest.approx(math.log(2), abs=1e-6)
    assert found["n"] == 18


def test_slope_agrees_with_least_squares_and_covers_the_truth():
    rng, hits = np.random.default_rng(1), 0
    for trial in range(300):
        level = rng.integers(0, 4, 120).astype(float)
        log = 2 + 0.3 * level + rng.standard_normal(120) * (0.2 + 0.2 * level)
        found = slope(level, log, np.zeros(120), np.arange(120)).entry("slope", BOOTSTRAP)
        if not trial:
            assert found["value"] == pytest.approx(np.polyfit(level, log, 1)[0], abs=1e-6)
        hits += found["low"] <= 0.3 <= found["high"]
    assert 0.92 <= hits / 300 <= 0.98


@pytest.mark.parametrize("difficulty", [None, 2])
def test_one_level_has_no_slope(difficulty):
    rows = [solved(n, difficulty=difficulty) for n in range(9)]
    assert need_slope(main_answers(read_answers(rows))) is None


def test_budgets_and_curves_by_hand():
    rows = [solved(n, difficulty=n % 2, completion_tokens=10 + n) for n in range(4)]
    rows += [
        solved(n, budget=cap, outcome="correct" if n < right else "truncated")
        for cap, right in ((8, 1), (64, 3))
        for n in range(4)
    ]
    rows += [
        row(
            suite="open_book",
            question=f"o{n}",
            distractors=count,
            outcome="correct" if n >= count else "wrong",
        )
        for count in (0, 1)
        for n in range(4)
    ]
    rows += [row(suite="counterfactual", question="c0", outcome="wrong")]
    sheet = Sheet.of(read_answers(rows), "student")
    budgets = measured(effort(sheet), BOOTSTRAP)
    budgets.pop("need_slope")
    assert {name: found["value"] for name, found in budgets.items()} == {
        "accuracy_under_budget/8": 0.25,
        "accuracy_under_budget/64": 0.75,
    }
    made = measured_curves(effort_curves(sheet), BOOTSTRAP)
    assert [(point["x"], point["y"]) for point in made["accuracy_by_budget"]] == [
        (8, 0.25),
        (64, 0.75),
    ]
    assert [(point["x"], point["y"]) for point in made["accuracy_by_distractors"]] == [
        (0, 1.0),
        (1, 0.75),
    ], "only suites that vary them"
    assert [(point["x"], point["y"]) for point in made["tokens_by_difficulty"]] == [
        (0, 11),
        (1, 12),
    ]


def test_above_chance_by_hand():
    rows = [
        solved(
            n, family="coin", gold="no" if n < 6 else "yes", outcome="correct" if n < 8 else "wrong"
        )
        for n in range(10)
    ]
    rows += [
        solved(n, family="pick", gold="abcde"[n % 5], outcome="correct" if n % 5 else "wrong")
        for n in range(20, 30)
    ]
    rows += [solved(n, family="one answer", gold="7") for n in range(40, 45)] + [
        solved(n, family="no reference") for n in range(50, 55)
    ]
    found = above_chance(read_answers(rows)).entry("above_chance", BOOTSTRAP)
    assert found["value"] == pytest.approx(((0.8 - 0.6) / 0.4 + (0.8 - 0.2) / 0.8) / 2, abs=1e-6)
    assert found["n"] == 20
    assert above_chance(read_answers(rows[-10:])).entry("above_chance", BOOTSTRAP) is None


def test_below_chance_is_negative():
    rows = [solved(n, gold="no" if n < 6 else "yes", outcome="wrong") for n in range(10)]
    assert above_chance(read_answers(rows)).entry("x", BOOTSTRAP)["value"] == pytest.approx(-1.5)
