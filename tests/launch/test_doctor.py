"""The doctor: what it checks, what it plans, and what it says where it cannot look."""

import json
import subprocess
import sys

import pytest

from launch import plan
from recipes.schema import Distill
from tests.launch.street import ROOT, SMOKE, environment, launch

SIZE = plan.Size(total=1000, active=400, trained=1000, width=8, layers=2, vocab=50)


def doctor(*words):
    command = [sys.executable, "-m", "launch.doctor", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False)


def test_a_recipe_that_works_is_told_so_with_a_plan():
    done = doctor(SMOKE, "--ranks", 2, "--peak-tflops", 100)
    assert done.returncode == 0, done.stderr
    for name in ("machine", "chat template", "vocabulary", "special tokens", "first step"):
        assert f"ok     {name}: " in done.stdout
    for name in ("student", "teacher", "states, ZeRO-3", "activations", "live teacher", "cache, sampled", "one arm", "time"):
        assert f"\n  {name} " in done.stdout
    assert "64 bytes a token" in done.stdout and done.stdout.rstrip().endswith("no fault found")


def test_every_fault_is_named_not_only_the_first():
    lora = ("models.student.lora.rank=4", "models.student.lora.targets=[nowhere]")
    done = doctor(SMOKE, "distill.trackers=[wandb]", *lora, "distill.sequence_tokens=999")
    assert done.returncode == 2
    faults = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert len(faults) == 4 and done.stdout.rstrip().endswith("4 fault(s)")  # the length is too much for student and teacher
    assert "wandb is not installed" in faults[0] and "nowhere" in faults[-1]


def test_a_recipe_of_hub_models_is_planned_as_far_as_that_goes_offline():
    done = doctor("recipes/core_1b.yaml", "models.student.attention=sdpa", "--device", "cuda", "--half", "--ranks", 8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not checked: " in done.stdout and "849.45M parameters (without embeddings" in done.stdout


def test_a_broken_recipe_is_told_as_by_the_run():
    done = doctor(SMOKE, "distill.learning_rat=1")
    assert done.returncode == 2 and "did you mean" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("distill.trackers=[wandb]", "distill.trackers: wandb is not installed"),
        ("distill.targets.teacher=sharded", "sharded needs ZeRO-3, this launch has no DeepSpeed"),
        ("models.student.attention=flash_attention_2", "flash_attention_2 was asked for and there is no CUDA device"),
        ("distill.sequence_tokens=999", "distill.sequence_tokens 999 is more than the 256 positions"),
    ],
)
def test_the_run_refuses_the_same_before_it_trains_a_student(change, said, tmp_path):
    done = launch(SMOKE, f"runs={tmp_path}", "stages=teacher,generate,filter,distill", change)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode == 2 and len(lines) == 1 and said in lines[0]
    assert not (tmp_path / "smoke" / "distill").exists()


def test_states_by_hand():
    gib = 2**30
    assert plan.states_gib(SIZE, None, 8, half=False) * gib == pytest.approx(16 * 1000)
    assert plan.states_gib(SIZE, 1, 8, half=True) * gib == pytest.approx((2 + 2 + 12 / 8) * 1000)
    assert plan.states_gib(SIZE, 2, 8, half=True) * gib == pytest.approx((2 + 2 / 8 + 12 / 8) * 1000)
    assert plan.states_gib(SIZE, 3, 8, half=True) * gib == pytest.approx(16 * 1000 / 8)
    adapters = plan.Size(total=1000, active=1000, trained=10, width=8, layers=2, vocab=50)
    assert plan.states_gib(adapters, 2, 1, half=True) * gib == pytest.approx(990 * 2 + 10 * 16)


def test_caches_and_flops_by_hand():
    rows = {kind: (each, whole) for kind, each, whole in plan.cache_rows(SIZE, Distill(), 1000)}
    assert {kind: each for kind, (each, _) in rows.items()} == {"sampled": 64, "top_k": 84, "hidden": 16, "dense float16": 100}
    assert rows["sampled"][1] * 2**30 == pytest.approx(64_000)
    assert plan.flops(SIZE, SIZE, 10, checkpointing=False) == (6 * 400 * 10, 2 * 400 * 10)
    assert plan.flops(SIZE, None, 10, checkpointing=True) == (8 * 400 * 10, 0)


def test_lengths_that_a_run_counted_are_told(tmp_path):
    launch(SMOKE, f"runs={tmp_path}", "stages=teacher,generate,filter,distill", "distill.sequence_tokens=30")
    notes = json.loads((tmp_path / "smoke" / "distill" / "student" / "manifest.json").read_text())["notes"]
    done = doctor(SMOKE, f"runs={tmp_path}", "distill.sequence_tokens=30")
    assert f"lengths of student: {notes['too_long']} of {notes['too_long'] + notes['written']} traces over 30 tokens" in done.stdout
    assert notes["too_long"] > 0 and "counted by this run" in done.stdout
