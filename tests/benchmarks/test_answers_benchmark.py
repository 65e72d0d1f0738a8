"""The benchmark of many answers runs small, and its last line can be read."""

import json
import subprocess
import sys


def test_it_tells_what_an_answer_costs():
    command = [sys.executable, "-m", "benchmarks.answers", "--items", "10", "60"]
    found = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )
    assert [row["answers"] for row in found["rows"]] == [950, 5700]
    assert found["kb_an_answer"] < 2, "half a thousand answers are few to divide by"
