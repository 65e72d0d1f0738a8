"""What is known of a trace when a filter decides about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from data_filters.dedup.skeletons import Skeleton
from data_filters.records.traces import Span, Trace

NO_QUESTION = Skeleton((), ())


class Reason(NamedTuple):
    """Why a trace is dropped: the filter's name, and what it found."""

    by: str
    text: str


@dataclass(slots=True)
class Examined:
    """A trace and what is known of it; never its reference answer, which verification alone sees.

    Attributes:
        trace: without a reference; once it was judged, with its verdict and answer.
        unreadable: why the record is no trace; empty: it is one.
        question: what it asks, with slots for names and numbers; empty until its shape is known.
        solve_rate: share of right attempts at its problem, 0..1; None: nobody could judge any.
        shorter: right attempts at its problem that are shorter, or as short and before it.
        spans: what it states, and who gave it.
        recall: what each probe says: True: recall, False: thought, None: it could not be asked.
        repeats: by filter, the id of the first trace whose keys it shares.
        reason: why it is dropped, as far as that was decided.
    """

    trace: Trace
    unreadable: str = ""
    question: Skeleton = NO_QUESTION
    solve_rate: float | None = None
    shorter: int = 0
    spans: Sequence[Span] = ()
    recall: Mapping[str, bool | None] = field(default_factory=dict)
    repeats: Mapping[str, str] = field(default_factory=dict)
    reason: Reason | None = None
