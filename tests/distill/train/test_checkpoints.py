"""Checkpoints: plain files only, damage is one line, and nothing in a pickle can run."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from data_filters.records.traces import Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, write_encoded
from distill.models import build_model
from distill.train.checkpoints import STATES, WEIGHTS, restore, state_of
from distill.train.loop import Trainer
from distill.train.optimizer import build_optimizer
from recipes.errors import TrainingError
from recipes.schema import Training
from tests.distill.conftest import TINY, TINY_MOE

TRAINING = Training(
    trackers=[], steps=3, batch_sequences=4, sequence_tokens=96, warmup_steps=1, checkpoint_steps=2
)


@pytest.fixture(scope="module")
def trained(world, tokenizer, tmp_path_factory):
    """A folder with the checkpoint of step 2."""
    import random

    rng, folder = random.Random(0), tmp_path_factory.mktemp("checkpoints")
    traces = [
        Trace(
            id=str(i),
            problem_id="",
            source="planted/sums",
            seed=0,
            messages=world.draw(rng, "sums", "training").messages(),
        )
        for i in range(8)
    ]
    encoded = encode_traces(traces, tokenizer, Teaching(kl=0.0, ce=1.0))
    write_encoded(encoded, folder / "e.arrow", longest=96)
    trainer = Trainer(build_model(TINY, tokenizer, seed=3), TRAINING, folder / "run")
    trainer.fit(EncodedFile(folder / "e.arrow"), seed=5, label="test")
    trainer.close()
    return folder / "run"


def resumed(tokenizer, folder):
    """Where a new training in this folder would go on."""
    trainer = Trainer(build_model(TINY, tokenizer, seed=3), TRAINING, folder)
    try:
        return trainer.checkpoints.resume()
    finally:
        trainer.close()


def test_a_checkpoint_is_plain_files_only(trained):
    files = sorted(path.name for path in (trained / "checkpoints" / "step-2").iterdir())
    plain = ["model.safetensors", "optimizer.safetensors", "progress.json"]
    assert files == plain
    assert (
        json.loads((trained / "checkpoints" / "step-2" / "progress.json").read_text())["step"] == 2
    )


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("progress.json", cut),
        ("progress.json", lambda path: path.unlink()),
        ("progress.json", lambda path: path.write_text('{"steps": 2}')),
        ("model.safetensors", cut),
        ("optimizer.safetensors", cut),
        ("optimizer.safetensors", lambda path: path.unlink()),
        ("model.safetensors", lambda path: save_file({"x": torch.zeros(1)}, path)),
    ],
)
def test_damage_is_one_line_that_names_the_folder(trained, tokenizer, tmp_path, name, damage):
    shutil.copytree(trained, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "step-2"
    damage(folder / name)
    with pytest.raises(TrainingError) as told:
        resumed(tokenizer, tmp_path / "run")
    assert str(told.value).startswith(f"{folder}: the checkpoint cannot be read (")
    assert "delete this folder" in str(told.value) and "\n" not in str(told.value)


def test_a_folder_of_another_name_beside_is_no_checkpoint(trained, tokenizer, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step-old").mkdir()
    assert resumed(tokenizer, tmp_path / "run").step == 2


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizer_states_come_back_to_the_bit(tokenizer, tmp_path, kind):
    model = build_model(TINY_MOE, tokenizer, seed=0)
    training = Training(optimizer=kind)
    first = build_optimizer(model, training)
    for seed, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(seed)
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    first.step()
    files = {WEIGHTS: {}, STATES: {}}
    for file, key, value in state_of(model, first):
        files[file][key] = value.contiguous()
    for file, tensors in files.items():
        save_file(tensors, tmp_path / file)
    other = build_model(TINY_MOE, tokenizer, seed=1)
    second = build_optimizer(other, training)
    restore(other, second, tmp_path)
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
    was, now = first.state_dict(), second.state_dict()
    assert [g["lr"] for g in was["param_groups"]] == [g["lr"] for g in now["param_groups"]]
    assert was["state"].keys() == now["state"].keys()
    for number, states in was["state"].items():
        assert all(torch.equal(value, now["state"][number][name]) for name, value in states.items())


def test_what_an_older_version_wrote_under_deepspeed_is_told(trained, tokenizer, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "step-2"
    (folder / "deepspeed").mkdir()
    with pytest.raises(TrainingError, match="written under DeepSpeed by an older version; delete"):
        resumed(tokenizer, tmp_path / "run")
