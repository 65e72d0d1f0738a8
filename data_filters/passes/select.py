"""Which of a problem's traces are taught: only of problems that are neither too easy nor too hard,
and the shortest that are right.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from data_filters.records.traces import Trace
from recipes.vocabulary import FinishReason, Verdict

Fault = tuple[str, str]  # filter, reason


def select(
    judged: Iterable[tuple[Trace, Fault | None]], solve_rate: Sequence[float], shortest: int
) -> Iterator[tuple[Trace, Fault | None]]:
    """The same traces in the same order, with a fault for those that are not wanted.

    Traces of one problem must follow one another, as generate writes them. A problem that nobody
    could judge has no solve rate and stays.

    Args:
        judged: verified traces, each with the fault that dropped it already, or None.
        solve_rate: from..to, 0..1: right ones among those that were judged or cut off.
        shortest: right traces kept of a problem, by completion tokens; 0 = all.
    """
    for _, group in itertools.groupby(judged, key=lambda one: (one[0].source, one[0].problem_id)):
        traces = list(group)
        rate = solve_rate_of([trace for trace, _ in traces])
        kept = {
            id(trace)
            for trace in _shortest([trace for trace, fault in traces if fault is None], shortest)
        }
        for trace, fault in traces:
            if fault is None and rate is not None and not solve_rate[0] <= rate <= solve_rate[1]:
                fault = (
                    "select",
                    f"solve rate outside {solve_rate[0]:g}..{solve_rate[1]:g}: {rate:.2f}",
                )
            elif fault is None and id(trace) not in kept:
                fault = (
                    "select",
                    f"not among the {shortest} shortest right ones: {trace.completion_tokens} tokens",
                )
            yield trace, fault


def solve_rate_of(traces: Sequence[Trace]) -> float | None:
    """Right ones among those with a verdict, and those cut off; None where there is neither."""
    judged = [
        trace
        for trace in traces
        if trace.verdict != Verdict.UNKNOWN or trace.finish_reason == FinishReason.LENGTH
    ]
    return (
        sum(trace.verdict == Verdict.CORRECT for trace in judged) / len(judged) if judged else None
    )


def _shortest(traces: Sequence[Trace], count: int) -> Sequence[Trace]:
    """Without a verdict a trace is not compared."""
    right = [trace for trace in traces if trace.verdict == Verdict.CORRECT]
    if not count or len(right) <= count:
        return traces
    best = {
        id(trace)
        for trace in sorted(right, key=lambda trace: (trace.completion_tokens, trace.id))[:count]
    }
    return [trace for trace in traces if trace.verdict != Verdict.CORRECT or id(trace) in best]
