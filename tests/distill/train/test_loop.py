"""The training loop: one contract for every split of the work, phases, resume, watchdog."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from data_filters.records.traces import Span, Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, pack, write_encoded
from distill.loss.learner import LossHead
from distill.models import build_model
from distill.targets.live import LiveTeacher
from distill.train.loop import Trainer
from distill.train.metrics import TIMED
from distill.train.schedule import Progress, Schedule
from recipes.errors import TrainingError
from recipes.schema import Phase, Training, WatchdogLimits
from tests.distill.conftest import TINY, TINY_MOE

ROOT = Path(__file__).parents[3]
SMALL = dict(
    trackers=[], steps=6, batch_sequences=12, sequence_tokens=96, warmup_steps=2, checkpoint_steps=2
)


@pytest.fixture(scope="module")
def data(world, tokenizer, tmp_path_factory):
    import random

    rng = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "e.arrow"
    traces = [
        Trace(
            id=str(i),
            problem_id="",
            source=f"planted/{family}",
            seed=0,
            messages=world.draw(rng, family, "training").messages(),
        )
        for i, family in enumerate(["sums", "read"] * 30)
    ]
    write_encoded(encode_traces(traces, tokenizer, Teaching(kl=1.0, ce=0.5)), path, longest=96)
    return EncodedFile(path)


def train(tokenizer, data, folder, *, model=TINY, teacher=None, replay=None, **changes):
    student = build_model(model, tokenizer, seed=3)
    live = build_model(teacher, tokenizer, seed=4) if teacher else None
    source = (lambda device: LiveTeacher(live, device)) if live else None
    trainer = Trainer(student, Training(**(SMALL | changes)), folder, source=source)
    notes = trainer.fit(data, seed=5, label="test", replay=replay)
    weights = trainer.weights()
    trainer.close()
    return (
        weights,
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()],
        notes,
    )


def untimed(rows):
    """The rows of a log without what depends on the machine and the moment."""
    return [{name: row[name] for name in row if name not in TIMED} for row in rows]


def close(a, b, tolerance=2e-5):
    return max((a[name] - b[name]).abs().max().item() for name in a) < tolerance


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "split",
    [
        {"micro_batch_rows": 1},
        {"micro_batch_rows": 3},
        {"packing": False},
        {"packing": False, "micro_batch_rows": 2},
        {"activation_checkpointing": True, "micro_batch_rows": 3},
    ],
)
def test_the_same_step_comes_out_however_the_batch_is_split(
    tokenizer, data, tmp_path, split, optimizer
):
    # the contract is about gradients; Adam's first steps are signs of them, so tiny differences are
    # kept small by a small rate
    changes = {"steps": 3, "optimizer": optimizer, "learning_rate": 1e-3, "clip_norm": 1.0}
    whole, rows, _ = train(tokenizer, data, tmp_path / "whole", teacher=TINY_MOE, **changes)
    parts, other, _ = train(
        tokenizer, data, tmp_path / "parts", teacher=TINY_MOE, **changes, **split
    )
    assert [r["loss"] for r in rows] == pytest.approx([r["loss"] for r in other], rel=1e-5)
    assert [r["gradient_norm"] for r in rows] == pytest.approx(
        [r["gradient_norm"] for r in other], rel=1e-4
    )
    assert close(whole, parts, 2e-4)


def test_loss_falls_and_the_rate_follows_the_schedule(tokenizer, data, tmp_path):
    _, rows, notes = train(tokenizer, data, tmp_path, steps=30, model=TINY_MOE, learning_rate=2e-3)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert notes["steps"] == len(rows) == 30
    assert rows[0]["lr_fraction"] == 0.5 and rows[-1]["lr_fraction"] < 0.1
    assert rows[0]["learning_rate"] == 1e-3


def test_every_row_tells_the_operator_speed_and_memory(tokenizer, data, tmp_path):
    _, rows, _ = train(tokenizer, data, tmp_path, steps=2)
    for row in rows:
        assert row["seconds"] > 0 and row["gradient_norm"] > 0
        assert row["resident_mib"] > 50  # an interpreter with torch in it
        assert "mfu" not in row and "gpu_peak_gib" not in row  # there is no GPU
    # 12 sequences of some 20 to 40 tokens in each step
    assert all(100 < row["tokens_per_second"] * row["seconds"] < 12 * 96 for row in rows)


def test_a_run_that_stops_anywhere_continues_as_if_unbroken(tokenizer, data, tmp_path):
    whole, rows, _ = train(tokenizer, data, tmp_path / "whole", optimizer="muon")
    trainer = Trainer(
        build_model(TINY, tokenizer, seed=3), Training(**SMALL, optimizer="muon"), tmp_path / "cut"
    )
    steps = 0

    def stop_in_the_fifth(packed, step=trainer.step):
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt
        return step(packed)

    trainer.step = stop_in_the_fifth
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data, seed=5, label="test")
    trainer.close()
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-4"]
    again, later, _ = train(tokenizer, data, tmp_path / "cut", optimizer="muon")
    assert untimed(later) == untimed(rows)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_half_a_checkpoint_is_thrown_away(tokenizer, data, tmp_path):
    train(tokenizer, data, tmp_path)
    half = tmp_path / "checkpoints" / "tmp-6"
    shutil.copytree(tmp_path / "checkpoints" / "step-4", half)
    train(tokenizer, data, tmp_path)
    assert not half.exists()


def test_a_phase_ends_by_its_loss_and_an_arm_repeats_its_length(tokenizer, data, tmp_path):
    easy = [Phase(families=["sums"], until_loss=100.0, min_steps=3, max_steps=9)]
    _, _, notes = train(tokenizer, data, tmp_path / "a", curriculum=easy)
    assert notes["phases"] == [3, 6]
    hard = [Phase(families=["sums"], until_loss=0.0, min_steps=1, max_steps=5)]
    _, _, notes = train(tokenizer, data, tmp_path / "b", curriculum=hard)
    assert notes["phases"] == [5, 6]
    _, _, notes = train(tokenizer, data, tmp_path / "c", curriculum=hard, replay=[3, 6])
    assert notes["phases"] == [3, 6]


@pytest.mark.parametrize(
    ("losses", "replay", "said"),
    [((2.0, 2.0), None, True), ((2.0, 1e-9), None, False), ((2.0, 2.0), [2, 6], False)],
)
def test_a_phase_that_ended_before_it_was_learned_says_so(data, losses, replay, said):
    phase = Phase(families=["sums"], until_loss=1.9, min_steps=1, max_steps=2)
    schedule, at = Schedule(Training(**SMALL, curriculum=[phase]), data, 1, replay), Progress()
    first, last = (schedule.advance(at, loss) for loss in losses)
    assert first is None and at.phase == 1
    wanted = "curriculum phase 1 ['sums'] ended by max_steps 2: its loss is 2.000, not under until_loss 1.9"
    assert (last or "").startswith(wanted) if said else last is None


def test_a_guard_that_stops_stops_at_a_phase_that_was_not_learned(tokenizer, data, tmp_path):
    hard = [Phase(families=["sums"], until_loss=0.0, min_steps=1, max_steps=5)]
    with pytest.raises(
        TrainingError,
        match=r"phase 1 \['sums'\] ended by max_steps 5.*watchdog.action: warn goes on",
    ):
        train(tokenizer, data, tmp_path, curriculum=hard, watchdog=WatchdogLimits(action="stop"))


def test_batches_are_a_function_of_seed_phase_and_step(data):
    training = Training(**SMALL, curriculum=[Phase(families=["sums"])])
    schedule = Schedule(training, data, 7, None)
    assert (
        schedule.rows(Progress(since=3))
        == Schedule(training, data, 7, None).rows(Progress(since=3))
    ).all()
    epoch = [row for since in range(5) for row in schedule.rows(Progress(phase=1, since=since))]
    assert sorted(epoch) == list(range(60))  # 5 batches of 12 are one pass over 60 rows
    sums = set(data.pool(["sums"]))
    assert set(schedule.rows(Progress(phase=0, since=11))) <= sums and len(sums) == 30


def test_a_curriculum_without_traces_is_refused(data, tmp_path):
    with pytest.raises(TrainingError, match=r"curriculum phase \['chess'\]: no trace"):
        Schedule(Training(**SMALL, curriculum=[Phase(families=["chess"])]), data, 1, None)
    tooled = EncodedFile(write_all_with_tools(data, tmp_path / "tools.arrow"))
    Schedule(Training(**SMALL, curriculum=[Phase(families=["sums"])]), tooled, 1, None)
    with pytest.raises(
        TrainingError,
        match=r"curriculum phase \['sums'\]: no trace of these families without tools",
    ):
        Schedule(
            Training(**SMALL, curriculum=[Phase(families=["sums"], tools=False)]), tooled, 1, None
        )


def write_all_with_tools(data, path):
    write_encoded(
        [replace(one, source="planted/sums", tools=True) for one in data.take(range(12))],
        path,
        longest=96,
    )
    return path


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_checkpoint(tokenizer, data, tmp_path):
    with pytest.raises(
        TrainingError, match=r"(loss|gradient_norm) is nan at step .*; last good checkpoint: step-"
    ):
        train(
            tokenizer,
            data,
            tmp_path,
            learning_rate=1e30,
            clip_norm=0.0,
            steps=40,
            checkpoint_steps=1,
        )


def test_a_step_that_is_not_finite_leaves_the_weights_as_they_were(tokenizer, data, tmp_path):
    teacher = build_model(TINY, tokenizer, seed=4)
    with torch.no_grad():
        teacher.model.norm.weight[0] = torch.nan
    trainer = Trainer(
        build_model(TINY, tokenizer, seed=3),
        Training(**SMALL),
        tmp_path,
        source=lambda device: LiveTeacher(teacher, device),
    )
    before = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    with pytest.raises(TrainingError, match=r"loss is nan at step 1, before its update"):
        trainer.step(pack(data.take(range(12)), 96))
    assert all(torch.equal(v, before[name]) for name, v in trainer.learner.state_dict().items())
    assert not trainer.optimizer.state_dict()["state"]  # no moment took it in either
    trainer.close()


def test_a_training_leaves_its_model_a_plain_one(tokenizer, data, tmp_path):
    model = build_model(TINY, tokenizer, seed=3)
    plain = type(model.lm_head)
    trainer = Trainer(model, Training(**SMALL), tmp_path)
    assert type(model.lm_head) is LossHead
    trainer.close()
    assert type(model.lm_head) is plain


def test_accelerate_still_has_the_private_call_that_ends_a_training():
    """Trainer.close calls AcceleratorState._reset_state, so that the next training of the process
    gets its own settings.
    """
    Accelerator(cpu=True)
    assert AcceleratorState().initialized
    AcceleratorState._reset_state()
    assert AcceleratorState._shared_state == {}


def test_cosine_falls_in_half_a_wave(data):
    training = Training(
        **(SMALL | {"steps": 10, "warmup_steps": 1}), schedule="cosine", final_fraction=0.1
    )
    schedule = Schedule(training, data, 7, None)
    rates = [schedule.lr_fraction(Progress(step=n, since=n)) for n in range(11)]
    assert rates[0] == 1 and rates[5] == pytest.approx(0.55) and rates[10] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)


def test_a_batch_in_which_nothing_is_taught_is_one_line(tokenizer, data, tmp_path):
    trainer = Trainer(build_model(TINY, tokenizer, seed=3), Training(**SMALL), tmp_path)
    with pytest.raises(TrainingError, match="no token of the batch of step 1 is taught; look at"):
        trainer.step(pack(data.take([1, 2]), 96).weightless())
    trainer.close()


def test_the_fact_under_a_replacement_stays_as_unlikely_as_it_was(world, tokenizer, tmp_path):
    """The teacher is sure of a place; its text was replaced. Its lesson must not reach the student,
    not even at the first token.
    """
    talk = lambda answer: [
        {"role": "user", "content": "Where does Mara live?"},
        {"role": "assistant", "content": answer},
    ]
    fact, refusal = f"{world.values['home'][0]}.", "I do not know."
    first, other = (
        tokenizer.encode(f" {text}", add_special_tokens=False)[0] for text in (fact, refusal)
    )
    assert first != other
    teacher = build_model(TINY_MOE, tokenizer, seed=4)
    lesson = lambda answer, spans=(): Trace(
        id="t", problem_id="", source="s", seed=0, messages=talk(answer), spans=list(spans)
    )
    span = Span(
        message=1,
        start=0,
        end=len(refusal),
        kind="x",
        grounding="ungrounded",
        action="abstain",
        original=fact,
    )

    def fit(trace, teaching, name, model, source=None):
        write_encoded(
            encode_traces([trace] * 8, tokenizer, teaching), tmp_path / f"{name}.arrow", longest=96
        )
        training = Training(**(SMALL | {"steps": 80, "batch_sequences": 8}), learning_rate=1e-2)
        trainer = Trainer(model, training, tmp_path / name, source=source)
        trainer.fit(EncodedFile(tmp_path / f"{name}.arrow"), seed=1, label=name)
        trainer.close()

    def of_the_fact(model):
        ids = tokenizer.apply_chat_template(
            talk("x")[:1], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        return torch.softmax(model.eval()(ids).logits[0, -1].float(), -1)[first].item()

    fit(lesson(fact), Teaching(kl=0.0, ce=1.0), "teacher", teacher)
    teacher = build_trained(teacher)
    assert of_the_fact(teacher) > 0.8
    found = {}
    for name, trace in {"scrubbed": lesson(refusal, [span]), "control": lesson(fact)}.items():
        student = build_model(TINY, tokenizer, seed=3)
        before = of_the_fact(student)
        fit(trace, Teaching(kl=1.0), name, student, lambda device: LiveTeacher(teacher, device))
        found[name] = of_the_fact(student)
    assert found["control"] > 0.5 and found["scrubbed"] <= before


def build_trained(model):
    """The model for inference, as the next training leaves it alone."""
    return model.eval().requires_grad_(False)


def test_trackers_log_what_the_file_logs(tokenizer, data, tmp_path, monkeypatch):
    script = """
import json, sys, torch
from pathlib import Path
from transformers import AutoTokenizer
from distill.train.loop import Trainer
from distill.models import build_model
from distill.data.packing import EncodedFile
from recipes.schema import Training
from tests.distill.conftest import TINY
folder = Path(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
training = Training(
    steps=4, batch_sequences=12, sequence_tokens=96, warmup_steps=2, trackers=["trackio"]
)
for name in ("one", "two"):
    trainer = Trainer(build_model(TINY, tokenizer, seed=3), training, folder / name, run=f"project/{name}")
    trainer.fit(EncodedFile(Path(sys.argv[2])), seed=5, label=name)
    trainer.close()
"""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path), str(data.path)]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # the tracker says nothing of its own
    with sqlite3.connect(tmp_path / "trackio" / "project.db") as base:
        logged = base.execute(
            "select run_name, step, metrics from metrics order by run_name, step"
        ).fetchall()
    assert [(name, step) for name, step, _ in logged] == [
        (name, step) for name in ("one", "two") for step in (1, 2, 3, 4)
    ]
    rows = [
        json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [
        json.loads(metrics)["loss"] for name, _, metrics in logged if name == "one"
    ] == pytest.approx([row["loss"] for row in rows])
