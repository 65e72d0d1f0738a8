"""What is done to single spans: hidden, renamed, made general or masked, with their places kept
right in the new text.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from data_filters.detect.candidates import NAMED
from data_filters.records.traces import Span, Trace
from data_filters.scrub.surrogates import Surrogates
from recipes.vocabulary import Action, Grounding, Kind

EDITS = (Action.HIDE, Action.RENAME, Action.GENERALISE)  # they change the text; mask does not
_GENERAL: dict[str, str] = {
    Kind.PERSON: "someone",
    Kind.PLACE: "some place",
    Kind.ORGANISATION: "some organisation",
    Kind.TITLE: "some work",
    Kind.NAME: "something",
    Kind.ANSWER: "something",
    Kind.NUMBER: "some number",
    Kind.RESULT: "some number",
}
_YEAR_ONLY = re.compile(r"\d{3,4}")
_MEASURE = re.compile(r"[^\W\d_][\w/ ]*$")


def edit(
    trace: Trace,
    spans: Sequence[Span],
    action_of: Mapping[str, Action] | Callable[[Span], Action],
    surrogates: Surrogates,
) -> Trace:
    """The trace with an action done to each ungrounded span; all spans are moved to where they
    stand afterwards.

    A renamed date, number or short answer would be a false one: these are masked instead. Text
    inside code fences and formulas is masked, never changed.

    Args:
        trace: as the teacher wrote it.
        spans: of its assistant messages, in order, without overlap.
        action_of: kind to action, or a function of the span; kinds that it lacks are kept.
        surrogates: of this record.
    """
    chosen = (
        action_of if callable(action_of) else lambda span: action_of.get(span.kind, Action.KEEP)
    )
    by_message: defaultdict[int, list[Span]] = defaultdict(list)
    for span in spans:
        by_message[span.message].append(span)
    messages, moved = [dict(message) for message in trace.messages], []
    for number, message in enumerate(trace.messages):
        text, new, at = message["content"], "", 0
        fixed = _untouchable(text)
        for span in by_message[number]:
            action = (
                Action.KEEP
                if span.grounding != Grounding.UNGROUNDED
                else _possible(span, chosen(span), fixed)
            )
            if span.start < at or span.end > len(text):
                # a step that lies around a fact, or a span past the end: nothing to move it to
                continue
            new += text[at : span.start]
            put = _put(span, action, surrogates)
            moved.append(_done(span, action, len(new), put))
            new, at = new + put, span.end
        messages[number]["content"] = new + text[at:]
    return replace(trace, messages=messages, spans=moved)


def _possible(span: Span, action: Action, fixed: Sequence[tuple[int, int]]) -> Action:
    if action == Action.RENAME and span.kind not in NAMED:
        return Action.MASK
    if action in EDITS and any(start < span.end and span.start < end for start, end in fixed):
        return Action.MASK
    return action


def _put(span: Span, action: Action, surrogates: Surrogates) -> str:
    """What stands there afterwards."""
    if action == Action.RENAME:
        return surrogates.rename(span.original)
    if action == Action.HIDE:
        return f"[{span.kind}]"
    return _general(span) if action == Action.GENERALISE else span.original


def _done(span: Span, action: Action, start: int, put: str) -> Span:
    weight = 0.0 if action in (Action.MASK, Action.HIDE) else span.weight
    return replace(span, start=start, end=start + len(put), action=action, weight=weight)


def _general(span: Span) -> str:
    if span.kind == Kind.DATE:
        return "a certain year" if _YEAR_ONLY.fullmatch(span.original) else "a certain time"
    if span.kind == Kind.QUANTITY:
        unit = _MEASURE.search(span.original)
        return (
            f"some {unit.group()}"
            if unit and any(map(str.isdigit, span.original))
            else "some amount"
        )
    return _GENERAL.get(span.kind, "something")


_FIXED = re.compile(
    r"```.*?(?:```|\Z)|\$\$[^$]{1,2000}\$\$|\$[^$\n]{1,200}\$|`[^`\n]{1,200}`|https?://\S{1,500}",
    re.DOTALL,
)


def _untouchable(text: str) -> list[tuple[int, int]]:
    """Code, formulas and addresses: an edit inside would break them."""
    return (
        [match.span() for match in _FIXED.finditer(text)]
        if "`" in text or "$" in text or "://" in text
        else []
    )
