"""What a teacher says about a token, in the three forms that the loss takes.

Letters: N taught tokens, V vocabulary, K kept tokens of the teacher, E its hidden width, D the
student's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.forward import causal, output_matrix, softcap


@dataclass(frozen=True, slots=True)
class Output:
    """An output matrix: logits_NV = cap(hidden_ND @ weight_VD.T + bias_V), cap(x) = softcap *
    tanh(x / softcap).
    """

    weight_VD: Tensor
    bias_V: Tensor | None = None
    softcap: float | None = None  # above 0; None: not capped

    def first(self, size: int) -> "Output":
        """The first `size` ids only: models of one family pad their vocabularies to different
        lengths.
        """
        bias_V = None if self.bias_V is None else self.bias_V[:size]
        return Output(self.weight_VD[:size], bias_V, self.softcap)


@dataclass(frozen=True, slots=True)
class Dense:
    """The whole distribution, as hidden states and the output matrix that turns them into
    logits.
    """

    hidden_NE: Tensor
    output: Output

    def rows(self, here: slice) -> "Dense":
        return Dense(self.hidden_NE[here], self.output)


@dataclass(frozen=True, slots=True)
class TopK:
    """The likeliest tokens; what is left of the probability is an outcome of its own, the tail."""

    ids_NK: Tensor  # int64
    logprobs_NK: Tensor  # float32, nats, at the temperature of the divergence

    def rows(self, here: slice) -> "TopK":
        return TopK(self.ids_NK[here], self.logprobs_NK[here])

    def outcomes(self) -> Tensor:
        """Log-probabilities [N, K + 1] of the kept tokens and the tail."""
        kept_N = self.logprobs_NK.double().exp().sum(1)
        tail_N = (1 - kept_N).clamp_min(TINY_TAIL).log().float()
        return torch.cat([self.logprobs_NK, tail_N[:, None]], 1)


@dataclass(frozen=True, slots=True)
class Sampled:
    """An unbiased sketch of the distribution: the mean of `probs` over draws is the teacher's
    probability of every token.
    """

    ids_NK: Tensor  # int64; unused places have probability 0
    probs_NK: Tensor  # float32, at the temperature of the divergence; a row sums to 1
    entropy_N: Tensor  # float32, nats, of the whole distribution

    def rows(self, here: slice) -> "Sampled":
        return Sampled(self.ids_NK[here], self.probs_NK[here], self.entropy_N[here])


Signal = Dense | TopK | Sampled

TINY_TAIL = 1e-9  # a tail of no probability would be minus infinity


def output_of(model: nn.Module, vocab_size: int | None) -> Output:
    """The output matrix of a causal LM, cut to the ids that teacher and student share."""
    head = output_matrix(model)
    output = Output(head.weight, head.bias, softcap(causal(model).config))
    return output if vocab_size is None else output.first(vocab_size)
