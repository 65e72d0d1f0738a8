"""The loss of one block of tokens: logits in, their gradient out, in the same buffer.

Letters: n tokens of the block, V vocabulary, K kept tokens of the teacher, O = K + 1 outcomes.
"""

import math

import torch
from torch import Tensor

from distill.loss.divergences import Divergence, divergence_, softmax_
from distill.loss.signals import Sampled, Signal, TopK
from distill.loss.terms import Weights
from distill.loss.triton_block import dense_block_, serves


class BlockLoss:
    """Turns a block of logits into the gradient of its loss, in place; its buffers are made once.

    Args:
        weights: of all tokens, to know which terms there are.
        signal: of all tokens; None: no teacher.
        how: the divergence and its temperature.
        softcap: of the student's logits; None: not capped.
    """

    def __init__(
        self, weights: Weights, signal: Signal | None, how: Divergence, softcap: float | None
    ) -> None:
        self.how, self.softcap = how, softcap
        self.has_ce = signal is None or bool(weights.ce_N.any())
        self.has_flat = bool(weights.flat_N.any())
        self.buffers: dict[str, Tensor] = {}

    def gradient_(
        self,
        z_nV: Tensor,
        teacher: Tensor | TopK | Sampled | None,
        labels_n: Tensor,
        weights: Weights,
    ) -> Tensor:
        """The block's weighted sums of kl, ce and flat, nats, float64 [3].

        Args:
            z_nV: float32, the student's logits before the soft cap; then holds the gradient of the
                sums by them.
            teacher: its logits float32 [n, V] (overwritten), or its kept tokens; None: no kl.
            labels_n: int64.
            weights: of these tokens.
        """
        if z_nV.is_cuda and isinstance(teacher, Tensor | None) and serves(self.how.kind):
            parts = (weights.kl_N, weights.ce_N, weights.flat_N)
            return dense_block_(z_nV, teacher, labels_n, parts, self.how, self.softcap)
        cap_(z_nV, self.softcap)
        slope_nV = None if self.softcap is None else 1 - (z_nV / self.softcap) ** 2
        q_nV = self._buffer("q", z_nV)
        lse_n = softmax_(z_nV, out=q_nV)
        ce_n = lse_n - z_nV.gather(1, labels_n[:, None]).squeeze(1)
        flat_n = torch.zeros_like(lse_n)
        if self.has_flat:
            flat_n = lse_n - z_nV.mean(-1) - math.log(z_nV.shape[1])
        kl_n = self._divergence_(z_nV, q_nV, lse_n, teacher, weights.kl_N)
        self._add_plain_(z_nV, q_nV, labels_n, weights)
        if slope_nV is not None:
            z_nV.mul_(slope_nV)
        pairs = ((kl_n, weights.kl_N), (ce_n, weights.ce_N), (flat_n, weights.flat_N))
        return torch.stack([torch.dot(value.double(), by.double()) for value, by in pairs])

    def _divergence_(
        self,
        z_nV: Tensor,
        q_nV: Tensor,
        lse_n: Tensor,
        teacher: Tensor | TopK | Sampled | None,
        kl_n: Tensor,
    ) -> Tensor:
        """Divergence of each token, nats [n]; z_nV then holds its gradient, weighted by kl_n (0
        without a teacher).
        """
        if teacher is None:
            z_nV.zero_()
            return torch.zeros_like(lse_n)
        temperature = self.how.temperature
        if temperature != 1:
            q_nV = self._buffer("warm q", z_nV)
            lse_n = softmax_(z_nV.div_(temperature), out=q_nV)
        if isinstance(teacher, TopK):
            value_n = self._top_k_(z_nV, teacher)
        elif isinstance(teacher, Sampled):
            value_n = self._sampled_(z_nV, q_nV, lse_n, teacher)
        else:
            value_n = self._dense_(z_nV, q_nV, lse_n, teacher)
        z_nV.mul_((kl_n / temperature)[:, None])
        return value_n

    def _dense_(self, z_nV: Tensor, q_nV: Tensor, lse_n: Tensor, y_nV: Tensor) -> Tensor:
        """Over the whole vocabulary; y_nV: the teacher's logits."""
        if self.how.temperature != 1:
            y_nV.div_(self.how.temperature)
        spare_nV = self._buffer("spare", z_nV) if self.how.kind == "jsd" else q_nV
        p_nV = self._buffer("p", z_nV)
        return divergence_(self.how, z_nV, q_nV, y_nV, p_nV, lse_n, spare_nV)

    def _top_k_(self, z_nV: Tensor, teacher: TopK) -> Tensor:
        """Over K + 1 outcomes. The tail's logit is the log-sum-exp of its tokens, which share its
        gradient as their softmax says.
        """
        kept_nK, spare_nV = z_nV.gather(1, teacher.ids_NK), self._buffer("p", z_nV)
        tail_n = softmax_(z_nV.scatter_(1, teacher.ids_NK, -math.inf), out=spare_nV)
        z_nO = torch.cat([kept_nK, tail_n[:, None]], 1)
        q_nO, y_nO = torch.softmax(z_nO, -1), teacher.outcomes()
        lse_n = torch.logsumexp(z_nO, -1)
        p_nO, spare_nO = torch.empty_like(y_nO), torch.empty_like(y_nO)
        value_n = divergence_(self.how, z_nO, q_nO, y_nO, p_nO, lse_n, spare_nO)
        torch.mul(spare_nV, z_nO[:, -1:], out=z_nV).scatter_(1, teacher.ids_NK, z_nO[:, :-1])
        return value_n

    def _sampled_(self, z_nV: Tensor, q_nV: Tensor, lse_n: Tensor, teacher: Sampled) -> Tensor:
        """Cross-entropy against the sketch, less the teacher's entropy: both its mean and its
        gradient's mean are exact.
        """
        mass_n = teacher.probs_NK.sum(1)
        drawn_n = (z_nV.gather(1, teacher.ids_NK) * teacher.probs_NK).sum(1)
        value_n = mass_n * lse_n - drawn_n - teacher.entropy_N
        torch.mul(q_nV, mass_n[:, None], out=z_nV)
        z_nV.scatter_add_(1, teacher.ids_NK, -teacher.probs_NK)
        return value_n

    def _add_plain_(
        self, grad_nV: Tensor, q_nV: Tensor, labels_n: Tensor, weights: Weights
    ) -> None:
        """The gradients of the terms without a teacher: cross-entropy, and KL(uniform ||
        student).
        """
        if self.has_ce or self.has_flat:
            grad_nV.addcmul_(q_nV, (weights.ce_N + weights.flat_N)[:, None])
            grad_nV.scatter_add_(1, labels_n[:, None], -weights.ce_N[:, None])
        if self.has_flat:
            grad_nV.sub_((weights.flat_N / grad_nV.shape[1])[:, None])

    def _buffer(self, name: str, like_nV: Tensor) -> Tensor:
        if name not in self.buffers:
            self.buffers[name] = torch.empty_like(like_nV)
        return self.buffers[name][: len(like_nV)]


def cap_(logits: Tensor, softcap: float | None) -> None:
    """cap(x) = softcap * tanh(x / softcap), in place."""
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
