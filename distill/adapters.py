"""Low-rank adapters: which modules may have them, putting them on a model, and saved ones.

peft is imported where it is used: it takes seconds.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from recipes.errors import ModelError
from recipes.schema import Lora

if TYPE_CHECKING:
    from peft import PeftModel


def check_lora_targets(model: PreTrainedModel, lora: Lora) -> list[str]:
    """The adapters' modules; a model on the meta device will do.

    Raises:
        ModelError: one does not exist, or is an embedding or output matrix: the loss reads the
            output matrix itself, past any adapter, and where embeddings are tied they are the same
            tensor.
    """
    modules = {name: (name.rpartition(".")[2], module) for name, module in model.named_modules()}
    matrices = {
        last
        for last, module in modules.values()
        if module in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    linear = sorted(
        {last for last, module in modules.values() if isinstance(module, nn.Linear)} - matrices
    )
    missing = [
        target for target in lora.targets if target not in {last for last, _ in modules.values()}
    ]
    refused = [target for target in lora.targets if target in matrices]
    if missing:
        raise ModelError(
            f"models.student.lora.targets: no module named {', '.join(missing)}; linear modules here: {', '.join(linear)}"
        )
    if refused:
        raise ModelError(
            f"models.student.lora.targets: {', '.join(refused)} takes no adapter, the loss reads the output matrix itself; "
            f"linear modules here: {', '.join(linear)}"
        )
    return lora.targets


def add_lora(model: PreTrainedModel, lora: Lora, *, seed: int) -> "PeftModel":
    """The model behind low-rank adapters; only they are trained.

    Raises:
        ModelError: as check_lora_targets.
    """
    from peft import LoraConfig, get_peft_model

    check_lora_targets(model, lora)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
            task_type="CAUSAL_LM",
        )
        return cast("PeftModel", get_peft_model(model, config))


def with_adapter(model: PreTrainedModel, folder: Path | str) -> "PeftModel":
    """The model with a saved adapter on it; `unload()` takes it off again.

    Raises:
        ModelError: no adapter there, or one for another model.
    """
    from peft import PeftModel

    if not (Path(folder) / "adapter_config.json").exists():
        raise ModelError(
            f"adapter {folder}: no adapter_config.json there; name a folder that a sleep or a LoRA training wrote"
        )
    try:
        return PeftModel.from_pretrained(model, str(folder)).eval()
    except (OSError, ValueError, RuntimeError) as fault:
        raise ModelError(f"adapter {folder}: {str(fault).splitlines()[0]}") from fault
