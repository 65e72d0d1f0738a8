"""A causal language model whose forward is the distillation loss.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D hidden width.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from distill.data.packing import Packed
from distill.forward import causal, hidden_states, output_matrix, softcap
from distill.loss.chunked_loss import distillation_loss
from distill.loss.dense_loss import dense_loss, logits
from distill.loss.divergences import Divergence, entropy
from distill.loss.signals import Dense, Output, Sampled, Signal
from distill.loss.terms import Weights

WATCHED_TOKENS = 64  # of a micro-batch: enough to see a collapse, too few to cost anything

Number = TypeVar("Number")  # Tensor in a micro-batch, float once a step is read


class StepSums(NamedTuple, Generic[Number]):
    """What a forward pass adds up beside the loss; nats, float32 or wider.

    The first three are the weighted sums over all taught tokens. The entropies are plain sums over
    a few of them, `watched_tokens` in number, for the watchdog; the teacher's is NaN where its
    distribution is not known.
    """

    kl: Number
    ce: Number
    flat: Number
    student_entropy: Number
    teacher_entropy: Number
    watched_tokens: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a learner minimises."""

    divergence: Divergence = Divergence()  # noqa: RUF009 - frozen
    vocab_size: int | None = None  # ids that teacher and student share; None: all of the student's
    backend: str = "chunked"  # or dense, the reference


class LossHead(nn.Linear):
    """The output matrix that turns hidden states into the loss itself, so that logits [N, V] never
    exist.

    It is a module, not a function of its weight, because ZeRO-3 gathers a weight only inside its
    module's forward.
    """

    def forward(  # type: ignore[override]
        self,
        hidden: Tensor,
        labels_N: Tensor | None = None,
        weights: Weights | None = None,
        signal: Signal | None = None,
        objective: Objective | None = None,
        softcap: float | None = None,
    ) -> Tensor | tuple[Tensor, StepSums[Tensor]]:
        """Logits [..., V] of hidden states alone; with labels and weights, as Learner.forward."""
        if labels_N is None or weights is None or objective is None:
            return super().forward(hidden)
        output = Output(self.weight, self.bias, softcap)
        if objective.vocab_size not in (None, len(self.weight)):
            output = output.first(objective.vocab_size)
        loss = dense_loss if objective.backend == "dense" else distillation_loss
        total, terms = loss(hidden, output, labels_N, weights, signal, objective.divergence)
        return total, StepSums(*terms, *_watched(hidden, output, weights, signal))


class Learner(nn.Module):
    """A causal language model whose forward gives the loss of a packed batch, summed over tokens.

    The model's own output matrix computes the loss until `release`, or until the `with` block ends;
    it still gives logits to whoever calls the model as usual.

    Args:
        model: a causal LM, maybe behind adapters; trained in place.
        objective: the divergence, and the ids that it is over.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self._head_class = type(output_matrix(model))
        output_matrix(model).__class__ = LossHead

    def release(self) -> None:
        """Gives the model its plain output matrix back."""
        output_matrix(self.model).__class__ = self._head_class

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def forward(self, batch: Packed, signal: Signal | None) -> tuple[Tensor, StepSums[Tensor]]:
        """The weighted sum of the three terms (nats, to be differentiated), and what is logged.

        Args:
            batch: packed rows.
            signal: of the teacher at batch.taught(), in that order.
        """
        taught_BT = batch.taught()
        hidden_ND = hidden_states(self.model, batch)[taught_BT]
        weights = Weights(batch.kl_BT[taught_BT], batch.ce_BT[taught_BT], batch.flat_BT[taught_BT])
        labels_N, cap = batch.labels_BT[taught_BT], softcap(causal(self.model).config)
        head = output_matrix(self.model)
        return head(hidden_ND, labels_N, weights, signal, self.objective, cap)


@torch.no_grad()
def _watched(
    hidden_ND: Tensor, output: Output, weights: Weights, signal: Signal | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Summed entropies of student and teacher (nats), and of how many tokens: the first that a
    divergence teaches (without a teacher: the first taught ones).

    The teacher's is known where its whole distribution is, or was when a sketch of it was drawn.
    """
    few_n = (
        (weights.kl_N > 0 if signal is not None else torch.ones_like(weights.kl_N))
        .nonzero()
        .view(-1)[:WATCHED_TOKENS]
    )
    student = entropy(logits(hidden_ND[few_n], output)).sum()
    teacher = torch.full_like(student, torch.nan)
    if isinstance(signal, Dense):
        teacher = entropy(logits(signal.hidden_NE[few_n], signal.output)).sum()
    elif isinstance(signal, Sampled):
        teacher = signal.entropy_N[few_n].sum()
    return student, teacher, torch.full_like(student, len(few_n))
