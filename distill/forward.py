"""How a causal language model is read: hidden states of packed rows, and what stands between them
and its logits.

Letters: B rows, T tokens, S tokens of one row without padding, D hidden width.
"""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_masks_for_generate

from distill.data.packing import Packed


def causal(model: nn.Module) -> PreTrainedModel:
    """The causal LM below any adapters."""
    below = getattr(model, "get_base_model", None)
    return cast(PreTrainedModel, model if below is None else below())


def decoder(model: nn.Module) -> nn.Module:
    """The layers below the output matrix."""
    return cast(nn.Module, causal(model).model)


def output_matrix(model: nn.Module) -> nn.Linear:
    """The module that turns hidden states into logits."""
    return cast(nn.Linear, causal(model).lm_head)


def softcap(config: PretrainedConfig) -> float | None:
    """The cap of the output logits, for families that have one (Gemma)."""
    return getattr(config, "final_logit_softcapping", None)


def logit_scale(config: PretrainedConfig) -> float:
    """What a family multiplies its logits by, 1 for most (Cohere has a factor, Granite a
    divisor).
    """
    return getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)


def hidden_states(model: nn.Module, batch: Packed) -> Tensor:
    """Last hidden states [B, T, D] of packed rows, ready for the output matrix; at padding they
    mean nothing.
    """
    head, layers = causal(model), decoder(model)
    if head.config._attn_implementation in ("sdpa", "eager"):
        hidden_BTD = layers(
            input_ids=batch.ids_BT,
            position_ids=batch.positions_BT,
            attention_mask=attention_masks(head, batch),
            use_cache=False,
        ).last_hidden_state
    else:
        hidden_BTD = _varlen_hidden_states(layers, batch)
    scale = logit_scale(head.config)
    return hidden_BTD if scale == 1 else hidden_BTD * scale


def attention_masks(
    head: PreTrainedModel, batch: Packed
) -> Tensor | dict[str, Tensor | None] | None:
    """What each kind of layer may see (all before it, a window, ...), inside one sequence only:
    where positions restart, one begins.

    Made here, not left to the model: some families (gpt-oss) do not tell their masks about
    positions, and their packed sequences would see each other.
    """
    # of embeddings all but the width matters
    like_BT1 = torch.empty(*batch.ids_BT.shape, 1, dtype=head.dtype, device=batch.ids_BT.device)
    return create_masks_for_generate(head.config, like_BT1, None, None, batch.positions_BT)


def _varlen_hidden_states(body: nn.Module, batch: Packed) -> Tensor:
    """For kernels without a mask (flash attention): all sequences in one row, without padding, told
    apart by where they begin.

    transformers would look for the beginnings itself, but only where the batch is one row; given
    several it lets the sequences of a row see each other, without a word.
    """
    real_BT = batch.segments_BT > 0
    positions_S = batch.positions_BT[real_BT]
    starts = torch.cat(
        [(positions_S == 0).nonzero().view(-1), positions_S.new_tensor([len(positions_S)])]
    )
    longest = int(starts.diff().max())
    ends = {
        "cu_seq_lens_q": starts.int(),
        "cu_seq_lens_k": starts.int(),
        "max_length_q": longest,
        "max_length_k": longest,
    }
    hidden_SD = body(
        input_ids=batch.ids_BT[real_BT][None],
        position_ids=positions_S[None],
        attention_mask=None,
        use_cache=False,
        **ends,
    ).last_hidden_state[0]
    hidden_BTD = hidden_SD.new_zeros(*real_BT.shape, hidden_SD.shape[-1])
    return hidden_BTD.index_put((real_BT,), hidden_SD)
