"""What a training runs on: its own Accelerator, under whatever `accelerate launch` was told."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn
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
    if launched_zero_stage() == 0:
        raise TrainingError(
            "zero_stage 0 cuts nothing up; set zero_stage 1, 2 or 3, or launch without DeepSpeed"
        )
    offload = os.environ.get("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none")
    if training.optimizer == "muon" and offload not in ("none", ""):
        raise TrainingError(
            f"optimizer muon gathers whole matrices, and offload_optimizer_device is {offload}; "
            "leave that out of the launch file, or set optimizer: adamw"
        )


# --- what ZeRO cuts up


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a parameter whose float32 master this rank holds under ZeRO; it may be empty.

    Values `at` to `at + numel` of the flattened parameter lie at `start` of `flat`, which also is
    the key of its optimizer states.
    """

    parameter: nn.Parameter
    shape: torch.Size  # of the whole parameter
    flat: Tensor  # of a whole group of parameters
    start: int
    numel: int
    at: int

    def part(self, flat: Tensor) -> Tensor:
        """This parameter's stretch of the master, or of a state that lies alike."""
        return flat.narrow(0, self.start, self.numel)

    def cut(self, whole: Tensor) -> Tensor:
        """This rank's part of a whole parameter, or of a state of one."""
        return whole.reshape(-1).narrow(0, self.at, self.numel)

    def whole(self, flat: Tensor) -> Tensor:
        """The whole parameter, or a state of it, to the bit; a collective of all ranks.

        Args:
            flat: the master, or a state that lies alike.
        """
        found = flat.new_zeros(self.shape.numel())
        self.cut(found).copy_(self.part(flat))
        # bit patterns add up exactly, also that of -0.0
        torch.distributed.all_reduce(found.view(torch.int32))
        return found.view(self.shape)


def shards_of(zero: Any) -> list[Shard]:
    """Every trainable parameter's shard, in the same order on all ranks.

    Args:
        zero: DeepSpeed's optimizer, of stage 1, 2 or 3.
    """
    if hasattr(zero, "fp32_partitioned_groups_flat"):
        groups = zip(zero.fp16_groups, zero.fp32_partitioned_groups_flat, strict=True)
        return [_of_stage_3(zero, p, flat) for group, flat in groups for p in group]
    groups = zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True)
    return [_of_stage_2(p, flat) for group, flat in groups for p in group]


def _of_stage_2(parameter: Any, flat: Tensor) -> Shard:
    held = parameter._hp_mapping
    if held is None:
        return Shard(parameter, parameter.shape, flat, 0, 0, 0)
    mine, its = held.hp_fragment_address, held.lp_fragment_address
    return Shard(parameter, parameter.shape, flat, mine.start, mine.numel, its.start)


def _of_stage_3(zero: Any, parameter: Any, flat: Tensor) -> Shard:
    _, start, padded = zero.grad_position[zero.get_param_id(parameter)]
    at = min(padded * torch.distributed.get_rank(), parameter.ds_numel)
    numel = min(padded, parameter.ds_numel - at)
    return Shard(parameter, torch.Size(parameter.ds_shape), flat, start, numel, at)


def renew_weights(zero: Any) -> None:
    """Lets the model's weights follow from masters that were written anew."""
    if not hasattr(zero, "fp32_partitioned_groups_flat"):
        return zero.update_lp_params()
    kept = zero.persistent_parameters
    if kept:
        kept[0].partition(kept)
    for number in range(len(zero.fp32_partitioned_groups_flat)):
        zero._reassign_or_swap_out_partitioned_parameters(number)
    zero.checkpoint_event_epilogue()
