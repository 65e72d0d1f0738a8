"""Drops wrong answers, problems too easy or too hard, and all but the shortest attempts."""

from collections.abc import Sequence

from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext
from data_filters.records.traces import Trace
from recipes.vocabulary import FinishReason, Verdict


def wrong_answer(one: Examined, context: FilterContext) -> str | None:
    """Why the trace's answer is not taught: it is wrong, or nobody could judge it."""
    trace = one.trace
    if trace.verdict == Verdict.WRONG:
        missing = trace.answer is None
        return "no final answer" if missing else "the answer differs from the reference"
    keep_unknown = context.config.keep_unknown and not context.strict
    if trace.verdict == Verdict.UNKNOWN and not keep_unknown:
        return "no reference and keep_unknown is false"
    return None


def not_selected(one: Examined, context: FilterContext) -> str | None:
    """Why the attempt is not taught: its problem is too easy or too hard, or others are shorter."""
    low, high = context.config.solve_rate
    if one.solve_rate is not None and not low <= one.solve_rate <= high:
        return f"solve rate outside {low:g}..{high:g}: {one.solve_rate:.2f}"
    most = context.config.num_shortest
    if most and one.trace.verdict == Verdict.CORRECT and one.shorter >= most:
        tokens = one.trace.completion_tokens
        return f"not among the {most} shortest right ones: {tokens} tokens"
    return None


def compare_attempts(attempts: Sequence[Examined]) -> None:
    """Notes in each attempt at one problem how the others went.

    A problem that nobody could judge has no solve rate. Dropped attempts count in the rate, but are
    not compared by length.

    Args:
        attempts: all of one problem, judged, in the order in which they stand.
    """
    rate = solve_rate_of([one.trace for one in attempts])
    right = [one for one in attempts if one.reason is None and one.trace.verdict == Verdict.CORRECT]
    right.sort(key=lambda one: (one.trace.completion_tokens, one.trace.id))
    for place, one in enumerate(right):
        one.shorter = place
    for one in attempts:
        one.solve_rate = rate


def solve_rate_of(traces: Sequence[Trace]) -> float | None:
    """Share of right ones among those judged or cut off, 0..1; None: there are none."""
    judged = [
        trace
        for trace in traces
        if trace.verdict != Verdict.UNKNOWN or trace.finish_reason == FinishReason.LENGTH
    ]
    return (
        sum(trace.verdict == Verdict.CORRECT for trace in judged) / len(judged) if judged else None
    )
