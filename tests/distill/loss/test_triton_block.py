"""The Triton block step against the textbook loss in float64: here in Triton's interpreter, with
the marker `gpu` on CUDA.
"""

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from distill.loss.chunked_loss import distillation_loss
from distill.loss.dense_loss import dense_loss, logits
from distill.loss.divergences import Divergence
from distill.loss.signals import Dense, Output
from distill.loss.terms import Weights
from distill.loss.triton_block import TILE, dense_block_, has_triton

n, V = 6, 101
KINDS = [
    Divergence("forward_kl"),
    Divergence("reverse_kl"),
    *(Divergence("jsd", beta=b) for b in (0.1, 0.5, 0.9)),
]
CASES = [
    Divergence(kind.kind, kind.beta, temperature) for kind in KINDS for temperature in (1.0, 2.5)
]
needs_triton = pytest.mark.skipif(not has_triton(), reason="needs triton")
each_case = pytest.mark.parametrize(
    "how", CASES, ids=lambda how: f"{how.kind}-{how.beta}-{how.temperature}"
)


@pytest.fixture(scope="module")
def interpreted():
    """Runs `gradient` in Triton's interpreter: in a process of its own, as triton reads the
    variable when it is imported.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield lambda *inputs, **more: pool.submit(gradient, *inputs, **more).result()


def gradient(z_nV, *rest, **more):
    """(terms, gradient) of the kernel, as numpy arrays: they travel between processes by value."""
    torch.set_num_threads(1)
    rest = [torch.from_numpy(x) if hasattr(x, "dtype") else x for x in rest]
    weights = tuple(torch.from_numpy(x) for x in more.pop("weights"))
    # rows of a wider buffer: what lies beside them is not ours
    wide_nV = torch.full((len(z_nV), z_nV.shape[1] + 3), 7.0)
    ours_nV = wide_nV[:, : z_nV.shape[1]].copy_(torch.from_numpy(z_nV))
    terms = dense_block_(ours_nV, *rest[:2], weights, *rest[2:], **more)
    assert (wide_nV[:, z_nV.shape[1] :] == 7).all()
    return terms.numpy(), ours_nV.numpy()


def problem(*, num_ids=V, seed=0, scale=1.0, softcap=None):
    """Logits before their caps, as hidden states under a unit matrix: the gradient by them is the
    gradient by the logits.
    """
    g = torch.Generator().manual_seed(seed)
    draw = lambda: (
        torch.randn(n, num_ids, generator=g, dtype=torch.float64).float().double() * 3 * scale
    )
    output = Output(torch.eye(num_ids, dtype=torch.float64), None, softcap)
    student_nV, teacher = draw().requires_grad_(), Dense(draw(), output)
    labels_n = torch.randint(0, num_ids, (n,), generator=g)
    labels_n[:2] = torch.tensor([0, num_ids - 1])
    weights = Weights(
        *(torch.rand(n, generator=g) * (torch.rand(n, generator=g) > 0.3) for _ in range(3))
    )
    return student_nV, output, labels_n, weights, teacher


def reference(student_nV, output, labels_n, weights, teacher, how):
    total, terms = dense_loss(student_nV, output, labels_n, weights, teacher, how)
    return torch.stack(tuple(terms)), torch.autograd.grad(total, student_nV)[0]


def run(interpreted, student_nV, output, labels_n, weights, teacher, how, **more):
    y_nV = None if teacher is None else logits(teacher.hidden_NE, teacher.output).float().numpy()
    weights = [x.numpy() for x in (weights.kl_N, weights.ce_N, weights.flat_N)]
    made = interpreted(
        student_nV.detach().float().numpy(),
        y_nV,
        labels_n.numpy(),
        how,
        output.softcap,
        weights=weights,
        **more,
    )
    return [torch.from_numpy(x) for x in made]


def assert_same(ours, theirs, tolerance=1e-5):
    assert ours[0].tolist() == pytest.approx(theirs[0].tolist(), rel=tolerance, abs=1e-6)
    assert (ours[1].double() - theirs[1]).norm() <= tolerance * theirs[1].norm()


@needs_triton
@each_case
def test_value_and_gradient_equal_the_reference(how, interpreted):
    for softcap, has_teacher, tile in itertools.product((None, 3.0), (True, False), (32, TILE)):
        *inputs, teacher = problem(softcap=softcap)
        inputs = (*inputs, teacher if has_teacher else None, how)
        assert_same(run(interpreted, *inputs, tile=tile), reference(*inputs))


@needs_triton
@pytest.mark.parametrize("num_ids", [2, 31, 32, 33, 1000])
def test_any_number_of_ids(num_ids, interpreted):
    for how in KINDS[:3]:
        inputs = (*problem(num_ids=num_ids), how)
        assert_same(run(interpreted, *inputs, tile=32), reference(*inputs))


@needs_triton
@each_case
def test_sharp_models_stay_finite_and_right(how, interpreted):
    for scale in (10.0, 100.0, 1000.0):
        inputs = (*problem(scale=scale, seed=1), how)
        ours = run(interpreted, *inputs, tile=32)
        assert all(x.isfinite().all() for x in ours)
        # logits in the thousands: float32 has four digits left behind the point
        assert_same(ours, reference(*inputs), 1e-4)


@needs_triton
def test_a_row_without_weight_gets_no_gradient(interpreted):
    *inputs, weights, teacher = problem()
    none = Weights(
        *(
            x.clone().index_fill_(0, torch.tensor(2), 0)
            for x in (weights.kl_N, weights.ce_N, weights.flat_N)
        )
    )
    _, grad_nV = run(interpreted, *inputs, none, teacher, KINDS[0], tile=32)
    assert not grad_nV[2].any() and grad_nV[3].any()


@pytest.mark.gpu
@each_case
def test_the_loss_on_cuda_equals_the_reference(how):
    for softcap, has_teacher in itertools.product((None, 3.0), (True, False)):
        student_nV, output, labels_n, weights, teacher = problem(
            num_ids=TILE + 105, softcap=softcap
        )
        teacher = teacher if has_teacher else None
        theirs = reference(student_nV, output, labels_n, weights, teacher, how)
        there_nV = student_nV.detach().float().cuda().requires_grad_()
        matrix = Output(output.weight_VD.float().cuda(), None, softcap)
        signal = Dense(teacher.hidden_NE.float().cuda(), matrix) if has_teacher else None
        weights = Weights(*(x.cuda() for x in (weights.kl_N, weights.ce_N, weights.flat_N)))
        total, terms = distillation_loss(there_nV, matrix, labels_n.cuda(), weights, signal, how)
        (grad_nV,) = torch.autograd.grad(total, there_nV)
        assert_same((torch.stack(tuple(terms)).cpu(), grad_nV.cpu()), theirs)
