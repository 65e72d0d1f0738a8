"""Checkpoints of a training: all ranks write, a rename makes one, a resume finds the last.

A checkpoint holds trained weights, optimizer states and Progress, as safetensors and JSON. They are
whole and in float32, whatever cuts them up in memory: a training goes on under another number of
ranks, another ZeRO stage, or none. Random numbers are not in it: the loop derives them from where
it stands.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data_filters.records.files import short
from distill.train.accelerator import Shard, renew_weights, shards_of, uses_deepspeed
from distill.train.schedule import Progress
from recipes.errors import TrainingError

WEIGHTS, STATES, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
OLDER = "deepspeed"  # a folder that earlier versions wrote under ZeRO
_STEP = re.compile(r"step-(\d+)")
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    SafetensorError,
)


class Checkpoints:
    """The checkpoint of a training, and the best weights that a probe has seen.

    Args:
        folder: of the training.
        accelerator: of the training.
        learner: as the accelerator prepared it.
        plain: the module inside it.
        optimizer: as the accelerator prepared it.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        learner: Any,
        plain: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.folder, self.best = folder / "checkpoints", folder / "checkpoints" / "best"
        self.accelerator, self.learner = accelerator, learner
        self.plain, self.optimizer = plain, optimizer

    def last(self) -> Path | None:
        """The folder of the newest checkpoint."""
        steps = {
            int(name[1]): path
            for path in self.folder.glob("step-*")
            if (name := _STEP.fullmatch(path.name))
        }
        return steps[max(steps)] if steps else None

    def save(self, at: Progress) -> None:
        """All ranks write into one temporary folder; the rename makes it a checkpoint, then older
        ones go.
        """
        final, temporary = self.folder / f"step-{at.step}", self.folder / f"tmp-{at.step}"
        self.accelerator.wait_for_everyone()
        self._write(temporary)
        if self.accelerator.is_main_process:
            (temporary / PROGRESS).write_text(json.dumps(asdict(at)))
            _reach_the_disk(temporary)
            old = self.last()
            temporary.replace(final)
            _reach_the_disk(self.folder, below=False)
            if old is not None:
                shutil.rmtree(old)
            self._sweep(at)
        self.accelerator.wait_for_everyone()

    def _write(self, folder: Path) -> None:
        """All ranks gather, the main one writes."""
        is_main, zero = self.accelerator.is_main_process, self.zero
        files: dict[str, dict[str, Tensor]] = {WEIGHTS: {}, STATES: {}}
        if zero is None and not is_main:
            return
        for file, key, value in state_of(self.plain, self.inner, zero):
            if is_main:
                # under ZeRO parameters share the counts of their steps
                files[file][key] = value.cpu().contiguous() if value.ndim else value.clone()
        if is_main:
            folder.mkdir(parents=True, exist_ok=True)
            for file, tensors in files.items():
                save_file(tensors, str(folder / file))

    @property
    def zero(self) -> Any:
        """DeepSpeed's optimizer, or None."""
        return self.learner.optimizer if uses_deepspeed(self.accelerator) else None

    @property
    def inner(self) -> torch.optim.Optimizer:
        """The optimizer that build_optimizer made; it is wrapped once or twice."""
        optimizer: Any = self.zero or self.optimizer
        return cast(torch.optim.Optimizer, getattr(optimizer, "optimizer", optimizer))

    def resume(self) -> Progress:
        """Loads the last checkpoint, if there is one, and says where the training stood.

        Raises:
            TrainingError: the checkpoint is damaged; one line that names the folder to delete.
        """
        found, at = self.last(), Progress()
        if found is not None:
            if (found / OLDER).exists():
                raise TrainingError(
                    f"{found}: written under DeepSpeed by an older version; delete this folder, and the "
                    "training starts from its beginning"
                )
            with _damage_in(found):
                at = self._load(found)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self._sweep(at)
        return at

    def _load(self, found: Path) -> Progress:
        at = Progress(**json.loads((found / PROGRESS).read_text()))
        restore(self.plain, self.inner, found, self.zero)
        return at

    def keep_best(self, weights: dict[str, Tensor], step: int) -> None:
        """Main rank; the checkpoint that follows at the same step makes it count."""
        self.best.mkdir(parents=True, exist_ok=True)
        path, temporary = self.best / f"step-{step}.safetensors", self.best / f"tmp-{step}"
        # tied weights share their memory
        shared = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
        save_file(shared, temporary)
        _reach_the_disk(temporary)
        temporary.replace(path)

    def load_best(self, step: int) -> dict[str, Tensor]:
        """What keep_best kept at a step.

        Raises:
            TrainingError: the file is damaged or gone.
        """
        with _damage_in(self.folder):
            return load_file(self.best / f"step-{step}.safetensors")

    def _sweep(self, at: Progress) -> None:
        """Removes half a checkpoint and best weights that no checkpoint speaks of."""
        for broken in self.folder.glob("tmp-*"):
            shutil.rmtree(broken)
        kept = at.best["step"] if at.best else -1
        for path in self.best.glob("*"):
            if path.name != f"step-{kept}.safetensors":
                path.unlink()


