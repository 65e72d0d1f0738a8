"""A causal language model whose forward is the distillation loss.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D hidden width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.data.packing import Packed
from distill.forward import causal, hidden_states, softcap
from distill.loss.chunked_loss import Terms, Weights, distillation_loss
from distill.loss.dense_loss import dense_loss, logits
from distill.loss.divergences import Divergence, entropy
from distill.loss.signals import Dense, Output, Sampled, Signal

WATCHED_TOKENS = 64  # of a micro-batch: enough to see a collapse, too few to cost anything


@dataclass(frozen=True, slots=True)
class Watch:
    """Sums over a few taught tokens, for the guards: entropies in nats, and how many tokens they
    are.
    """

    student: Tensor
    teacher: Tensor
    tokens: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.student, self.teacher, self.tokens))


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

    def forward(
        self, hidden, labels_N=None, weights=None, signal=None, objective=None, softcap=None
    ):
        if labels_N is None:
            return super().forward(hidden)
        output, how = Output(self.weight, self.bias, softcap), objective.divergence
        if objective.vocab_size not in (None, len(self.weight)):
            output = output.first(objective.vocab_size)
        loss = dense_loss if objective.backend == "dense" else distillation_loss
        return *loss(hidden, output, labels_N, weights, signal, how), _watch(
            hidden, output, weights, signal
        )


class Learner(nn.Module):
    """A causal language model whose forward gives the loss of a packed batch, summed over
    tokens.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        causal(model).lm_head.__class__ = LossHead

    def forward(self, batch: Packed, signal: Signal | None) -> tuple[Tensor, Terms, Watch]:
        """The weighted sum of the three terms (nats, to be differentiated), each sum, and what the
        guards look at.

        Args:
            batch: packed rows.
            signal: of the teacher at batch.taught(), in that order.
        """
        taught_BT = batch.taught()
        hidden_ND = hidden_states(self.model, batch)[taught_BT]
        weights = Weights(batch.kl_BT[taught_BT], batch.ce_BT[taught_BT], batch.flat_BT[taught_BT])
        head = causal(self.model)
        return head.lm_head(
            hidden_ND, batch.labels_BT[taught_BT], weights, signal, self.objective, softcap(head)
        )


@torch.no_grad()
def _watch(hidden_ND: Tensor, output: Output, weights: Weights, signal: Signal | None) -> Watch:
    """Entropies at the first tokens that a divergence teaches (without a teacher: at the first
    taught ones).

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
    return Watch(student, teacher, torch.full_like(student, len(few_n)))
