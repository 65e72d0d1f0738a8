"""The distillation loss from hidden states, in chunks of tokens: logits [N, V] never exist as a
whole.

Letters: N taught tokens, n tokens of a block, V vocabulary, K kept tokens of the teacher, D / E
widths of student / teacher. The gradient of every term by the logits has a closed form, so a chunk
does its logits, its loss and its gradients at once in the forward pass, in two reused buffers;
nothing is computed twice, and backward only scales.
"""

from typing import Any

import torch
from torch import Tensor

from distill.loss.block_loss import BlockLoss, cap_
from distill.loss.divergences import Divergence
from distill.loss.signals import Dense, Output, Sampled, Signal
from distill.loss.terms import Terms, Weights

CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**28}  # of one buffer of float32 logits
BLOCK_BYTES = 2**21  # on a CPU a chunk is worked on in blocks that stay in the cache


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
    """Computes loss and gradients in the forward pass; the backward pass only scales them."""

    @staticmethod
    # a loop of matrix products into given buffers: nothing to gain, and its gradients are its own
    @torch.compiler.disable
    def forward(
        ctx: Any,
        student_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        softcap: float | None,
        labels_N: Tensor,
        weights: Weights,
        signal: Signal | None,
        how: Divergence,
        size: int,
    ) -> tuple[Tensor, ...]:
        """The float32 scalar, and the sums of kl, ce and flat."""
        with torch.autocast(student_ND.device.type, enabled=False):
            _, trains_matrix, trains_bias, *_ = ctx.needs_input_grad
            run = _ChunkedRun(student_ND, weight_VD, bias_V, trains_matrix, trains_bias, size)
            block = BlockLoss(weights, signal, how, softcap)
            for start in range(0, len(student_ND), size):
                here = slice(start, start + size)
                part = None if signal is None else signal.rows(here)
                run.add(here, labels_N[here], weights.rows(here), part, block)
        ctx.save_for_backward(*run.gradients(student_ND, weight_VD, bias_V))
        return run.totals.sum().float(), *run.totals.float()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Of hidden states, output matrix and bias."""
        scaled = [None if grad is None else grad.mul_(upstream) for grad in ctx.saved_tensors]
        return *scaled, *(None,) * 6


class _ChunkedRun:
    """What one forward pass adds up, chunk by chunk: the three sums, and the gradients by hidden
    states, output matrix and bias.
    """

    def __init__(
        self,
        student_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        trains_matrix: bool,
        trains_bias: bool,
        size: int,
    ) -> None:
        def zeros(like: Tensor, wanted: bool) -> Tensor | None:
            exact, device = torch.float32, student_ND.device
            return torch.zeros(like.shape, dtype=exact, device=device) if wanted else None

        self.totals = torch.zeros(3, dtype=torch.float64, device=student_ND.device)
        self.hidden_ND, self.bias_V, self.size = student_ND.detach(), bias_V, size
        # under autocast the hidden states are bfloat16, the weight is not
        self.weight_VD = weight_VD.detach().to(student_ND.dtype)
        self.grad_ND = torch.empty_like(student_ND)
        self.grad_VD = zeros(weight_VD, trains_matrix)
        self.grad_V = None if bias_V is None else zeros(bias_V, trains_bias)
        self.buffers: dict[str, Tensor] = {}

    def add(
        self,
        here: slice,
        labels_c: Tensor,
        weights: Weights,
        signal: Signal | None,
        block: BlockLoss,
    ) -> None:
        """One chunk: logits, then block by block the loss and its gradient in their place, then the
        gradient's products.
        """
        hidden_cD = self.hidden_ND[here]
        logits_cV = self._logits("student", hidden_cD, self.weight_VD, self.bias_V)
        teacher_cV = self._teacher_logits(signal) if isinstance(signal, Dense) else None
        kept = None if isinstance(signal, Dense) else signal
        rows = len(logits_cV)
        if not logits_cV.is_cuda:
            rows = max(1, BLOCK_BYTES // (4 * logits_cV.shape[1]))
        for start in range(0, len(logits_cV), rows):
            part = slice(start, start + rows)
            teacher = teacher_cV[part] if teacher_cV is not None else kept and kept.rows(part)
            self.totals += block.gradient_(
                logits_cV[part], teacher, labels_c[part], weights.rows(part)
            )
        grad_cV = logits_cV.to(self.weight_VD.dtype)
        torch.mm(grad_cV, self.weight_VD, out=self.grad_ND[here])
        if self.grad_VD is not None:
            _add_product_(self.grad_VD, grad_cV.T, hidden_cD)
        if self.grad_V is not None:
            self.grad_V += logits_cV.sum(0)

    def _teacher_logits(self, signal: Dense) -> Tensor:
        output = signal.output
        logits_cV = self._logits("teacher", signal.hidden_NE, output.weight_VD, output.bias_V)
        cap_(logits_cV, output.softcap)
        return logits_cV

    def _logits(
        self, name: str, hidden_cE: Tensor, weight_VE: Tensor, bias_V: Tensor | None
    ) -> Tensor:
        """float32 logits [c, V] in a buffer of their own, made once."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty(
                self.size, len(weight_VE), dtype=torch.float32, device=hidden_cE.device
            )
        logits_cV = self.buffers[name][: len(hidden_cE)]
        _product_(logits_cV, hidden_cE, weight_VE.to(hidden_cE.dtype).T)
        return logits_cV if bias_V is None else logits_cV.add_(bias_V.detach())

    def gradients(self, *inputs: Tensor | None) -> list[Tensor | None]:
        """In the dtypes of hidden states, weight and bias."""
        made = (self.grad_ND, self.grad_VD, self.grad_V)
        return [
            None if grad is None or like is None else grad.to(like.dtype)
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
