"""The filters in their order: the first that finds a reason is named. A new one is a line here."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from data_filters.filters.attempts import not_selected, wrong_answer
from data_filters.filters.examined import Examined, Reason
from data_filters.filters.held_out import in_held_out
from data_filters.filters.languages import other_language
from data_filters.filters.recall import called_recall, ungrounded_fact
from data_filters.filters.repeats import (
    DUPLICATES,
    EXPOSURE,
    NEAR_DUPLICATES,
    TEMPLATES,
    Repeats,
)
from data_filters.filters.settings import FilterContext
from data_filters.filters.shape import bad_shape, unreadable


class Known(IntEnum):
    """What must be known before a filter can decide; each step knows what the ones before knew."""

    TEXT = 0  # the record
    VERDICT = 1  # whether its answer is right
    ATTEMPTS = 2  # how the other attempts at its problem went
    CORPUS = 3  # its facts, and what it repeats in all units


class DropFilter(NamedTuple):
    """A filter: its name, what it needs, why it drops a trace, and what to do if it drops all."""

    name: str
    needs: Known
    reason: Callable[[Examined, FilterContext], str | None]
    way_out: str


FILTERS = (
    DropFilter(
        "read",
        Known.TEXT,
        unreadable,
        "expected messages of role and content; convert the data or name another source",
    ),
    DropFilter(
        "shape",
        Known.TEXT,
        bad_shape,
        "raise generate.max_new_tokens, or look at the reasons in filter/dropped",
    ),
    DropFilter(
        "language",
        Known.TEXT,
        other_language,
        "set filter.languages: {other: keep} to pass other languages than English whole",
    ),
    DropFilter(
        "verify",
        Known.VERDICT,
        wrong_answer,
        "look at the answers in filter/dropped, or set filter.keep_unknown: true",
    ),
    DropFilter("select", Known.ATTEMPTS, not_selected, "widen filter.solve_rate"),
    DropFilter(
        "duplicates",
        Known.CORPUS,
        DUPLICATES,
        "set filter.drop_duplicates: false, or ask for more problems",
    ),
    DropFilter(
        "overlap",
        Known.CORPUS,
        in_held_out,
        "raise filter.decontaminate_words, or set filter.decontaminate: false",
    ),
    DropFilter(
        "near_duplicates",
        Known.CORPUS,
        NEAR_DUPLICATES,
        "set filter.drop_near_duplicates: false, or ask for more problems",
    ),
    DropFilter(
        "skeleton", Known.CORPUS, TEMPLATES, "raise filter.max_per_skeleton, or set it to 0"
    ),
    DropFilter("probes", Known.CORPUS, called_recall, "set the probes of filter.probes to report"),
    DropFilter("exposure", Known.CORPUS, EXPOSURE, "raise filter.exposure_cap, or set it to 0"),
    DropFilter(
        "scrub", Known.CORPUS, ungrounded_fact, "set filter.ungrounded_action: abstain or mask"
    ),  # last: it is counted as if the trace went out
)
ORDER = tuple(one.name for one in FILTERS)
REPEATS = tuple(one.reason for one in FILTERS if isinstance(one.reason, Repeats))
WAYS_OUT = {one.name: one.way_out for one in FILTERS}
BEFORE_VERDICT = frozenset(one.name for one in FILTERS if one.needs is Known.TEXT)


def first_reason(one: Examined, context: FilterContext, known: Known) -> Reason | None:
    """Why the trace is dropped, by the first filter that decides once `known` is known.

    A trace without any message of the assistant is dropped also by filters that are skipped.
    """
    if one.reason is not None:
        return one.reason
    skipped = context.settings.skip if one.trace.last_reply() is not None else ()
    for name, needs, reason, _ in FILTERS:
        if needs is known and name not in skipped:
            found = reason(one, context)
            if found is not None:
                return Reason(name, found)
    return None
