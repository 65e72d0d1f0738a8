"""The order of the data: curriculum phases that end by a criterion, then the full mix for a number
of steps.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from distill.data.packing import EncodedFile
from distill.train.optimizer import decay_fraction
from recipes.errors import TrainingError
from recipes.schema import Phase, Training

EMA_DECAY = 0.9


@dataclass
class Progress:
    """Where a run stands; all of it is in a checkpoint, and the data order is a function of it."""

    step: int = 0  # optimizer steps done
    phase: int = 0
    since: int = 0  # steps done in this phase
    smooth: float | None = None  # exponential mean of the loss in this phase, nats
    ends: list[int] = field(default_factory=list)  # length of each finished phase, steps
    means: dict[str, float] = field(
        default_factory=dict
    )  # running means that the watchdog looks at
    best: dict[str, float] | None = None  # the probe whose weights are kept


class Schedule:
    """Which rows a step takes, and when a phase ends.

    With `replay` (the phase lengths of another run) phases end where they ended there: arms see the
    same batches.
    """

    def __init__(
        self, training: Training, data: EncodedFile, seed: int, replay: list[int] | None
    ) -> None:
        self.phases = [
            *training.curriculum,
            Phase(families=[], max_steps=training.steps, min_steps=training.steps),
        ]
        self.pools = [data.pool(phase.families, tools=phase.tools) for phase in self.phases]
        self.training, self.seed, self.replay = training, seed, replay
        for phase, pool in zip(self.phases, self.pools, strict=True):
            if not len(pool):
                raise TrainingError(
                    f"curriculum phase {phase.families}: no trace of these families{'' if phase.tools else ' without tools'} to train on; "
                    "check the sources and the filter's report"
                )

    def rows(self, at: Progress) -> np.ndarray:
        """Row numbers of the next batch: consecutive pieces of one seeded permutation after the
        other.
        """
        pool = self.pools[at.phase]
        size = self.training.batch_sequences
        numbers = np.arange(at.since * size, (at.since + 1) * size)
        epochs = {
            int(e): self._order(at.phase, int(e), len(pool))
            for e in np.unique(numbers // len(pool))
        }
        return pool[[epochs[int(n) // len(pool)][int(n) % len(pool)] for n in numbers]]

    def _order(self, phase: int, epoch: int, size: int) -> np.ndarray:
        return np.random.default_rng((self.seed, phase, epoch)).permutation(size)

    def ended(self, at: Progress) -> bool:
        phase = self.phases[at.phase]
        if self.replay is not None and at.phase < len(self.replay):
            return at.since >= self.replay[at.phase]
        low = at.smooth is not None and at.smooth < phase.until_loss
        final = at.phase == len(self.phases) - 1
        return at.since >= phase.max_steps or (not final and low and at.since >= phase.min_steps)

    def advance(self, at: Progress, loss: float) -> str | None:
        """Counts a step and moves on to the next phase when this one has ended; says so where it
        ended before it was learned.
        """
        at.step, at.since = at.step + 1, at.since + 1
        at.smooth = loss if at.smooth is None else EMA_DECAY * at.smooth + (1 - EMA_DECAY) * loss
        if not self.ended(at):
            return None
        missed = self._missed(at)
        at.ends.append(at.since)
        at.phase, at.since, at.smooth = at.phase + 1, 0, None
        return missed

    def _missed(self, at: Progress) -> str | None:
        phase, final = self.phases[at.phase], at.phase == len(self.phases) - 1
        learned = at.smooth is not None and at.smooth < phase.until_loss
        if final or self.replay is not None or learned:
            return None
        numbers = f"its loss is {at.smooth:.3f}, not under until_loss {phase.until_loss:g}; it may not be learned: raise max_steps"
        return f"curriculum phase {at.phase + 1} {phase.families} ended by max_steps {phase.max_steps}: {numbers}"

    def lr_fraction(self, at: Progress) -> float:
        """Share of the full learning rate: warm-up over the whole run, full through the curriculum,
        decay in the full mix.
        """
        t = self.training
        final = at.phase == len(self.phases) - 1
        since = at.since if final else 0
        if t.schedule == "cosine":
            decay = t.final_fraction + (1 - t.final_fraction) * 0.5 * (
                1 + math.cos(math.pi * since / t.steps)
            )
        else:
            decay = decay_fraction(since, t.steps, stable=t.stable_fraction, final=t.final_fraction)
        return decay * min(1.0, (at.step + 1) / max(1, t.warmup_steps))

    def done(self, at: Progress) -> bool:
        return at.phase >= len(self.phases)

    def most_steps(self, at: Progress) -> int:
        """Upper bound of the run's length, for the progress bar."""
        left = self.phases[at.phase :]
        return at.step - at.since + sum(phase.max_steps for phase in left)
