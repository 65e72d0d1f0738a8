"""A trace that recalls a fact, as one that looks it up: the value moves into a tool's result. Pure
functions over one trace.

Every change is a span with `original`, so `restore` in data_filters/scrub/scrub.py gives the
teacher's own words back. What is taught on such records is cross-entropy only, since the teacher's
probability lies on what it remembers.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data_filters.records.tool_calls import (
    LOOKUP,
    NOTHING,
    PYTHON,
    call_message,
    result_message,
    spelled_apart,
    tool_schemas,
)
from data_filters.records.traces import Span, Trace, trace_id
from recipes.vocabulary import Action, Grounding, Kind

BOTH = tool_schemas(LOOKUP, PYTHON)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a closed-book trace states: the question, of whom, the values that nobody gave."""

    question: str
    subject: str
    values: tuple[str, ...]
    direct: bool  # the one value is what was asked for, not a step on the way

    @property
    def value(self) -> str:
        """The first of them."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Step:
    """One call and what came back."""

    tool: str
    argument: str
    result: str


def recalled(trace: Trace, spans: Sequence[Span]) -> Recalled | None:
    """What the last message of a trace recalls; None where it recalls nothing, or nobody was asked
    for.

    Args:
        trace: with the teacher's own words.
        spans: as Scrubber.spans gives them.
    """
    last = len(trace.messages) - 1
    untold = [
        span for span in spans if span.grounding == Grounding.UNGROUNDED and span.message == last
    ]
    if not untold or not untold[0].relation or not untold[0].subject:
        return None
    computed = {span.original for span in untold if span.kind == Kind.RESULT}
    values = tuple(dict.fromkeys(span.original for span in untold if span.original not in computed))
    if not values:
        return None
    return Recalled(
        untold[0].relation, untold[0].subject, values, direct=len(values) == 1 and not computed
    )


def lookup(query: str, results: Sequence[str]) -> Step:
    """A look-up and its results, best first."""
    return Step(LOOKUP, query, spelled_apart("\n".join(results)) or NOTHING)


def with_calls(
    trace: Trace,
    steps: Sequence[Step],
    answer: str,
    kind: str,
    *,
    prompt: str | None = None,
    tools: str | None = BOTH,
) -> Trace:
    """The trace with calls and results before its last message, which says `answer`.

    Args:
        trace: with the teacher's own words.
        steps: may be none.
        answer: replaces the last message.
        kind: of counterpart, noted in the spans' detector.
        prompt: replaces the last thing that was asked; None: as it stands.
        tools: JSON schemas that are offered.
    """
    *before, last = trace.messages
    spans: list[Span] = []
    if prompt is not None:
        spans.append(
            _edit(len(before) - 1, prompt, before[-1]["content"], Kind.PROMPT, kind, weight=0.0)
        )
        before = [*before[:-1], before[-1] | {"content": prompt}]
    for step in steps:
        spans.append(_edit(len(before), "", "", Kind.CALL, kind))
        before += [call_message(step.tool, step.argument), result_message(step.result)]
    spans.append(_edit(len(before), answer, last["content"], Kind.MESSAGE, kind))
    return replace(
        trace,
        id=trace_id(trace.id, kind, prompt, [step.argument for step in steps]),
        messages=[*before, last | {"content": answer}],
        spans=spans,
        tools=tools,
    )


def _edit(message: int, text: str, original: str, kind: str, how: str, weight: float = 1.0) -> Span:
    """A whole message that was replaced; a call stands in for nothing."""
    action = Action.ABSTAIN if kind == Kind.MESSAGE and how in ABSTAINS else Action.LOOKUP
    return Span(
        message=message,
        start=0,
        end=len(text),
        kind=kind,
        grounding=Grounding.UNGROUNDED,
        action=action,
        weight=weight,
        original=original,
        detector=f"lookups/{how}",
    )


# kinds whose last message declines
ABSTAINS = ("missing", "off", "irrelevant, abstains", "moved, missing", "two hops, missing")


def said_instead(text: str, old: str, new: str) -> str:
    """The text with a value in place of another, wherever it stands as a whole word."""
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, text)


def gives(results: Sequence[str], subject: str, values: Sequence[str]) -> bool:
    """Whether the results say all values of the subject."""
    about = [text for text in results if re.search(rf"\b{re.escape(subject)}\b", text)]
    return all(
        any(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) for text in about)
        for value in values
    )


def offers(trace: Trace, tools: str) -> Trace:
    """The same trace, with tools at hand that it has no need of."""
    return replace(trace, tools=tools, id=trace_id(trace.id, "offered", json.loads(tools)))
