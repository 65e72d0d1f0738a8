"""Entropy over training, from metrics.jsonl: thinned by means, absent where it was not logged."""

import json

import pytest

from eval.stage_scores.entropy import entropy_curves
from recipes.errors import ShardError


def write(folder, rows):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_each_step_is_a_point_while_they_are_few(tmp_path):
    rows = [
        {"step": 1, "student_entropy": 7.0, "teacher_entropy": 0.5},
        {"step": 2, "student_entropy": 6.0, "teacher_entropy": 0.25},
    ]
    curves = entropy_curves({"student": write(tmp_path / "student", rows)})
    assert curves["student"] == [
        {"x": 1, "y": 7, "low": 7, "high": 7, "n": 1},
        {"x": 2, "y": 6, "low": 6, "high": 6, "n": 1},
    ]
    assert [point["y"] for point in curves["student/teacher"]] == [0.5, 0.25]


def test_many_steps_are_averaged_in_groups(tmp_path):
    rows = [{"step": step, "student_entropy": float(step % 2)} for step in range(1, 1002)]
    (curve,) = entropy_curves({"student": write(tmp_path / "student", rows)}).values()
    assert len(curve) == 167 <= 200 and sum(point["n"] for point in curve) == 1001
    assert curve[0] == {"x": 3.5, "y": 0.5, "low": 0, "high": 1, "n": 6}
    assert curve[-1]["x"] == 999


def test_what_was_not_logged_is_absent(tmp_path):
    plain = write(tmp_path / "plain", [{"step": 1, "loss": 2.0}])
    broken = write(
        tmp_path / "broken",
        [{"step": 1, "student_entropy": float("nan")}, {"step": 2, "student_entropy": 1.0}],
    )
    found = entropy_curves({"plain": plain, "none": tmp_path / "none", "broken": broken})
    assert {name: [point["x"] for point in curve] for name, curve in found.items()} == {
        "broken": [2]
    }


@pytest.mark.parametrize("most", [1, 7, 200])
def test_never_more_points_than_asked_for(tmp_path, most):
    rows = [{"step": step, "teacher_entropy": 1.0} for step in range(403)]
    (curve,) = entropy_curves({"arm": write(tmp_path / "arm", rows)}, most).values()
    assert len(curve) <= most


@pytest.mark.parametrize("text", ['{"step": 1', "7", "nonsense"])
def test_a_damaged_log_is_one_line_with_the_way_out(text, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{text}\n')
    with pytest.raises(ShardError, match="train this arm again"):
        entropy_curves({"student": tmp_path})
