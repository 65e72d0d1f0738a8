"""The planted world's own mixture in a real vLLM, served and in process: the same traces and the
same targets as in transformers.

Run by `make test-vllm`, in an environment of its own.
"""

import json

import pytest

from data_filters.records.shards import iter_traces
from distill.data.packing import EncodedFile, pack
from distill.targets.cache import CachedTargets, Origin
from tests.launch.street import SMOKE, launch, succeed

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]

HEADS = "models.teacher.shape.head_size=32"  # vLLM's attention has no 16 on a CPU
GREEDY = (
    HEADS,
    "generate.temperature=0",
    "teacher.steps=150",
    "generate.max_new_tokens=24",
    "filter.ungrounded_action=mask",
)
WAYS = {
    "transformers": (),
    "served": ("models.teacher.engine=endpoint", "models.teacher.serve=true"),
    "in_process": ("models.teacher.engine=vllm",),
}
OPTIONS = "models.teacher.server.options={enforce-eager: ''}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One teacher, three ways to speak with it; targets of the same traces."""
    runs = tmp_path_factory.mktemp("runs")
    for name, way in WAYS.items():
        succeed(
            SMOKE,
            f"runs={runs}",
            f"name={name}",
            *GREEDY,
            *way,
            OPTIONS,
            "stages=teacher,generate,filter",
            *top_k(6),
            timeout=600,
        )
    kept = runs / "transformers" / "filter" / "kept"
    for name, way in WAYS.items():
        for kind in ("top_k", "hidden"):
            if (name, kind) != ("served", "hidden"):
                words = (
                    f"runs={runs}",
                    f"name={name}_{kind}",
                    *GREEDY,
                    *way,
                    OPTIONS,
                    f"distill.traces={kept}",
                    "distill.arms=[student]",
                )
                targets = top_k(6) if kind == "top_k" else ("distill.targets.kind=hidden",)
                succeed(SMOKE, *words, *targets, "stages=teacher,distill", timeout=600)
    return runs


def top_k(kept):
    return "distill.targets.kind=top_k", f"distill.targets.tokens_per_position={kept}"


def signal(run):
    folder = run / "distill" / "targets" / "student"
    about = json.loads((folder / "cache.json").read_text())
    data = EncodedFile(folder / "encoded.arrow")
    batch = pack(data.take(range(len(data))), 96)
    return CachedTargets(
        folder, Origin(**{name: about[name] for name in Origin.__dataclass_fields__}), "cpu"
    ).signal(batch)


@pytest.mark.parametrize("name", ["served", "in_process"])
def test_greedy_traces_are_the_same(runs, name):
    ours = {trace.id: trace for trace in iter_traces(runs / "transformers" / "generate")}
    theirs = {trace.id: trace for trace in iter_traces(runs / name / "generate")}
    assert ours.keys() == theirs.keys() and len(ours) > 150
    other = [
        (t.messages[-1]["content"], theirs[i].messages[-1]["content"])
        for i, t in ours.items()
        if t.messages != theirs[i].messages
    ]
    assert len(other) <= 0.01 * len(ours), other
    assert {t.engine for t in theirs.values()} == {"endpoint" if name == "served" else "vllm"}


@pytest.mark.parametrize("name", ["served", "in_process"])
def test_likeliest_tokens_are_within_a_thousandth(runs, name):
    ours, theirs = signal(runs / "transformers_top_k"), signal(runs / f"{name}_top_k")
    assert (ours.logprobs_NK - theirs.logprobs_NK).abs().max() < 1e-3
    # the last of those kept may be one of two alike
    assert (ours.ids_NK == theirs.ids_NK).float().mean() > 0.99


def test_hidden_states_are_those_that_transformers_reads(runs):
    ours, theirs = signal(runs / "transformers_hidden"), signal(runs / "in_process_hidden")
    assert (ours.output.weight_VD == theirs.output.weight_VD).all()
    assert (ours.hidden_NE - theirs.hidden_NE).abs().max() < 1e-3 * ours.hidden_NE.abs().max()


def test_students_end_alike(runs):
    last = {
        name: json.loads(
            (runs / name / "distill" / "student" / "metrics.jsonl").read_text().splitlines()[-1]
        )["loss"]
        for name in ("transformers_top_k", "served_top_k", "in_process_top_k")
    }
    assert max(last.values()) - min(last.values()) < 1e-3 * max(last.values()), last


def test_a_server_that_cannot_start_is_one_line(runs):
    bad = launch(
        SMOKE,
        f"runs={runs}",
        "name=bad",
        *GREEDY,
        *WAYS["served"],
        "models.teacher.server.options={max-model-len: '9999999'}",
        "stages=teacher,generate",
        "generate.count=150",
        *top_k(6),
    )
    (line,) = [line for line in bad.stderr.splitlines() if line.startswith("error: ")]
    assert bad.returncode == 2 and "max" in line and "server.log" in line
