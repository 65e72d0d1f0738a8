"""vLLM in process and as a server, against transformers: the same words, log-probabilities and
hidden states. `make test-vllm`.
"""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from distill.engines.endpoint import EndpointEngine
from distill.engines.local import LocalEngine
from distill.engines.protocol import Completion, Sampling, TopLogprobs
from distill.engines.vllm_server import serving
from distill.models import build_model, save_model
from recipes.errors import ModelError
from recipes.schema import Model, Server, Shape

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[3]
MOE = Shape(
    family="qwen3_moe",
    hidden_size=128,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_size=32,
    intermediate_size=64,
    num_experts=8,
)
TOP_K = 32
GREEDY = Sampling(max_new_tokens=24)
FAMILIES = ("read", "closed", "sums", "basics", "follow")


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
        yield


@pytest.fixture(scope="module")
def talks(world):
    import random

    rng = random.Random(5)
    return [
        [
            {
                "role": "user",
                "content": world.draw(rng, FAMILIES[n % len(FAMILIES)], "training").prompt,
            }
        ]
        for n in range(200)
    ]


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A mixture whose weights are large enough for varied words with clear winners."""
    model = build_model(MOE, tokenizer, seed=3)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.mul_(1.0 if "embed" in name else 4.0)
    path = tmp_path_factory.mktemp("mixture")
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="module")
def spec(folder):
    options = {"enforce-eager": ""}
    return Model(
        path=str(folder),
        engine="endpoint",
        serve=True,
        server=Server(options=options, start_seconds=240.0, concurrency=64),
    )


@pytest.fixture(scope="module")
def local(folder, tokenizer):
    from transformers import AutoModelForCausalLM

    return LocalEngine(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer,
        batch_sequences=50,
    )


@pytest.fixture(scope="module")
def reference(local, talks):
    found = local.complete(talks, GREEDY)
    assert len({one.text for one in found}) > 100, (
        "a model that always says the same would prove nothing"
    )
    return found


@pytest.fixture(scope="module")
def rows(local, talks, reference):
    talked = zip(talks[:40], reference, strict=False)
    return [[*local.render(talk), *local.tokenizer.encode(said.text)] for talk, said in talked] + [
        [7, 8]
    ]


@pytest.fixture(scope="module")
def engine(folder, spec, tokenizer):
    from distill.engines.vllm import VllmEngine

    opened = VllmEngine(folder, spec, tokenizer, max_logprobs=TOP_K)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def served(folder, spec, tokenizer, tmp_path_factory):
    with serving(
        folder, spec, log=tmp_path_factory.mktemp("log") / "server.log", max_logprobs=TOP_K
    ) as server:
        client = EndpointEngine(server.urls, spec.server, tokenizer)
        client.check(24, TOP_K)
        yield client
        client.close()


@pytest.fixture(params=["in process", "served"])
def either(request):
    return request.getfixturevalue("engine" if request.param == "in process" else "served")


def whole(said: Completion) -> Completion:
    """Without characters of which only the first bytes were written: a server holds them back,
    which a model of random weights shows; and without what only transformers tells here, how likely
    the answer was."""
    return replace(said, text=said.text.rstrip("\ufffd").strip(), mean_logprob=None)


def same(ours: list[Completion], theirs: list[Completion], at_least: float) -> None:
    differ = [
        (number, a, b)
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True))
        if whole(a) != whole(b)
    ]
    print(f"{len(differ)} of {len(ours)} differ", *differ, sep="\n")
    assert len(differ) <= (1 - at_least) * len(ours), differ


def agree(ours: list[TopLogprobs], theirs: list[TopLogprobs], nats: float) -> None:
    """The same log-probabilities by rank, and of each token that both name."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        assert (
            a.ids_TK.shape == b.ids_TK.shape
            and a.ids_TK.dtype == torch.int64
            and a.logprobs_TK.dtype == torch.float32
        )
        if not a.ids_TK.numel():
            continue
        worst = max(worst, (a.logprobs_TK - b.logprobs_TK).abs().max().item())
        both_TKK = a.ids_TK[:, :, None] == b.ids_TK[:, None, :]
        assert both_TKK.any(-1).float().mean() > 0.99, "other tokens are the likeliest"
        worst = max(
            worst,
            ((a.logprobs_TK[:, :, None] - b.logprobs_TK[:, None, :]).abs() * both_TKK).max().item(),
        )
    print(f"largest difference {worst:.2e} nats")
    assert worst < nats


def test_greedy_completions_are_those_of_transformers(either, talks, reference):
    finished, counted = {}, []
    ours = either.complete(
        talks,
        GREEDY,
        finished=finished.__setitem__,
        progress=lambda items, tokens: counted.append((items, tokens)),
    )
    same(ours, reference, 0.99)
    assert [finished[number] for number in range(len(talks))] == ours
    assert [sum(column) for column in zip(*counted, strict=True)] == [
        len(talks),
        sum(one.completion_tokens for one in ours),
    ]


