"""Sketches are unbiased, bytes come back as they went in, and a cache serves the run that it was
made for only.
"""

import dataclasses
import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_filters.records.traces import Span, Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, pack, write_encoded
from distill.engines.local import LocalEngine
from distill.models import build_model
from distill.targets import compress as sketch
from distill.targets.cache import CACHE, CachedTargets, origin_of, shard_path
from distill.targets.live import LiveTeacher
from distill.targets.teacher_facts import teacher_at_hand, teacher_elsewhere
from distill.targets.write_cache import (
    HiddenCacheWriter,
    LocalCacheWriter,
    TopKCacheWriter,
    finish_cache,
)
from recipes.errors import ModelError, ShardError
from recipes.schema import Distill, Targets
from tests.distill.conftest import TINY_MOE

CPU = torch.device("cpu")


def spread(sampled, vocab):
    """The sketch as a row over the vocabulary."""
    return torch.zeros(len(sampled.ids_NK), vocab, dtype=torch.float64).scatter_add_(
        1, sampled.ids_NK, sampled.probs_NK.double()
    )


@pytest.mark.parametrize("sharp", [0.0, 0.5, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("kept", [1, 4, 12])
def test_the_mean_of_sketches_is_the_distribution(sharp, kept):
    vocab, rounds = 60, 6000
    logits_nV = sharp * torch.randn(1, vocab, generator=torch.Generator().manual_seed(3)).repeat(
        rounds, 1
    )
    drawn = spread(sketch.sketch(logits_nV, kept, torch.Generator().manual_seed(4)), vocab)
    exact = torch.softmax(logits_nV[0].double(), -1)
    often = exact * rounds > 20  # the others are drawn too rarely for a normal interval
    error = drawn.std(0) / rounds**0.5
    assert ((drawn.mean(0) - exact).abs()[often] <= 4.5 * error[often] + 1e-7).all()
    assert drawn.mean(0)[~often].sum() == pytest.approx(float(exact[~often].sum()), abs=2e-3)


def test_a_sketch_of_the_whole_vocabulary_is_the_distribution():
    logits_nV = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    drawn = spread(sketch.sketch(logits_nV, 8, torch.Generator().manual_seed(1)), 8)
    assert (drawn - torch.softmax(logits_nV.double(), -1)).abs().max() <= 1 / sketch.UNITS


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(2, 40), st.floats(0, 30), st.integers(0, 10**6))
def test_a_sketch_sums_to_one_and_names_no_token_twice(kept, vocab, sharp, seed):
    logits_nV = sharp * torch.randn(7, vocab, generator=torch.Generator().manual_seed(seed))
    drawn = sketch.sketch(logits_nV, kept, torch.Generator().manual_seed(seed + 1))
    units = (drawn.probs_NK.double() * sketch.UNITS).round()
    assert (units.sum(1) == sketch.UNITS).all() and (units >= 0).all()
    for ids, weight in zip(drawn.ids_NK.tolist(), units.tolist(), strict=True):
        real = [i for i, w in zip(ids, weight, strict=True) if w]
        assert len(real) == len(set(real))
    exact = torch.softmax(logits_nV.double(), -1)
    torch.testing.assert_close(
        drawn.entropy_N.double(), torch.special.entr(exact).sum(1), rtol=1e-4, atol=1e-4
    )


def test_the_variance_is_far_under_that_of_plain_draws():
    """arXiv:2503.16870 draws K tokens with replacement; at the same K the squared error here is a
    small part of that.
    """
    logits_nV = 3 * torch.randn(1, 200, generator=torch.Generator().manual_seed(0)).repeat(3000, 1)
    exact = torch.softmax(logits_nV.double(), -1)
    ours = (
        (spread(sketch.sketch(logits_nV, 12, torch.Generator().manual_seed(1)), 200) - exact)
        .square()
        .sum(1)
        .mean()
    )
    plain_nK = torch.multinomial(
        exact, 12, replacement=True, generator=torch.Generator().manual_seed(2)
    )
    plain = (
        torch.zeros_like(exact).scatter_add_(
            1, plain_nK, torch.full_like(plain_nK, 1 / 12, dtype=torch.float64)
        )
        - exact
    ).square()
    assert ours < 0.1 * plain.sum(1).mean()


@given(st.integers(1, 9), st.integers(0, 5))
def test_bytes_come_back_as_they_went_in(kept, rows):
    g = torch.Generator().manual_seed(rows)
    logits_nV = torch.randn(rows, 70_000 if kept == 3 else 50, generator=g) * 4
    sampled, top = sketch.sketch(logits_nV, kept, g), sketch.top_k(logits_nV, kept)
    packed = sketch.pack_sampled(sampled)
    assert packed.shape == (rows, sketch.bytes_per_token("sampled", kept, 0, 0))
    ids, probs, entropy = sketch.unpack_sampled(packed, kept)
    assert (ids == sampled.ids_NK.numpy()).all() and (entropy == sampled.entropy_N.numpy()).all()
    np.testing.assert_allclose(probs, sampled.probs_NK.numpy(), atol=1e-7)
    ids, logprobs = sketch.unpack_top_k(sketch.pack_top_k(top), kept)
    assert (ids == top.ids_NK.numpy()).all() and (logprobs == top.logprobs_NK.numpy()).all()


def test_twelve_draws_and_the_entropy_take_64_bytes():
    assert sketch.bytes_per_token("sampled", 12, 0, 0) == 64


# --- files


@pytest.fixture(scope="module")
def data(world, tokenizer, tmp_path_factory):
    rng, path = random.Random(0), tmp_path_factory.mktemp("cache") / "encoded.arrow"
    write_encoded(
        encode_traces(traces(world, rng), tokenizer, Teaching(kl=1.0, ce=0.5)), path, longest=96
    )
    return EncodedFile(path)


def traces(world, rng):
    for number, family in enumerate(["sums", "read", "closed"] * 8):
        messages = world.draw(rng, family, "training").messages()
        said = messages[-1]["content"]
        action = ("keep", "mask", "abstain")[number % 3]
        end = len(said) // (1 + number % 2)
        spans = [
            Span(
                message=len(messages) - 1,
                start=0,
                end=end,
                kind="x",
                grounding="ungrounded",
                action=action,
            )
        ]
        yield Trace(
            id=str(number),
            problem_id="",
            source="planted/x",
            seed=0,
            messages=messages,
            spans=spans,
        )


def write(folder, kind, data, tokenizer, *, shard=10, skip=()):
    """A finished cache and its teacher."""
    folder.mkdir(exist_ok=True)
    config = Distill(
        targets=Targets(kind=kind, tokens_per_position=6, shard_sequences=shard), temperature=1.5
    )
    teacher = build_model(TINY_MOE, tokenizer, seed=4)
    origin = origin_of(config, tokenizer, teacher="t", vocab_size=len(tokenizer), data=data)
    writer = LocalCacheWriter(teacher, origin, seed=1, row_tokens=96, micro_batch_rows=3)
    for number in range(-(-len(data) // shard)):
        if number not in skip:
            writer.write(
                folder,
                number,
                data.take(range(number * shard, min(len(data), (number + 1) * shard))),
            )
    notes = finish_cache(folder, origin, teacher_at_hand(teacher), data, shard)
    return origin, teacher, notes


@pytest.mark.parametrize("kind", ["sampled", "top_k", "hidden"])
def test_a_cache_says_what_the_teacher_said(kind, data, tokenizer, tmp_path):
    origin, teacher, notes = write(tmp_path / kind, kind, data, tokenizer)
    cache = CachedTargets(tmp_path / kind, origin, CPU)
    batch = pack(data.take([5, 17, 3, 5, 22, 11]), 96)  # a sequence twice, shards in any order
    asked_N = batch.kl_BT[batch.taught()] > 0
    with LiveTeacher(teacher, CPU).reading(batch) as live, cache.reading(batch) as cached:
        logprobs_NV = torch.log_softmax(
            live.hidden_NE @ live.output.weight_VD.T / origin.temperature, -1
        )
        if kind == "hidden":
            torch.testing.assert_close(
                cached.hidden_NE[asked_N], live.hidden_NE[asked_N], rtol=1e-4, atol=1e-5
            )
            assert (
                torch.equal(cached.output.weight_VD, live.output.weight_VD)
                and not cached.hidden_NE[~asked_N].any()
            )
        elif kind == "top_k":
            torch.testing.assert_close(
                cached.logprobs_NK[asked_N],
                logprobs_NV.gather(1, cached.ids_NK)[asked_N],
                rtol=1e-4,
                atol=1e-4,
            )
        else:
            entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(1)
            torch.testing.assert_close(
                cached.entropy_N[asked_N], entropy_N[asked_N], rtol=1e-4, atol=1e-4
            )
            assert torch.allclose(cached.probs_NK[asked_N].sum(1), torch.ones(int(asked_N.sum())))
    counted = sum(int((s.kl[1:] > 0).sum()) for s in data.take(range(len(data))))
    assert (
        notes["target_tokens"] == counted == data.divergence_tokens() and int((~asked_N).sum()) > 0
    )


@pytest.mark.parametrize("kind", ["sampled", "top_k", "hidden"])
def test_a_shard_is_the_same_bytes_whatever_was_written_before(kind, data, tokenizer, tmp_path):
    write(tmp_path / "whole", kind, data, tokenizer)
    # as after a kill, or on another rank
    write(tmp_path / "cut", kind, data, tokenizer, skip=(0, 2))
    for number in (1,):
        assert (
            shard_path(tmp_path / "cut", number).read_bytes()
            == shard_path(tmp_path / "whole", number).read_bytes()
        )
    assert not list(tmp_path.glob("**/*.tmp"))


def test_another_origin_is_refused_by_name(data, tokenizer, tmp_path):
    origin, *_ = write(tmp_path, "sampled", data, tokenizer)
    for name, said in (
        ("teacher", "another teacher"),
        ("tokenizer", "another tokenizer"),
        ("template", "another chat template"),
        ("data", "another set of traces"),
        ("vocab_size", "another vocabulary"),
        ("temperature", "another temperature"),
        ("kind", "another kind"),
        ("tokens", "another tokens"),
    ):
        changed = dataclasses.replace(
            origin, **{name: "hidden" if name == "kind" else 7 if name == "tokens" else "else"}
        )
        with pytest.raises(ModelError, match=said) as fault:
            CachedTargets(tmp_path, changed, CPU)
        assert str(tmp_path) in str(fault.value) and "\n" not in str(fault.value)


def test_hidden_states_serve_any_temperature(data, tokenizer, tmp_path):
    origin, *_ = write(tmp_path, "hidden", data, tokenizer)
    CachedTargets(tmp_path, dataclasses.replace(origin, temperature=4.0, tokens=99), CPU)


def test_data_that_changed_in_one_token_or_one_mask_is_other_data(data, world, tokenizer, tmp_path):
    def digest(change):
        made = [change(n, s) for n, s in enumerate(data.take(range(len(data))))]
        write_encoded(made, tmp_path / "e.arrow", longest=96)
        return EncodedFile(tmp_path / "e.arrow").digest()

    def other_token(n, s):
        return dataclasses.replace(
            s, ids=np.where(np.arange(len(s.ids)) == 2, s.ids + (n == 3), s.ids).astype(np.int32)
        )

    def other_mask(n, s):
        return dataclasses.replace(
            s, kl=s.kl * (np.arange(len(s.kl)) != len(s.kl) - 1) if n == 0 else s.kl
        )

    assert digest(lambda n, s: s) == data.digest()
    assert len({digest(other_token), digest(other_mask), data.digest()}) == 3


def test_an_unfinished_or_truncated_cache_is_named(data, tokenizer, tmp_path):
    origin, *_ = write(tmp_path, "sampled", data, tokenizer)
    whole = shard_path(tmp_path, 1).read_bytes()
    shard_path(tmp_path, 1).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardError, match=r"targets-00001\.arrow"):
        CachedTargets(tmp_path, origin, CPU).signal(pack(data.take([12]), 96))
    (tmp_path / CACHE).unlink()
    with pytest.raises(ShardError, match="no finished target cache"):
        CachedTargets(tmp_path, origin, CPU)


def test_the_bytes_are_accounted_for(data, tokenizer, tmp_path):
    write(tmp_path, "sampled", data, tokenizer, shard=1000)
    about = json.loads((tmp_path / CACHE).read_text())
    assert about["bytes"] == shard_path(tmp_path, 0).stat().st_size
    assert about["bytes_per_token"] == 5 * 6 + 4
    # offsets and the file's own head
    assert about["bytes"] - about["bytes_per_token"] * about["taught_tokens"] < 8 * len(data) + 1000


class Hidden(LocalEngine):
    """A model here that is asked as one elsewhere is."""

    def hidden_states(self, rows):
        return [
            self.model.model(input_ids=torch.tensor([list(row)])).last_hidden_state[0].detach()
            for row in rows
        ]


@pytest.mark.parametrize("kind", ["top_k", "hidden"])
def test_a_teacher_that_is_spoken_with_gives_the_cache_of_one_at_hand(
    data, tokenizer, tmp_path, kind
):
    model = build_model(TINY_MOE, tokenizer, seed=4).eval()
    model.save_pretrained(tmp_path / "teacher")
    origin = origin_of(
        Distill(targets=Targets(kind=kind, tokens_per_position=6)),
        tokenizer,
        teacher="t",
        vocab_size=len(tokenizer),
        data=data,
    )
    here, elsewhere = (
        teacher_at_hand(model),
        teacher_elsewhere(model.config, torch.float32, lambda: tmp_path / "teacher"),
    )
    sequences, found = data.take(range(len(data))), []
    local = LocalCacheWriter(model, origin, seed=1, row_tokens=96, micro_batch_rows=8)
    engine = Hidden(model, tokenizer, batch_sequences=8)
    served = (
        TopKCacheWriter(engine, origin) if kind == "top_k" else HiddenCacheWriter(engine, elsewhere)
    )
    for name, writer, teacher in (("at_hand", local, here), ("spoken", served, elsewhere)):
        (tmp_path / name).mkdir()
        writer.write(tmp_path / name, 0, sequences)
        finish_cache(tmp_path / name, origin, teacher, data, 4096)
        found.append(CachedTargets(tmp_path / name, origin, CPU).signal(pack(sequences, 96)))
    if kind == "top_k":
        assert torch.equal(found[0].ids_NK, found[1].ids_NK)
        torch.testing.assert_close(found[0].logprobs_NK, found[1].logprobs_NK, rtol=1e-5, atol=1e-5)
    else:
        assert torch.equal(found[0].output.weight_VD, found[1].output.weight_VD)
        torch.testing.assert_close(found[0].hidden_NE, found[1].hidden_NE, rtol=1e-4, atol=1e-5)


def test_a_folder_without_an_output_matrix_is_named(tokenizer, tmp_path):
    model = build_model(TINY_MOE, tokenizer, seed=4)
    with pytest.raises(ModelError, match="no safetensors with lm_head or embed_tokens"):
        teacher_elsewhere(model.config, torch.float32, lambda: tmp_path).output()
