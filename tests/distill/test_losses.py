"""The chunked loss against a dense reference in float64, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.losses import distillation_loss


def problem(seed, tokens=7, width=5, teacher_width=6, vocab=11):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return dict(
        student_ND=draw(tokens, width), student_VD=draw(vocab, width),
        teacher_NE=draw(tokens, teacher_width), teacher_VE=draw(vocab, teacher_width),
        labels_N=torch.randint(vocab, (tokens,), generator=g),
        kl_N=torch.rand(tokens, generator=g).double(), ce_N=torch.rand(tokens, generator=g).double(),
    )  # fmt: skip


def dense(p, temperature):
    logits, teacher = p["student_ND"] @ p["student_VD"].T, p["teacher_NE"] @ p["teacher_VE"].T
    log_q, log_p = torch.log_softmax(logits / temperature, -1), torch.log_softmax(teacher / temperature, -1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)
    ce = torch.nn.functional.cross_entropy(logits, p["labels_N"], reduction="none")
    return (kl * p["kl_N"]).sum(), (ce * p["ce_N"]).sum()


def leaves(p, dtype):
    return {k: v.to(dtype).detach().requires_grad_(k.startswith("student")) if v.is_floating_point() else v for k, v in p.items()}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), chunk=st.integers(1, 9), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_equals_the_dense_reference_whatever_the_chunk(seed, chunk, temperature):
    p = problem(seed)
    exact, ours = leaves(p, torch.float64), leaves(p, torch.float32)
    kl, ce = dense(exact, temperature)
    (kl + ce).backward()
    total, terms = distillation_loss(**ours, temperature=temperature, chunk=chunk)
    total.backward()
    assert terms.kl.item() == pytest.approx(kl.item(), rel=1e-4, abs=1e-5)
    assert terms.ce.item() == pytest.approx(ce.item(), rel=1e-4, abs=1e-5)
    for name in ("student_ND", "student_VD"):
        torch.testing.assert_close(ours[name].grad.double(), exact[name].grad, rtol=1e-3, atol=1e-5)


def test_a_teacher_equal_to_the_student_costs_nothing_and_moves_nothing():
    p = leaves(problem(1), torch.float32)
    p |= {"teacher_NE": p["student_ND"].detach(), "teacher_VE": p["student_VD"].detach(), "ce_N": torch.zeros(7)}
    total, _ = distillation_loss(**p)
    total.backward()
    assert abs(total.item()) < 1e-5
    assert p["student_VD"].grad.abs().max() < 1e-5


def test_without_a_teacher_it_is_cross_entropy():
    p = leaves(problem(2), torch.float32)
    p |= {"teacher_NE": None, "teacher_VE": None}
    total, terms = distillation_loss(**p)
    logits = p["student_ND"] @ p["student_VD"].T
    expected = (torch.nn.functional.cross_entropy(logits, p["labels_N"], reduction="none") * p["ce_N"]).sum()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms.kl.item() == 0


def test_a_frozen_output_matrix_changes_nothing_else():
    free, frozen = leaves(problem(4), torch.float32), leaves(problem(4), torch.float32)
    frozen["student_VD"].requires_grad_(False)
    for p in (free, frozen):
        distillation_loss(**p)[0].backward()
    torch.testing.assert_close(frozen["student_ND"].grad, free["student_ND"].grad)
    assert frozen["student_VD"].grad is None


def test_a_token_of_no_weight_has_no_gradient():
    p = leaves(problem(3), torch.float32)
    weights = torch.ones(7)
    weights[2] = 0
    total, _ = distillation_loss(**(p | {"kl_N": weights, "ce_N": weights}))
    total.backward()
    assert p["student_ND"].grad[2].abs().max() == 0
    assert p["student_ND"].grad[3].abs().max() > 0
