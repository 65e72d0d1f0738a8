"""The distillation loss from hidden states, in chunks of tokens: logits [N, V] never exist as a whole.

Letters: N taught tokens, V vocabulary, D / E hidden widths of student / teacher.
KL(teacher || student) and cross-entropy share the logit gradient `weight * (q - target)`, so a chunk does its logits,
its loss and its gradients at once, in the forward pass; backward only scales them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Terms:
    """Weighted sums over tokens, nats: the divergence and the cross-entropy."""

    kl: Tensor
    ce: Tensor


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, student_ND, student_VD, teacher_NE, teacher_VE, labels_N, kl_N, ce_N, temperature, chunk):
        grad_ND = torch.zeros_like(student_ND, dtype=torch.float32)
        trains_head = ctx.needs_input_grad[1]  # not under LoRA: then a third of the work is saved
        grad_VD = torch.zeros_like(student_VD, dtype=torch.float32) if trains_head else None
        totals = torch.zeros(2, dtype=torch.float64, device=student_ND.device)
        for start in range(0, student_ND.shape[0], chunk):
            here = slice(start, start + chunk)
            hidden = student_ND[here]
            logits = (hidden @ student_VD.T).float()
            teacher = None if teacher_NE is None else (teacher_NE[here] @ teacher_VE.T).float()
            grad, kl, ce = _chunk(logits, teacher, labels_N[here], kl_N[here], ce_N[here], temperature)
            totals += torch.stack([kl, ce]).double()
            grad = grad.to(student_VD.dtype)
            grad_ND[here] = (grad @ student_VD).float()
            if trains_head:
                grad_VD += (grad.T @ hidden).float()
        ctx.save_for_backward(grad_ND.to(student_ND.dtype), grad_VD.to(student_VD.dtype) if trains_head else None)
        return totals.sum().float(), totals.float()

    @staticmethod
    def backward(ctx, upstream, _):
        grad_ND, grad_VD = ctx.saved_tensors
        return grad_ND * upstream, None if grad_VD is None else grad_VD * upstream, None, None, None, None, None, None, None


def _chunk(
    logits: Tensor, teacher: Tensor | None, labels: Tensor, kl: Tensor, ce: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient by the logits, weighted divergence and weighted cross-entropy of one chunk."""
    log_q = torch.log_softmax(logits, -1)
    ce_sum = -(log_q.gather(1, labels[:, None]).squeeze(1) * ce).sum()
    grad = log_q.exp() * ce[:, None]
    grad.scatter_add_(1, labels[:, None], -ce[:, None])
    if teacher is None:
        return grad, ce_sum.new_zeros(()), ce_sum
    log_p = torch.log_softmax(teacher / temperature, -1)
    log_q = log_q if temperature == 1 else torch.log_softmax(logits / temperature, -1)
    p = log_p.exp()
    kl_sum = ((p * (log_p - log_q)).sum(-1) * kl).sum()
    grad += (log_q.exp() - p) * (kl / temperature)[:, None]
    return grad, kl_sum, ce_sum


def distillation_loss(
    student_ND: Tensor, student_VD: Tensor, labels_N: Tensor, kl_N: Tensor, ce_N: Tensor,
    teacher_NE: Tensor | None = None, teacher_VE: Tensor | None = None, *, temperature: float = 1.0, chunk: int = 1024,
) -> tuple[Tensor, Terms]:  # fmt: skip
    """Sum over tokens of kl_N * KL(teacher || student) + ce_N * cross-entropy, in nats.

    A sum, not a mean: the caller divides by the weights of the whole global batch, so that the step does not depend on
    how the batch is split. The temperature divides the logits of both models in the divergence only; there is no T^2.

    Args:
        student_ND, student_VD: hidden states at the taught positions and output matrix; differentiable.
        labels_N: int64, the token that follows.
        kl_N, ce_N: float32 weights, 0 and above.
        teacher_NE, teacher_VE: the teacher's; None: cross-entropy only.
        temperature: above 0.
        chunk: tokens at once; memory grows with chunk * V.

    Returns:
        the float32 scalar to differentiate, and both sums for the log.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, without its T^2 factor.
    """
    total, sums = _ChunkedLoss.apply(student_ND, student_VD, teacher_NE, teacher_VE, labels_N, kl_N, ce_N, temperature, chunk)
    return total, Terms(kl=sums[0].detach(), ce=sums[1].detach())
