"""The teacher's own text again, from a trace on which the filter has acted."""

from collections.abc import Iterable
from dataclasses import replace

from data_filters.records.tool_calls import without_calls
from data_filters.records.traces import Span, Trace
from recipes.vocabulary import Action, Kind


def is_acted_on(trace: Trace) -> bool:
    """Whether some span of the trace was masked or edited."""
    return any(span.action != Action.KEEP for span in trace.spans)


def step_spans(trace: Trace) -> list[Span]:
    """What a review said of the steps; it concerns thought, not facts, so every arm has it."""
    return [span for span in trace.spans if span.kind == Kind.STEP]


def by_place(spans: Iterable[Span]) -> list[Span]:
    """In the order of the text; a span stands before those that lie inside it, so that what they
    say of their tokens holds.
    """
    return sorted(spans, key=lambda span: (span.message, span.start, -span.end))


def restore(trace: Trace) -> Trace:
    """The trace with the teacher's own text and full weights; spans of edits that were undone are
    gone.
    """
    trace = without_calls(trace)
    messages, spans = [dict(message) for message in trace.messages], []
    shift = dict.fromkeys(range(len(messages)), 0)  # characters, by message
    for span in sorted(trace.spans, key=lambda one: (one.message, one.start)):
        by = shift[span.message]
        start, end = span.start + by, span.end + by
        if span.action in (Action.KEEP, Action.MASK):
            weight = span.weight if span.kind == Kind.STEP else 1.0
            spans.append(replace(span, start=start, end=end, action=Action.KEEP, weight=weight))
        else:
            text = messages[span.message]["content"]
            messages[span.message]["content"] = text[:start] + span.original + text[end:]
            shift[span.message] += len(span.original) - (span.end - span.start)
    return replace(trace, messages=messages, spans=spans)
