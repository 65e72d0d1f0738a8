"""The weights that an edit may touch: named, found, and refused where they cannot be edited in
place.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedModel

from recipes.errors import ModelError

STACKED = ("gate_up_proj", "down_proj")  # parameters of a stack of experts, [experts, out, in]
EXPERTS = "experts"  # stands for them in edit.projections


@dataclass(frozen=True, slots=True)
class Target:
    """One matrix [out, in]: a linear layer's weight, or one expert's slice of a stack."""

    name: str  # e.g. model.layers.1.mlp.gate_proj, model.layers.1.mlp.experts.down_proj.3
    layer: int
    module: nn.Module
    parameter: str  # of the module
    expert: int | None = None

    def weight(self) -> Tensor:
        """A view, so that writing into it edits the model."""
        whole = getattr(self.module, self.parameter).data
        return whole if self.expert is None else whole[self.expert]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.weight().shape
        return int(rows), int(columns)

    @property
    def reads_tokens(self) -> bool:
        """Whether its input is the token itself and not what the expert made of it."""
        return self.parameter == "gate_up_proj"


def find_targets(
    model: PreTrainedModel,
    *,
    layers: Sequence[int],
    projections: Sequence[str],
    with_weights: bool = True,
) -> list[Target]:
    """The targets of some layers, in the model's order.

    Args:
        layers: numbers from 0; empty: all.
        projections: last names of linear modules; "experts" stands for the stacks of a mixture.
        with_weights: False: the model has names and shapes only.

    Raises:
        ModelError: a layer or a projection that does not exist, or a weight that is quantised or
            cut up over ranks.
    """
    there = layer_numbers(model)
    missing = [layer for layer in layers if layer not in there]
    if missing:
        raise ModelError(
            f"edit.layers: no layer {', '.join(map(str, missing))}; this model has layers {there[0]} to {there[-1]}"
        )
    found = [
        t
        for t in _all_targets(model)
        if (t.layer in layers or not layers) and _last(t) in projections
    ]
    unknown = [name for name in projections if name not in {_last(t) for t in found}]
    if unknown:
        known = sorted({_last(t) for t in _all_targets(model)})
        raise ModelError(
            f"edit.projections: no {', '.join(unknown)} in these layers; there are {', '.join(known)}"
        )
    for target in found if with_weights else ():
        _refuse_uneditable(target, model)
    return found


def layer_numbers(model: nn.Module) -> list[int]:
    """Numbers of the layers that have something to edit."""
    return sorted({target.layer for target in _all_targets(model)})


def _all_targets(model: nn.Module) -> list[Target]:
    found = []
    for name, module in model.named_modules():
        number = re.search(r"\.layers\.(\d+)\.", f".{name}.")
        if number is None:
            continue
        layer = int(number[1])
        if (
            name.endswith(f".{EXPERTS}")
            and all(hasattr(module, part) for part in STACKED)
            and not getattr(module, "is_transposed", False)
        ):
            count = len(getattr(module, STACKED[0]))
            found += [
                Target(f"{name}.{part}.{e}", layer, module, part, e)
                for e in range(count)
                for part in STACKED
            ]
        elif getattr(getattr(module, "weight", None), "ndim", 0) == 2 or isinstance(
            module, nn.Linear
        ):
            found.append(Target(name, layer, module, "weight"))
    return found


def _last(target: Target) -> str:
    return EXPERTS if target.expert is not None else target.name.rpartition(".")[2]


def _refuse_uneditable(target: Target, model: PreTrainedModel) -> None:
    weight = getattr(target.module, target.parameter)
    quantised = (
        not weight.is_floating_point()
        or getattr(model, "hf_quantizer", None) is not None
        or getattr(model, "is_quantized", False)
    )
    if quantised:
        raise ModelError(
            f"edit: {target.name} holds quantised weights ({weight.dtype}); edit the whole model, quantise it afterwards"
        )
    if (
        hasattr(weight, "ds_id")
        or hasattr(weight, "device_mesh")
        or not weight.numel()
        or weight.is_meta
    ):
        raise ModelError(
            f"edit: {target.name} is cut up over ranks; load the whole model on one rank, factors and edits need no ZeRO-3"
        )


def refuse_unlike(
    path: Path, found: Mapping[str, str], wanted: Mapping[str, str], what: str
) -> None:
    """Refuses a file that was made of something else.

    Raises:
        ModelError: one line that names what differs.
    """
    differs = [
        f"{name} {found.get(name)}, expected {value}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if differs:
        raise ModelError(
            f"{path}: {what} of another model or other data ({'; '.join(differs)}); make them again for this one"
        )
