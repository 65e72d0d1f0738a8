"""The training loop. It trains a teacher from scratch and distils students: only the weights and
the targets differ.

The contract (docs/method.md): the global batch is counted in sequences and fixed by (seed, phase,
step); the loss is the weighted sum over the whole global batch over the sum of its weights. Every
rank packs the same batch and takes its share of the rows, so every rank knows that sum without
asking, and the same step comes out for any split.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from distill.data.packing import EncodedFile, Packed, pack
from distill.forward import causal
from distill.loss.learner import Learner, Objective, StepSums
from distill.progress import LOG, Bar
from distill.targets.live import TargetSource
from distill.train.accelerator import open_accelerator, uses_deepspeed, zero_stage
from distill.train.checkpoints import Checkpoints
from distill.train.metrics import Figures, Metrics, Trackers, step_row
from distill.train.optimizer import build_optimizer, share_muon
from distill.train.probe import Prober
from distill.train.schedule import Progress, Schedule
from distill.train.watchdog import Watchdog
from recipes.errors import TrainingError
from recipes.schema import Training

OpenSource = Callable[[torch.device], TargetSource]  # called when the machine is known


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
        self.figures = Figures(model, self.accelerator.device, self.accelerator.num_processes)
        self.plain = Learner(model, objective or Objective(backend=training.loss)).train()
        optimizer = build_optimizer(self.plain, training)
        # what takes part in the exchange between ranks; `plain` is inside it
        self.learner, self.optimizer = self.accelerator.prepare(self.plain, optimizer)
        if uses_deepspeed(self.accelerator):
            share_muon(self.learner)
        self.source = source(self.accelerator.device) if source is not None else None
        self.checkpoints = Checkpoints(
            folder, self.accelerator, self.learner, self.plain, self.optimizer
        )
        self.watchdog = Watchdog(training.watchdog, str(folder), self.checkpoints.last)
        self.at, self.seed = Progress(), 0

    def fit(
        self, data: EncodedFile, *, seed: int, label: str, replay: list[int] | None = None
    ) -> dict[str, Any]:
        """Trains to the end of the schedule, from the last checkpoint if there is one.

        Args:
            data: the sequences, and their weights.
            seed: of data order and dropout.
            label: names the progress bar.
            replay: phase lengths (steps) of another run, to be repeated.

        Returns:
            notes: steps, phase lengths, last loss, seconds of this process.
        """
        self.seed, schedule = seed, Schedule(self.training, data, seed, replay)
        self.at = at = self.checkpoints.resume()
        trackers = Trackers(self.accelerator, self.run, asdict(self.training))
        row: dict[str, Any] = {}
        began, is_main = time.monotonic(), self.accelerator.is_main_process
        with (
            Metrics(self.folder / "metrics.jsonl", at.step, is_main) as metrics,
            Bar(label, schedule.most_steps(at), "steps", is_main, done=at.step) as bar,
        ):
            while not schedule.done(at):
                row = self._logged_step(schedule, data)
                metrics.write(row)
                trackers.write(row, at.step + 1)
                self._warn(self.watchdog.step(at, row))
                self._warn(self.watchdog.phase(schedule.advance(at, row["loss"])))
                bar.expect(schedule.most_steps(at) if not schedule.done(at) else at.step)
                bar.note = f"loss {row['loss']:.4f}, {row['tokens_per_second']:,.0f} tokens/s"
                bar.items(1)
                self._pause(schedule, metrics, trackers)
        trackers.close()
        last = {"loss": row["loss"]} if row else {}
        seconds = {"train_seconds": round(time.monotonic() - began, 1)}
        return {"steps": at.step, "phases": at.ends} | last | seconds | self._kept()

    def _logged_step(self, schedule: Schedule, data: EncodedFile) -> dict[str, Any]:
        """The next step of the schedule, as a row of metrics.jsonl."""
        self.figures.start()
        factor = schedule.lr_fraction(self.at)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        rows, tokens = data.take(schedule.rows(self.at)), self.training.sequence_tokens
        packed = pack(rows, tokens, packing=self.training.packing)
        rates = {"lr_fraction": factor, "learning_rate": self.training.learning_rate * factor}
        place = {"step": self.at.step + 1, "phase": self.at.phase}
        return place | rates | self.step(packed) | self.figures.read(packed)

    def step(self, packed: Packed) -> dict[str, float]:
        """One optimizer step on a global batch.

        Returns:
            loss (nats, weighted mean over the batch), kl, ce and flat (each over its own weight),
            gradient_norm (before clipping), and the entropies (nats a token) for the watchdog.

        Raises:
            TrainingError: no token of the batch has a weight; or the loss or the gradient norm is
                not finite, in which case the weights are not updated.
        """
        weights = packed.total_weights()
        total_weight = sum(weights.values())
        if not total_weight:
            where = f"{self.folder}: no token of the batch of step {self.at.step + 1} is taught"
            raise TrainingError(
                f"{where}; look at role_weights, ce_weight and the spans of its traces"
            )
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        device, size = self.accelerator.device, self.training.micro_batch_rows
        micros = list(packed.micro_batches(rank, ranks, size))
        summed = torch.zeros(len(StepSums._fields), dtype=torch.float64, device=device)
        for number, micro in enumerate(micros):
            self._seed_dropout(number)
            last = number == len(micros) - 1
            summed += self._micro_step(micro.to(device), total_weight, last=last)
        return step_row(*self._update(summed, total_weight), weights)

    def _micro_step(self, batch: Packed, weight: float, *, last: bool) -> Tensor:
        """Forward and backward of a few rows; its StepSums as one tensor, float64 [6].

        Gradients are exchanged with the last micro-batch only.
        """
        split = uses_deepspeed(self.accelerator)
        later = nullcontext() if last or split else self.accelerator.no_sync(self.learner)
        with later:
            with (
                self.accelerator.autocast(),
                self.source.reading(batch) if self.source else nullcontext() as signal,
            ):
                loss, sums = self.learner(batch, signal)
            loss = loss * (self.accelerator.num_processes / weight)
            if split:  # past accelerate, whose backward would update at once
                self.learner.set_gradient_accumulation_boundary(is_boundary=last)
                self.learner.backward(loss, scale_wrt_gas=False)
            else:
                self.accelerator.backward(loss)
        return torch.stack(sums).double()

    def _update(self, summed: Tensor, weight: float) -> tuple[StepSums[float], float]:
        """Clips and updates, once loss and gradient norm are known to be finite.

        DeepSpeed gives a norm only with its step, and leaves the weights alone itself where the
        norm is not finite.

        Args:
            summed: StepSums of this rank, [6].
            weight: of the global batch.

        Returns:
            the sums of all ranks, and the gradient norm before clipping.
        """
        summed, step = self.accelerator.reduce(summed, "sum"), self.at.step + 1
        if uses_deepspeed(self.accelerator):
            sums = StepSums(*summed.tolist())
            self.watchdog.refuse_non_finite(step, (sums.kl + sums.ce + sums.flat) / weight, 0.0)
            self.learner.step()
            skipped = getattr(self.learner.optimizer, "overflow", False)
            norm = math.inf if skipped else float(self.learner.get_global_grad_norm() or 0.0)
            self.watchdog.refuse_non_finite(step, 0.0, norm)
            return sums, norm
        norm_ = self.accelerator.clip_grad_norm_(
            self.learner.parameters(), self.training.clip_norm or math.inf
        )
        # one wait for the device, not two
        *values, norm = torch.cat([summed, norm_.double().reshape(1)]).tolist()
        sums = StepSums(*values)
        self.watchdog.refuse_non_finite(step, (sums.kl + sums.ce + sums.flat) / weight, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sums, norm

    def _seed_dropout(self, micro: int) -> None:
        """The only random numbers of a training; a function of where it stands, so that a run
        killed anywhere repeats them.
        """
        place = (self.seed, self.at.step, micro, self.accelerator.process_index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]) >> 1)

    def _pause(self, schedule: Schedule, metrics: Metrics, trackers: Trackers) -> None:
        """Probe and checkpoint, where the step is one for them; a probe that keeps weights is
        followed by a checkpoint.
        """
        done, kept = schedule.done(self.at), False
        if self.prober is not None and (done or self.prober.due(self.at.step)):
            self._probe(self.prober, metrics, trackers)
            kept = self.prober.keeps_best
        if kept or (self.at.step % self.training.checkpoint_steps == 0 and not done):
            self.checkpoints.save(self.at)

    def _probe(self, prober: Prober, metrics: Metrics, trackers: Trackers) -> None:
        """All ranks collect the weights where the probe wants them; the main one looks."""
        wanted = prober.wants_weights(zero_stage(self.accelerator))
        weights = self._weights() if wanted else None
        if self.accelerator.is_main_process:
            row: dict[str, Any] = {"step": self.at.step} | prober.look(self.plain.model, weights)
            metrics.write_probe(row)
            trackers.write(row, self.at.step, "probe/")
            self._warn(self.watchdog.probe(self.at, row))
            if weights is not None and prober.beats(row, self.at.best):
                self.at.best = row
                self.checkpoints.keep_best(weights, self.at.step)
        self.accelerator.wait_for_everyone()

    def _warn(self, lines: list[str]) -> None:
        for line in lines if self.accelerator.is_main_process else []:
            LOG.warning("warning: %s", line)

    def _kept(self) -> dict[str, Any]:
        best = self.at.best if self._keeps_best() else None
        return {"kept_step": int(best["step"])} if best else {}

    def _keeps_best(self) -> bool:
        """On every rank alike; the last step is always probed, so that there is a best."""
        return self.prober is not None and self.prober.keeps_best

    def weights(self) -> dict[str, Tensor]:
        """The trained weights, or those that the probe chose: whole, on the CPU of the main rank
        (empty elsewhere).
        """
        if self._keeps_best():
            best = self.at.best if self.accelerator.is_main_process else None
            return self.checkpoints.load_best(int(best["step"])) if best else {}
        return self._weights()

    def _weights(self) -> dict[str, Tensor]:
        state = self.accelerator.get_state_dict(self.learner) or {}
        return (
            {name.removeprefix("model."): value.cpu() for name, value in state.items()}
            if self.accelerator.is_main_process
            else {}
        )

    def close(self) -> None:
        """Ends this run's engines, so that the next training of the process gets its own; the model
        is a plain one again.
        """
        self.plain.release()
        if uses_deepspeed(self.accelerator):
            self.learner.destroy()
        if self.source is not None:
            self.source.close()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()
