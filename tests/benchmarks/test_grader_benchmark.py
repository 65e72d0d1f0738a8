"""The benchmark of the grader on two exams of a few rows."""

import json
from pathlib import Path

from benchmarks.grader import cases, changed, measure


def test_a_change_is_of_one_sign_bracket_or_digit() -> None:
    assert changed("(1,x-2]") == sorted(
        ["[1,x-2]", "(2,x-2]", "(1,x+2]", "(1,x-3]", "(1,x-2)", "-(1,x-2]"]
    )
    assert changed("0") == ["1"]
    assert changed("\\(a\\)") == ["-\\(a\\)"]


def test_shares_are_of_answers_judged_as_they_should_be(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": "7"}, {"question": "b", "answer": "\\text{left}"}]
    rated = {
        "question": "c",
        "answer": ["Oslo", "the city of Oslo"],
        "def_correct_predictions": ["It is Oslo", "Kristiania"],
        "def_incorrect_predictions": ["Bergen"],
    }
    for name, content in (("math500", rows), ("nq_open_rated", [rated])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in content))
    found = {row["measure"]: row for row in measure(list(cases(tmp_path, "all")), False)}
    assert {name: (row["share"], row["n"]) for name, row in found.items()} == {
        "math_same": (1.0, 2),
        "math_changed": (1.0, 3),
        "rated_correct": (0.5, 2),
        "rated_incorrect": (1.0, 1),
    }
    halves = [len(list(cases(tmp_path, split))) for split in ("look", "score")]
    assert sum(halves) == 8
