"""The distillation loss as a textbook writes it: all logits at once, gradients by autograd, in
whatever dtype is given.

It is the reference that distill/loss/chunked_loss.py is held against, and the backend `dense` of a
recipe, for checking: it holds several [N, V] tensors, which a real vocabulary does not allow.
"""

import math
from typing import assert_never

import torch
from torch import Tensor

from distill.loss.divergences import Divergence
from distill.loss.signals import Output, Sampled, Signal, TopK
from distill.loss.terms import Terms, Weights


def dense_loss(
    student_ND: Tensor,
    output: Output,
    labels_N: Tensor,
    weights: Weights,
    signal: Signal | None,
    how: Divergence,
) -> tuple[Tensor, Terms]:
    """As distill.loss.chunked_loss.distillation_loss."""
    logits_NV = logits(student_ND, output)
    log_q_NV = torch.log_softmax(logits_NV, -1)
    ce = (-log_q_NV.gather(1, labels_N[:, None]).squeeze(1) * weights.ce_N).sum()
    flat = ((-log_q_NV.mean(1) - math.log(log_q_NV.shape[1])) * weights.flat_N).sum()
    kl = ce.new_zeros(())
    if signal is not None:
        kl = (
            _divergence(torch.log_softmax(logits_NV / how.temperature, -1), signal, how)
            * weights.kl_N
        ).sum()
    return kl + ce + flat, Terms(kl.detach(), ce.detach(), flat.detach())


def logits(hidden_NE: Tensor, output: Output) -> Tensor:
    """[N, V], float32 or wider."""
    wide = torch.float64 if hidden_NE.dtype == torch.float64 else torch.float32
    with torch.autocast(hidden_NE.device.type, enabled=False):
        made = hidden_NE.to(wide) @ output.weight_VD.to(wide).T
        made = made if output.bias_V is None else made + output.bias_V
        return (
            made if output.softcap is None else output.softcap * torch.tanh(made / output.softcap)
        )


def _divergence(log_q_NV: Tensor, signal: Signal, how: Divergence) -> Tensor:
    """[N], nats."""
    if isinstance(signal, Sampled):
        return -(log_q_NV.gather(1, signal.ids_NK) * signal.probs_NK).sum(1) - signal.entropy_N
    if isinstance(signal, TopK):
        kept_NK = log_q_NV.gather(1, signal.ids_NK)
        tail_N = log_q_NV.scatter(1, signal.ids_NK, -math.inf).logsumexp(1)
        return _of_logprobs(
            torch.cat([kept_NK, tail_N[:, None]], 1), signal.outcomes().to(log_q_NV.dtype), how
        )
    return _of_logprobs(
        log_q_NV,
        torch.log_softmax(logits(signal.hidden_NE, signal.output) / how.temperature, -1),
        how,
    )


def _of_logprobs(log_q: Tensor, log_p: Tensor, how: Divergence) -> Tensor:
    kl = lambda a, b: (a.exp() * (a - b)).sum(1)
    if how.kind == "forward_kl":
        return kl(log_p, log_q)
    if how.kind == "reverse_kl":
        return kl(log_q, log_p)
    if how.kind == "jsd":
        log_m = torch.logaddexp(log_p + math.log(how.beta), log_q + math.log1p(-how.beta))
        return how.beta * kl(log_p, log_m) + (1 - how.beta) * kl(log_q, log_m)
    assert_never(how.kind)
