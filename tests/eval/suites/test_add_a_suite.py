"""The example of docs/add_a_suite.md, applied to a copy of the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "add_a_suite.md"
SCORED = """
from distill.problems.planted_world import World
from eval.report.tables import to_terminal
from eval.scorecard import build_scorecard
from eval.suites.catalog import HELD_OUT
from eval.suites.suites import planted_questions
from recipes.gates import parse_gate
from recipes.schema import Planted

world = World(Planted(people=12, teacher_only=4, strangers=4))
asked = [q for q in planted_questions(world, seed=1, items=6) if q.suite == "denied"]
rows = [
    {
        "contender": "student", "suite": q.suite, "family": q.family, "question_id": q.id,
        "cluster": q.cluster, "relation": "", "exposure": 0, "mode": "free", "gold": q.gold,
        "outcome": "correct" if number else "wrong", "completion_tokens": 3, "text": q.gold,
    }
    for number, q in enumerate(asked)
]
card = build_scorecard(rows, recipe="r", contenders=["student"], bootstrap=20, seed=1)
assert card["metrics"]["denied"]["student"]["value"] == round(5 / 6, 6)
assert "denied: reading where one value is denied" in to_terminal(card)
assert parse_gate("denied >= 0.9").name == "denied"
assert "denied" in HELD_OUT
print("scored")
"""


HEADING = re.compile(r"^## \d\. .*?`([\w/.]+)`(?: in `([\w/]+/)`)?$", re.MULTILINE)


def steps() -> dict[str, str]:
    """The code of the page, by the file that its heading names."""
    _, *parts = HEADING.split(PAGE.read_text(encoding="utf-8"))
    return {
        (folder or "") + file: re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)[0]
        for file, folder, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def insert(path: Path, before: str, code: str) -> None:
    """Puts code before the only place where a text stands."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, code + before), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ("recipes", "data_filters", "distill", "eval"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_four_files_are_touched() -> None:
    name, questions, row, test = steps()
    assert all((ROOT / path).is_file() for path in (name, questions, row))
    assert test == "tests/eval/suites/test_denied.py"


@pytest.mark.slow
def test_the_example_gives_a_metric_a_legend_and_a_gate(copy: Path) -> None:
    told = steps()
    name, questions, row, test = told
    insert(copy / name, "\n\nclass Split(", told[name])
    insert(copy / row, ")\n\n\ndef suites(", told[row])
    insert(copy / questions, "\n\ndef source_questions(", f"\n\n{told[questions]}")
    insert(copy / questions, "):\n            made += questions(", ", denied_questions")
    (copy / test).parent.mkdir(parents=True)
    (copy / test).write_text(told[test], encoding="utf-8")
    here = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    tested = f"import pytest, sys; code = pytest.main(['-q', '-p', 'no:cacheprovider', '{test}'])\n"
    done = subprocess.run(
        [sys.executable, "-c", tested + "assert code == 0\n" + SCORED],
        cwd=copy,
        env=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("scored")
