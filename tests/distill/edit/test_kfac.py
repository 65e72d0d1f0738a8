"""Factors of curvature: against a plain reference, over experts, over two processes, and what
refuses them.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from distill.data.encode import Encoded
from distill.data.packing import pack
from distill.edit.factors import load_factors, read_sums, save_factors, save_sums, weights_digest
from distill.edit.kfac import collect_factors, collect_sums, finished_factors, grouped
from distill.edit.labels import drawn_numbers, sampled_labels
from distill.edit.matrices import find_targets
from recipes.errors import ModelError

MLP = ["gate_proj", "up_proj", "down_proj"]
SHAPE = dict(
    vocab_size=23,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=32,
)


def dense(**more):
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(intermediate_size=12, tie_word_embeddings=True, **SHAPE, **more)
    ).eval()


def mixture():
    torch.manual_seed(0)
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            intermediate_size=12,
            moe_intermediate_size=8,
            num_experts=4,
            num_experts_per_tok=2,
            norm_topk_prob=True,
            **SHAPE,
        )
    ).eval()


def stream(count, seed=0, prompt=3):
    """Sequences whose first tokens are a prompt: not taught."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(count):
        ids = rng.integers(0, 23, rng.integers(6, 12)).astype(np.int32)
        taught = (np.arange(len(ids)) >= prompt).astype(np.float32)
        made.append(Encoded(ids, taught * 0, taught, taught * 0, row=row))
    return made


def batches(sequences, size=5, packing=True):
    return lambda: (
        pack(sequences[i : i + size], 24, packing=packing) for i in range(0, len(sequences), size)
    )


def by_hand(model, sequences, module, *, seed, scale=1.0):
    """Factors of one linear layer, a sequence at a time, with autograd over plain logits."""
    seen = {}
    hook = module.register_forward_hook(
        lambda m, given, made: (made.retain_grad(), seen.update(a=given[0], z=made))[0]
    )
    inputs, outputs, count = 0, 0, 0
    for one in sequences:
        model.zero_grad()
        logits = model(torch.tensor(one.ids, dtype=torch.long)[None]).logits[0, :-1].float()
        row = pack([one], len(one.ids), packing=False)
        taught = row.taught()[0, :-1]
        labels = sampled_labels(logits.detach(), drawn_numbers(row, seed)[0, :-1])
        (scale * F.cross_entropy(logits[taught], labels[taught], reduction="sum")).backward()
        a, g = seen["a"][0, :-1][taught].double(), seen["z"].grad[0, :-1][taught].double()
        inputs, outputs, count = inputs + a.t() @ a, outputs + g.t() @ g, count + len(a)
    hook.remove()
    return inputs.detach() / count, outputs / count


@pytest.mark.parametrize("packing", [True, False])
def test_factors_are_those_of_a_plain_loop(packing):
    model, sequences = dense(), stream(24)
    targets = find_targets(model, layers=[], projections=[*MLP, "q_proj", "o_proj"])
    found = collect_factors(model, targets, batches(sequences, packing=packing), seed=3)
    for target in targets:
        inputs, outputs = by_hand(model, sequences, target.module, seed=3)
        torch.testing.assert_close(found[target.name].inputs_DD, inputs, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found[target.name].outputs_EE, outputs, rtol=1e-4, atol=1e-9)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_one_layer_at_a_time_gives_the_same():
    model, sequences = dense(), stream(24)
    targets = find_targets(model, layers=[], projections=MLP)
    whole, parted = (
        collect_factors(model, targets, batches(sequences), seed=3, memory_gib=gib)
        for gib in (1.0, 1e-9)
    )
    assert [len(group) for group in grouped(targets, 1e-9)] == [1] * 6
    for name in whole:
        assert torch.equal(whole[name].outputs_EE, parted[name].outputs_EE) and torch.equal(
            whole[name].inputs_DD, parted[name].inputs_DD
        )


def test_gold_labels_are_another_matrix():
    model, sequences = dense(), stream(24)
    targets = find_targets(model, layers=[1], projections=["down_proj"])
    drawn, gold = (
        collect_factors(model, targets, batches(sequences), seed=3, gold=g)[
            "model.layers.1.mlp.down_proj"
        ]
        for g in (False, True)
    )
    assert torch.equal(drawn.inputs_DD, gold.inputs_DD) and not torch.allclose(
        drawn.outputs_EE, gold.outputs_EE
    )


def test_prompts_and_padding_have_no_part_in_it():
    model, sequences = dense(), stream(24)
    targets = find_targets(model, layers=[1], projections=["down_proj"])
    found = collect_factors(model, targets, batches(sequences), seed=3)[
        "model.layers.1.mlp.down_proj"
    ]
    assert found.tokens == sum(len(one.ids) - 3 for one in sequences)


