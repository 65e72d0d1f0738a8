"""A teacher behind a server gives the same sketches as one in this process: its hidden states come
as bytes over HTTP, as vLLM's pooling endpoint sends them.
"""

import random

import numpy as np
import pytest
import torch

from data_filters.records.traces import Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, pack, write_encoded
from distill.engines.endpoint import EndpointEngine
from distill.engines.served.hidden import ServedHiddenStates
from distill.models import build_model
from distill.targets import compress
from distill.targets.cache import CachedTargets, origin_of
from distill.targets.teacher_facts import teacher_at_hand, teacher_elsewhere
from distill.targets.write_cache import LocalCacheWriter, SpokenCacheWriter, finish_cache
from recipes.errors import ModelError
from recipes.schema import Distill, Server, Targets
from tests.distill.conftest import TINY_MOE
from tests.distill.engines.served.test_answers import serving

CPU = torch.device("cpu")
ROW_TOKENS = 96


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory):
    """A model, and the folder of its weights."""
    torch.set_num_threads(1)
    model = build_model(TINY_MOE, tokenizer, seed=4).eval()
    for parameter in model.parameters():  # else it is as good as flat
        parameter.data.mul_(3)
    folder = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def data(world, tokenizer, tmp_path_factory):
    rng, folder = random.Random(0), tmp_path_factory.mktemp("data")
    traces = [
        Trace(
            id=str(i),
            problem_id="",
            source="planted/sums",
            seed=0,
            messages=world.draw(rng, "sums", "training").messages(),
        )
        for i in range(12)
    ]
    encoded = encode_traces(traces, tokenizer, Teaching(kl=1.0, ce=0.0))
    write_encoded(encoded, folder / "encoded.arrow", longest=ROW_TOKENS)
    return EncodedFile(folder / "encoded.arrow")


def pooling(model, change=lambda said: said):
    """What a pooling server of this model answers."""

    @torch.no_grad()
    def reply(_, asked):
        assert asked["task"] == "token_embed" and asked["encoding_format"] == "bytes"
        ids = torch.tensor([asked["input"]])
        found = model.base_model(input_ids=ids).last_hidden_state[0]
        said = found.to(getattr(torch, asked["embed_dtype"])).contiguous()
        return 200, change(said.view(torch.uint8).numpy().tobytes()), {}

    return reply


def written(source, model, folder, data, tokenizer, seed, kind="sampled", temperature=1.0):
    """The bytes of a cache of a served teacher, or (source None) of one in this process."""
    config = Distill(targets=Targets(kind=kind, tokens_per_position=12), temperature=temperature)
    origin = origin_of(config, tokenizer, teacher="t", vocab_size=len(tokenizer), data=data)
    how = {"seed": seed, "row_tokens": ROW_TOKENS, "micro_batch_rows": 4}
    weights, facts = model
    elsewhere = teacher_elsewhere(weights.config, torch.float32, lambda: facts)
    writer = (
        SpokenCacheWriter(source, elsewhere, origin, CPU, **how)
        if source
        else LocalCacheWriter(weights, origin, **how)
    )
    folder.mkdir()
    writer.write(folder, 0, data.take(range(len(data))))
    finish_cache(folder, origin, teacher_at_hand(weights), data, 4096)
    return CachedTargets(folder, origin, CPU).signal(pack(data.take(range(len(data))), ROW_TOKENS))


def test_served_sketches_are_those_of_a_teacher_in_this_process(teacher, data, tokenizer, tmp_path):
    with serving(pooling(teacher[0])) as (server, url):
        engine = EndpointEngine([url], Server(), None)
        source = ServedHiddenStates(engine, TINY_MOE.hidden_size, torch.float32)
        assert source.check() == f"m: {4 * TINY_MOE.hidden_size} bytes on the wire for each token"
        far = written(source, teacher, tmp_path / "far", data, tokenizer, seed=7)
        warm = written(source, teacher, tmp_path / "w", data, tokenizer, seed=7, temperature=2.0)
        engine.close()
    assert server.asked == 1 + 2 * len(data)
    near = written(None, teacher, tmp_path / "near", data, tokenizer, seed=7)
    near_warm = written(None, teacher, tmp_path / "nw", data, tokenizer, seed=7, temperature=2.0)
    other = written(None, teacher, tmp_path / "other", data, tokenizer, seed=8)
    for one, two in ((far, near), (warm, near_warm)):
        same = (one.ids_NK == two.ids_NK).all(1)
        assert same.float().mean() >= 0.99  # a draw on the edge between two tokens may fall apart
        torch.testing.assert_close(one.probs_NK[same], two.probs_NK[same], rtol=0, atol=2 / 65_535)
        torch.testing.assert_close(one.entropy_N, two.entropy_N, rtol=1e-5, atol=1e-5)
    assert (far.ids_NK == other.ids_NK).all(1).float().mean() < 0.5


def test_the_mean_of_served_sketches_is_the_distribution_within_three_standard_errors(
    teacher, data
):
    """600 draws of one token's sketch, from hidden states that came over HTTP."""
    row = data.take([0])[0].ids.tolist()
    with serving(pooling(teacher[0])) as (_, url):
        engine = EndpointEngine([url], Server(), None)
        engine.look_at_models()
        source = ServedHiddenStates(engine, TINY_MOE.hidden_size, torch.float32)
        (hidden_TE,) = source.hidden_states([row])
        engine.close()
    weight_VE = teacher[0].get_output_embeddings().weight.detach()
    logits_V = hidden_TE[5] @ weight_VE.T / 0.1  # a temperature at which it is not flat
    with torch.no_grad():
        whole_V = teacher[0](input_ids=torch.tensor([row])).logits[0, 5].double()
    exact_V = (whole_V / 0.1).softmax(-1)
    draws = compress.sketch(logits_V.repeat(600, 1), 12, torch.Generator().manual_seed(3))
    spread = torch.zeros(600, len(exact_V), dtype=torch.float64)
    spread.scatter_add_(1, draws.ids_NK, draws.probs_NK.double())
    error_V = spread.std(0) / 600**0.5
    often = exact_V * 600 > 20
    assert often.sum() > 2
    assert ((spread.mean(0) - exact_V).abs()[often] <= 3 * error_V[often] + 1e-6).all()
    rest = float(spread.mean(0)[~often].sum()), float(exact_V[~often].sum())
    spread_rest = spread[:, ~often].sum(1)
    assert abs(rest[0] - rest[1]) <= 3 * float(spread_rest.std()) / 600**0.5 + 1e-6


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said[:-4],
        lambda said: b"",
        lambda said: np.full(len(said) // 4, np.nan, "<f4").tobytes(),
    ],
)
def test_what_are_no_hidden_states_is_one_line(teacher, change):
    with serving(pooling(teacher[0], change)) as (_, url):
        engine = EndpointEngine([url], Server(), None)
        source = ServedHiddenStates(engine, TINY_MOE.hidden_size, torch.float32)
        with pytest.raises(
            ModelError, match=r"no hidden states of a row .*--runner pooling"
        ) as told:
            source.check()
        engine.close()
    assert "\n" not in str(told.value)


def test_a_server_without_hidden_states_is_told_with_the_way_out():
    with serving(lambda *_: (404, b'{"detail": "Not Found"}', {})) as (_, url):
        engine = EndpointEngine([url], Server(), None)
        with pytest.raises(ModelError, match=r"answers 404.*or set distill.targets.kind: top_k"):
            ServedHiddenStates(engine, 8, torch.float32).check()
        engine.close()
