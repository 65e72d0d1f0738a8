"""Drops what repeats an earlier trace, or states a fact that is seen often enough.

A filter of this kind gives keys of 64 bits for each trace; a merge over all units then finds who
comes after the first few that share a key (data_filters/dedup/duplicates.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_filters.dedup.duplicates import alike_keys, fingerprint, near_keys
from data_filters.dedup.exposure import fact_keys, facts_of
from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext
from recipes.schema.filter import Filter
from recipes.vocabulary import Action, Grounding


@dataclass(frozen=True)
class Repeats:
    """A filter of traces that come after the first few with one of their keys.

    Args:
        name: of the filter.
        keys: of one trace, uint64 [K], K = 0 and above.
        most: traces that may share a key; 0: the filter is off.
        why: the reason; {} is the id of the first trace.
        among_problems: only what repeats another problem's trace counts, since attempts at one
            problem are no repetitions.
    """

    name: str
    keys: Callable[[Examined, FilterContext], np.ndarray]
    most: Callable[[Filter], int]
    why: str
    among_problems: bool = False

    def __call__(self, one: Examined, context: FilterContext) -> str | None:
        """Why the trace is one too many, as the merge of all units found it."""
        first = one.repeats.get(self.name)
        return None if first is None else self.why.format(first)


def _same(one: Examined, context: FilterContext) -> np.ndarray:
    return np.array([fingerprint(one.trace)], np.uint64)


def _near(one: Examined, context: FilterContext) -> np.ndarray:
    return near_keys(one.question, one.trace.answer or "")


def _alike(one: Examined, context: FilterContext) -> np.ndarray:
    return alike_keys(one.question)


def _facts(one: Examined, context: FilterContext) -> np.ndarray:
    """Of the facts that will stand in the trace as it goes out."""
    stays = [
        span
        for span in one.spans
        if span.grounding == Grounding.GIVEN or context.scrubber.action(span) == Action.KEEP
    ]
    return np.array(fact_keys(facts_of(stays)), np.uint64)


def _exposures(config: Filter) -> int:
    cap = config.exposure_cap
    return max(1, int(cap / config.epochs)) if cap else 0


DUPLICATES = Repeats(
    "duplicates",
    _same,
    lambda config: int(config.drop_duplicates),
    "said before, word for word: {}",
)
NEAR_DUPLICATES = Repeats(
    "near_duplicates",
    _near,
    lambda config: int(config.drop_near_duplicates),
    "asks nearly the same of the same values: {}",
    among_problems=True,
)
TEMPLATES = Repeats(
    "skeleton",
    _alike,
    lambda config: config.max_per_skeleton,
    "one too many that ask nearly the same: {}",
)
EXPOSURE = Repeats("exposure", _facts, _exposures, "states a fact that is seen often enough: {}")
