"""Muon on matrices and stacks, AdamW on the rest."""

import itertools
from dataclasses import replace

import pytest
import torch

from distill.models import build_model
from distill.train.optimizer import MuonAdamW, _orthogonal, build_optimizer, decay_fraction
from recipes.schema import Training
from tests.distill.conftest import TINY_MOE


def test_the_update_is_nearly_orthogonal():
    for shape in ((6, 16), (16, 6), (3, 8, 16)):
        x = _orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        values = torch.linalg.svdvals(x)
        assert values.min() > 0.5 and values.max() < 1.3


def test_a_stack_steps_as_its_matrices_would():
    g = torch.Generator().manual_seed(1)
    start, grad = torch.randn(3, 4, 6, generator=g), torch.randn(3, 4, 6, generator=g)
    stack = torch.nn.Parameter(start.clone())
    alone = [torch.nn.Parameter(m.clone()) for m in start]
    for parameters, gradients in (([stack], [grad]), (alone, list(grad))):
        optimizer = MuonAdamW(
            [{"params": parameters, "muon": True, "momentum": 0.95, "lr": 0.1}], lr=0.1
        )
        for p, d in zip(parameters, gradients, strict=True):
            p.grad = d.clone()
        optimizer.step()
    torch.testing.assert_close(stack.data, torch.stack([p.data for p in alone]))


def test_embeddings_router_and_norms_stay_with_adamw(tokenizer):
    model = build_model(TINY_MOE, tokenizer, seed=0)
    muon, adam = build_optimizer(model, Training(optimizer="muon")).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    assert all("proj" in names[id(p)] for p in muon["params"])
    assert {names[id(p)] for p in adam["params"]} >= {
        "model.embed_tokens.weight",
        "model.layers.0.mlp.gate.weight",
    }


@pytest.mark.parametrize("tied", [True, False])
def test_norms_biases_and_embeddings_do_not_decay(tokenizer, tied):
    model = build_model(replace(TINY_MOE, tie_embeddings=tied), tokenizer, seed=0)
    decayed, plain = build_optimizer(model, Training(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(p): n for n, p in model.named_parameters()}
    kept = {names[id(p)] for p in plain["params"]}
    assert all("norm" in name or "embed_tokens" in name for name in kept)
    assert "model.norm.weight" in kept and "model.embed_tokens.weight" in kept
    both = [*decayed["params"], *plain["params"]]
    assert sorted(names[id(p)] for p in both) == sorted(names.values())
    assert ("lm_head.weight" in {names[id(p)] for p in decayed["params"]}) is not tied


def test_a_norm_keeps_its_value_where_its_gradient_is_zero(tokenizer):
    model = build_model(TINY_MOE, tokenizer, seed=0)
    optimizer = build_optimizer(model, Training(weight_decay=0.5, learning_rate=0.1))
    norm, matrix = model.model.norm.weight, model.model.layers[0].self_attn.q_proj.weight
    before = norm.clone(), matrix.clone()
    norm.grad, matrix.grad = torch.zeros_like(norm), torch.zeros_like(matrix)
    optimizer.step()
    assert torch.equal(norm, before[0])
    torch.testing.assert_close(matrix.data, before[1] * 0.95)


def test_state_survives_a_round_trip():
    p = torch.nn.Parameter(torch.randn(4, 4))
    make = lambda: MuonAdamW([{"params": [p], "muon": True, "momentum": 0.95, "lr": 0.1}], lr=0.1)
    p.grad = torch.randn(4, 4)
    first = make()
    first.step()
    second = make()
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second.state[p]["momentum"], first.state[p]["momentum"])


def test_the_rate_is_constant_then_falls_to_the_floor():
    factors = [decay_fraction(s, 100, stable=0.25, final=0.02) for s in range(100)]
    assert factors[:25] == [1.0] * 25
    assert all(a > b for a, b in itertools.pairwise(factors[25:]))
    assert abs(decay_fraction(100, 100, stable=0.25, final=0.02) - 0.02) < 1e-9
