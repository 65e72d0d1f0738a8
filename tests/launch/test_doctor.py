"""The doctor: what it checks, what it plans, and what it says where it cannot look; the run refuses
the same.
"""

import json
import subprocess
import sys

import pytest

from distill.models import build_config, build_model, save_model
from launch import cost_estimate, pipeline
from launch.doctor import Doctor, parser
from launch.runs.run_folder import Workspace
from recipes.errors import PipelineError
from recipes.load import load_recipe
from recipes.schema import Distill, Lora, Model, Targets
from tests.distill.conftest import TINY, tokenizer, world  # noqa: F401 - fixtures
from tests.launch.street import ROOT, SMOKE, environment, launch, succeed

SIZE = cost_estimate.Size(total=1000, active=400, trained=1000, width=8, layers=2, vocab=50)
FLOAT32 = cost_estimate.whole("float32")


def doctor(*words):
    command = [sys.executable, "-m", "launch.doctor", *map(str, words)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def examine(monkeypatch, capsys):
    """In this process, which is quicker: gives exit code and lines."""
    monkeypatch.chdir(ROOT)

    def go(*words):
        given = parser().parse_intermixed_args([*map(str, words)])
        code = Doctor(load_recipe(given.recipe, given.overrides), given).examine()
        return code, capsys.readouterr().out.splitlines()

    return go


def starting(lines, mark):
    return [line.removeprefix(mark).strip() for line in lines if line.startswith(mark)]


def test_the_command_tells_a_recipe_that_works_and_plans_it():
    done = doctor(SMOKE, "--gpus", 2, "--peak-tflops", 100, "--gpu-memory", 80)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "ZeRO",
        "chat template",
        "vocabulary",
        "special tokens",
        "layers",
        "teacher: lengths",
        "first step",
    ):
        assert f"ok     {name}: " in done.stdout
    for name in (
        "student",
        "teacher",
        "states: float32 alone",
        "activations",
        "live teacher",
        "cache, sampled",
        "one arm",
        "time",
    ):
        assert f"\n  {name}" in done.stdout
    assert "64 bytes a taught token" in done.stdout and done.stdout.rstrip().endswith(
        "no fault found"
    )
    assert "40% of 100 TFLOPS is reached on each of 2, an assumption" in done.stdout
    (fits,) = [line for line in done.stdout.splitlines() if "of 80 GiB" in line]
    assert fits.split() == ["of", "80", "GiB", "fits", "fits", "fits", "fits"]


def test_every_fault_is_named_not_only_the_first(examine):
    lora = ("models.student.lora.rank=4", "models.student.lora.targets=[nowhere]")
    code, lines = examine(
        SMOKE,
        "distill.trackers=[wandb]",
        *lora,
        "distill.sequence_tokens=999",
        "distill.targets.teacher=sharded",
    )
    said = starting(lines, "fault")
    assert code == 2 and lines[-1] == "5 fault(s)"  # the length is too much for student and teacher
    assert [line.partition(":")[0] for line in said] == [
        "ZeRO",
        "trackers",
        "lengths",
        "teacher's length",
        "LoRA targets",
    ]
    assert "not checked: first step (fix the faults above first)" in lines


def test_a_recipe_of_hub_models_is_planned_as_far_as_that_goes_offline(examine):
    code, lines = examine(
        "recipes/core_1b.yaml", "models.student.attention=sdpa", "--half", "--gpus", 8
    )
    assert code == 0 and not starting(lines, "fault")
    unknown = starting(lines, "not checked: all that needs")
    assert [line.partition(" (")[0] for line in unknown] == [
        "the teacher's servers",
        "the teacher's tokenizer",
    ]
    assert all("Qwen/Qwen3-235B-A22B-Thinking-2507" in line for line in unknown)
    assert any("849.45M parameters without embeddings" in line for line in lines)
    _, lines = examine(
        "recipes/core_1b.yaml", "models.student.attention=sdpa", "--vocabulary", 151_936
    )
    assert any("1.04B parameters, 1.04B of them trained" in line for line in lines)


