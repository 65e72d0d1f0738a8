"""Checkpoints of a training: all ranks write, a rename makes one, a resume finds the last.

A checkpoint holds weights, optimizer states and Progress, as safetensors and JSON. Random numbers
are not in it: the loop derives them from where it stands. DeepSpeed writes its own files, which are
pickles: they are read with weights_only, so that no code in them can run.
"""

import json
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from data_filters.records.files import short
from distill.train.accelerator import uses_deepspeed
from distill.train.schedule import Progress
from recipes.errors import TrainingError

WEIGHTS, STATES, GROUPS = "model.safetensors", "optimizer.safetensors", "optimizer.json"
PROGRESS, SPLIT = "progress.json", "deepspeed"
_STEP = re.compile(r"step-(\d+)")
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    SafetensorError,
    pickle.UnpicklingError,
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
        if uses_deepspeed(self.accelerator):
            self.learner.save_checkpoint(str(temporary), SPLIT)
        elif self.accelerator.is_main_process:
            temporary.mkdir(parents=True, exist_ok=True)
            save_model(self.plain, str(temporary / WEIGHTS))
            save_optimizer(self.optimizer, temporary)
        self.accelerator.wait_for_everyone()
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

    def resume(self) -> Progress:
        """Loads the last checkpoint, if there is one, and says where the training stood.

        Raises:
            TrainingError: the checkpoint is damaged; one line that names the folder to delete.
        """
        found, at = self.last(), Progress()
        if found is not None:
            with _damage_in(found):
                at = self._load(found)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self._sweep(at)
        return at

    def _load(self, found: Path) -> Progress:
        at = Progress(**json.loads((found / PROGRESS).read_text()))
        if uses_deepspeed(self.accelerator):
            with _weights_only():
                path, _ = self.learner.load_checkpoint(str(found), SPLIT)
            if path is None:
                raise FileNotFoundError(f"no files of DeepSpeed in {found / SPLIT}")
        else:
            load_model(self.plain, str(found / WEIGHTS), device="cpu")
            load_optimizer(self.optimizer, found)
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


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """States as safetensors (NUMBER/NAME, by the number of the parameter), groups as JSON."""
    whole = optimizer.state_dict()
    tensors = {
        f"{number}/{name}": value.contiguous()
        for number, states in whole["state"].items()
        for name, value in states.items()
    }
    save_file(tensors, str(folder / STATES))
    (folder / GROUPS).write_text(json.dumps(whole["param_groups"]))


def load_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """What save_optimizer wrote."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / STATES).items():
        number, _, name = key.partition("/")
        states.setdefault(int(number), {})[name] = value
    groups = json.loads((folder / GROUPS).read_text())
    optimizer.load_state_dict({"state": states, "param_groups": groups})


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


@contextmanager
def _weights_only() -> Iterator[None]:
    """Makes torch.load refuse everything but tensors, plain values and the few plain classes that
    DeepSpeed's states name, whatever its caller says.
    """
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    plain = [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with torch.serialization.safe_globals(plain):
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


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
