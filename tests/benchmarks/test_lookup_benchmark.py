"""The benchmark of look-ups: numbers from a scorecard, the loop against plain generation with a
model of no skill.
"""

import json
import subprocess
import sys

import pytest

from distill.models import build_model, save_model
from distill.problems.planted_world import World
from distill.train.teacher import own_tokenizer
from recipes.load import load_recipe, to_yaml
from tests.launch.street import ROOT, environment


@pytest.mark.slow
def test_it_reads_runs_and_times_the_loop(tmp_path):
    recipe = load_recipe(
        str(ROOT / "recipes/smoke.yaml"),
        ["teacher.tools=true", "evaluate.items=4", "name=run", f"runs={tmp_path}"],
    )
    run = tmp_path / "run"
    tokenizer = own_tokenizer(recipe.teacher, World(recipe.planted), seed=1)
    save_model(
        build_model(recipe.models.student.shape, tokenizer, seed=1),
        tokenizer,
        run / "distill" / "student",
    )
    (run / "recipe.yaml").write_text(to_yaml(recipe))
    (run / "evaluate").mkdir()
    entry = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 10, "clusters": 10}
    (run / "evaluate" / "scorecard.json").write_text(
        json.dumps({"metrics": {"kb_full.correct": {"student": entry, "teacher": entry}}})
    )
    command = [sys.executable, "-m", "benchmarks.lookup", str(run), "--conversations", "20"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == [
        {"seed": 1, "base_on": 0.9, "intervals": {"base_on": [0.8, 1.0, 10]}}
    ], "what was not measured is absent"
    assert (
        found["loop_tokens"] > 0 and found["throughput_ratio"] > 0 and found["conversations"] == 20
    )
    (run / "evaluate" / "scorecard.json").unlink()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (
        done.returncode == 1
        and "not there; name finished runs" in done.stderr
        and "Traceback" not in done.stderr
    )
