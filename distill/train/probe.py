"""A look at a student while it trains, and the one rule by which weights are kept."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from recipes.schema import Probe

Row = dict[str, Any]
# reasoning, recall (0..1, each with num_*), both kept against the teacher, repetition of both
Look = Callable[[nn.Module], Row]


class Prober:
    """Asks the model at intervals, through a callable that the pipeline hands in.

    Args:
        config: when, and what is kept.
        look: asks a plain model and gives reasoning, recall, num_reasoning, num_recall and whatever
            else is to be logged.
        fresh: builds a model that weights can be loaded into; wanted where ZeRO-3 has cut the
            trained one up.
    """

    def __init__(self, config: Probe, look: Look, fresh: Callable[[], nn.Module]) -> None:
        self.config, self._look, self._fresh = config, look, fresh
        self._copy: nn.Module | None = None

    @property
    def keeps_best(self) -> bool:
        return self.config.keep == "best"

    def due(self, step: int) -> bool:
        return step % self.config.every_steps == 0

    def wants_weights(self, zero_stage: int) -> bool:
        """Whether the whole weights are collected for a look: all ranks take part in that."""
        return self.keeps_best or zero_stage == 3

    def look(self, model: nn.Module, weights: Mapping[str, Tensor] | None) -> Row:
        """Main rank only. The model is as it was afterwards."""
        if weights is not None:
            self._copy = self._copy or self._fresh()
            self._copy.load_state_dict(weights)
            return self._look(self._copy.eval())
        try:
            return self._look(model.eval())
        finally:
            model.train()

    def beats(self, row: Row, kept: Mapping[str, float] | None) -> bool:
        """Whether these weights are kept instead of earlier ones.

        Later weights are kept unless they reason worse by more than a standard error, or recall
        more by more than a standard error without reasoning better by as much.
        """
        if not self.keeps_best:
            return False
        if kept is None:
            return True
        reasons = _standing(row, kept, "reasoning")
        return reasons > 0 or (
            reasons == 0 and ("recall" not in row or _standing(row, kept, "recall") <= 0)
        )


def _standing(row: Mapping[str, float], kept: Mapping[str, float], name: str) -> int:
    """1 where the new rate is higher by more than a standard error of the two, -1 lower, 0
    within.
    """
    variance = sum(r[name] * (1 - r[name]) / max(1, r[f"num_{name}"]) for r in (row, kept))
    apart = row[name] - kept[name]
    return 0 if apart * apart <= variance else 1 if apart > 0 else -1
