"""What a cache must know of a teacher beside its targets, with the model at hand or from its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PretrainedConfig

from distill.forward import causal, logit_scale, softcap
from distill.loss.signals import Output, output_of
from recipes.errors import ModelError

OUTPUT_NAMES = ("lm_head.weight", "lm_head.bias", "embed_tokens.weight")


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """What a cache must know of a teacher beside its targets."""

    dtype: torch.dtype  # of its hidden states
    width: int
    softcap: float | None
    logit_scale: float
    output: Callable[[], Output]  # read only where hidden states are kept


def teacher_at_hand(model: nn.Module) -> TeacherFacts:
    """Of a loaded model, whose hidden states are scaled as they are read."""
    config, dtype = causal(model).config, next(model.parameters()).dtype
    return TeacherFacts(
        dtype=dtype,
        width=config.hidden_size,
        softcap=softcap(config),
        logit_scale=1.0,
        output=lambda: output_of(model, None),
    )


def teacher_elsewhere(
    config: PretrainedConfig, dtype: torch.dtype, folder: Callable[[], Path]
) -> TeacherFacts:
    """Of a model that is spoken with.

    Args:
        folder: where its files lie, asked only for its output matrix.

    Raises:
        ModelError: no safetensors there with an output matrix.
    """
    text = config.get_text_config()
    cap = softcap(text)
    return TeacherFacts(
        dtype=dtype,
        width=text.hidden_size,
        softcap=cap,
        logit_scale=logit_scale(text),
        output=lambda: Output(*_output_tensors(folder(), dtype), cap),
    )


def _output_tensors(folder: Path, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Output matrix, or the embeddings that stand in for it, and bias."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                last = next(
                    (end for end in OUTPUT_NAMES if name == end or name.endswith(f".{end}")), None
                )
                if last:
                    found[last] = file.get_tensor(name).to(dtype)
    weight, bias, embeddings = (found.get(name) for name in OUTPUT_NAMES)
    weight = embeddings if weight is None else weight
    if weight is None:
        raise ModelError(
            f"{folder}: no safetensors with lm_head or embed_tokens, the hidden states of this teacher cannot be used"
        )
    return weight, bias
