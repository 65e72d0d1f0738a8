"""Calls in what a model wrote: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as Hermes
and Qwen write them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_filters.records.tool_calls import calls_of
from distill.engines.protocol import Conversation

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_CALL = re.compile(rf"{OPEN}(.*?)(?:{CLOSE}|(?={OPEN})|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `fault` says what is wrong with it, in the words that the model gets back."""

    name: str = ""
    arguments: dict[str, Any] | None = None
    fault: str = ""


def parse(text: str) -> tuple[str, list[Call]]:
    """What stands before the first call, and the calls."""
    before, mark, _ = text.partition(OPEN)
    return (
        (before.strip(), [_read(found.strip()) for found in _CALL.findall(text)])
        if mark
        else (text, [])
    )


def _read(text: str) -> Call:
    try:
        said = json.loads(text)
    except ValueError as fault:
        return Call(fault=f"Error: the call is no JSON ({fault}).")
    except RecursionError:
        return Call(fault="Error: the call is no JSON (nested too deeply).")
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        return Call(fault='Error: a call is {"name": ..., "arguments": {...}}.')
    arguments = said.get("arguments", {})
    if isinstance(arguments, str):  # JSON in a text of JSON
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as fault:
            return Call(said["name"], fault=f"Error: the arguments are no JSON ({fault}).")
    if not isinstance(arguments, dict):
        return Call(said["name"], fault="Error: the arguments of a call are an object.")
    return Call(said["name"], arguments)


def call_text(call: dict[str, Any]) -> str:
    """The text of a call that a server gives apart."""
    arguments = (
        call["arguments"]
        if isinstance(call["arguments"], str)
        else json.dumps(call["arguments"], ensure_ascii=False)
    )
    return f'{OPEN}{{"name": {json.dumps(call["name"])}, "arguments": {arguments or "{}"}}}{CLOSE}'


def numbered(conversation: Conversation) -> list[dict[str, Any]]:
    """A conversation as OpenAI's API wants it: calls have ids, and each result names its call."""
    said: list[dict[str, Any]] = []
    open_: list[str] = []
    for number, message in enumerate(conversation):
        one: dict[str, Any] = {"role": message["role"], "content": message["content"]}
        if calls := calls_of(message):
            open_ = [f"call_{number}_{place}" for place in range(len(calls))]
            one["tool_calls"] = [
                {
                    "id": name,
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
                }
                for name, call in zip(open_, calls, strict=True)
            ]
        if message["role"] == "tool" and open_:
            one["tool_call_id"] = open_.pop(0)
        said.append(one)
    return said


def as_message(before: str, calls: Sequence[Call]) -> dict[str, str]:
    """The assistant's message with these calls, as records hold it; one that cannot be read is kept
    by its name alone.
    """
    written = [
        {"type": "function", "function": {"name": call.name, "arguments": call.arguments or {}}}
        for call in calls
    ]
    return {"role": "assistant", "content": before, "tool_calls": json.dumps(written)}
