"""SIGKILL at any step, also between two micro-batches of one: the log and the weights afterwards
are those of an unbroken run.
"""

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_filters.records.traces import Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, write_encoded
from distill.models import build_model
from distill.targets.cache import origin_of
from distill.targets.teacher_facts import teacher_at_hand
from distill.targets.write_cache import LocalCacheWriter, finish_cache
from distill.train.metrics import TIMED
from recipes.schema import Distill, Targets
from tests.distill.conftest import TINY_MOE

ROOT = Path(__file__).parents[3]
WEIGHTS = "weights.safetensors"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def root(tmp_path_factory, world, tokenizer):
    root, rng = tmp_path_factory.mktemp("resume"), random.Random(0)
    tokenizer.save_pretrained(root / "tokenizer")
    traces = [
        Trace(
            id=str(i),
            problem_id="",
            source=f"planted/{family}",
            seed=0,
            messages=world.draw(rng, family, "training").messages(),
        )
        for i, family in enumerate(["sums", "read", "closed"] * 12)
    ]
    write_encoded(
        encode_traces(traces, tokenizer, Teaching(kl=1.0, ce=0.5)),
        root / "encoded.arrow",
        longest=96,
    )
    data, teacher = EncodedFile(root / "encoded.arrow"), build_model(TINY_MOE, tokenizer, seed=4)
    teacher.save_pretrained(root / "teacher")
    origin = origin_of(
        Distill(targets=Targets(kind="sampled")),
        tokenizer,
        teacher="t",
        vocab_size=len(tokenizer),
        data=data,
    )
    (root / "sampled").mkdir()
    LocalCacheWriter(teacher, origin, seed=1, row_tokens=96, micro_batch_rows=8).write(
        root / "sampled", 0, data.take(range(len(data)))
    )
    finish_cache(root / "sampled", origin, teacher_at_hand(teacher), data, 4096)
    return root


def train(root, out, kind, kill_at, zero=None, optimizer="adamw"):
    """The exit code of one start."""
    done = start("resume_runner.py", [root, out, kind, kill_at, optimizer], zero)
    assert kill_at or done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done.returncode


def start(runner, given, zero):
    """A process, or two ranks of ZeRO."""
    script = [str(ROOT / "tests" / "distill" / "train" / runner), *map(str, given)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # where it is true, accelerate leaves DeepSpeed out without a word
        "ACCELERATE_USE_CPU": str(zero is None).lower(),
        "DS_ACCELERATOR": "cpu",
    }
    words = []
    if zero is not None:
        config, port = (
            str(ROOT / "launch" / "accelerate" / f"zero{zero}_cpu2.yaml"),
            str(random.SystemRandom().randint(20_000, 40_000)),
        )
        words = [
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            config,
            "--main_process_port",
            port,
        ]
    return subprocess.run(
        [sys.executable, *words, *script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def results(out):
    """The log without what depends on the machine and the moment, and the weights."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    log = [{name: row[name] for name in row if name not in TIMED} for row in rows]
    return log, (out / WEIGHTS).read_bytes()


def check(root, tmp_path, kind, kills, zero=None, optimizer="adamw"):
    """`kills` count the micro-batches of each start, one start after the other."""
    train(root, tmp_path / "whole", kind, 0, zero, optimizer)
    for kill_at in kills:
        assert train(root, tmp_path / "cut", kind, kill_at, zero, optimizer) != 0
        assert not (tmp_path / "cut" / WEIGHTS).exists()
    train(root, tmp_path / "cut", kind, 0, zero, optimizer)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["live", "sampled"])
def test_killed_and_started_again_nothing_differs(root, tmp_path, kind):
    # steps take 3 to 5 micro-batches each: in the first step, in the curriculum, right behind a
    # checkpoint, in the midst of a late step
    check(root, tmp_path, kind, kills=(2, 12, 9, 14))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_before_every_micro_batch_nothing_differs(root, tmp_path):
    train(root, tmp_path / "whole", "sampled", 0)
    for kill_at in itertools.count(1):
        # there are no more micro-batches
        if train(root, tmp_path / str(kill_at), "sampled", kill_at) == 0:
            break
        train(root, tmp_path / str(kill_at), "sampled", 0)
        assert results(tmp_path / str(kill_at)) == results(tmp_path / "whole")
    assert kill_at > 20
    kills = 0
    while train(root, tmp_path / "often", "sampled", 13) != 0:
        kills += 1
    assert kills > 1 and results(tmp_path / "often") == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("zero", [2, 3])
def test_two_ranks_killed_and_started_again_nothing_differs(root, tmp_path, zero):
    check(root, tmp_path, "sampled", kills=(8,), zero=zero)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_muon_is_the_same_under_zero_and_a_training_goes_on_under_any_launch(root, tmp_path):
    """Begun under each launch and killed, gone on with under another: the curve and the weights are
    those of one process, as far as float32 allows; under the same launch to the bit.
    """
    train(root, tmp_path / "whole", "sampled", 0, None, "muon")
    wanted, weights = results(tmp_path / "whole")[0], load_file(tmp_path / "whole" / WEIGHTS)
    launches = [None, 2, 3]
    for number, (first, then) in enumerate(itertools.product(launches, launches)):
        out = tmp_path / str(number)
        if first == then is None:
            continue
        assert train(root, out, "sampled", 14, first, "muon") != 0
        train(root, out, "sampled", 0, then, "muon")
        found = results(out)[0]
        assert [row["step"] for row in found] == [row["step"] for row in wanted]
        for row, other in zip(found, wanted, strict=True):
            assert row["loss"] == pytest.approx(other["loss"], rel=2e-4), (first, then)
        for name, weight in load_file(out / WEIGHTS).items():
            torch.testing.assert_close(weight, weights[name], rtol=1e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("zero", [2, 3])
def test_muon_killed_under_zero_and_started_again_nothing_differs(root, tmp_path, zero):
    check(root, tmp_path, "sampled", kills=(8,), zero=zero, optimizer="muon")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_step_that_is_not_finite_leaves_the_weights_under_deepspeed(root):
    done = start("non_finite_runner.py", [root], zero=2)
    assert done.returncode == 0, done.stderr[-4000:]
