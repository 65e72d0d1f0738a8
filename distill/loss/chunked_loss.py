"""The distillation loss from hidden states, in chunks of tokens: logits [N, V] never exist as a
whole.

Letters: N taught tokens, n tokens of a block, V vocabulary, K kept tokens of the teacher, D / E
widths of student / teacher. The gradient of every term by the logits has a closed form, so a chunk
does its logits, its loss and its gradients at once in the forward pass, in two reused buffers;
nothing is computed twice, and backward only scales.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from distill.loss.divergences import Divergence, divergence_, softmax_
from distill.loss.signals import Dense, Output, Sampled, Signal, TopK
from distill.loss.triton_block import dense_block_, has_triton

CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**28}  # of one buffer of float32 logits
BLOCK_BYTES = 2**21  # on a CPU a chunk is worked on in blocks that stay in the cache


class Terms(NamedTuple):
    """Weighted sums over tokens, nats: the divergence, the cross-entropy and the pull toward a flat
    distribution.
    """

    kl: Tensor
    ce: Tensor
    flat: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """What each taught token adds to the loss: kl * divergence + ce * cross-entropy + flat *
    KL(uniform || student).
    """

    kl_N: Tensor  # float32, 0 and above, as all three
    ce_N: Tensor
    flat_N: Tensor

    def rows(self, here: slice) -> "Weights":
        return Weights(self.kl_N[here], self.ce_N[here], self.flat_N[here])


def distillation_loss(
    student_ND: Tensor,
    output: Output,
    labels_N: Tensor,
    weights: Weights,
    signal: Signal | None,
    how: Divergence,
    *,
    chunk: int | None = None,
) -> tuple[Tensor, Terms]:
    """Sum over tokens of the three weighted terms, in nats.

    A sum, not a mean: the caller divides by the weights of the whole global batch, so that the step
    does not depend on how the batch is split. All sums are float32 or wider, whatever the dtype of
    the hidden states.

    Args:
        student_ND: hidden states at the taught positions; differentiable, like the weight and bias
            of `output`.
        output: the student's output matrix; where it needs no gradient (LoRA), a third of the work
            is left out.
        labels_N: int64, the token that follows.
        weights: of the three terms.
        signal: the teacher's; None: weights.kl_N is not looked at.
        how: the divergence and its temperature. Top-k signals serve every divergence, over K + 1
            outcomes; sampled signals serve forward_kl only.
        chunk: tokens at once; memory grows with chunk * V. None: about 32 MB a buffer on a CPU, 256
            MB on a GPU.

    Returns:
        the float32 scalar to differentiate (once), and the three sums for the log.

    Raises:
        ValueError: a divergence that the signal cannot serve.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, without its T^2 factor; Anshumann et al. 2025,
        arXiv:2503.16870, for sampled signals.
    """
    if isinstance(signal, Sampled) and how.kind != "forward_kl":
        raise ValueError(f"sampled targets serve forward_kl only, received {how.kind}")
    size = chunk or max(16, CHUNK_BYTES[student_ND.device.type] // (4 * len(output.weight_VD)))
    total, *sums = _ChunkedLoss.apply(
        student_ND,
        output.weight_VD,
        output.bias_V,
        output.softcap,
        labels_N,
        weights,
        signal,
        how,
        size,
    )
    return total, Terms(*(one.detach() for one in sums))


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    # a loop of matrix products into given buffers: nothing to gain, and its gradients are its own
    @torch.compiler.disable
    def forward(ctx, student_ND, weight_VD, bias_V, softcap, labels_N, weights, signal, how, size):
        with torch.autocast(student_ND.device.type, enabled=False):
            ones = _Sums(student_ND, weight_VD, bias_V, ctx.needs_input_grad)
            block = _Block(weights, signal, how, softcap)
            for start in range(0, len(student_ND), size):
                here = slice(start, start + size)
                ones.add(
                    here,
                    size,
                    labels_N[here],
                    weights.rows(here),
                    None if signal is None else signal.rows(here),
                    block,
                )
        ctx.save_for_backward(*ones.gradients(student_ND, weight_VD, bias_V))
        return ones.totals.sum().float(), *ones.totals.float()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream, *_):
        return *(None if grad is None else grad.mul_(upstream) for grad in ctx.saved_tensors), *(
            None,
        ) * 6


class _Sums:
    """Running sums of a loss: its terms, and the gradients by hidden states, output matrix and
    bias.
    """

    def __init__(
        self, student_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, wanted: tuple[bool, ...]
    ) -> None:
        exact = {"dtype": torch.float32, "device": student_ND.device}
        self.totals = torch.zeros(3, dtype=torch.float64, device=student_ND.device)
        self.hidden_ND, self.bias_V = student_ND.detach(), bias_V
        # under autocast the hidden states are bfloat16, the weight is not
        self.weight_VD = weight_VD.detach().to(student_ND.dtype)
        self.grad_ND = torch.empty_like(student_ND)
        self.grad_VD = torch.zeros(weight_VD.shape, **exact) if wanted[1] else None
        self.grad_V = (
            torch.zeros(len(weight_VD), **exact) if bias_V is not None and wanted[2] else None
        )
        self.buffers: dict[str, Tensor] = {}

    def add(
        self,
        here: slice,
        size: int,
        labels: Tensor,
        weights: Weights,
        signal: Signal | None,
        block: Callable[..., None],
    ) -> None:
        """One chunk: logits, then block by block the loss and its gradient in their place, then the
        gradient's products.
        """
        hidden_cD = self.hidden_ND[here]
        logits_cV = self._logits("student", size, hidden_cD, self.weight_VD, self.bias_V)
        teacher_cV = None
        if isinstance(signal, Dense):
            teacher_cV = self._logits(
                "teacher", size, signal.hidden_NE, signal.output.weight_VD, signal.output.bias_V
            )
            _cap_(teacher_cV, signal.output.softcap)
        rows = (
            len(logits_cV) if logits_cV.is_cuda else max(1, BLOCK_BYTES // (4 * logits_cV.shape[1]))
        )
        for start in range(0, len(logits_cV), rows):
            part = slice(start, start + rows)
            teacher = (
                teacher_cV[part]
                if teacher_cV is not None
                else None
                if signal is None
                else signal.rows(part)
            )
            self.totals += block(logits_cV[part], teacher, labels[part], weights.rows(part))
        grad_cV = logits_cV.to(self.weight_VD.dtype)
        torch.mm(grad_cV, self.weight_VD, out=self.grad_ND[here])
        if self.grad_VD is not None:
            _add_product_(self.grad_VD, grad_cV.T, hidden_cD)
        if self.grad_V is not None:
            self.grad_V += logits_cV.sum(0)

    def _logits(
        self, name: str, size: int, hidden_cE: Tensor, weight_VE: Tensor, bias_V: Tensor | None
    ) -> Tensor:
        """float32 logits in a buffer of their own, made once."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty(
                size, len(weight_VE), dtype=torch.float32, device=hidden_cE.device
            )
        logits_cV = self.buffers[name][: len(hidden_cE)]
        _product_(logits_cV, hidden_cE, weight_VE.to(hidden_cE.dtype).T)
        return logits_cV if bias_V is None else logits_cV.add_(bias_V.detach())

    def gradients(self, *inputs: Tensor | None) -> list[Tensor | None]:
        """In the dtypes of hidden states, weight and bias."""
        made = (self.grad_ND, self.grad_VD, self.grad_V)
        return [
            None if grad is None else grad.to(like.dtype)
            for grad, like in zip(made, inputs, strict=True)
        ]


