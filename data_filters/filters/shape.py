"""Drops what is no finished conversation: unreadable, cut off, empty or degenerate."""

import re

from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext
from data_filters.records.traces import Trace
from data_filters.text.repetition import degenerate
from recipes.vocabulary import FinishReason

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # all but tab and line ends


def unreadable(one: Examined, context: FilterContext) -> str | None:
    """Why the record is no trace."""
    return one.unreadable or None


def bad_shape(one: Examined, context: FilterContext) -> str | None:
    """Why the conversation is not worth a look: cut off, refused, empty, too long, degenerate."""
    return misshapen(one.trace, context.config.max_characters)


def misshapen(trace: Trace, longest_characters: int) -> str | None:
    """Why a trace is not worth a look, or None.

    Args:
        longest_characters: of all its messages together.
    """
    size = sum(len(m["content"]) for m in trace.messages)
    if size > longest_characters:
        return f"too long: {size:,} characters, filter.max_characters is {longest_characters:,}"
    last = trace.last_reply()
    if last is None:
        return "no assistant message"
    if trace.finish_reason == FinishReason.REFUSED:
        return "refused: the teacher's server did not take the prompt"
    if trace.finish_reason == FinishReason.LENGTH:
        return "truncated: finish_reason is length"
    for number, message in enumerate(trace.messages):
        control = CONTROL.search(message["content"])
        if control:
            return f"control character: U+{ord(control[0]):04X} in message {number}"
        if (
            message["role"] in ("user", "assistant")
            and not message["content"].strip()
            and not message.get("tool_calls")
        ):
            return f"empty message: number {number}, of the {message['role']}"
    repeats = degenerate(last)
    return f"degenerate: {repeats}" if repeats is not None else None
