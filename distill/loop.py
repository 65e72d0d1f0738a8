"""The training loop. It trains a teacher from scratch and distils students: only the weights and the targets differ.

The contract (docs/method.md): the global batch is counted in sequences and fixed by (seed, phase, step); the loss is
the weighted sum over the whole global batch over the sum of its weights. Every rank packs the same batch and takes its
share of the rows, so every rank knows that sum without asking, and the same step comes out for any split.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm import tqdm

from distill.encode import EncodedFile, Packed, pack
from distill.learner import Learner, Teacher, causal
from distill.metrics import Metrics
from distill.optimizer import build_optimizer
from distill.schedule import Progress, Schedule
from recipes.errors import TrainingError
from recipes.schema import Training


class Trainer:
    """One training run: its own Accelerator, ended afterwards, so that several follow each other in one launch."""

    def __init__(self, model: nn.Module, teacher: nn.Module | None, training: Training, folder: Path, *, temperature: float = 1.0) -> None:
        self.training, self.folder = training, folder
        self.accelerator = open_accelerator(training)
        if training.activation_checkpointing:
            causal(model).gradient_checkpointing_enable()
        learner = Learner(model, temperature).train()
        optimizer = build_optimizer(learner, training)
        self.learner, self.optimizer = self.accelerator.prepare(learner, optimizer)
        self.teacher = Teacher(teacher, self.accelerator.device) if teacher is not None else None
        self.at = Progress()

    def fit(self, data: EncodedFile, *, seed: int, label: str, replay: list[int] | None = None) -> dict[str, object]:
        """Trains to the end of the schedule, from the last checkpoint if there is one.

        Returns:
            notes: steps, phase lengths, last loss, seconds of this process.
        """
        schedule = Schedule(self.training, data, seed, replay)
        self._resume()
        began, tokens, loss = time.monotonic(), 0, math.nan
        with Metrics(self.folder / "metrics.jsonl", self.at.step, self.accelerator.is_main_process) as metrics:
            bar = self._bar(label, schedule)
            while not schedule.done(self.at):
                factor = schedule.rate(self.at)
                self._set_rate(factor)
                packed = pack(data.take(schedule.rows(self.at)), self.training.sequence_tokens, packing=self.training.packing)
                row = self.step(packed)
                loss, tokens = row["loss"], tokens + int((packed.segments_BT > 0).sum())
                metrics.write({"step": self.at.step + 1, "phase": self.at.phase, "rate": factor, **row})
                self._check(loss)
                schedule.advance(self.at, loss)
                bar.total = schedule.most_steps(self.at) if not schedule.done(self.at) else self.at.step
                bar.set_postfix_str(f"loss {loss:.4f}, {tokens / (time.monotonic() - began):,.0f} tokens/s", refresh=False)
                bar.update()
                if self.at.step % self.training.checkpoint_steps == 0 and not schedule.done(self.at):
                    self._checkpoint()
            bar.close()
        return {"steps": self.at.step, "phases": self.at.ends, "loss": loss, "train_seconds": round(time.monotonic() - began, 1)}

    def _bar(self, label: str, schedule: Schedule) -> tqdm:
        hidden = not self.accelerator.is_main_process
        return tqdm(desc=label, initial=self.at.step, total=schedule.most_steps(self.at), unit=" steps", mininterval=2.0, disable=hidden)

    def step(self, packed: Packed) -> dict[str, float]:
        """One optimizer step on a global batch.

        Returns:
            loss (nats, weighted mean over the batch), kl and ce (each over its own weight), grad_norm.
        """
        weights = [float(packed.kl_BT.sum(dtype=torch.float64)), float(packed.ce_BT.sum(dtype=torch.float64))]
        sums = torch.zeros(2, device=self.accelerator.device)
        micros = list(self._share(packed))
        for number, micro in enumerate(micros):
            with self._accumulate(last=number == len(micros) - 1):
                with self.accelerator.autocast():
                    loss, terms = self.learner(micro.to(self.accelerator.device), self.teacher)
                self._backward(loss * (self.accelerator.num_processes / sum(weights)))
            sums += torch.stack([terms.kl, terms.ce])
        norm = self._update()
        kl, ce = self.accelerator.reduce(sums, "sum").tolist()
        each = {name: value / weight for name, value, weight in (("kl", kl, weights[0]), ("ce", ce, weights[1])) if weight}
        return {"loss": (kl + ce) / sum(weights), **each, "grad_norm": norm}

    def _share(self, packed: Packed) -> Iterator[Packed]:
        """This rank's rows in micro-batches; ranks that run out go along with rows of no weight."""
        ranks, rank, size = self.accelerator.num_processes, self.accelerator.process_index, self.training.micro_batch_rows
        rows = len(packed.ids_BT)
        mine = Packed(*(getattr(packed, name)[rank::ranks] for name in Packed.__slots__))
        for number in range(math.ceil(math.ceil(rows / ranks) / size)):
            micro = mine.rows(number * size, (number + 1) * size)
            yield micro if len(micro.ids_BT) else _weightless(packed)

    def _accumulate(self, *, last: bool):
        """Gradients are exchanged with the last micro-batch only."""
        self.accelerator.gradient_state._set_sync_gradients(last)
        deepspeed = self.accelerator.distributed_type.value == "DEEPSPEED"
        return nullcontext() if last or deepspeed else self.accelerator.no_sync(self.learner)

    def _backward(self, loss: Tensor) -> None:
        deepspeed = self.accelerator.distributed_type.value == "DEEPSPEED"
        self.accelerator.backward(loss, **({"scale_wrt_gas": False} if deepspeed else {}))

    def _update(self) -> float:
        """Clips, steps, clears. DeepSpeed has done all that in the last backward."""
        if self.accelerator.distributed_type.value == "DEEPSPEED":
            return float(self.learner.get_global_grad_norm() or 0.0)
        norm = self.accelerator.clip_grad_norm_(self.learner.parameters(), self.training.clip_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def _set_rate(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            kept = self._last_checkpoint()
            raise TrainingError(
                f"{self.folder}: loss is {loss} at step {self.at.step + 1}; last good checkpoint: {kept.name if kept else 'none'}; "
                "lower the learning rate or clip_norm, then run again under name=NEW"
            )

    # --- checkpoints --------------------------------------------------------------------------------------------

    def _last_checkpoint(self) -> Path | None:
        found = sorted((self.folder / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))
        return found[-1] if found else None

    def _checkpoint(self) -> None:
        """All ranks write into one temporary folder; the rename makes it a checkpoint."""
        final = self.folder / "checkpoints" / f"step-{self.at.step}"
        temporary = final.with_name(f"tmp-{self.at.step}")
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (temporary / "progress.json").write_text(json.dumps(asdict(self.at)))
            old = self._last_checkpoint()
            temporary.replace(final)
            if old is not None:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        found = self._last_checkpoint()
        if found is not None:
            self.accelerator.load_state(str(found))
            self.at = Progress(**json.loads((found / "progress.json").read_text()))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            for broken in (self.folder / "checkpoints").glob("tmp-*"):
                shutil.rmtree(broken)

    def weights(self) -> dict[str, Tensor]:
        """The trained weights, whole, on the CPU of the main rank (empty elsewhere)."""
        state = self.accelerator.get_state_dict(self.learner)
        return (
            {name.removeprefix("model."): value.cpu() for name, value in (state or {}).items()} if self.accelerator.is_main_process else {}
        )

    def close(self) -> None:
        """Ends this run's engine, so that the next training of the process gets its own."""
        if self.accelerator.distributed_type.value == "DEEPSPEED":
            self.learner.destroy()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()


def open_accelerator(training: Training) -> Accelerator:
    """An Accelerator of its own for one training; on CPU ranks it speaks gloo."""
    on_cpu_ranks = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(backend="gloo")] if on_cpu_ranks else [])
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        if training.optimizer == "muon":
            raise TrainingError(
                "optimizer muon needs whole matrices and ZeRO cuts them up; set optimizer: adamw, or launch without DeepSpeed"
            )
        plugin.deepspeed_config |= {
            "gradient_clipping": float(training.clip_norm),
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
        }
    return accelerator


def _weightless(packed: Packed) -> Packed:
    one = packed.rows(0, 1)
    return Packed(one.ids_BT, one.positions_BT, one.segments_BT, one.labels_BT, torch.zeros_like(one.kl_BT), torch.zeros_like(one.ce_BT))
