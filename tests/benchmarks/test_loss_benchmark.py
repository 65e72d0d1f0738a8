"""The loss benchmark runs, prints what programs read, and all of its rows computed the same loss.
Nothing about time.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SMALL = "--tokens 64 --vocab 512 --student-width 16 --teacher-width 24 --rounds 1 --threads 1"


def run(words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.loss", *words.split()]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def test_every_row_computes_the_same_loss():
    done = run(SMALL)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    rows = {row["backend"]: row for row in found["rows"]}
    assert {"ours", "dense", "matmuls"} <= rows.keys()
    assert rows.keys().isdisjoint(found["missing"])
    floor = rows.pop("matmuls")
    assert floor["loss"] is None and floor["grad_norm"] is None and floor["ratio"] == 1
    for row in rows.values():
        assert (row["divergence"], row["tokens"], row["vocab"]) == ("forward_kl", 64, 512)
        assert row["loss"] == pytest.approx(rows["dense"]["loss"], rel=1e-4)
        assert row["grad_norm"] == pytest.approx(rows["dense"]["grad_norm"], rel=1e-4)


def test_help_names_the_rows():
    done = run("--help")
    assert done.returncode == 0 and all(
        name in done.stdout for name in ("matmuls", "ours", "trl_chunked", "--scaling")
    )
