"""Divergences between two rows of logits, each with its gradient by the student's logits, in closed
form.

Letters: n tokens of a block, V outcomes (the vocabulary, or kept tokens and a tail). z are the
student's logits and q their softmax, y and p the teacher's. Everything is written into given
buffers: the caller owns them, nothing of size [n, V] is made here.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

Kind = Literal["forward_kl", "reverse_kl", "jsd"]
# of a mixture's probability: where both models say 0, its logarithm must stay finite
SMALLEST = 1e-38


@dataclass(frozen=True, slots=True)
class Divergence:
    """Which divergence, and at which temperature.

    The temperature divides the logits of both models, in the divergence only. There is no T^2
    factor: the gradient by the logits shrinks with the temperature as the formula says.
    """

    kind: Kind = "forward_kl"
    beta: float = 0.5  # jsd only, inside 0..1: the teacher's share of the mixture
    temperature: float = 1.0


def softmax_(logits_nV: Tensor, out: Tensor) -> Tensor:
    """Writes the softmax of each row into `out` and gives the log-sum-exp of each row, [n].

    The largest probability is 1 / sum exp(x - max): that spares the sum a pass of its own.
    """
    torch.softmax(logits_nV, -1, out=out)
    return logits_nV.amax(-1) - out.amax(-1).log_()


def divergence_(
    how: Divergence,
    z_nV: Tensor,
    q_nV: Tensor,
    y_nV: Tensor,
    p_nV: Tensor,
    lse_z_n: Tensor,
    spare_nV: Tensor,
) -> Tensor:
    """Divergence of each row, nats; z_nV then holds its gradient by z.

    forward_kl is KL(p || q), reverse_kl is KL(q || p), jsd is beta * KL(p || m) + (1 - beta) * KL(q
    || m) with m = beta * p + (1 - beta) * q.

    Args:
        z_nV, y_nV: logits of student and teacher; overwritten.
        q_nV, lse_z_n: softmax and log-sum-exp of z_nV; kept.
        p_nV, spare_nV: buffers of the same shape; overwritten. spare_nV is one for jsd only: for
            the others it is q_nV itself.

    Returns:
        float32 [n].

    Source:
        Agarwal et al. 2024, arXiv:2306.13649, for the generalised JSD.
    """
    lse_y_n = softmax_(y_nV, out=p_nV)
    if how.kind == "forward_kl":
        value_n = y_nV.sub_(z_nV).mul_(p_nV).sum(-1) - lse_y_n + lse_z_n
        torch.sub(q_nV, p_nV, out=z_nV)
        return value_n
    if how.kind == "reverse_kl":
        mean_n = torch.mul(z_nV.sub_(y_nV), q_nV, out=p_nV).sum(-1)
        z_nV.sub_(mean_n[:, None]).mul_(q_nV)
        return mean_n - lse_z_n + lse_y_n
    if how.kind == "jsd":
        # with r = log q - log m the gradient is (1 - beta) q (r - sum q r); the derivative through
        # m cancels
        log_m_nV = torch.lerp(q_nV, p_nV, how.beta, out=spare_nV).clamp_(min=SMALLEST).log_()
        teacher_n = y_nV.sub_(log_m_nV).mul_(p_nV).sum(-1) - lse_y_n
        mean_n = torch.mul(z_nV.sub_(log_m_nV), q_nV, out=p_nV).sum(-1)
        z_nV.sub_(mean_n[:, None]).mul_(q_nV).mul_(1 - how.beta)
        return how.beta * teacher_n + (1 - how.beta) * (mean_n - lse_z_n)
    assert_never(how.kind)


def entropy(logits_NV: Tensor) -> Tensor:
    """Of each row's softmax, [N], nats."""
    logprobs_NV = torch.log_softmax(logits_NV, -1)
    return -(logprobs_NV.exp() * logprobs_NV).sum(-1)
