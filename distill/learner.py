"""A causal language model whose forward is the distillation loss.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D hidden width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_masks_for_generate

from distill.data.packing import Packed
from distill.dense_loss import dense_loss, logits
from distill.divergences import Divergence
from distill.losses import Terms, Weights, distillation_loss
from distill.signals import Dense, Output, Sampled, Signal

WATCHED_TOKENS = 64  # of a micro-batch: enough to see a collapse, too few to cost anything


@dataclass(frozen=True, slots=True)
class Watch:
    """Sums over a few taught tokens, for the guards: entropies in nats, and how many tokens they are."""

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
    """The output matrix that turns hidden states into the loss itself, so that logits [N, V] never exist.

    It is a module, not a function of its weight, because ZeRO-3 gathers a weight only inside its module's forward.
    """

    def forward(self, hidden, labels_N=None, weights=None, signal=None, objective=None, softcap=None):
        if labels_N is None:
            return super().forward(hidden)
        output, how = Output(self.weight, self.bias, softcap), objective.divergence
        if objective.vocab_size not in (None, len(self.weight)):
            output = output.first(objective.vocab_size)
        loss = dense_loss if objective.backend == "dense" else distillation_loss
        return *loss(hidden, output, labels_N, weights, signal, how), _watch(hidden, output, weights, signal)


class Learner(nn.Module):
    """A causal language model whose forward gives the loss of a packed batch, summed over tokens."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        causal(model).lm_head.__class__ = LossHead

    def forward(self, batch: Packed, signal: Signal | None) -> tuple[Tensor, Terms, Watch]:
        """The weighted sum of the three terms (nats, to be differentiated), each sum, and what the guards look at.

        Args:
            batch: packed rows.
            signal: of the teacher at batch.taught(), in that order.
        """
        taught_BT = batch.taught()
        hidden_ND = hidden_states(self.model, batch)[taught_BT]
        weights = Weights(batch.kl_BT[taught_BT], batch.ce_BT[taught_BT], batch.flat_BT[taught_BT])
        head = causal(self.model)
        return head.lm_head(hidden_ND, batch.labels_BT[taught_BT], weights, signal, self.objective, softcap(head))


@torch.no_grad()
def _watch(hidden_ND: Tensor, output: Output, weights: Weights, signal: Signal | None) -> Watch:
    """Entropies at the first tokens that a divergence teaches (without a teacher: at the first taught ones).

    The teacher's is known where its whole distribution is, or was when a sketch of it was drawn.
    """
    few_n = (weights.kl_N > 0 if signal is not None else torch.ones_like(weights.kl_N)).nonzero().view(-1)[:WATCHED_TOKENS]
    student = entropy(logits(hidden_ND[few_n], output)).sum()
    teacher = torch.full_like(student, torch.nan)
    if isinstance(signal, Dense):
        teacher = entropy(logits(signal.hidden_NE[few_n], signal.output)).sum()
    elif isinstance(signal, Sampled):
        teacher = signal.entropy_N[few_n].sum()
    return Watch(student, teacher, torch.full_like(student, len(few_n)))


def entropy(logits_NV: Tensor) -> Tensor:
    """Of each row's softmax, [N], nats."""
    logprobs_NV = torch.log_softmax(logits_NV, -1)
    return -(logprobs_NV.exp() * logprobs_NV).sum(-1)


def causal(model: nn.Module) -> nn.Module:
    """The causal LM below any adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def softcap(model: nn.Module) -> float | None:
    """The cap of the output logits, for families that have one (Gemma)."""
    return getattr(model.config, "final_logit_softcapping", None)


def logit_scale(model: nn.Module) -> float:
    """What a family multiplies its logits by, 1 for most (Cohere has a factor, Granite a divisor)."""
    return getattr(model.config, "logit_scale", 1.0) / getattr(model.config, "logits_scaling", 1.0)


def hidden_states(model: nn.Module, batch: Packed) -> Tensor:
    """Last hidden states [B, T, D] of packed rows, ready for the output matrix; at padding they mean nothing."""
    head = causal(model)
    if head.model.config._attn_implementation in ("sdpa", "eager"):
        hidden_BTD = head.model(
            input_ids=batch.ids_BT, position_ids=batch.positions_BT, attention_mask=attention_masks(head, batch), use_cache=False
        ).last_hidden_state  # fmt: skip
    else:
        hidden_BTD = _varlen_hidden_states(head.model, batch)
    return hidden_BTD if logit_scale(head) == 1 else hidden_BTD * logit_scale(head)


def attention_masks(head: nn.Module, batch: Packed) -> Tensor | dict[str, Tensor | None] | None:
    """What each kind of layer may see (all before it, a window, ...), inside one sequence only: where positions restart, one begins.

    Made here, not left to the model: some families (gpt-oss) do not tell their masks about positions, and their packed sequences would
    see each other.
    """
    like_BT1 = torch.empty(*batch.ids_BT.shape, 1, dtype=head.dtype, device=batch.ids_BT.device)  # of embeddings all but the width matters
    return create_masks_for_generate(head.config, like_BT1, None, None, batch.positions_BT)


def _varlen_hidden_states(body: nn.Module, batch: Packed) -> Tensor:
    """For kernels without a mask (flash attention): all sequences in one row, without padding, told apart by where they begin.

    transformers would look for the beginnings itself, but only where the batch is one row; given several it lets the sequences
    of a row see each other, without a word.
    """
    real_BT = batch.segments_BT > 0
    positions_S = batch.positions_BT[real_BT]
    starts = torch.cat([(positions_S == 0).nonzero().view(-1), positions_S.new_tensor([len(positions_S)])])
    longest = int(starts.diff().max())
    ends = {"cu_seq_lens_q": starts.int(), "cu_seq_lens_k": starts.int(), "max_length_q": longest, "max_length_k": longest}
    hidden_SD = body(
        input_ids=batch.ids_BT[real_BT][None], position_ids=positions_S[None], attention_mask=None, use_cache=False, **ends
    ).last_hidden_state[0]  # fmt: skip
    hidden_BTD = hidden_SD.new_zeros(*real_BT.shape, hidden_SD.shape[-1])
    return hidden_BTD.index_put((real_BT,), hidden_SD)
