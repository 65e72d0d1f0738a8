"""The journal's benchmark runs small and its last line can be read."""

import json
import subprocess
import sys


def test_it_measures_every_column():
    command = [sys.executable, "-m", "benchmarks.journal", "--answers", "2000"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = json.loads(said[-1])["rows"]
    assert [row["answers"] for row in rows] == [200, 2000]
    assert all(value > 0 for row in rows for name, value in row.items() if name != "memory_mb")
