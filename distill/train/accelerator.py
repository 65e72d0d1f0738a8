"""What a training runs on: its own Accelerator, under whatever `accelerate launch` was told."""

import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from recipes.errors import TrainingError
from recipes.schema import Training

STALE_SECONDS = 180.0
PATIENCE = timedelta(hours=12)  # other ranks wait while the main one probes or saves


def open_accelerator(training: Training, folder: str) -> Accelerator:
    """An Accelerator of its own for one training; on CPU ranks it speaks gloo.

    Raises:
        TrainingError: DeepSpeed cannot do what the recipe asks for.
    """
    if launched_zero_stage() is not None:
        release_builds_of_the_dead(
            Path(
                os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions")
            )
        )
    on_cpu_ranks = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    group = InitProcessGroupKwargs(
        timeout=PATIENCE, **({"backend": "gloo"} if on_cpu_ranks else {})
    )
    accelerator = Accelerator(
        kwargs_handlers=[group], log_with=list(training.trackers) or None, project_dir=folder
    )
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        check_deepspeed(training)
        # accelerate tells transformers to cut up under ZeRO-3 whatever is loaded from now on, but a
        # live teacher is to stay whole
        unset_hf_deepspeed_config()
        # accumulation and clipping are the recipe's: the loop divides by the weights of the global
        # batch itself
        plugin.deepspeed_config |= {
            "gradient_clipping": float(training.clip_norm),
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
        }
    return accelerator


def release_builds_of_the_dead(folder: Path, stale_seconds: float = STALE_SECONDS) -> None:
    """Removes locks on DeepSpeed's compiled ops that nobody holds any more.

    Whoever loads an op holds a lock file for that moment; a process that is killed in it leaves the
    file, and every later start would wait for it without an end. A younger lock may belong to a
    build: it is waited for.

    Args:
        folder: of torch's compiled extensions.
        stale_seconds: a build takes less.
    """
    for lock in folder.glob("**/lock"):
        with suppress(FileNotFoundError):
            while time.time() - lock.stat().st_mtime < stale_seconds:
                time.sleep(0.2)
            lock.unlink()


def uses_deepspeed(accelerator: Accelerator) -> bool:
    return accelerator.distributed_type.value == "DEEPSPEED"


def zero_stage(accelerator: Accelerator) -> int:
    """0 without DeepSpeed."""
    plugin = accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)


def launched_zero_stage() -> int | None:
    """The stage that `accelerate launch` asks for, before any Accelerator is open; None without
    DeepSpeed.
    """
    used = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1")
    return int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")) if used else None


def check_deepspeed(training: Training) -> None:
    """Refuses what ZeRO cannot do.

    Raises:
        TrainingError: as said.
    """
    if training.optimizer == "muon":
        raise TrainingError(
            "optimizer muon needs whole matrices and ZeRO cuts them up; set optimizer: adamw, or launch without DeepSpeed"
        )