def test_each_expert_has_the_tokens_that_were_routed_to_it():
    model, sequences = mixture(), stream(40)
    targets = find_targets(model, layers=[], projections=["experts"])
    assert len(targets) == 2 * 4 * 2
    found = collect_factors(model, targets, batches(sequences), seed=3)
    taught = sum(len(one.ids) - 3 for one in sequences)
    for layer in range(2):
        for part in ("gate_up_proj", "down_proj"):
            assert (
                sum(
                    found[t.name].tokens
                    for t in targets
                    if t.layer == layer and t.parameter == part
                )
                == 2 * taught
            )
    # down_proj of one expert, from its definition: rows that the router sent there, at taught
    # positions
    target = next(t for t in targets if t.name == "model.layers.1.mlp.experts.down_proj.2")
    inputs = torch.zeros(8, 8, dtype=torch.float64)
    block, seen = model.model.layers[1].mlp, {}
    hook = block.register_forward_pre_hook(lambda m, given: seen.update(x=given[0]))
    for one in sequences:
        with torch.no_grad():
            model(torch.tensor(one.ids, dtype=torch.long)[None])
            x = seen["x"][0, :-1][torch.arange(len(one.ids) - 1) >= 2]
            chosen = block.gate(x)[2]
            gate, up = F.linear(x[(chosen == 2).any(1)], block.experts.gate_up_proj[2]).chunk(2, -1)
            a = (F.silu(gate) * up).double()
            inputs += a.t() @ a
    hook.remove()
    torch.testing.assert_close(
        found[target.name].inputs_DD * found[target.name].tokens, inputs, rtol=1e-4, atol=1e-9
    )


def test_the_factors_of_two_ranks_are_those_of_one(tmp_path):
    """Each rank packs and reads its own sequences, and writes its sums; labels are the same
    ones.
    """
    model, sequences = dense(), stream(48)
    targets = find_targets(model, layers=[], projections=MLP)
    alone = collect_factors(model, targets, batches(sequences), seed=3)
    for rank in range(2):
        save_sums(
            tmp_path / f"{rank}", collect_sums(model, targets, batches(sequences[rank::2]), seed=3)
        )
    both = finished_factors(targets, [read_sums(tmp_path / f"{rank}") for rank in range(2)])
    for name in alone:
        torch.testing.assert_close(
            both[name].inputs_DD, alone[name].inputs_DD, rtol=1e-5, atol=1e-7
        )
        torch.testing.assert_close(
            both[name].outputs_EE, alone[name].outputs_EE, rtol=1e-5, atol=1e-9
        )
        assert both[name].tokens == alone[name].tokens


def test_labels_are_drawn_from_the_model():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(30_000, 3)
    drawn = torch.rand(30_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shares = torch.bincount(sampled_labels(logits, drawn), minlength=3) / 30_000
    torch.testing.assert_close(shares, torch.softmax(logits[0], -1), atol=0.01, rtol=0)
    numbers = drawn_numbers(pack(stream(200), 24), 7)
    assert (
        float(numbers.min()) >= 0
        and float(numbers.max()) < 1
        and abs(float(numbers.mean()) - 0.5) < 0.02
    )


def test_a_stream_that_is_too_short_says_how_long_it_must_be():
    model = dense()
    targets = find_targets(model, layers=[0], projections=["gate_proj"])
    with pytest.raises(
        ModelError,
        match=r"was reached by \d taught tokens, its factors have 12 rows; .* at least \d times as long",
    ):
        collect_factors(model, targets, batches(stream(1)), seed=3)


def test_factors_that_are_not_finite_are_refused():
    model = dense()
    model.model.layers[0].mlp.gate_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"factors of model.layers.0.mlp.gate_proj are not finite"):
        collect_factors(
            model,
            find_targets(model, layers=[0], projections=["gate_proj"]),
            batches(stream(24)),
            seed=3,
            gold=True,
        )


def test_factors_on_disk_belong_to_a_model_and_to_data(tmp_path):
    model, sequences = dense(), stream(24)
    targets = find_targets(model, layers=[1], projections=MLP)
    found = collect_factors(model, targets, batches(sequences), seed=3)
    origin = {"model": weights_digest(model), "data": "d"}
    save_factors(tmp_path / "factors.safetensors", found, origin=origin)
    read = load_factors(tmp_path / "factors.safetensors", origin=origin)
    for name, one in found.items():
        assert read[name].tokens == one.tokens
        torch.testing.assert_close(read[name].inputs_DD, one.inputs_DD, rtol=1e-6, atol=1e-12)
    with pytest.raises(
        ModelError, match=r"factors of another model or other data .data d, expected e."
    ):
        load_factors(tmp_path / "factors.safetensors", origin=origin | {"data": "e"})
    model.model.norm.weight.data += 1
    assert weights_digest(model) != origin["model"]


def test_what_cannot_be_edited_is_named():
    model = dense()
    with pytest.raises(
        ModelError, match=r"edit.layers: no layer 2, 7; this model has layers 0 to 1"
    ):
        find_targets(model, layers=[0, 2, 7], projections=MLP)
    with pytest.raises(
        ModelError,
        match=r"edit.projections: no gate in these layers; there are down_proj, gate_proj",
    ):
        find_targets(model, layers=[0], projections=["gate"])
    model.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(
        torch.zeros(12, 8, dtype=torch.int8), requires_grad=False
    )
    with pytest.raises(ModelError, match=r"up_proj holds quantised weights .torch.int8."):
        find_targets(model, layers=[0], projections=["up_proj"])
    model = dense()
    model.model.layers[0].mlp.up_proj.weight.ds_id = 1
    with pytest.raises(ModelError, match=r"up_proj is cut up over ranks"):
        find_targets(model, layers=[0], projections=["up_proj"])
