"""What an edit took out, kept so that it can be put back: exactly, bit by bit, and where it is of
low rank also as an adapter.

`NAME` holds the exclusive or of the bits of a weight before and after: adding it to either gives
the other on any machine, while a sum of floats would be off by a rounding. `NAME.up` @ `NAME.down`
is about what was taken out, where that takes fewer numbers.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from data_filters.records.files import replacing
from distill.edit.factors import weights_digest
from distill.edit.matrices import refuse_unlike
from recipes.errors import ModelError

WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
TOLERANCE = 1e-6  # of the largest singular value: smaller ones are rounding


def save_delta(path: Path, before: nn.Module, after: nn.Module) -> dict[str, int]:
    """Writes the difference of two models of one shape, by rename.

    Returns:
        changed weights (tensors), and how many of them also have a low-rank form.
    """
    there, tensors, low = dict(after.named_parameters()), {}, 0
    for name, weight in before.named_parameters():
        was, now = weight.detach().cpu(), there[name].detach().cpu()
        if not torch.equal(_words(was), _words(now)):
            tensors[name] = (_words(was) ^ _words(now)).contiguous()
            if (parts := low_rank(was.double() - now.double())) is not None:
                tensors |= {
                    f"{name}.up": parts[0].to(was.dtype).contiguous(),
                    f"{name}.down": parts[1].to(was.dtype).contiguous(),
                }
                low += 1
    changed = len(tensors) - 2 * low
    digests = {"memory_on": weights_digest(before), "memory_off": weights_digest(after)}
    with replacing(path) as partial:
        save_file(tensors, str(partial), metadata=digests)
    return {"changed": changed, "low_rank": low}


def low_rank(removed_ED: Tensor) -> tuple[Tensor, Tensor] | None:
    """[E, R] and [R, D] whose product is the matrix, where that takes fewer numbers; None
    otherwise.
    """
    if removed_ED.ndim != 2:
        return None
    left, values, right = torch.linalg.svd(removed_ED, full_matrices=False)
    rank = int((values > TOLERANCE * values[0]).sum())
    rows, columns = removed_ED.shape
    return (
        (left[:, :rank] * values[:rank], right[:rank])
        if rank * (rows + columns) < rows * columns
        else None
    )


def add_back(model: nn.Module, path: Path) -> str:
    """Turns memory on where it is off, and off where it is on, in place; what comes out is checked
    to be the other model.

    Returns:
        what it is now: memory_on or memory_off.

    Raises:
        ModelError: the delta belongs to another model.
    """
    with safe_open(str(path), "pt") as file:
        about = file.metadata() or {}
        now = weights_digest(model)
        side = "memory_off" if now == about.get("memory_on") else "memory_on"
        if now not in (about.get("memory_on"), about.get("memory_off")):
            refuse_unlike(
                path, {"memory off": about.get("memory_off", "")}, {"memory off": now}, "a delta"
            )
        names = set(file.keys())
        weights: Mapping[str, nn.Parameter] = dict(model.named_parameters())
        for name in sorted(names & set(weights)):
            weight = weights[name].data
            _words(weight).bitwise_xor_(file.get_tensor(name).to(weight.device))
    if weights_digest(model) != about[side]:
        raise ModelError(
            f"{path}: the delta is damaged, adding it gave other weights than it says; take a whole copy"
        )
    return side


def _words(weight: Tensor) -> Tensor:
    """The bits as whole numbers: a view."""
    return weight.view(WORDS[weight.element_size()])
