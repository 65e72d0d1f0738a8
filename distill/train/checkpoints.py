"""Checkpoints of a training: all ranks write, a rename makes one, a resume finds the last."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill.train.schedule import Progress


class Checkpoints:
    """The checkpoint of a training, and the best weights that a probe has seen.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder, self.best, self.accelerator = (
            folder / "checkpoints",
            folder / "checkpoints" / "best",
            accelerator,
        )

    def last(self) -> Path | None:
        found = sorted(self.folder.glob("step-*"), key=lambda p: int(p.name[5:]))
        return found[-1] if found else None

    def save(self, at: Progress) -> None:
        """All ranks write into one temporary folder; the rename makes it a checkpoint, then older
        ones go.
        """
        final, temporary = self.folder / f"step-{at.step}", self.folder / f"tmp-{at.step}"
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (temporary / "progress.json").write_text(json.dumps(asdict(at)))
            old = self.last()
            temporary.replace(final)
            if old is not None:
                shutil.rmtree(old)
            self._sweep(at)
        self.accelerator.wait_for_everyone()

    def resume(self) -> Progress:
        """Loads the last checkpoint, if there is one, and says where the training stood."""
        found, at = self.last(), Progress()
        if found is not None:
            self.accelerator.load_state(str(found))
            at = Progress(**json.loads((found / "progress.json").read_text()))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self._sweep(at)
        return at

    def keep_best(self, weights: dict[str, Tensor], step: int) -> None:
        """Main rank; the checkpoint that follows at the same step makes it count."""
        self.best.mkdir(parents=True, exist_ok=True)
        path = self.best / f"step-{step}.safetensors"
        # tied weights share their memory
        shared = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
        save_file(shared, path.with_name(f"tmp-{step}"))
        path.with_name(f"tmp-{step}").replace(path)

    def load_best(self, at: Progress) -> dict[str, Tensor]:
        return load_file(self.best / f"step-{at.best['step']}.safetensors")

    def _sweep(self, at: Progress) -> None:
        """Removes half a checkpoint and best weights that no checkpoint speaks of."""
        for broken in self.folder.glob("tmp-*"):
            shutil.rmtree(broken)
        kept = at.best["step"] if at.best else -1
        for path in self.best.glob("*"):
            if path.name != f"step-{kept}.safetensors":
                path.unlink()
