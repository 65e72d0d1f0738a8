"""Saving and loading of models: whole files or none, and no weight that is random without a word."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from distill.models import build_model, load_config, load_model, replacing_files, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from recipes.errors import ModelError
from recipes.schema import Model, Shape


def test_a_save_that_is_killed_leaves_every_file_whole(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("whole")
    with pytest.raises(OSError, match="full"), replacing_files(tmp_path) as half:
        (half / "config.json").write_text("")
        raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "whole"
    with replacing_files(tmp_path) as half:
        (half / "templates").mkdir()
        (half / "templates" / "tool_use.jinja").write_text("new")
        (half / "config.json").write_text("new")
    assert (tmp_path / "templates" / "tool_use.jinja").read_text() == "new"
    assert (tmp_path / "config.json").read_text() == "new"


SHAPE = Shape(
    hidden_size=32, num_layers=1, num_heads=2, num_kv_heads=2, head_size=16, intermediate_size=32
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["What is 3 + 5? 8."] * 20, vocab_size=300)
    save_model(build_model(SHAPE, tokenizer, seed=1), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path) -> object:
    return load_model(Model(path=str(folder)))


def test_what_was_saved_loads(saved: Path) -> None:
    load(saved)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"", "holds no weights that can be read"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", "holds no weights that can be read"),
    ],
)
def test_a_file_without_weights_is_one_line(saved: Path, content: bytes, said: str) -> None:
    (saved / "model.safetensors").write_bytes(content)
    for act in (load, lambda folder: load_config(Model(path=str(folder)))):
        with pytest.raises(ModelError, match=said) as fault:
            act(saved)
        assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        (lambda name: f"base_model.model.{name}", "weights of an adapter: merge it"),
        (lambda name: f"other.{name}", "is it the model of this config"),
    ],
)
def test_weights_under_other_names_are_refused_not_drawn(saved: Path, renamed, said: str) -> None:
    file = saved / "model.safetensors"
    save_file({renamed(k): v for k, v in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=said):
        load(saved)


def test_weights_of_another_size_are_one_line(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(ModelError) as fault:
        load(saved)
    assert "\n" not in str(fault.value)
