"""The whole street with the real command: one process, a second run, a kill in every stage, two
DeepSpeed ranks.
"""

import json
import shutil

import pytest
import torch
from datasets import load_dataset
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from tests.launch.street import SMOKE, contents, kill_when, launch, losses, succeed

PARTS = {
    "teacher",
    "generate",
    "filter",
    "distill/base",
    "distill/student",
    "distill/control",
    "evaluate",
    "publish",
    *(f"evaluate/answers/{name}" for name in ("teacher", "base", "control", "student")),
}
pytestmark = pytest.mark.timeout(600)


def rows(folder):
    return load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    succeed(SMOKE, f"runs={runs}", alone=True)
    return runs / "smoke"


def test_every_stage_writes_what_the_design_says(unbroken):
    assert set(contents(unbroken)) == PARTS
    card = json.loads((unbroken / "evaluate" / "scorecard.json").read_text())
    assert card["schema"] == 1 and card["contenders"] == ["teacher", "base", "control", "student"]
    measured = {
        "reasoning",
        "recall",
        "recall_never_trained",
        "recall_teacher_only",
        "basics",
        "open_book",
        "counterfactual",
    }
    assert measured <= set(card["metrics"])
    assert {"value", "low", "high", "n"} <= set(card["metrics"]["reasoning"]["student"])
    assert (unbroken / "evaluate" / "scorecard.md").exists() and (
        unbroken / "evaluate" / "report.html"
    ).exists()


def test_traces_open_with_datasets_and_no_filter_kept_a_reference(unbroken):
    for folder in ("generate", "filter/kept", "filter/dropped", "filter/knowledge"):
        assert len(rows(unbroken / folder)) > 0
    kept = rows(unbroken / "filter" / "kept")
    assert set(kept["gold"]) == {None}
    written = len(rows(unbroken / "generate"))
    dropped = rows(unbroken / "filter" / "dropped")
    assert len(kept) + len(dropped) == written == 200
    assert all(dropped["reason"])


def test_the_published_folder_loads_and_speaks(unbroken):
    folder = str(unbroken / "publish")
    AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    said = pipeline("text-generation", model=folder)(
        [{"role": "user", "content": "Sort 3 1 2."}], max_new_tokens=4
    )
    assert said[0]["generated_text"][-1]["role"] == "assistant"


def test_arms_start_alike_and_see_the_same_batches(unbroken):
    """After a step of no size both arms still are the base. The batches are a function of seed,
    phase lengths and sequences (test_loop.py), so what is left to show is that these are the same.
    """
    folders = [unbroken / "distill" / arm for arm in ("student", "control")]
    student, control = (json.loads((f / "manifest.json").read_text())["notes"] for f in folders)
    for same in ("steps", "phases", "written", "too_long", "untaught"):
        assert student[same] == control[same]
    assert len(losses(folders[0])) == 20 and losses(folders[0]) != losses(folders[1])
    words = ("name=still", "distill.steps=1", "distill.learning_rate=1e-30")
    succeed(SMOKE, f"runs={unbroken.parent}", *words, "stages=teacher,generate,filter,distill")
    still = unbroken.parent / "still" / "distill"
    base, *arms = (
        load_file(still / name / "model.safetensors") for name in ("base", "student", "control")
    )
    for arm in arms:
        assert arm.keys() == base.keys()
        for name, weight in arm.items():
            torch.testing.assert_close(weight, base[name], rtol=0, atol=1e-20)


def test_a_second_run_skips_everything(unbroken):
    before = contents(unbroken)
    said = succeed(SMOKE, f"runs={unbroken.parent}")
    assert all(f"{part}: done, skipped" in said for part in PARTS)
    assert contents(unbroken) == before


def test_a_variant_reuses_what_still_fits(unbroken):
    said = succeed(
        SMOKE,
        f"runs={unbroken.parent}",
        "name=shorter",
        "distill.steps=5",
        "stages=teacher,generate,filter,distill",
    )
    for part in ("teacher", "generate", "filter", "distill/base"):
        assert f"{part}: reused from {unbroken}" in said
    assert len(losses(unbroken.parent / "shorter" / "distill" / "student")) == 5


def test_traces_may_come_from_elsewhere(unbroken):
    words = (
        "name=outside",
        f"distill.traces={unbroken / 'filter' / 'kept'}",
        "stages=teacher,generate,filter,distill",
    )
    said = succeed(SMOKE, f"runs={unbroken.parent}", *words)
    assert "generate: not needed" in said and "filter: not needed" in said
    for arm in ("student", "control"):
        assert losses(unbroken.parent / "outside" / "distill" / arm) == losses(
            unbroken / "distill" / arm
        )


def test_a_changed_recipe_is_refused_with_both_ways_out(unbroken):
    done = launch(SMOKE, f"runs={unbroken.parent}", "generate.temperature=0.9")
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert (
        "generate.temperature was 0.7, is now 0.9" in line
        and "name=NEW" in line
        and "delete" in line
    )


def test_killed_in_every_stage_the_data_are_the_same_bytes(unbroken, tmp_path):
    run, words = tmp_path / "smoke", (SMOKE, f"runs={tmp_path}")
    signs = (
        run / "teacher" / "identity.json",
        run / "generate" / "traces-00000.parquet",
        run / "filter" / "kept",
        run / "distill" / "student" / "checkpoints" / "step-10",
        run / "distill" / "control" / "checkpoints" / "step-10",
        run / "evaluate" / "answers" / "base" / "identity.json",
        run / "publish" / "identity.json",
    )
    killed = [kill_when(sign, *words) for sign in signs]
    assert sum(killed) >= 6  # the last stage may be over before the signal arrives
    succeed(*words)
    whole, again = contents(unbroken), contents(run)
    assert {part: again[part] for part in PARTS - {"publish"}} == {
        part: whole[part] for part in PARTS - {"publish"}
    }
    for arm in ("teacher", "distill/student", "distill/control"):
        assert losses(run / arm) == losses(unbroken / arm)


@pytest.mark.parametrize("stage", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_two_ranks_under_zero_equal_one_process(unbroken, tmp_path, stage):
    config = f"zero{stage}_cpu2"
    # teacher, student and control train one after the other in one launch
    succeed(SMOKE, f"runs={tmp_path}", config=config)
    assert set(contents(tmp_path / "smoke")) == PARTS
    teacher = losses(tmp_path / "smoke" / "teacher")[:20]
    assert teacher == pytest.approx(losses(unbroken / "teacher")[:20], abs=1e-4)
    same = tmp_path / "same"  # students are compared on the very same traces and teacher
    shutil.copytree(
        unbroken, same / "smoke", ignore=shutil.ignore_patterns("distill", "evaluate", "publish")
    )
    succeed(SMOKE, f"runs={same}", "stages=distill", config=config)
    for arm in ("student", "control"):
        assert losses(same / "smoke" / "distill" / arm) == pytest.approx(
            losses(unbroken / "distill" / arm), abs=1e-4
        )
