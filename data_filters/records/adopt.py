"""The trace of a row of any data set with `messages`, or what is wrong with the row."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from data_filters.records.files import short
from data_filters.records.traces import Trace, from_row
from recipes.vocabulary import Role, Verdict

_TEXTS = (
    "id",
    "problem_id",
    "source",
    "tools",
    "gold",
    "check",
    "answer",
    "verdict",
    "teacher",
    "engine",
    "sampling",
)
_SPAN_TEXTS = ("kind", "grounding", "action", "original", "subject", "relation", "detector")
_BITS = {"seed": 63, "prompt_tokens": 31, "completion_tokens": 31}  # that a shard has for them
MAX_DIGITS = 4300  # of a whole number that Python turns into text and back
_LONG_NUMBER = re.compile(rf"(?<!\d)(?<!\d,)\d(?:,?\d){{{MAX_DIGITS},}}+")


def trace_of(row: Mapping[str, Any]) -> Trace:
    """The trace of a row; columns that a trace lacks are ignored, missing ones get defaults.

    Raises:
        ValueError: it is none; the message says what was found, what was expected and what to do.
    """
    messages = row.get("messages")
    if not messages or not isinstance(messages, list) or not all(map(_is_message, messages)):
        found = (
            f"columns {', '.join(sorted(map(str, row)))}"
            if "messages" not in row
            else f"messages {str(messages)[:60]!r}"
        )
        raise ValueError(
            f"got {found}, expected messages of role and content; convert the data or name "
            "another source"
        )
    usage, spans = row.get("usage"), row.get("spans")
    if not isinstance(usage, dict | None):
        raise ValueError(_other(f"usage {_shown(usage)}, expected an object"))
    if spans is not None and not (isinstance(spans, list) and all(map(_is_object, spans))):
        raise ValueError(_other(f"spans {_shown(spans)}, expected a list of objects"))
    try:
        trace = from_row(_adopted(row))
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(_other(short(error))) from error
    wrong = _wrong_value(trace)
    if wrong:
        raise ValueError(_other(wrong))
    return trace


def fault_of(trace: Trace) -> str | None:
    """Why a trace cannot be examined, although it has the form of one; None: it can."""
    if all(message["role"] != Role.USER for message in trace.messages):
        return "no message of the user"
    for number, message in enumerate(trace.messages):
        if len(message["content"]) > MAX_DIGITS and _LONG_NUMBER.search(message["content"]):
            return f"a number of more than {MAX_DIGITS:,} digits: in message {number}"
    for name in ("gold", "answer"):
        text = getattr(trace, name) or ""
        if len(text) > MAX_DIGITS and _LONG_NUMBER.search(text):
            return f"a number of more than {MAX_DIGITS:,} digits: in {name}"
    for span in trace.spans:
        if not _is_inside(span.message, span.start, span.end, trace):
            place = f"{span.start}..{span.end} in message {span.message}"
            return f"a span past the end of its message: {place}"
    return None


def _is_inside(message: int, start: int, end: int, trace: Trace) -> bool:
    return 0 <= message < len(trace.messages) and 0 <= start <= end <= len(
        trace.messages[message]["content"]
    )


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content", 0), str | None)
    )


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _adopted(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with text where a trace has text: foreign data sets hold numbers, lists and broken
    characters.
    """
    texts = {
        name: json.dumps(row[name], default=str)
        for name in _TEXTS
        if not isinstance(row.get(name), str | None)
    }
    messages = [
        message | {"content": _clean(message["content"] or "")} for message in row["messages"]
    ]
    for message in messages:
        if not isinstance(message.get("tool_calls"), str | None):
            message["tool_calls"] = json.dumps(message["tool_calls"], default=str)
    adopted = dict(row) | texts | {"messages": messages}
    return adopted if row.get("verdict") in list(Verdict) else adopted | {"verdict": None}


def _clean(text: str) -> str:
    """Half of a surrogate pair cannot be stored."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _wrong_value(trace: Trace) -> str | None:
    """The first value that a shard could not hold, or that means nothing."""
    for name, bits in _BITS.items():
        if not _is_whole(getattr(trace, name), bits):
            return f"{name} {_shown(getattr(trace, name))}, expected a whole number"
    for name in (*_TEXTS, "finish_reason"):
        if not _is_text(getattr(trace, name)):
            return f"{name} {_shown(getattr(trace, name))}, expected text"
    for message in trace.messages:
        if not (_is_text(message["role"]) and _is_text(message.get("tool_calls"))):
            return "half a character in a message, expected text"
    for span in trace.spans:
        if not all(_is_whole(getattr(span, name), 31) for name in ("message", "start", "end")):
            return "a span whose place is not a whole number"
        if not all(isinstance(getattr(span, name), str) for name in _SPAN_TEXTS):
            return "a span with something else than text"
        if not isinstance(span.weight, int | float) or not math.isfinite(span.weight):
            return f"a span of weight {_shown(span.weight)}, expected a number"
    return None


def _is_whole(value: object, bits: int) -> bool:
    return type(value) is int and -(1 << bits) <= value < 1 << bits


def _is_text(value: object) -> bool:
    if value is None or (isinstance(value, str) and value.isascii()):
        return True
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    return ascii(value)[:60]


def _other(found: str) -> str:
    return f"a column of a trace holds something else ({found}); rename or remove it"
