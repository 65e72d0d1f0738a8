"""A causal language model whose forward is the distillation loss, and the live teacher beside it.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D / E hidden widths of student / teacher.
"""

import torch
from torch import Tensor, nn

from distill.encode import Packed, block_mask
from distill.losses import Terms, distillation_loss


class LossHead(nn.Linear):
    """The output matrix that turns hidden states into the loss itself, so that logits [N, V] never exist.

    It is a module, not a function of its weight, because ZeRO-3 gathers a weight only inside its module's forward.
    """

    def forward(self, hidden, labels_N=None, **loss):
        if labels_N is None:
            return super().forward(hidden)
        return distillation_loss(hidden, self.weight, labels_N, **loss)


class Learner(nn.Module):
    """A causal language model whose forward gives the loss of a packed batch, summed over tokens."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        causal(model).lm_head.__class__ = LossHead

    def forward(self, batch: Packed, teacher: "Teacher | None") -> tuple[Tensor, Terms]:
        taught_BT = (batch.kl_BT + batch.ce_BT) > 0
        hidden_ND = hidden_states(self.model, batch)[taught_BT]
        targets = teacher.targets(batch, taught_BT) if teacher else {}
        return causal(self.model).lm_head(
            hidden_ND, batch.labels_BT[taught_BT], kl_N=batch.kl_BT[taught_BT], ce_N=batch.ce_BT[taught_BT],
            temperature=self.temperature, **targets,
        )  # fmt: skip


class Teacher:
    """A live teacher, replicated on every rank: its hidden states at the taught positions and its output matrix."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def targets(self, batch: Packed, taught_BT: Tensor) -> dict[str, Tensor]:
        head = causal(self.model).lm_head
        return {"teacher_NE": hidden_states(self.model, batch)[taught_BT], "teacher_VE": head.weight}


def causal(model: nn.Module) -> nn.Module:
    """The causal LM below any adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def hidden_states(model: nn.Module, batch: Packed) -> Tensor:
    """Last hidden states [B, T, D] of packed rows.

    sdpa gets the block mask; flash kernels take none and find the sequences by their restarting positions.
    """
    body = causal(model).model
    flash = str(body.config._attn_implementation).startswith("flash")
    mask = None if flash else block_mask(batch.segments_BT)
    return body(
        input_ids=batch.ids_BT, position_ids=batch.positions_BT, attention_mask=mask, use_cache=False
    ).last_hidden_state
