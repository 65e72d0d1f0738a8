"""Gates against a scorecard made by hand, and a publish that is refused before it writes
anything.
"""

import pytest

from launch.hub.gates import check_gates, gate_results
from recipes.errors import PipelineError


def number(value, low, high):
    return {"value": value, "low": low, "high": high, "n": 100}


CARD = {
    "metrics": {
        "reasoning": {"teacher": number(0.99, 0.95, 1.0), "student": number(0.9, 0.83, 0.94)},
        "reasoning/sums": {"student": number(0.8, 0.7, 0.9)},
        "recall": {"student": number(0.02, 0.0, 0.07), "control": number(0.6, 0.5, 0.7)},
        "lookup": {"control": number(0.6, 0.5, 0.7)},
    },
    "paired": {
        "reasoning": {"student-teacher": number(-0.09, -0.15, -0.03)},
        "recall": {"student-never_trained": number(0.01, 0.0, 0.03)},
    },
    "headline_by_contender": {"student": {"reasoning_retained": 0.909091}},
}


def faults(*gates):
    with pytest.raises(PipelineError) as fault:
        check_gates(gates, CARD, "student")
    return str(fault.value).splitlines()


def test_gates_that_hold():
    held = [
        "reasoning >= 0.9",
        "reasoning.low > 0.8",
        "recall.high <= 0.07",
        "reasoning_retained >= 0.9",
        "reasoning/sums >= 0.8",
    ]
    check_gates(
        [*held, "reasoning.low - teacher >= -0.15", "recall - never_trained <= 0.01"],
        CARD,
        "student",
    )
    check_gates([], CARD, "student")


def test_every_gate_that_fails_is_one_line_with_what_was_found():
    found = faults(
        "reasoning_retained >= 0.97",
        "recall.high <= 0.05",
        "reasoning >= 0.5",
        "reasoning - teacher > -0.05",
    )
    assert len(found) == 3
    assert found[0].startswith(
        "publish.gates: 'reasoning_retained >= 0.97' does not hold, found 0.9091 for student; nothing was published"
    )
    assert "'recall.high <= 0.05' does not hold, found 0.02 [0, 0.07] for student" in found[1]
    assert "found -0.09 [-0.15, -0.03] for student-teacher" in found[2]


def test_what_was_not_measured_is_no_pass():
    absent, other_arm, part, share = faults(
        "basics >= 0", "lookup >= 0", "reasoning/sum >= 0", "recall_retained <= 1"
    )
    assert "basics was not measured; known: reasoning, reasoning/sums, recall" in absent
    assert "lookup was not measured for student; it was for control" in other_arm
    assert "reasoning/sum was not measured; did you mean 'reasoning/sums'?" in part
    assert "the scorecard has no recall_retained of student" in share


def test_the_report_is_told_what_holds_and_what_was_found():
    assert gate_results(
        ["reasoning.low > 0.8", "reasoning - teacher > -0.05", "basics >= 0"], CARD, "student"
    ) == [
        {"text": "reasoning.low > 0.8", "holds": True, "found": 0.83},
        {"text": "reasoning - teacher > -0.05", "holds": False, "found": -0.09},
        {"text": "basics >= 0", "holds": False, "found": None},
    ]
