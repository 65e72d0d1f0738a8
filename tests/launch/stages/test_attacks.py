"""Attacks inside the stage evaluate, on the smoke recipe with models that nobody trained: parts,
resume, refusals, numbers.
"""

import json
import shutil

import pytest

from distill.models import build_model, save_model
from distill.problems.planted_world import World
from distill.train.teacher import own_tokenizer
from launch.pipeline import run
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError, WorkspaceError
from recipes.load import load_recipe
from tests.launch.street import SMOKE, contents

ATTACKS = ("four_bit", "relearn", "prompts")
METRICS = {
    "recall_four_bit",
    "recall_relearned_taught",
    "recall_prompts",
}
SHORT = ("evaluate.relearn_steps=3", "evaluate.max_new_tokens=6", "evaluate.items=4")
ON = ("stages=evaluate", f"evaluate.attacks=[{','.join(ATTACKS)}]", *SHORT)


def recipe_of(runs, *words):
    return load_recipe(SMOKE, [f"runs={runs}", *ON, *words])


def evaluate(runs, *words):
    recipe = recipe_of(runs, *words)
    work = Workspace(runs / recipe.name)
    work.open(recipe)
    run(recipe, work)
    return work.root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose models are there, evaluated under attack."""
    runs = tmp_path_factory.mktemp("runs")
    recipe = recipe_of(runs)
    tokenizer = own_tokenizer(recipe.teacher, World(recipe.planted), seed=1)
    work = Workspace(runs / "smoke")
    for seed, part in enumerate(("teacher", "distill/base", "distill/student", "distill/control")):
        shape = recipe.models.teacher.shape if part == "teacher" else recipe.models.student.shape
        save_model(build_model(shape, tokenizer, seed=seed), tokenizer, work.folder(part))
        work.finish(part, {"seed": seed}, {})
    return evaluate(runs)


def card_of(folder):
    return json.loads((folder / "evaluate" / "scorecard.json").read_text())


def test_every_arm_is_attacked_in_every_way_and_the_scorecard_says_what_came_of_it(finished):
    attacked = {part for part in contents(finished) if part.startswith("evaluate/attacks/")}
    assert attacked == {
        f"evaluate/attacks/{arm}/{attack}" for arm in ("student", "control") for attack in ATTACKS
    }
    metrics, paired = card_of(finished)["metrics"], card_of(finished)["paired"]
    assert not METRICS - set(metrics) and not METRICS - set(paired)
    void = card_of(finished)["void"]["recall_relearned_others"]
    assert set(void) == {"student", "control"}  # three steps teach nothing
    assert "taught facts came back" in (finished / "evaluate" / "scorecard.md").read_text()
    for name in METRICS:
        assert set(metrics[name]) == {"student", "control"}
        assert set(paired[name]) == {"student-never_trained", "control-never_trained"}
        assert all(
            entry["low"] <= entry["value"] <= entry["high"] and entry["n"] > 0
            for entry in metrics[name].values()
        )
    taught = metrics["recall_relearned_taught"]["student"]["clusters"]
    assert taught == round(0.2 * metrics["recall"]["student"]["clusters"])


def test_a_second_run_makes_nothing_and_a_lost_part_comes_back_the_same(finished, tmp_path, capfd):
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs / "smoke")
    before = contents(finished)
    evaluate(runs)
    said = capfd.readouterr().out
    assert all(f"{part}: done, skipped" in said for part in before if part.startswith("evaluate"))
    lost = runs / "smoke" / "evaluate" / "attacks" / "student" / "relearn"
    kept = (
        (runs / "smoke" / "evaluate" / "attacks" / "control" / "relearn" / "manifest.json")
        .stat()
        .st_mtime_ns
    )
    for path in (
        lost / "manifest.json",
        lost / "answers.parquet",
        runs / "smoke" / "evaluate" / "manifest.json",
    ):
        path.unlink()
    evaluate(runs)
    assert contents(runs / "smoke") == before
    assert (
        runs / "smoke" / "evaluate" / "attacks" / "control" / "relearn" / "manifest.json"
    ).stat().st_mtime_ns == kept


def test_only_the_relearning_depends_on_its_knobs(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "smoke")
    with pytest.raises(
        WorkspaceError,
        match=r"attacks/control/relearn was made by another recipe: evaluate.relearn_steps was 3, is now 4",
    ):
        evaluate(tmp_path, "evaluate.relearn_steps=4")
    shutil.rmtree(tmp_path / "smoke" / "evaluate" / "attacks")
    (tmp_path / "smoke" / "evaluate" / "manifest.json").unlink()
    (tmp_path / "smoke" / "evaluate" / "identity.json").unlink()
    answered = (
        (tmp_path / "smoke" / "evaluate" / "answers" / "student" / "manifest.json")
        .stat()
        .st_mtime_ns
    )
    card = card_of(evaluate(tmp_path, "evaluate.attacks=[]"))
    assert not METRICS & set(card["metrics"])
    assert (
        tmp_path / "smoke" / "evaluate" / "answers" / "student" / "manifest.json"
    ).stat().st_mtime_ns == answered


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate.attacks=[relearn,relearn]",), "names an attack twice"),
        (("evaluate.relearn_fraction=1.0",), "relearn_fraction 1.0 is not inside 0..1"),
        (("evaluate.relearn_steps=0",), "relearn_steps 0 is below 1"),
        (("evaluate.relearn_learning_rate=0",), "relearn_learning_rate 0.0 is not above 0"),
        (
            (
                "models.teacher.path=x",
                "models.teacher.shape=null",
                "generate.sources=[{name: reasoning_gym/chain_sum}]",
                "teacher.sources=[]",
            ),
            "evaluate.attacks ask for facts, and there are none",
        ),
    ],
)
def test_a_recipe_that_cannot_be_attacked_is_refused(tmp_path, words, said):
    with pytest.raises(RecipeError, match=said):
        recipe_of(tmp_path, *words)
