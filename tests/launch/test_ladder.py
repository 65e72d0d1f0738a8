"""The ladder command: every recipe checked first, rungs as ordinary runs, what is finished is
skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.scores.sizes.ladder import Ladder
from launch.ladder import main, plan_runs
from recipes.errors import RecipeError
from recipes.load import load_recipe

ROOT = Path(__file__).parents[2]
SHAPES = (
    {"models.teacher.shape.num_experts": 2},
    {"models.teacher.shape.num_experts": 4},
    {"models.teacher.shape.num_experts": 8},
)
SHORT = ("teacher.steps=6", "teacher.count=60", "evaluate.items=4", "teacher.trackers=[]")


def recipe_file(folder: Path, rungs: object) -> Path:
    (folder / "rungs").mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(
        f"extends: {ROOT}/recipes/smoke.yaml\nname: tiny\nruns: {folder}/runs\nstages: [teacher, evaluate]\n"
    )
    (folder / "rungs" / "tiny.yaml").write_text(json.dumps(rungs))
    return folder / "tiny.yaml"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes" / "rungs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_ladder_of_the_house_can_be_planned(path: Path) -> None:
    recipe = ROOT / "recipes" / path.name
    runs = plan_runs(recipe, [], load_recipe(recipe), None, "1,2")
    assert len({run.recipe.name for run in runs}) == len(runs)
    assert [run.recipe.seed for run in runs] == sorted(run.recipe.seed for run in runs)
    # all are asked the same questions
    assert len({json.dumps(vars(run.recipe.planted)) for run in runs}) == 1
    shapes = {run.recipe.models.teacher.shape for run in runs}
    assert len(shapes) == len(runs) / 2


def test_experts_differ_and_active_size_does_not() -> None:
    recipe = ROOT / "recipes" / "sparsity.yaml"
    shapes = [
        run.recipe.models.teacher.shape
        for run in plan_runs(recipe, [], load_recipe(recipe), None, None)
    ]
    assert [shape.num_experts for shape in shapes] == [4, 8, 16]
    assert (
        len(
            {
                (shape.experts_per_token, shape.intermediate_size, shape.hidden_size)
                for shape in shapes
            }
        )
        == 1
    )


@pytest.mark.parametrize("rungs", [[], {"rungs": {}}, {"rungs": {"a": 3}}, {"steps": 1}])
def test_rungs_that_are_none_are_refused(tmp_path: Path, rungs: object) -> None:
    path = recipe_file(tmp_path, rungs)
    with pytest.raises(RecipeError, match="expected rungs"):
        plan_runs(path, [], load_recipe(path), None, None)


def test_faults_are_one_line_and_come_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(
        recipe_file(
            tmp_path, {"rungs": {"good": {}, "bad": {"models.teacher.shape.num_expert": 4}}}
        )
    )
    for words, said in (
        ((path,), "unknown key 'models.teacher.shape.num_expert'"),
        ((path, "--seeds", "one"), "--seeds 'one', expected whole numbers"),
        ((path, "stages=[teacher]"), "a ladder's recipe has stages: [teacher, evaluate]"),
        ((path, "--rungs", f"{tmp_path}/none.yaml"), "the rungs cannot be read"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_nothing_finished_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe_file(tmp_path, {"rungs": {"a": {}}})
    assert main([str(path), "--collect"]) == 2
    assert "no rung is finished with this recipe" in capsys.readouterr().err


@pytest.mark.slow
def test_a_ladder_is_climbed_and_not_twice(tmp_path: Path) -> None:
    path = recipe_file(
        tmp_path, {"family": "mix", "rungs": {f"e{n}": keys for n, keys in enumerate(SHAPES)}}
    )
    command = [sys.executable, "-m", "launch.ladder", str(path), *SHORT]
    first, second = (
        subprocess.run(
            command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
        )
        for _ in range(2)
    )
    assert first.returncode == 0, first.stderr[-2000:]
    assert "ladder: run 3 of 3, tiny-e2-seed_1; about" in first.stdout
    assert "logit recall per doubling of total parameters" in first.stdout
    assert second.returncode == 0 and second.stdout.count("done, skipped") == 3
    assert first.stdout.splitlines()[-3:] == second.stdout.splitlines()[-3:]
    ladder = Ladder.read(tmp_path / "runs" / "tiny")
    totals = [rung.total for rung in ladder.rungs]
    assert totals == sorted(set(totals))
    shape = load_recipe(path).models.teacher.shape
    assert shape is not None
    # its three matrices, and its row of the router
    expert = 3 * shape.hidden_size * shape.intermediate_size + shape.hidden_size
    assert totals[2] - totals[1] == 4 * expert * shape.num_layers
    assert ladder.rungs[0].active == totals[0]  # two experts, both used