def _product_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """left @ right in float32; the tensor cores of a GPU add bfloat16 products up in float32 by
    themselves.
    """
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    elif out.is_cuda:
        torch.mm(left, right, out_dtype=out.dtype, out=out)
    else:
        torch.mm(left.to(out.dtype), right.to(out.dtype), out=out)


def _add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, with the sum in float32."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _cap_(logits: Tensor, softcap: float | None) -> None:
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)


# --- one block: logits in, gradient out
# ---------------------------------------------------------------------------------


class _Block:
    """Turns a block of logits into its gradient, in place, and gives the block's three sums; its
    buffers are made once.
    """

    def __init__(
        self, weights: Weights, signal: Signal | None, how: Divergence, softcap: float | None
    ) -> None:
        self.how, self.softcap = how, softcap
        self.has_ce, self.has_flat = (
            signal is None or bool(weights.ce_N.any()),
            bool(weights.flat_N.any()),
        )
        self.buffers: dict[str, Tensor] = {}

    def __call__(
        self, z_nV: Tensor, teacher: Tensor | TopK | Sampled | None, labels_n: Tensor, w: Weights
    ) -> Tensor:
        """float64 [3]: kl, ce, flat."""
        if z_nV.is_cuda and isinstance(teacher, Tensor | None) and has_triton():
            return dense_block_(
                z_nV, teacher, labels_n, (w.kl_N, w.ce_N, w.flat_N), self.how, self.softcap
            )
        _cap_(z_nV, self.softcap)
        slope_nV = None if self.softcap is None else 1 - (z_nV / self.softcap) ** 2
        q_nV = self._buffer("q", z_nV)
        lse_n = softmax_(z_nV, out=q_nV)
        ce_n = lse_n - z_nV.gather(1, labels_n[:, None]).squeeze(1)
        flat_n = (
            lse_n - z_nV.mean(-1) - math.log(z_nV.shape[1])
            if self.has_flat
            else torch.zeros_like(lse_n)
        )
        kl_n = (
            z_nV.zero_().new_zeros(()).expand_as(lse_n)
            if teacher is None
            else self._divergence_(z_nV, q_nV, lse_n, teacher, w)
        )
        self._add_plain_(z_nV, q_nV, labels_n, w)
        if slope_nV is not None:
            z_nV.mul_(slope_nV)
        return torch.stack(
            [
                torch.dot(x.double(), y.double())
                for x, y in ((kl_n, w.kl_N), (ce_n, w.ce_N), (flat_n, w.flat_N))
            ]
        )

    def _divergence_(
        self,
        z_nV: Tensor,
        q_nV: Tensor,
        lse_n: Tensor,
        teacher: Tensor | TopK | Sampled,
        w: Weights,
    ) -> Tensor:
        """Divergence of each token; z_nV then holds its weighted gradient."""
        temperature = self.how.temperature
        if temperature != 1:
            q_nV = self._buffer("warm q", z_nV)
            lse_n = softmax_(z_nV.div_(temperature), out=q_nV)
        if isinstance(teacher, Tensor):
            y_nV = teacher if temperature == 1 else teacher.div_(temperature)
            spare_nV = self._buffer("spare", z_nV) if self.how.kind == "jsd" else q_nV
            value_n = divergence_(
                self.how, z_nV, q_nV, y_nV, self._buffer("p", z_nV), lse_n, spare_nV
            )
        elif isinstance(teacher, TopK):
            value_n = _top_k_(z_nV, teacher, self.how, self._buffer("p", z_nV))
        else:
            value_n = _sampled_(z_nV, q_nV, lse_n, teacher)
        z_nV.mul_((w.kl_N / temperature)[:, None])
        return value_n

    def _add_plain_(self, grad_nV: Tensor, q_nV: Tensor, labels_n: Tensor, w: Weights) -> None:
        """The gradients of the terms without a teacher: cross-entropy, and KL(uniform ||
        student).
        """
        if self.has_ce or self.has_flat:
            grad_nV.addcmul_(q_nV, (w.ce_N + w.flat_N)[:, None])
            grad_nV.scatter_add_(1, labels_n[:, None], -w.ce_N[:, None])
        if self.has_flat:
            grad_nV.sub_((w.flat_N / grad_nV.shape[1])[:, None])

    def _buffer(self, name: str, like_nV: Tensor) -> Tensor:
        if name not in self.buffers:
            self.buffers[name] = torch.empty_like(like_nV)
        return self.buffers[name][: len(like_nV)]


