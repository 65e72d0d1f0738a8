"""The benchmark of cached targets: its last line, the bytes it promises, and that the unbiased kind
is just that.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill.models import build_model
from tests.distill.conftest import TINY, TINY_MOE, tokenizer, world  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]


def run(*words):
    command = [sys.executable, "-m", "benchmarks.cache", "--threads", "1", *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(240)
def test_bytes_and_bias(tokenizer, tmp_path):  # noqa: F811
    for name, shape in (("teacher", TINY_MOE), ("student", TINY)):
        build_model(shape, tokenizer, seed=3).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    found = run(
        "--models",
        "planted",
        "--teacher",
        tmp_path / "teacher",
        "--student",
        tmp_path / "student",
        "--draws",
        60,
        "--tokens",
        64,
    )
    rows = {(row["model"], row["kind"]): row for row in found["rows"]}
    assert (
        rows["synthetic", "sampled"]["bytes_per_token"] == 64
        and rows["synthetic", "dense_float16"]["bytes_per_token"] == 2 * 151_936
    )
    sampled, top = rows["planted", "sampled"], rows["planted", "top_k"]
    assert sampled["loss_bias_sigma"] < 4 and sampled["grad_bias_sigma"] < 5
    assert top["loss_bias_sigma"] > 10  # a nearly flat teacher: most of what it says is in the tail
    assert rows["planted", "hidden"]["loss"] == sampled["exact_loss"]


def test_a_model_that_is_not_there_is_named(tmp_path):
    assert run("--models", "planted", "--teacher", tmp_path / "nowhere")["missing"] == ["planted"]
