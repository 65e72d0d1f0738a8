"""What a training runs on: its own Accelerator, under whatever `accelerate launch` was told."""

import os
from datetime import timedelta

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from recipes.errors import TrainingError
from recipes.schema import Training

PATIENCE = timedelta(hours=12)  # other ranks wait while the main one probes or saves


def open_accelerator(training: Training, folder: str) -> Accelerator:
    """An Accelerator of its own for one training; on CPU ranks it speaks gloo.

    Raises:
        TrainingError: DeepSpeed cannot do what the recipe asks for.
    """
    on_cpu_ranks = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    group = InitProcessGroupKwargs(timeout=PATIENCE, **({"backend": "gloo"} if on_cpu_ranks else {}))
    accelerator = Accelerator(kwargs_handlers=[group], log_with=list(training.trackers) or None, project_dir=folder)
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        check_deepspeed(training)
        # accelerate tells transformers to cut up under ZeRO-3 whatever is loaded from now on, but a live teacher is to stay whole
        unset_hf_deepspeed_config()
        # accumulation and clipping are the recipe's: the loop divides by the weights of the global batch itself
        plugin.deepspeed_config |= {
            "gradient_clipping": float(training.clip_norm),
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
        }
    return accelerator


def uses_deepspeed(accelerator: Accelerator) -> bool:
    return accelerator.distributed_type.value == "DEEPSPEED"


def zero_stage(accelerator: Accelerator) -> int:
    """0 without DeepSpeed."""
    plugin = accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)


def launched_zero_stage() -> int | None:
    """The stage that `accelerate launch` asks for, before any Accelerator is open; None without DeepSpeed."""
    used = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1")
    return int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")) if used else None


def check_deepspeed(training: Training) -> None:
    """Refuses what ZeRO cannot do.

    Raises:
        TrainingError: as said.
    """
    if training.optimizer == "muon":
        raise TrainingError("optimizer muon needs whole matrices and ZeRO cuts them up; set optimizer: adamw, or launch without DeepSpeed")
