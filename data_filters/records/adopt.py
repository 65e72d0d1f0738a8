"""The trace of a row of any data set that holds conversations, or what is wrong with the row."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from data_filters.records.elsewhere import gold_of, json_list, messages_of
from data_filters.records.files import short
from data_filters.records.traces import Trace, from_row
from recipes.vocabulary import FinishReason, Role, Verdict

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
_OWN = {"messages", "problem_id", "verdict"}  # columns of every trace that we wrote
# how others say that a text was cut off, or was not given
_FINISHES = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_length": FinishReason.LENGTH,
    "content_filter": FinishReason.REFUSED,
    "refusal": FinishReason.REFUSED,
}
_SPAN_TEXTS = ("kind", "grounding", "action", "original", "subject", "relation", "detector")
_BITS = {"seed": 63, "prompt_tokens": 31, "completion_tokens": 31}  # that a shard has for them
MAX_DIGITS = 4300  # of a whole number that Python turns into text and back
_LONG_NUMBER = re.compile(rf"(?<!\d)(?<!\d,)\d(?:,?\d){{{MAX_DIGITS},}}+")


def trace_of(row: Mapping[str, Any]) -> Trace:
    """The trace of a row; columns that a trace lacks are ignored, missing ones get defaults.

    Raises:
        ValueError: it is none; the message says what was found, what was expected and what to do.
    """
    return adopted(row)[0]


def adopted(row: Mapping[str, Any]) -> tuple[Trace, tuple[str, ...]]:
    """(the trace of a row, columns of a trace's names that hold something else and were ignored).

    A row of ours with a wrong value is damaged. One of another data set may use our names for
    things of its own: they are converted where that is plain, else ignored.

    Raises:
        ValueError: as for `trace_of`.
    """
    if row.keys() >= _OWN:
        return _own(row), ()
    messages = messages_of(row)
    if messages is None:
        return _own(row), ()
    ignored: list[str] = []
    made: dict[str, Any] = {"messages": [_with_calls(message, ignored) for message in messages]}
    made["gold"], made["check"] = _reference(gold_of(row), ignored)
    for name in ("id", "problem_id", "source", "teacher", "engine"):
        made[name] = _label(row.get(name), name, ignored)
    usage = row.get("usage")
    flat = dict(row) | (dict(usage) if isinstance(usage, Mapping) else {})
    if usage is not None and not isinstance(usage, Mapping):
        ignored.append("usage")
    for name, bits in _BITS.items():
        made[name] = _number(flat.get(name), bits, name, ignored)
    made["finish_reason"] = _finish(flat.get("finish_reason"), ignored)
    made["tools"] = None if row.get("tools") is None else json_list(row["tools"])
    ignored += [name for name in ("tools",) if row.get(name) is not None and not made[name]]
    if _are_ours(row.get("spans")):
        made["spans"] = row["spans"]
    else:
        ignored += ["spans"] * bool(row.get("spans"))
    verdict = row.get("verdict")
    made["verdict"] = verdict if verdict in list(Verdict) else None
    return _own({name: value for name, value in made.items() if value is not None}), tuple(ignored)


def _are_ours(spans: Any) -> bool:
    return isinstance(spans, list) and all(
        isinstance(span, Mapping) and {"message", "start", "end"} <= set(span) for span in spans
    )


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    """The row with columns of other names under those that a trace has.

    Args:
        row: of any data set.
        columns: {"thinking": "rationale"} reads the column `rationale` as the thought.

    Raises:
        ValueError: a column is not there.
    """
    missing = [theirs for theirs in columns.values() if theirs not in row]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; it has {', '.join(map(str, row))}")
    return dict(row) | {ours: row[theirs] for ours, theirs in columns.items()}


def _with_calls(message: dict[str, Any], ignored: list[str]) -> dict[str, Any]:
    """The message with its calls as JSON, or without them where they are none."""
    calls = message.pop("tool_calls", None)
    if calls is None:
        return message
    text = json_list(calls)
    if text is None:
        ignored.append("tool_calls")
        return message
    return message | {"tool_calls": text}


def _reference(gold: Any, ignored: list[str]) -> tuple[str | None, str | None]:
    """(gold, check): of several references the first, and a note of the others."""
    if isinstance(gold, Mapping) and isinstance(gold.get("value"), str):
        gold = [gold["value"], *(gold.get("aliases") or ())]
    if isinstance(gold, list) and gold and all(isinstance(one, str) for one in gold):
        note = json.dumps({"others": gold[1:]}) if gold[1:] else None
        return _clean(gold[0]), note
    text = _label(gold, "gold", ignored)
    return (text, None) if text and text.strip() else (None, None)


def _label(value: Any, name: str, ignored: list[str]) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _clean(str(value))
    ignored.append(name)
    return None


def _number(value: Any, bits: int, name: str, ignored: list[str]) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value) if len(value) < MAX_DIGITS else None
    if value is None or _is_whole(value, bits):
        return value
    ignored.append(name)
    return None


def _finish(value: Any, ignored: list[str]) -> str | None:
    """Why the text ended, in our words."""
    if value is None:
        return None
    if isinstance(value, str):
        return _FINISHES.get(value.lower(), FinishReason.STOP)
    ignored.append("finish_reason")
    return None


def _own(row: Mapping[str, Any]) -> Trace:
    """The trace of a row that has the form of one."""
    messages = row.get("messages")
    if not messages or not isinstance(messages, list) or not all(map(_is_message, messages)):
        found = (
            f"columns {', '.join(sorted(map(str, row)))}"
            if "messages" not in row
            else f"messages {str(messages)[:60]!r}"
        )
        raise ValueError(
            f"got {found}, expected messages of role and content, conversations, a prompt and a "
            "response, or a problem and a solution; name its columns with filter.trace_columns"
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
