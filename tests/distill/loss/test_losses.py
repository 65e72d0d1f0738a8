"""The chunked loss against its textbook form in float64, for every divergence, signal and
weighting.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.loss.chunked_loss import distillation_loss
from distill.loss.dense_loss import dense_loss, logits
from distill.loss.divergences import Divergence
from distill.loss.signals import Dense, Output, Sampled, TopK
from distill.loss.terms import Weights

N, V, D, E = 37, 101, 16, 24
KINDS = [
    Divergence("forward_kl"),
    Divergence("reverse_kl"),
    *(Divergence("jsd", beta=b) for b in (0.1, 0.5, 0.9)),
]


def problem(*, seed=0, bias=False, softcap=None, dtype=torch.float64, sharp=1.0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)
    student_ND = draw(N, D).requires_grad_()
    output = Output(
        draw(V, D).requires_grad_(), draw(V).requires_grad_() if bias else None, softcap
    )
    teacher = Dense(
        draw(N, E) * sharp, Output(draw(V, E) * 0.5, draw(V) if bias else None, softcap)
    )
    labels_N = torch.randint(0, V, (N,), generator=g)
    weights = Weights(
        *(torch.rand(N, generator=g) * (torch.rand(N, generator=g) > 0.3) for _ in range(3))
    )
    return student_ND, output, labels_N, weights, teacher


def probabilities(teacher, how):
    return torch.softmax(logits(teacher.hidden_NE, teacher.output) / how.temperature, -1)


def signals(teacher, how):
    """The same teacher in its three forms."""
    probs_NV = probabilities(teacher, how)
    top_NK, ids_NK = probs_NV.topk(7)
    drawn_NK = torch.multinomial(
        probs_NV, 9, replacement=True, generator=torch.Generator().manual_seed(1)
    )
    entropy_N = -(probs_NV * probs_NV.log()).sum(1)
    yield teacher
    yield TopK(ids_NK, top_NK.log().float())
    if how.kind == "forward_kl":
        yield Sampled(drawn_NK, torch.full(drawn_NK.shape, 1 / 9), entropy_N.float())


def run(loss, student_ND, output, *rest, scale=1.0, **how):
    total, terms = loss(student_ND, output, *rest, **how)
    inputs = [
        x
        for x in (student_ND, output.weight_VD, output.bias_V)
        if x is not None and x.requires_grad
    ]
    return total, terms, torch.autograd.grad(total * scale, inputs)


def narrow(x):
    """The same problem in float32, as new leaves."""
    if isinstance(x, torch.Tensor):
        return x.detach().float().requires_grad_(x.requires_grad) if x.is_floating_point() else x
    if isinstance(x, Output):
        return Output(
            narrow(x.weight_VD), None if x.bias_V is None else narrow(x.bias_V), x.softcap
        )
    return Dense(narrow(x.hidden_NE), narrow(x.output)) if isinstance(x, Dense) else x


def assert_same(ours, reference, tolerance=1e-5):
    assert ours[0].item() == pytest.approx(reference[0].item(), rel=tolerance)
    assert [t.item() for t in ours[1]] == pytest.approx(
        [t.item() for t in reference[1]], rel=tolerance, abs=1e-6
    )
    for mine, theirs in zip(ours[2], reference[2], strict=True):
        assert (mine.double() - theirs).norm() <= tolerance * theirs.norm()


CASES = list(itertools.product(KINDS, (1.0, 2.5), ({}, {"bias": True}, {"softcap": 3.0})))


@pytest.mark.parametrize(
    ("kind", "temperature", "head"), CASES, ids=lambda x: str(getattr(x, "kind", x))
)
def test_value_and_gradient_equal_the_reference(kind, temperature, head):
    how = Divergence(kind.kind, kind.beta, temperature)
    student_ND, output, labels_N, weights, teacher = problem(**head)
    for signal in signals(teacher, how):
        reference = run(dense_loss, student_ND, output, labels_N, weights, signal, how)
        for chunk in (5, 1000):
            ours = run(
                distillation_loss,
                narrow(student_ND),
                narrow(output),
                labels_N,
                weights,
                narrow(signal),
                how,
                chunk=chunk,
            )
            assert_same(ours, reference)


def test_values_by_hand():
    """Two tokens of vocabulary: teacher (3/4, 1/4), student (1/2, 1/2)."""
    student_ND, output = torch.zeros(1, 2), Output(torch.eye(2))
    teacher = Dense(torch.tensor([[math.log(3), 0.0]]), Output(torch.eye(2)))
    one, none = torch.ones(1), torch.zeros(1)
    value = lambda how, *weights: distillation_loss(
        student_ND, output, torch.tensor([0]), Weights(*weights), teacher, how
    )[0].item()
    assert value(Divergence("forward_kl"), one, none, none) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6
    )
    assert value(Divergence("reverse_kl"), one, none, none) == pytest.approx(
        0.5 * math.log(1 / 1.5) + 0.5 * math.log(2), rel=1e-6
    )
    assert value(Divergence(), none, one, none) == pytest.approx(math.log(2), rel=1e-6)
    # the student is flat already
    assert value(Divergence(), none, none, one) == pytest.approx(0.0, abs=1e-6)
    m = (0.625, 0.375)
    by_hand = 0.5 * (0.75 * math.log(0.75 / m[0]) + 0.25 * math.log(0.25 / m[1])) + 0.5 * sum(
        0.5 * math.log(0.5 / x) for x in m
    )
    assert value(Divergence("jsd", beta=0.5), one, none, none) == pytest.approx(by_hand, rel=1e-5)


def test_a_pull_toward_flat_ends_flat():
    student_ND, output = (
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(),
        Output(torch.eye(8)),
    )
    weights = Weights(torch.zeros(4), torch.zeros(4), torch.ones(4))
    for _ in range(400):
        total, _ = distillation_loss(
            student_ND, output, torch.zeros(4, dtype=torch.long), weights, None, Divergence()
        )
        student_ND.data -= 2.0 * torch.autograd.grad(total, student_ND)[0]
    assert torch.softmax(student_ND, -1).max() < 1 / 8 + 1e-3


def test_a_student_that_equals_its_teacher_has_no_divergence_and_no_gradient():
    _, _, labels_N, weights, teacher = problem(dtype=torch.float32)
    weights = Weights(weights.kl_N, torch.zeros(N), torch.zeros(N))
    for how in KINDS:
        hidden_NE, weight_VE = (
            teacher.hidden_NE.clone().requires_grad_(),
            teacher.output.weight_VD.clone().requires_grad_(),
        )
        total, _, grads = run(
            distillation_loss, hidden_NE, Output(weight_VE), labels_N, weights, teacher, how
        )
        assert total.item() == pytest.approx(0, abs=2e-5)
        assert max(grad.abs().max() for grad in grads) < 1e-4


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 200), st.sampled_from(KINDS), st.integers(0, 99))
def test_sharp_teachers_stay_finite(sharp, how, seed):
    student_ND, output, labels_N, weights, teacher = problem(
        seed=seed, dtype=torch.float32, sharp=sharp
    )
    total, _, grads = run(
        distillation_loss, student_ND, output, labels_N, weights, teacher, how, chunk=8
    )
    assert math.isfinite(total.item()) and all(grad.isfinite().all() for grad in grads)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, N), st.integers(1, N + 5))
def test_a_sum_does_not_depend_on_how_it_is_cut(cut, chunk):
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    whole = run(distillation_loss, student_ND, output, labels_N, weights, teacher, Divergence())
    parts = [
        run(
            distillation_loss,
            student_ND[rows].detach().requires_grad_(),
            output,
            labels_N[rows],
            weights.rows(rows),
            teacher.rows(rows),
            Divergence(),
            chunk=chunk,
        )
        for rows in (slice(0, cut), slice(cut, N))
    ]
    assert sum(p[0].item() for p in parts) == pytest.approx(whole[0].item(), rel=1e-5)
    torch.testing.assert_close(parts[0][2][1] + parts[1][2][1], whole[2][1], rtol=1e-4, atol=1e-5)


def test_a_token_without_weight_changes_nothing():
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    weights.kl_N[3] = weights.ce_N[3] = weights.flat_N[3] = 0
    value, _, grads = run(
        distillation_loss, student_ND, output, labels_N, weights, teacher, KINDS[0]
    )
    changed_ND = student_ND.detach().clone()
    changed_ND[3] = 100.0
    other, _, more = run(
        distillation_loss, changed_ND.requires_grad_(), output, labels_N, weights, teacher, KINDS[0]
    )
    assert value.item() == pytest.approx(other.item(), rel=1e-6) and not grads[0][3].any()
    torch.testing.assert_close(grads[1], more[1])


def test_a_frozen_output_matrix_gets_no_gradient_and_the_rest_is_the_same():
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    whole = run(distillation_loss, student_ND, output, labels_N, weights, teacher, KINDS[0])
    frozen = run(
        distillation_loss,
        student_ND,
        Output(output.weight_VD.detach()),
        labels_N,
        weights,
        teacher,
        KINDS[0],
    )
    assert len(frozen[2]) == 1 and torch.equal(frozen[2][0], whole[2][0])


def test_a_tied_matrix_collects_both_gradients():
    _, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    tied_VD, ids_N = output.weight_VD, torch.arange(N) % V
    ours, reference = (
        torch.autograd.grad(
            loss(tied_VD[ids_N] * 2, Output(tied_VD), labels_N, weights, teacher, KINDS[0])[0],
            tied_VD,
        )[0]
        for loss in (distillation_loss, dense_loss)
    )
    assert (ours - reference).norm() < 1e-5 * reference.norm()


@pytest.mark.parametrize("how", KINDS[:3], ids=lambda how: how.kind)
def test_bfloat16_hidden_states_are_summed_in_float32(how):
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.bfloat16)
    wide = [narrow(x) for x in (student_ND, output)]
    reference = run(dense_loss, *wide, labels_N, weights, narrow(teacher), how)
    ours = run(distillation_loss, student_ND, output, labels_N, weights, teacher, how, chunk=8)
    assert ours[0].dtype == torch.float32 and ours[2][0].dtype == ours[2][1].dtype == torch.bfloat16
    # nothing was rounded on the way to the loss
    assert ours[0].item() == pytest.approx(reference[0].item(), rel=1e-5)
    for mine, theirs in zip(ours[2], reference[2], strict=True):
        assert (mine.float() - theirs).norm() < 2**-7 * theirs.norm()


def test_autocast_and_compile_give_the_same_loss():
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    plain = run(distillation_loss, student_ND, output, labels_N, weights, teacher, KINDS[0])
    compiled = run(
        torch.compile(distillation_loss, backend="eager"),
        student_ND,
        output,
        labels_N,
        weights,
        teacher,
        KINDS[0],
    )
    assert torch.equal(plain[0], compiled[0]) and torch.equal(plain[2][1], compiled[2][1])
    # what a model hands on under autocast, beside a float32 matrix
    half_ND = student_ND.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = run(distillation_loss, half_ND, output, labels_N, weights, teacher, KINDS[0])
        dense = run(dense_loss, student_ND, output, labels_N, weights, teacher, KINDS[0])
    assert torch.equal(
        dense[0], run(dense_loss, student_ND, output, labels_N, weights, teacher, KINDS[0])[0]
    )
    assert (
        half[0].item() == pytest.approx(plain[0].item(), rel=2e-2)
        and half[2][1].dtype == torch.float32
    )


def test_a_tail_is_an_outcome_of_its_own():
    """Moving student mass within the tail changes nothing; moving it into the tail does."""
    teacher = TopK(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.3]]).log())
    one, none = torch.ones(1), torch.zeros(1)
    value = lambda *probs: distillation_loss(
        torch.tensor([probs]).log(),
        Output(torch.eye(4)),
        torch.tensor([0]),
        Weights(one, none, none),
        teacher,
        Divergence(),
    )[0].item()
    assert value(0.5, 0.3, 0.1, 0.1) == pytest.approx(0, abs=1e-6) == value(0.5, 0.3, 0.19, 0.01)
    assert value(0.4, 0.2, 0.2, 0.2) == pytest.approx(
        0.5 * math.log(5 / 4) + 0.3 * math.log(3 / 2) + 0.2 * math.log(2 / 4), rel=1e-5
    )


def test_sampled_targets_serve_forward_kl_only():
    student_ND, output, labels_N, weights, teacher = problem(dtype=torch.float32)
    *_, sampled = signals(teacher, Divergence())
    with pytest.raises(ValueError, match="forward_kl only, received jsd"):
        distillation_loss(student_ND, output, labels_N, weights, sampled, Divergence("jsd"))


def test_memory_does_not_grow_with_the_number_of_tokens():
    """Every tensor that autograd keeps or the loss returns is [N, D], [V, D] or smaller, also for
    many tokens.
    """
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        student_ND = torch.randn(400, D, requires_grad=True)
        weight_VD = torch.randn(V, D, requires_grad=True)
        weights = Weights(torch.ones(400), torch.zeros(400), torch.zeros(400))
        teacher = Dense(torch.randn(400, E), Output(torch.randn(V, E)))
        distillation_loss(
            student_ND,
            Output(weight_VD),
            torch.zeros(400, dtype=torch.long),
            weights,
            teacher,
            Divergence(),
            chunk=16,
        )
    assert sizes and max(sizes) <= max(400 * D, V * D)
