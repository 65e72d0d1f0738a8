"""The training loop. It trains a teacher from scratch and distils students: only the weights and
the targets differ.

The contract (docs/method.md): the global batch is counted in sequences and fixed by (seed, phase,
step); the loss is the weighted sum over the whole global batch over the sum of its weights. Every
rank packs the same batch and takes its share of the rows, so every rank knows that sum without
asking, and the same step comes out for any split.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm import tqdm

from distill.data.packing import EncodedFile, Packed, pack
from distill.forward import causal
from distill.loss.learner import Learner, Objective
from distill.targets.live import Source
from distill.train.accelerator import open_accelerator, uses_deepspeed, zero_stage
from distill.train.checkpoints import Checkpoints
from distill.train.metrics import Metrics, Trackers
from distill.train.optimizer import build_optimizer
from distill.train.probe import Prober
from distill.train.schedule import Progress, Schedule
from distill.train.watchdog import Watchdog
from recipes.errors import TrainingError
from recipes.schema import Training

OpenSource = Callable[[torch.device], Source]  # called when the machine is known


class Trainer:
    """One training run: its own Accelerator, ended afterwards, so that several follow each other in
    one launch.

    Args:
        model: trained in place.
        training: the knobs.
        folder: of metrics and checkpoints.
        objective: the divergence, and the ids that it is over.
        source: opens the teacher's targets; None: cross-entropy on the text.
        prober: looks at the model while it trains; None: nobody does.
        run: project and name for the trackers, e.g. planted_world/student; empty: no trackers.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        folder: Path,
        *,
        objective: Objective | None = None,
        source: OpenSource | None = None,
        prober: Prober | None = None,
        run: str = "",
    ) -> None:
        self.training, self.folder, self.prober, self.run = training, folder, prober, run
        self.accelerator = open_accelerator(training, str(folder))
        if training.activation_checkpointing:
            causal(model).gradient_checkpointing_enable()
        learner = Learner(model, objective or Objective(backend=training.loss)).train()
        optimizer = build_optimizer(learner, training)
        self.learner, self.optimizer = self.accelerator.prepare(learner, optimizer)
        self.source = source(self.accelerator.device) if source is not None else None
        self.checkpoints = Checkpoints(folder, self.accelerator)
        self.at, self.seed = Progress(), 0

    def fit(
        self, data: EncodedFile, *, seed: int, label: str, replay: list[int] | None = None
    ) -> dict[str, object]:
        """Trains to the end of the schedule, from the last checkpoint if there is one.

        Returns:
            notes: steps, phase lengths, last loss, seconds of this process.
        """
        self.seed, schedule = seed, Schedule(self.training, data, seed, replay)
        watchdog = Watchdog(self.training.guards, str(self.folder), self.checkpoints.last)
        self.at = at = self.checkpoints.resume()
        trackers, row, began, tokens = (
            Trackers(self.accelerator, self.run, asdict(self.training)),
            {},
            time.monotonic(),
            0,
        )
        with Metrics(
            self.folder / "metrics.jsonl", at.step, self.accelerator.is_main_process
        ) as metrics:
            bar = self._bar(label, schedule)
            while not schedule.done(at):
                factor = schedule.rate(at)
                self._set_rate(factor)
                packed = pack(
                    data.take(schedule.rows(at)),
                    self.training.sequence_tokens,
                    packing=self.training.packing,
                )
                row = {"step": at.step + 1, "phase": at.phase, "rate": factor, **self.step(packed)}
                metrics.write(row)
                trackers.write(row, at.step + 1)
                self._say(watchdog.step(at, row))
                self._say(watchdog.phase(schedule.advance(at, row["loss"])))
                tokens += int((packed.segments_BT > 0).sum())
                bar.total = schedule.most_steps(at) if not schedule.done(at) else at.step
                bar.set_postfix_str(
                    f"loss {row['loss']:.4f}, {tokens / (time.monotonic() - began):,.0f} tokens/s",
                    refresh=False,
                )
                bar.update()
                self._pause(schedule, watchdog, metrics, trackers)
            bar.close()
        trackers.close()
        seconds = round(time.monotonic() - began, 1)
        last = {"loss": row["loss"]} if row else {}
        return {
            "steps": at.step,
            "phases": at.ends,
            **last,
            "train_seconds": seconds,
        } | self._kept()

    def _bar(self, label: str, schedule: Schedule) -> tqdm:
        hidden = not self.accelerator.is_main_process
        return tqdm(
            desc=label,
            initial=self.at.step,
            total=schedule.most_steps(self.at),
            unit=" steps",
            mininterval=2.0,
            disable=hidden,
        )

    # --- one step
    # -----------------------------------------------------------------------------------------------

    def step(self, packed: Packed) -> dict[str, float]:
        """One optimizer step on a global batch.

        Returns:
            loss (nats, weighted mean over the batch), kl, ce and flat (each over its own weight),
            grad_norm, and the entropies (nats a token) that the guards look at.

        Raises:
            TrainingError: no token of the batch has a weight.
        """
        weights = [
            float(w.sum(dtype=torch.float64)) for w in (packed.kl_BT, packed.ce_BT, packed.flat_BT)
        ]
        if not sum(weights):
            where = f"{self.folder}: no token of the batch of step {self.at.step + 1} is taught"
            raise TrainingError(
                f"{where}; look at role_weights, ce_weight and the spans of its traces"
            )
        sums = torch.zeros(6, dtype=torch.float64, device=self.accelerator.device)
        micros = list(self._share(packed))
        for number, micro in enumerate(micros):
            self._seed_dropout(number)
            sums += self._micro_step(
                micro.to(self.accelerator.device), sum(weights), last=number == len(micros) - 1
            )
        norm = self._update()
        *terms, student, teacher, watched = self.accelerator.reduce(sums, "sum").tolist()
        each = {
            name: value / w
            for name, value, w in zip(("kl", "ce", "flat"), terms, weights, strict=True)
            if w
        }
        seen = {"student_entropy": student, "teacher_entropy": teacher} if watched else {}
        entropies = {name: total / watched for name, total in seen.items() if not math.isnan(total)}
        return {"loss": sum(terms) / sum(weights), **each, "grad_norm": norm, **entropies}

    def _micro_step(self, batch: Packed, weight: float, *, last: bool) -> Tensor:
        """Forward and backward of a few rows; the six sums of Terms and Watch."""
        with self._accumulate(last=last):
            with (
                self.accelerator.autocast(),
                self.source.reading(batch) if self.source else nullcontext() as signal,
            ):
                loss, terms, watch = self.learner(batch, signal)
            self._backward(loss * (self.accelerator.num_processes / weight))
        return torch.stack([*terms, *watch]).double()

    def _seed_dropout(self, micro: int) -> None:
        """The only random numbers of a training; a function of where it stands, so that a run
        killed anywhere repeats them.
        """
        place = (self.seed, self.at.step, micro, self.accelerator.process_index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]) >> 1)

    def _share(self, packed: Packed) -> Iterator[Packed]:
        """This rank's rows in micro-batches; ranks that run out go along with rows of no weight."""
        ranks, rank, size = (
            self.accelerator.num_processes,
            self.accelerator.process_index,
            self.training.micro_batch_rows,
        )
        mine = packed.every(rank, ranks)
        for number in range(math.ceil(math.ceil(len(packed.ids_BT) / ranks) / size)):
            micro = mine.rows(number * size, (number + 1) * size)
            yield micro if len(micro.ids_BT) else packed.weightless()

    def _accumulate(self, *, last: bool):
        """Gradients are exchanged with the last micro-batch only."""
        self.accelerator.gradient_state._set_sync_gradients(last)
        return (
            nullcontext()
            if last or uses_deepspeed(self.accelerator)
            else self.accelerator.no_sync(self.learner)
        )

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(
            loss, **({"scale_wrt_gas": False} if uses_deepspeed(self.accelerator) else {})
        )

    def _update(self) -> float:
        """Clips, steps, clears. DeepSpeed has done all that in the last backward."""
        if uses_deepspeed(self.accelerator):
            return float(self.learner.get_global_grad_norm() or 0.0)
        norm = self.accelerator.clip_grad_norm_(
            self.learner.parameters(), self.training.clip_norm or math.inf
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def _set_rate(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    # --- between steps
    # ------------------------------------------------------------------------------------------

    def _pause(
        self, schedule: Schedule, watchdog: Watchdog, metrics: Metrics, trackers: Trackers
    ) -> None:
        """Probe and checkpoint, where the step is one for them; a probe that keeps weights is
        followed by a checkpoint.
        """
        done, kept = schedule.done(self.at), False
        if self.prober is not None and (done or self.prober.due(self.at.step)):
            weights = (
                self._weights() if self.prober.wants_weights(zero_stage(self.accelerator)) else None
            )
            if self.accelerator.is_main_process:
                row = {"step": self.at.step} | self.prober.look(
                    self.accelerator.unwrap_model(self.learner).model, weights
                )
                metrics.write_probe(row)
                trackers.write(row, self.at.step, "probe/")
                self._say(watchdog.probe(self.at, row))
                if self.prober.beats(row, self.at.best):
                    self.at.best = row
                    self.checkpoints.keep_best(weights, self.at.step)
            kept = self._keeps_best()
            self.accelerator.wait_for_everyone()
        if kept or (self.at.step % self.training.checkpoint_steps == 0 and not done):
            self.checkpoints.save(self.at)

    def _say(self, lines: list[str]) -> None:
        for line in lines if self.accelerator.is_main_process else []:
            tqdm.write(f"warning: {line}")

    def _kept(self) -> dict[str, object]:
        return (
            {"kept_step": int(self.at.best["step"])}
            if self._keeps_best() and self.accelerator.is_main_process
            else {}
        )

    def _keeps_best(self) -> bool:
        """On every rank alike; the last step is always probed, so that there is a best."""
        return self.prober is not None and self.prober.keeps_best

    def weights(self) -> dict[str, Tensor]:
        """The trained weights, or those that the probe chose: whole, on the CPU of the main rank
        (empty elsewhere).
        """
        if self._keeps_best():
            return self.checkpoints.load_best(self.at) if self.accelerator.is_main_process else {}
        return self._weights()

    def _weights(self) -> dict[str, Tensor]:
        state = self.accelerator.get_state_dict(self.learner) or {}
        return (
            {name.removeprefix("model."): value.cpu() for name, value in state.items()}
            if self.accelerator.is_main_process
            else {}
        )

    def close(self) -> None:
        """Ends this run's engines, so that the next training of the process gets its own."""
        if uses_deepspeed(self.accelerator):
            self.learner.destroy()
        if self.source is not None:
            self.source.close()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()
