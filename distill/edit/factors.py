"""K-FAC factors of weights, and their sums, in memory and on disk.

Letters: D input width, E output width.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_filters.records.files import replacing
from distill.edit.matrices import refuse_unlike

Sums = tuple[Tensor, Tensor, Tensor]  # of a a^T, of g g^T, and the number of positions; float64


@dataclass(frozen=True, slots=True)
class Factors:
    """Curvature of one weight, float64; `tokens` is the number of positions that both means are
    over.
    """

    inputs_DD: Tensor
    outputs_EE: Tensor
    tokens: int


def save_factors(path: Path, factors: dict[str, Factors], *, origin: dict[str, str]) -> None:
    """One safetensors file, float32, by rename; `origin` (model, data and label digests) goes
    along.
    """
    tensors: dict[str, Tensor] = {}
    for name, one in factors.items():
        tensors |= {
            f"{name}.inputs": one.inputs_DD.float().cpu().contiguous(),
            f"{name}.outputs": one.outputs_EE.float().cpu().contiguous(),
        }
    counts = {f"tokens/{name}": str(one.tokens) for name, one in factors.items()}
    with replacing(path) as partial:
        save_file(tensors, str(partial), metadata={**origin, **counts})


def save_sums(path: Path, sums: Mapping[str, Sums]) -> None:
    """A rank's share, by rename; read_sums gives it back."""
    tensors = {
        f"{name}/{number}": part.contiguous()
        for name, parts in sums.items()
        for number, part in enumerate(parts)
    }
    with replacing(path) as partial:
        save_file(tensors, str(partial))


def read_sums(path: Path) -> dict[str, Sums]:
    tensors = load_file(str(path))
    return {
        name: (tensors[f"{name}/0"], tensors[f"{name}/1"], tensors[f"{name}/2"])
        for name in {key.rpartition("/")[0] for key in tensors}
    }


def load_factors(path: Path, *, origin: dict[str, str]) -> dict[str, Factors]:
    """What save_factors wrote, as float64.

    Raises:
        ModelError: they were collected on another model or other data.
    """
    with safe_open(str(path), "pt") as file:
        about = file.metadata() or {}
        refuse_unlike(path, about, origin, "factors")
        names = [key.removeprefix("tokens/") for key in about if key.startswith("tokens/")]
        parts = {
            name: (
                file.get_tensor(f"{name}.inputs").double(),
                file.get_tensor(f"{name}.outputs").double(),
            )
            for name in names
        }
    return {name: Factors(*both, int(about[f"tokens/{name}"])) for name, both in parts.items()}


def weights_digest(model: nn.Module) -> str:
    """Names one set of weights: their names, shapes, dtypes and bits."""
    whole = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        whole.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]