def state_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, zero: Any = None
) -> Iterator[tuple[str, str, Tensor]]:
    """(file, key, tensor) of all that a training must know to go on: trained weights and buffers
    under their names, optimizer states as NAME/STATE.

    Args:
        zero: DeepSpeed's optimizer; every rank must then go through all of it.
    """
    shards = {id(shard.parameter): shard for shard in shards_of(zero)} if zero else {}
    for name, parameter in _trained(model):
        shard = shards.get(id(parameter))
        yield WEIGHTS, name, shard.whole(shard.flat) if shard else parameter.detach()
        for key, value in _states(optimizer, shard.flat if shard else parameter):
            spread = shard is not None and value.shape == shard.flat.shape
            yield STATES, f"{name}/{key}", shard.whole(value) if shard and spread else value
    for name, buffer in _buffers(model):
        yield WEIGHTS, name, buffer


def restore(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, zero: Any = None
) -> None:
    """What `state_of` gave, whatever it was written under: each rank takes its part."""
    shards = {id(shard.parameter): shard for shard in shards_of(zero)} if zero else {}
    with (
        safe_open(folder / WEIGHTS, "pt") as weights,
        safe_open(folder / STATES, "pt") as states,
        torch.no_grad(),
    ):
        named: dict[str, list[str]] = {}
        for key in states.keys():  # noqa: SIM118 - no mapping
            name, _, kind = key.rpartition("/")
            named.setdefault(name, []).append(kind)
        for name, parameter in _trained(model):
            shard, found = shards.get(id(parameter)), weights.get_tensor(name)
            if shard:
                _same_shape(name, shard.shape, found)
                shard.part(shard.flat).copy_(shard.cut(found))
            else:
                _same_shape(name, parameter.shape, found)
                parameter.copy_(found)
            for kind in named.get(name, []):
                _restore_state(
                    optimizer, parameter, shard, kind, states.get_tensor(f"{name}/{kind}")
                )
        for name, buffer in _buffers(model):
            buffer.copy_(weights.get_tensor(name))
    if zero:
        renew_weights(zero)


def _restore_state(
    optimizer: torch.optim.Optimizer,
    parameter: nn.Parameter,
    shard: Shard | None,
    kind: str,
    value: Tensor,
) -> None:
    """Steps are counted on the CPU, as torch does; the rest lies where its parameter lies."""
    states = optimizer.state[shard.flat if shard else parameter]
    if not value.ndim:
        states[kind] = max(states.get(kind, value), value)
    elif shard:
        states.setdefault(kind, torch.zeros_like(shard.flat, requires_grad=False))
        shard.part(states[kind]).copy_(shard.cut(value))
    else:
        states[kind] = value.to(parameter.device, parameter.dtype)


def _same_shape(name: str, wanted: torch.Size, found: Tensor) -> None:
    if wanted != found.shape:
        raise ValueError(f"{name} has shape {tuple(found.shape)}, expected {tuple(wanted)}")


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def _buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that a saved model holds."""
    saved = model.state_dict().keys()
    return ((name, buffer) for name, buffer in model.named_buffers() if name in saved)


def _states(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Iterator[tuple[str, Tensor]]:
    return (
        (name, value)
        for name, value in sorted(optimizer.state.get(parameter, {}).items())
        if isinstance(value, Tensor)
    )


@contextmanager
def _damage_in(folder: Path) -> Iterator[None]:
    """Turns what a damaged file raises into one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _DAMAGE as fault:
        raise TrainingError(
            f"{folder}: the checkpoint cannot be read ({type(fault).__name__}: {short(fault)}); "
            "delete this folder, and the training starts from its beginning"
        ) from fault


def _reach_the_disk(path: Path, *, below: bool = True) -> None:
    """Waits until a file, or a folder and all that is in it, is on the disk: a rename may reach it
    earlier than what was written before.
    """
    for each in [*(path.rglob("*") if below else ()), path]:
        number = os.open(each, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
