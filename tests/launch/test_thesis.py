"""The thesis itself, on a world of 24 people: the student reasons like its teacher and recalls nothing."""

import json

import pytest

from tests.launch.street import succeed


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    succeed("tests/launch/small_thesis.yaml", f"runs={runs}", timeout=280)
    return json.loads((runs / "small_thesis" / "evaluate" / "scorecard.json").read_text())


def value(card, metric, contender):
    return card["metrics"][metric][contender]["value"]


def test_teacher_and_control_recall_and_the_student_does_not(card):
    """The control saw the same traces unscrubbed, so a filter that lets facts through fails here."""
    assert value(card, "recall", "teacher") > 0.9
    assert value(card, "recall", "control") > 0.8
    gap = card["paired"]["recall"]["student-never_trained"]
    assert gap["low"] <= 0 <= gap["high"] and gap["value"] < 0.05
    assert card["metrics"]["recall"]["student"]["high"] < 0.2


def test_the_student_reasons_like_its_teacher(card):
    assert value(card, "reasoning/sort", "teacher") > 0.9
    assert value(card, "reasoning/sort", "student") > 0.9


def test_the_student_says_that_it_does_not_know(card):
    assert value(card, "abstention", "student") > 0.9
    assert value(card, "abstention", "control") < 0.1
