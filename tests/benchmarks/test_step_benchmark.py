"""The benchmark of a whole step: its last line, and that packing changes speed, not loss."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("targets", ["live", "none"])
def test_packing_changes_no_loss(targets):
    small = (
        "--shape",
        "tiny",
        "--batch",
        "4",
        "--steps",
        "2",
        "--rounds",
        "1",
        "--sequence",
        "96",
        "--threads",
        "1",
    )
    command = [sys.executable, "-m", "benchmarks.step", *small, "--ours-only", "--targets", targets]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    packed, plain = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert (packed["packing"], plain["packing"]) == (True, False)
    assert (
        packed["last_loss"] == pytest.approx(plain["last_loss"], rel=1e-5)
        and packed["tokens_per_second"] > 0
    )