def test_prefixes_and_stops_are_those_of_transformers(either, local, talks, reference):
    words = [word for said in reference[:40] for word in said.text.split()]
    how = Sampling(max_new_tokens=24, stop=(" " + max(set(words), key=words.count),))
    prefixes = [f"<think> {number}" for number in range(40)]
    theirs = local.complete(talks[:40], how, prefixes=prefixes)
    ours = either.complete(talks[:40], how, prefixes=prefixes)
    assert all(one.text.startswith("<think> ") for one in ours)
    cut = [one for one in theirs if how.stop[0] in one.text]
    assert (
        not cut
        and sum(whole(a).text == whole(b).text for a, b in zip(ours, theirs, strict=True)) >= 39
    )


def test_scores_are_those_of_transformers(either, local, rows):
    agree(either.score(rows, TOP_K), local.score(rows, TOP_K), 1e-3)


def test_a_single_token_has_no_next_one_to_score(engine):
    (found,) = engine.score([[7]], TOP_K)
    assert found.ids_TK.shape == found.logprobs_TK.shape == (0, TOP_K)


def test_one_seed_a_request(either, talks):
    how = Sampling(max_new_tokens=24, temperature=1.0, top_p=0.9, seed=4)
    write = lambda number, seeds=None: [
        whole(c).text for c in either.complete(talks[:number], how, seeds=seeds)
    ]
    first = write(20)
    agreed = [a == b for a, b in zip(first, write(10), strict=False)]
    assert sum(agreed) >= 9, "what else is under way changes a draw by rounding only"
    assert sum(a == b for a, b in zip(first, write(20, list(range(20))), strict=True)) < 10


def test_served_and_in_process_draw_the_same(engine, served, talks):
    how = Sampling(max_new_tokens=24, temperature=1.0, seed=4)
    ours, theirs = (one.complete(talks[:50], how) for one in (engine, served))
    same(ours, theirs, 0.96)


def test_what_does_not_fit_is_refused(either, talks):
    long = [{"role": "user", "content": "a b c " * 300}]
    refused, well = either.complete([long, talks[0]], GREEDY)
    assert (
        refused.finish_reason == "refused"
        and "context length" in refused.text
        and well.finish_reason != "refused"
    )


def test_too_many_logprobs_are_a_fault(either):
    with pytest.raises(ModelError, match="max-logprobs"):
        either.score([[5, 6, 7]], TOP_K + 1)


def test_hidden_states_are_what_the_output_matrix_takes(folder, spec, local, rows):
    from distill.engines.vllm import VllmHiddenStates

    reader = VllmHiddenStates(folder, spec)
    try:
        found = reader.hidden_states(rows + rows[:5])
        with pytest.raises(ModelError, match="max-model-len"):
            reader.hidden_states([[5] * 300])
    finally:
        reader.close()
    worst = 0.0
    for row, ours_TD in zip(rows + rows[:5], found, strict=True):
        with torch.inference_mode():
            theirs_TD = local.model.model(input_ids=torch.tensor([row])).last_hidden_state[0]
            logits_TV = local.model(input_ids=torch.tensor([row])).logits[0]
        assert ours_TD.shape == theirs_TD.shape and ours_TD.dtype == torch.float32
        worst = max(worst, (ours_TD - theirs_TD).abs().max().item())
        torch.testing.assert_close(
            ours_TD @ local.model.lm_head.weight.T.detach(), logits_TV, rtol=1e-3, atol=1e-3
        )
    print(f"largest difference {worst:.2e}, of values up to {theirs_TD.abs().max():.1f}")
    assert worst < 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": "1"}, "unrecognized arguments: --port=1"),
        (
            {"tensor-parallel-size": "3"},
            "attention heads \\(4\\) must be divisible by tensor parallel size \\(3\\)",
        ),
    ],
)
def test_options_that_vllm_does_not_take_are_one_line(folder, tokenizer, options, words):
    from distill.engines.vllm import VllmEngine

    with pytest.raises(ModelError, match=words) as fault:
        VllmEngine(folder, Model(path=str(folder), server=Server(options=options)), tokenizer)
    assert "\n" not in str(fault.value)


def test_the_pipeline_runs_in_this_environment():
    words = [sys.executable, "-m", "launch.run", "recipes/smoke.yaml", "--show"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "models:" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("end", ["close", "kill"])
def test_nothing_of_it_survives(folder, tmp_path, end):
    """vLLM's own processes outlive a killed parent; ours must not."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import time
        from distill.engines.vllm import VllmEngine
        from distill.models import load_tokenizer
        from recipes.schema import Model, Server
        if __name__ == "__main__":
            spec = Model(path={str(folder)!r}, server=Server(options={{"enforce-eager": ""}}))
            engine = VllmEngine({str(folder)!r}, spec, load_tokenizer(spec))
            print("open", flush=True)
            if input() == "close":
                engine.close()
                print("closed", flush=True)
            time.sleep(60)
        """)
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(program)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert any(line.strip() == "open" for line in run.stdout)
        processes = psutil.Process(run.pid).children(recursive=True)
        named = [one for one in processes if "VLLM" in " ".join(one.cmdline())]
        assert len(named) >= 2, processes
        if end == "close":
            run.stdin.write("close\n")
            run.stdin.flush()
            assert any(line.strip() == "closed" for line in run.stdout)
        else:
            run.send_signal(signal.SIGKILL)
        try:
            left = psutil.wait_procs(
                named if end == "close" else processes, timeout=1.0 if end == "close" else 12.0
            )[1]
            assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
        finally:
            run.kill()
