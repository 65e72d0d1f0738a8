"""The benchmark of the verifiers: its last line, on three families and one that has no
reference.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*words: object) -> tuple[str, dict]:
    command = [sys.executable, "-m", "benchmarks.verify", *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


def test_references_speed_and_exceptions() -> None:
    table, found = run(
        "--families", "chain_sum", "mini_sudoku", "graph_color", "composite", "boxnet", "--items", 4
    )
    assert found["families"] == 5 and found["accepted"] == 3 and found["n"] == 12
    assert found["exceptions"] == {
        "composite": "made of other data sets",
        "boxnet": "no reference, and no solution that is easily found",
    }
    assert found["items_per_second"] > 100
    assert "right texts" in table


def test_what_scorers_let_pass_is_shown() -> None:
    table, found = run("--families", "decimal_arithmetic", "--items", 8)
    assert found["accepted"] == 1
    assert "near" in table  # its scorer has a tolerance of the decimal places that are asked for