def _top_k_(z_nV: Tensor, teacher: TopK, how: Divergence, spare_nV: Tensor) -> Tensor:
    """K + 1 outcomes. The tail's logit is the log-sum-exp of its tokens, which share its gradient
    as their softmax says.
    """
    kept_nK = z_nV.gather(1, teacher.ids_NK)
    tail_n = softmax_(z_nV.scatter_(1, teacher.ids_NK, -math.inf), out=spare_nV)
    z_nO = torch.cat([kept_nK, tail_n[:, None]], 1)
    q_nO, y_nO = torch.softmax(z_nO, -1), teacher.outcomes()
    value_n = divergence_(
        how,
        z_nO,
        q_nO,
        y_nO,
        torch.empty_like(y_nO),
        torch.logsumexp(z_nO, -1),
        torch.empty_like(y_nO),
    )
    torch.mul(spare_nV, z_nO[:, -1:], out=z_nV).scatter_(1, teacher.ids_NK, z_nO[:, :-1])
    return value_n


def _sampled_(z_nV: Tensor, q_nV: Tensor, lse_n: Tensor, teacher: Sampled) -> Tensor:
    """Cross-entropy against the sketch, less the teacher's entropy: both its mean and its
    gradient's mean are exact.
    """
    mass_n = teacher.probs_NK.sum(1)
    value_n = (
        mass_n * lse_n
        - (z_nV.gather(1, teacher.ids_NK) * teacher.probs_NK).sum(1)
        - teacher.entropy_N
    )
    torch.mul(q_nV, mass_n[:, None], out=z_nV).scatter_add_(1, teacher.ids_NK, -teacher.probs_NK)
    return value_n
