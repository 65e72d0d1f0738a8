"""What a training watches itself for: NaN, spikes, silent collapse, degenerate text, a phase that
was not learned.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from distill.train.schedule import Progress
from recipes.errors import TrainingError
from recipes.schema import WatchdogLimits

DECAY = 0.99  # of the running means: about 100 steps


class Watchdog:
    """Looks at every step and every probe; its memory is in the run's progress, so that a resumed
    run sees the same.

    Args:
        place: named in what it says, e.g. the folder of the training.
        last_checkpoint: named there too.
    """

    def __init__(
        self,
        limits: WatchdogLimits,
        place: str,
        last_checkpoint: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.limits, self.place, self.last_checkpoint = limits, place, last_checkpoint

    def refuse_non_finite(self, step: int, loss: float, gradient_norm: float) -> None:
        """Called before the weights are updated, so that they stay those of the step before.

        Raises:
            TrainingError: the loss or the gradient norm is NaN or infinite, whatever the limits
                say.
        """
        for name, value in (("loss", loss), ("gradient_norm", gradient_norm)):
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.place}: {name} is {value} at step {step}, before its update; "
                    f"{self._kept()}; lower learning_rate or clip_norm, then run again under "
                    "name=NEW"
                )

    def step(self, at: Progress, row: Mapping[str, float]) -> list[str]:
        """Warnings about one step, each with its numbers; counts the step into the running means.

        Raises:
            TrainingError: a guard that stops has been touched.
        """
        said = (
            list(self._look(at, row))
            if self.limits.action != "off" and at.step >= self.limits.first_step
            else []
        )
        for name in ("kl", "student_entropy", "teacher_entropy"):
            if name in row:
                at.means[name] = DECAY * at.means.get(name, row[name]) + (1 - DECAY) * row[name]
        return self._act(said)

    def _look(self, at: Progress, row: Mapping[str, float]) -> Iterator[str]:
        usual, limit = at.means.get("kl", 0.0), self.limits.kl_spike_ratio
        if usual > 0 and row.get("kl", 0.0) > limit * usual:
            times = f"{row['kl'] / usual:.1f} times its running mean {usual:.4g}"
            yield f"divergence {row['kl']:.4g} at step {at.step + 1} is {times} (limit {limit:g})"
        student, teacher = (
            at.means.get("student_entropy", 0.0),
            at.means.get("teacher_entropy", 0.0),
        )
        gap = (teacher - student) / teacher if teacher > 0 else 0.0
        if gap > self.limits.entropy_gap_fraction:
            limit = self.limits.entropy_gap_fraction
            numbers = f"{student:.3g} nats a token against the teacher's {teacher:.3g}, {gap:.0%} lower (limit {limit:.0%})"
            yield f"the student collapses at step {at.step + 1}: its entropy is {numbers}"

    def probe(self, at: Progress, row: Mapping[str, float]) -> list[str]:
        """Warnings about one probe.

        Raises:
            TrainingError: a guard that stops has been touched.
        """
        beyond = row["repetition"] - row["teacher_repetition"]
        if (
            self.limits.action == "off"
            or at.step < self.limits.first_step
            or beyond <= self.limits.repetition_fraction
        ):
            return []
        numbers = f"{row['repetition']:.0%} of its answers repeat, the teacher's {row['teacher_repetition']:.0%}"
        return self._act(
            [
                f"degenerate text at step {at.step}: {numbers} (limit {self.limits.repetition_fraction:.0%} more)"
            ]
        )

    def phase(self, missed: str | None) -> list[str]:
        """A warning about a curriculum phase that ended before it was learned, if one did.

        Raises:
            TrainingError: a guard that stops has been touched.
        """
        return self._act([missed] if missed and self.limits.action != "off" else [])

    def _act(self, said: list[str]) -> list[str]:
        if said and self.limits.action == "stop":
            raise TrainingError(
                f"{self.place}: {'; '.join(said)}; {self._kept()}; watchdog.action: warn goes on all the same"
            )
        return said

    def _kept(self) -> str:
        found = self.last_checkpoint()
        return f"last good checkpoint: {found.name if found else 'none'}"