@pytest.mark.parametrize(
    "recipe", ["recipes/core_1b.yaml", "recipes/core_1b_base.yaml", "recipes/yours.yaml"]
)
def test_no_hub_recipe_makes_it_fall_over_offline(examine, recipe):
    _, lines = examine(recipe)
    assert starting(lines, "not checked: all that needs") and lines[-1]


def test_a_folder_that_is_not_there_is_a_fault_not_an_unknown(examine, tmp_path):
    code, lines = examine(
        SMOKE, "models.student.shape=null", f"models.student.path={tmp_path / 'absent'}"
    )
    assert code == 2 and any("absent" in line for line in starting(lines, "fault"))
    assert any(line.startswith("no plan:") for line in lines)


def test_a_base_model_on_disk_with_another_end_of_turn(examine, tmp_path, tokenizer):  # noqa: F811
    """As on the hub: the teacher's tokenizer ends with <|end|>, the base model's with something
    else; the line's key mends it.
    """
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    for folder in (teacher, student):
        save_model(build_model(TINY, tokenizer, seed=1), tokenizer, folder)
    config = json.loads((student / "tokenizer_config.json").read_text())
    (student / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|user|>"}))
    words = [
        SMOKE,
        "models.teacher.shape=null",
        f"models.teacher.path={teacher}",
        "models.student.shape=null",
    ]
    words.append(f"models.student.path={student}")
    code, lines = examine(*words)
    (line,) = [line for line in starting(lines, "fault") if line.startswith("special tokens")]
    assert (
        code == 2
        and "eos_token is '<|end|>' for the teacher and '<|user|>' for the student; set models.student.eos_token"
        in line
    )
    assert examine(*words, "models.student.eos_token=<|end|>")[0] == 0
    done = launch(*words, f"runs={tmp_path}", "stages=generate,filter,distill")
    assert done.returncode == 2 and "set models.student.eos_token: '<|end|>'" in done.stderr
    assert not (tmp_path / "smoke" / "generate").exists(), (
        "what is known at the start is refused at the start"
    )


def test_a_broken_recipe_is_told_as_by_the_run():
    done = doctor(SMOKE, "distill.learning_rat=1")
    assert (
        done.returncode == 2 and done.stderr.startswith("error: ") and "did you mean" in done.stderr
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("distill.trackers=[wandb]", "distill.trackers: wandb is not installed"),
        ("distill.targets.teacher=sharded", "sharded needs ZeRO-3, this launch has no DeepSpeed"),
        (
            "models.student.attention=flash_attention_2",
            "flash_attention_2 was asked for and there is no CUDA device",
        ),
        (
            "distill.sequence_tokens=999",
            "distill.sequence_tokens 999 is more than the 256 positions",
        ),
        (
            "teacher.sequence_tokens=999",
            "teacher.sequence_tokens 999 is more than the 256 positions of the teacher",
        ),
        ("distill.role_weights.assistant=0", "teach nothing"),
        ("models.student.lora={rank: 2, targets: [embed_tokens]}", "embed_tokens takes no adapter"),
    ],
)
def test_the_run_refuses_the_same_before_anything_is_made(change, said, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load_recipe(SMOKE, [f"runs={tmp_path}", change])
    with pytest.raises(PipelineError) as fault:
        pipeline.run(recipe, Workspace(tmp_path / "smoke"))
    assert said in str(fault.value) and "\n" not in str(fault.value)
    assert not list(tmp_path.iterdir())


def test_a_run_counts_for_the_doctor_and_is_not_refused_once_it_is_done(examine, tmp_path):
    words = (
        SMOKE,
        f"runs={tmp_path}",
        "stages=teacher,generate,filter,distill",
        "distill.sequence_tokens=30",
    )
    succeed(*words)
    notes = json.loads((tmp_path / "smoke" / "distill" / "student" / "manifest.json").read_text())[
        "notes"
    ]
    _, lines = examine(SMOKE, f"runs={tmp_path}", "distill.sequence_tokens=30")
    seen = notes["too_long"] + notes["written"] + notes["untaught"]
    assert notes["too_long"] > 0
    assert (
        f"traces: {notes['too_long']} of {seen} are longer than 30 tokens and will be left out"
        in starting(lines, "ok")
    )
    assert any(
        line.split()[:3] == ["taught", "tokens", str(notes["taught_tokens"])] for line in lines
    ), lines
    assert "distill/student: done, skipped" in succeed(
        *words, "distill.trackers=[wandb]", "teacher.trackers=[wandb]"
    )


# --- numbers by hand


def test_states_by_hand():
    gib = 2**30
    assert cost_estimate.states_gib(SIZE, 0, 8, FLOAT32) * gib == pytest.approx(16 * 1000)
    assert cost_estimate.states_gib(SIZE, 1, 8, cost_estimate.MIXED) * gib == pytest.approx(
        (2 + 2 + 12 / 8) * 1000
    )
    assert cost_estimate.states_gib(SIZE, 2, 8, cost_estimate.MIXED) * gib == pytest.approx(
        (2 + 2 / 8 + 12 / 8) * 1000
    )
    assert cost_estimate.states_gib(SIZE, 3, 8, cost_estimate.MIXED) * gib == pytest.approx(
        16 * 1000 / 8
    )
    adapters = cost_estimate.Size(total=1000, active=1000, trained=10, width=8, layers=2, vocab=50)
    assert cost_estimate.states_gib(adapters, 2, 1, cost_estimate.MIXED) * gib == pytest.approx(
        1000 * 2 + 10 * 14
    )


def test_the_sum_counts_a_sharded_teacher_under_zero_3_only():
    config = Distill(targets=Targets(teacher="sharded"))
    rows = dict(cost_estimate.memory_rows(SIZE, SIZE, config, "float32", [FLOAT32], 4, "cpu"))
    teacher = [gib * 2**30 for gib in rows["live teacher, sharded"]]
    assert teacher == pytest.approx([4000, 4000, 4000, 1000])
    parts = [gib for name, gib in rows.items() if not name.startswith("in all")]
    assert rows["in all, float32 alone"] == pytest.approx(
        [sum(column) for column in zip(*parts, strict=True)]
    )


def test_sizes_by_hand(tokenizer):  # noqa: F811
    config = build_config(TINY, tokenizer)
    dense = cost_estimate.size_of(config, Model(shape=TINY))
    assert (
        dense.total
        == build_model(TINY, tokenizer, seed=0).num_parameters()
        == dense.active
        == dense.trained
    )
    adapted = cost_estimate.size_of(config, Model(shape=TINY), Lora(rank=4, targets=["q_proj"]))
    assert adapted.trained == 2 * 4 * (32 + 32)  # layers, rank, sides


def test_active_parameters_of_a_mixture(tokenizer):  # noqa: F811
    from transformers import Qwen3MoeConfig

    config = Qwen3MoeConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        moe_intermediate_size=16,
        num_experts=8,
        num_experts_per_tok=2,
    )
    size = cost_estimate.size_of(config, Model(path="x"))
    assert size.total - size.active == 2 * (8 - 2) * 3 * 32 * 16  # layers, idle experts, matrices


def test_caches_and_flops_by_hand():
    rows = {
        kind: (each, whole)
        for kind, each, whole in cost_estimate.cache_rows(SIZE, Distill(), 1000, "bfloat16")
    }
    assert {kind: each for kind, (each, _) in rows.items()} == {
        "sampled": 64,
        "top_k": 84,
        "hidden": 16,
        "dense float16": 100,
    }
    assert rows["sampled"][1] * 2**30 == pytest.approx(64_000)
    assert [kind for kind, *_ in cost_estimate.cache_rows(None, Distill(), 1000, "bfloat16")] == [
        "sampled",
        "top_k",
    ]
    assert cost_estimate.flops(SIZE, SIZE, 10) == (6 * 400 * 10, 2 * 400 * 10)
    assert cost_estimate.flops(SIZE, None, 10) == (6 * 400 * 10, 0)
