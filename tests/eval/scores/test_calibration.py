"""Confidence against correctness: values by hand, ties, clusters, and what noise alone would
show.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet
from eval.scores.calibration import (
    CalibrationError,
    Claims,
    auroc,
    bins_of,
    calibration,
    claims,
    kept_share,
    risk,
)
from eval.scores.calibration_curves import confidence_curves
from eval.scores.measured import Bootstrap, measured_curves
from tests.eval.test_scorecard import row

BOOTSTRAP = Bootstrap(100, 1)


def ends(number):
    """The entry of a number; none of these is resampled."""
    return number and number.entry("name", BOOTSTRAP)


def curves(student, teacher):
    return measured_curves(confidence_curves(student, teacher), BOOTSTRAP)


def made(confidence, right, clusters=None):
    return Claims(
        np.array(confidence, float),
        np.array(right, float),
        np.arange(len(right)) if clusters is None else np.array(clusters),
    )


def test_auroc_counts_pairs_and_halves_ties():
    # right .9 .5; wrong .5 .1: pairs 1, 1, 0.5, 1
    found = ends(auroc(made([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])))
    assert found["value"] == pytest.approx(3.5 / 4)
    assert found["low"] < found["value"] < found["high"] <= 1


def test_auroc_needs_right_and_wrong_claims():
    assert ends(auroc(made([0.9, 0.1], [1, 1]))) is None


def test_a_perfect_order_is_not_a_certain_one():
    found = ends(auroc(made(np.linspace(0, 1, 40), np.arange(40) >= 20)))
    assert (found["value"], found["high"]) == (1, 1)
    assert found["low"] == pytest.approx(20 / (20 + 1.96**2), abs=1e-6), (
        "twenty right and twenty wrong: Wilson's low end of 20 of 20"
    )


def test_asking_twice_adds_no_certainty():
    rng = np.random.default_rng(1)
    confidence, right = rng.random(100), rng.random(100) < 0.5
    once, twice = (
        made(np.repeat(confidence, k), np.repeat(right, k), np.repeat(np.arange(100), k))
        for k in (1, 2)
    )
    for measure in (lambda found: ends(auroc(found)), lambda found: ends(risk(found, 0.8))):
        assert [measure(once)[end] for end in ("value", "low", "high")] == pytest.approx(
            [measure(twice)[end] for end in ("value", "low", "high")], abs=2e-3
        )


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans(), st.integers(0, 5)),
        min_size=1,
        max_size=60,
    )
)
def test_any_claims_give_ordered_numbers(rows):
    found = made(*zip(*rows, strict=True))
    for one in (
        ends(auroc(found)),
        ends(CalibrationError(found)),
        *(ends(risk(found, share)) for share in (0.1, 0.8, 1.0)),
    ):
        assert one is None or 0 <= one["low"] <= one["value"] <= one["high"] <= 1


def test_the_most_confident_share_splits_ties_evenly():
    assert kept_share(np.array([0.9, 0.5, 0.5, 0.5, 0.1]), 0.4) == pytest.approx(
        [1, 1 / 3, 1 / 3, 1 / 3, 0]
    )
    assert kept_share(np.full(5, 0.7), 0.8) == pytest.approx([0.8] * 5)
    assert kept_share(np.arange(5), 1.0).tolist() == [1] * 5


def test_risk_by_hand():
    found = made([0.9, 0.8, 0.7, 0.6, 0.1], [1, 0, 1, 1, 0])
    assert ends(risk(found, 0.8))["value"] == pytest.approx(1 / 4)
    assert ends(risk(found, 1.0))["value"] == pytest.approx(2 / 5)
    assert ends(risk(found, 0.8))["n"] == 4


def test_equal_confidences_share_a_bin_and_bins_are_not_starved():
    assert bins_of(np.array([0.3] * 30 + [0.9] * 30)).tolist() == [0] * 30 + [1] * 30
    assert set(bins_of(np.full(500, 0.4))) == {0}
    counts = np.bincount(bins_of(np.random.default_rng(0).random(500)))
    assert len(counts) == 10 and counts.min() >= 49
    assert set(bins_of(np.arange(39) / 39)) == {0}


def test_ece_of_a_plain_gap_is_the_gap():
    right = np.arange(1000) % 5 < 3
    assert ends(CalibrationError(made(np.full(1000, 0.9), right)))["value"] == pytest.approx(
        0.3, abs=1e-6
    )


def test_ece_takes_off_what_noise_shows():
    rng, shown = np.random.default_rng(2), []
    for _ in range(60):
        confidence = rng.random(500)
        shown.append(ends(CalibrationError(made(confidence, rng.random(500) < confidence))))
    assert np.mean([found["low"] for found in shown]) < 0.002
    assert np.mean([found["value"] for found in shown]) < 0.025
    assert np.mean([found["low"] == 0 for found in shown]) > 0.9


def test_claims_leave_out_what_was_declined_or_open_or_untold_of():
    rows = [
        row(question="a", confidence=0.8),
        row(question="b", outcome="abstained", confidence=0.9),
        row(question="c"),
    ]
    rows += [
        row(question="d", confidence=0.3, mode="choice"),
        row(suite="reasoning", question="e", confidence=0.2),
    ]
    found = claims(read_answers(rows))
    assert (found.confidence_N.tolist(), found.right_N.tolist()) == ([0.8], [1.0])
    assert claims(read_answers(rows[1:4])).confidence_N.tolist() == [0.3], (
        "without free claims, forced choices"
    )
    assert claims(read_answers(rows[1:3])) is None
    assert list(calibration(Sheet.of(read_answers(rows[1:3]), "student"))) == []


def test_deferral_hands_on_the_least_confident_first():
    rows = [
        row(question=f"q{n}", confidence=(n + 1) / 10, outcome="correct" if n >= 5 else "wrong")
        for n in range(9)
    ]
    rows += [row(question="q9", outcome="abstained")]
    table = read_answers(
        [
            *rows,
            row("refuser", outcome="abstained"),
            *(row("teacher", question=f"q{n}") for n in range(10)),
        ]
    )
    student, refuser, teacher = (
        Sheet.of(table, name) for name in ("student", "refuser", "teacher")
    )
    points = curves(student, teacher)["deferral"]
    assert [point["y"] for point in points] == pytest.approx(
        [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1]
    )
    assert [point["x"] for point in points] == pytest.approx([step / 10 for step in range(11)])
    assert "deferral" not in curves(student, None)
    assert curves(refuser, teacher) == {}


def test_risk_coverage_falls_where_confidence_tells():
    rows = [
        row(question=f"q{n:03}", confidence=n / 100, outcome="correct" if n >= 50 else "wrong")
        for n in range(100)
    ]
    points = curves(Sheet.of(read_answers(rows), "student"), None)["risk_coverage"]
    assert [point["y"] for point in points][:5] == [0] * 5
    assert points[-1]["y"] == 0.5
    assert points[0]["high"] > 0.1, "none wrong of ten is not certainly none"
