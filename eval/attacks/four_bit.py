"""Weights rounded to four bits and back: an attack, since knowledge that was only covered up can
come back by it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from recipes.errors import ModelError

GROUP = 64  # weights that share a scale, along the input
LEVELS = 7  # on either side of zero: codes -7..7 fit four bits


@torch.no_grad()
def to_four_bits(model: PreTrainedModel, *, group: int = GROUP) -> dict[str, float]:
    """The share of the weights that were rounded, in place, to the nearest of 15 levels: linear
    layers and stacks of experts.

    The input and output embeddings, the router of a mixture, norms and biases stay as they are, as
    they do in bitsandbytes.

    Args:
        model: changed in place; shapes, dtypes and ties stay.
        group: weights along the input that share one scale, 1 and above.

    Returns:
        quantised_fraction, 0..1 of all weights.

    Raises:
        ModelError: nothing in the model can be rounded, so that its answers would say nothing.

    Source: Zhang et al. 2024, arXiv 2410.16454 (rounding brings unlearned knowledge back).
    """
    rounded = 0
    for weight, dim in _matrices(model):
        weight.copy_(rounded_weight(weight, dim=dim, group=group))
        rounded += weight.numel()
    if not rounded:
        raise ModelError(
            "attack four_bit: nothing here is a linear layer or a stack of experts; take "
            "four_bit out of evaluate.attacks"
        )
    return {"quantised_fraction": round(rounded / sum(p.numel() for p in model.parameters()), 4)}


def rounded_weight(weight: Tensor, *, dim: int, group: int = GROUP) -> Tensor:
    """The nearest of 15 evenly spaced levels around zero; no weight moves further than the largest
    of its group / 14.

    Rounding what is rounded already changes nothing.

    Args:
        weight: of any shape.
        dim: along which groups are formed, the input; the last group may be shorter.
        group: weights in a group.
    """
    along = weight.detach().float().movedim(dim, -1)
    size = along.shape[-1]
    grouped = F.pad(along, (0, -size % group)).unflatten(-1, (-1, group))
    largest = grouped.abs().amax(-1, keepdim=True)
    codes = torch.where(largest > 0, grouped / largest * LEVELS, 0.0).round()
    return (codes / LEVELS * largest).flatten(-2)[..., :size].movedim(-1, dim).to(weight.dtype)


def _matrices(model: PreTrainedModel) -> Iterator[tuple[Tensor, int]]:
    """Each weight that is rounded, once, with the dimension of its input."""
    seen = {
        id(head.weight)
        for head in (model.get_input_embeddings(), model.get_output_embeddings())
        if head is not None
    }
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            linear = isinstance(module, nn.Linear) and name == "weight"
            experts = weight.ndim == 3 and not isinstance(module, nn.Conv1d)
            if (linear or experts) and id(weight) not in seen:
                seen.add(id(weight))
                yield weight, 1 if experts and getattr(module, "is_transposed", False) else -1
