"""The gradient contract: the same step comes out however the work is split.

Micro-batch x accumulation x packing x ranks x ZeRO stage x loss backend x kind of targets. The
update of three steps (the change of all parameters together) differs from the unsplit run's by at
most TOLERANCE of its own length; losses by LOSS_TOLERANCE.
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

from data_filters.records.traces import Span, Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, write_encoded
from distill.models import build_model
from distill.targets.cache import Origin, origin_of
from distill.targets.teacher_facts import teacher_at_hand
from distill.targets.write_cache import LocalCacheWriter, finish_cache
from recipes.schema import Distill, Targets
from tests.distill.conftest import TINY, TINY_MOE

ROOT = Path(__file__).parents[3]
TOLERANCE, LOSS_TOLERANCE = 1e-3, 1e-5
FACTORS = {
    # rows at once: 10 sequences make 3 to 10 rows, so 1 and 3 accumulate over several backward
    # passes
    "micro": (1, 3, 64),
    "packing": (True, False),
    "ranks": (1, 2),
    "zero": ("none", 1, 2, 3),
    "backend": ("chunked", "dense"),
    "kind": ("live", "sampled", "top_k", "hidden"),
}
WHOLE = {"micro": 64, "packing": True, "ranks": 1, "zero": "none", "backend": "chunked"}
pytestmark = pytest.mark.timeout(900)


def covering(seed=0):
    """Cases that between them hold every pair of values of two factors, greedily, from 64 random
    candidates a time.
    """
    rng, names = random.Random(seed), list(FACTORS)
    open_pairs = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
    }
    cases = []
    while open_pairs:
        drawn = [{name: rng.choice(values) for name, values in FACTORS.items()} for _ in range(64)]
        best = max(drawn, key=lambda case: len(open_pairs & pairs(case)))
        open_pairs -= pairs(best)
        cases.append(best)
    return cases


def pairs(case):
    return {((a, case[a]), (b, case[b])) for a, b in itertools.combinations(FACTORS, 2)}


SOME = covering()
EXTRA = [  # beside the matrix: a teacher cut up over the ranks, adapters, other divergences
    {"micro": 1, "packing": True, "ranks": 2, "zero": 3, "backend": "chunked", "kind": "sharded"},
    {
        "micro": 1,
        "packing": False,
        "ranks": 2,
        "zero": 2,
        "backend": "chunked",
        "kind": "live",
        "lora": True,
    },
    {
        "micro": 3,
        "packing": True,
        "ranks": 2,
        "zero": 3,
        "backend": "chunked",
        "kind": "hidden",
        "lora": True,
    },
    {
        "micro": 1,
        "packing": True,
        "ranks": 2,
        "zero": 3,
        "backend": "chunked",
        "kind": "live",
        "divergence": "jsd",
    },
    {
        "micro": 3,
        "packing": False,
        "ranks": 2,
        "zero": 1,
        "backend": "dense",
        "kind": "hidden",
        "divergence": "reverse_kl",
    },
]


@pytest.fixture(scope="module")
def root(tmp_path_factory, world, tokenizer):
    """A tokenizer, encoded sequences (some with masked spans, some of one token's weight) and a
    cache of each kind.
    """
    root, rng = tmp_path_factory.mktemp("contract"), random.Random(0)
    tokenizer.save_pretrained(root / "tokenizer")
    traces = [
        trace(i, world.draw(rng, family, "training").messages())
        for i, family in enumerate(["sums", "read", "closed"] * 12)
    ]
    write_encoded(
        encode_traces(traces, tokenizer, Teaching(kl=1.0, ce=0.5)),
        root / "encoded.arrow",
        longest=96,
    )
    data, teacher = EncodedFile(root / "encoded.arrow"), build_model(TINY_MOE, tokenizer, seed=4)
    teacher.save_pretrained(root / "teacher")
    for kind in ("sampled", "top_k", "hidden"):
        config = Distill(targets=Targets(kind=kind, tokens_per_position=8))
        origin: Origin = origin_of(
            config, tokenizer, teacher="t", vocab_size=len(tokenizer), data=data
        )
        (root / kind).mkdir()
        LocalCacheWriter(teacher, origin, seed=1, row_tokens=96, micro_batch_rows=8).write(
            root / kind, 0, data.take(range(len(data)))
        )
        finish_cache(root / kind, origin, teacher_at_hand(teacher), data, 4096)
    return root


def trace(number, messages):
    """Every third answer is masked in part, every seventh was replaced."""
    said = messages[-1]["content"]
    action = "mask" if number % 3 == 0 else "abstain" if number % 7 == 0 else "keep"
    end = len(said) // 2 if action == "mask" else len(said)
    span = Span(
        message=len(messages) - 1, start=0, end=end, kind="x", grounding="ungrounded", action=action
    )
    return Trace(
        id=str(number), problem_id="", source="planted/x", seed=0, messages=messages, spans=[span]
    )


def run_cases(root, cases):
    """Starts each kind of launch once for all cases that want it; gives the folder of each case."""
    named = {f"{'-'.join(str(v) for v in case.values())}": case for case in cases}
    groups: dict[tuple[int, bool], dict] = {}
    for name, case in named.items():
        if not (root / "out" / name / "weights.safetensors").exists():
            groups.setdefault((case["ranks"], case["zero"] != "none"), {})[name] = case
    for (ranks, deepspeed), group in groups.items():
        start(root, ranks, deepspeed, group)
    return {name: (case, root / "out" / name) for name, case in named.items()}


def start(root, ranks, deepspeed, group):
    listing = root / f"cases-{ranks}-{deepspeed}.json"
    listing.write_text(json.dumps(group))
    script = [
        str(ROOT / "tests" / "distill" / "train" / "contract_runner.py"),
        str(root),
        str(listing),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # where it is true, accelerate leaves DeepSpeed out without a word
        "ACCELERATE_USE_CPU": str(not deepspeed).lower(),
        "DS_ACCELERATOR": "cpu",
    }
    port = str(random.SystemRandom().randint(20_000, 40_000))
    if deepspeed:
        config = str(ROOT / "launch" / "accelerate" / "zero3_cpu2.yaml")
        words = [
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            config,
            "--num_processes",
            str(ranks),
            "--main_process_port",
            port,
        ]
    else:
        words = (
            ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--master_port", port]
            if ranks > 1
            else []
        )
    done = subprocess.run(
        [sys.executable, *words, *script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, (
        done.stdout[-2000:]
        + "\n".join(line for line in done.stderr.splitlines() if "steps" not in line)[:6000]
    )


def reference(case):
    """The same work in one piece: hidden states are exact, so theirs is the live teacher's step."""
    kind = "live" if case["kind"] in ("hidden", "sharded") else case["kind"]
    return {
        **WHOLE,
        "kind": kind,
        **{name: case[name] for name in ("lora", "divergence") if name in case},
    }


def check(root, cases):
    references = {json.dumps(reference(case)): reference(case) for case in cases}
    folders = run_cases(root, [*references.values(), *cases])
    by_case = {json.dumps(case): folder for case, folder in folders.values()}
    far = {}
    for name, (case, folder) in folders.items():
        whole = by_case[json.dumps(reference(case))] if "kind" in case else folder
        apart, losses = update_apart(folder, whole), log_apart(folder, whole)
        if apart > TOLERANCE or losses > LOSS_TOLERANCE:
            far[name] = (apart, losses)
    print(f"{len(cases)} cases; far from the unsplit step: {far or 'none'}")
    assert not far


def update_apart(folder, whole):
    """Length of the difference of two updates over the length of one."""
    ours, theirs, before = (
        load_file(folder / "weights.safetensors"),
        load_file(whole / "weights.safetensors"),
        start_weights(whole),
    )
    assert ours.keys() == theirs.keys()
    squares = lambda a, b: sum(
        ((a[name].double() - b[name].double()) ** 2).sum().item() for name in a if name in b
    )
    return (
        squares(ours, theirs) / squares({n: theirs[n] for n in before if n in theirs}, before)
    ) ** 0.5


def start_weights(whole):
    from transformers import AutoTokenizer

    from distill.adapters import add_lora
    from recipes.schema import Lora

    tokenizer = AutoTokenizer.from_pretrained(whole.parents[1] / "tokenizer")
    made = build_model(TINY, tokenizer, seed=3)
    if "lora" in str(load_file(whole / "weights.safetensors").keys()):
        made = add_lora(made, Lora(rank=4, alpha=8, targets=["q_proj", "down_proj"]), seed=6)
    return made.state_dict()


def log_apart(folder, whole):
    rows = [
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (folder, whole)
    ]
    assert len(rows[0]) == len(rows[1]) == 3
    return max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(*rows, strict=True))


def test_the_chosen_cases_hold_every_pair_of_values():
    every = {pair for case in SOME for pair in pairs(case)}
    wanted = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(FACTORS, 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
    }
    assert every == wanted and len(SOME) <= 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_step_comes_out_of_every_pair_of_settings(root):
    check(root, [*SOME, *EXTRA])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_same_step_comes_out_of_every_setting(root):
    check(
        root,
        [
            dict(zip(FACTORS, values, strict=True))
            for values in itertools.product(*FACTORS.values())
        ],
    )


def test_the_contract_can_be_broken(root):
    """Another seed of the adapters or another kind of target is a different step: the tolerance is
    no blank cheque.
    """
    folders = run_cases(root, [{**WHOLE, "kind": "live"}, {**WHOLE, "kind": "top_k"}])
    (_, live), (_, top_k) = folders.values()
    assert update_apart(top_k, live) > 20 * TOLERANCE
    assert torch.isfinite(torch.tensor(update_apart(live, live))) and update_apart(live, live) == 0
