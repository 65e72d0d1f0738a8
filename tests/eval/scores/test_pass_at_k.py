"""Several tries: the unbiased estimator, variety, and one shape whatever is asked."""

from itertools import combinations

import numpy as np
import pytest

from eval.ask.text_features import template
from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet
from eval.scores.measured import Bootstrap, measured
from eval.scores.pass_at_k import pass_at, several_tries, template_collapse, tries
from tests.eval.test_scorecard import row


def sheet_of(rows):
    table = read_answers(rows)
    return Sheet.of(table, table["contender"][0])


def found_in(numbers):
    return measured(numbers, Bootstrap(100, 1))


def sheet(*outcomes, contender="student", texts=None):
    """One problem for each string of c and w, a try a letter."""
    return sheet_of(
        [
            row(
                contender,
                "reasoning",
                f"q{n}",
                sample=k + 1,
                outcome="correct" if one == "c" else "wrong",
                text=texts[n][k] if texts else "7",
            )
            for n, told in enumerate(outcomes)
            for k, one in enumerate(told)
        ]
    )


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_try(k):
    for right in range(6):
        told = [1] * right + [0] * (5 - right)
        drawn = [any(draw) for draw in combinations(told, k)]
        assert pass_at(k, np.array([right]), np.array([5]))[0] == pytest.approx(np.mean(drawn))


def test_several_tries_by_hand():
    found = found_in(
        several_tries(
            sheet("cccc", "cwww", "wwww"), sheet("cccc", "wcww", "wwwc", contender="teacher")
        )
    )
    assert found["pass_at_k/1"]["value"] == pytest.approx((1 + 0.25 + 0) / 3, abs=1e-6)
    assert found["pass_at_k/2"]["value"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
    assert found["pass_at_k/4"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["pass_gap"]["value"] == pytest.approx(2 / 3 - 1.25 / 3, abs=1e-6)
    assert found["nines"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["coverage_of_teacher"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert (found["nines"]["n"], found["nines"]["clusters"]) == (12, 3)


def test_with_unequal_numbers_of_tries_k_goes_to_the_least():
    found = found_in(several_tries(sheet("cwc", "wwwwww"), None))
    assert [name for name in found if "/" in name] == ["pass_at_k/1", "pass_at_k/2", "pass_at_k/3"]
    assert "coverage_of_teacher" not in found


def test_one_try_each_measures_nothing():
    assert tries(sheet("c", "w").answers) is None
    assert found_in(several_tries(sheet("c", "w"), sheet("c", "w"))) == {}
    assert (
        found_in(several_tries(sheet("cc", "w"), sheet("c", "c"))).get("coverage_of_teacher")
        is None
    )


def test_the_greedy_answer_is_no_try():
    rows = [
        row("student", "reasoning", "q", sample=k, outcome="correct" if k == 0 else "wrong")
        for k in range(3)
    ]
    found = found_in(several_tries(sheet_of(rows), None))
    assert found["pass_at_k/2"]["value"] == 0 and found["pass_at_k/2"]["n"] == 2
    assert found_in(several_tries(sheet_of(rows[:2]), None)) == {}


def test_distinct_answers_compare_final_answers():
    found = found_in(
        several_tries(
            sheet(
                "cccc",
                "wwww",
                texts=[["7", "7.", "<think> a.</think> 7.", "7"], ["1", "2", "3", "3"]],
            ),
            None,
        )
    )
    assert found["distinct_answers"]["value"] == pytest.approx((1 / 4 + 3 / 4) / 2)


def test_shapes_keep_the_template_and_drop_what_fills_it():
    assert (
        template("<think> Mara Rex went  to Oslo.</think> 17,5.")
        == "<think> A went to A.</think> 0."
    )
    assert template("3 + 4 = 7") == template("12 + 9 = 21") != template("3 - 4 = 7")


def test_template_collapse_by_hand():
    said = [("a", "x 1"), ("a", "x 2"), ("b", "x 3"), ("b", "y 4")]
    rows = [
        row(suite="reasoning", question=f"q{n}", family=family, text=text)
        for n, (family, text) in enumerate(said)
    ]
    found = found_in(template_collapse(sheet_of(rows)))["template_collapse"]
    # of the four pairs across families, x0 with x0 twice
    assert found["value"] == pytest.approx(2 / 4)
    assert found["low"] < 0.5 < found["high"]
    assert found_in(template_collapse(sheet_of(rows[:2]))) == {}, "one family says nothing"


def test_template_collapse_covers_the_truth():
    """Three shapes with chances .5, .3, .2 whatever the family: two answers share one with .38."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        shapes = rng.choice(["x", "y", "z"], size=80, p=[0.5, 0.3, 0.2])
        rows = [
            row(suite="reasoning", question=f"q{n}", family=f"f{n % 4}", text=text)
            for n, text in enumerate(shapes)
        ]
        found = found_in(template_collapse(sheet_of(rows)))["template_collapse"]
        hits += found["low"] <= 0.38 <= found["high"]
    assert 0.9 <= hits / 200 <= 0.985
