"""The two tools that a model may call, as the ecosystem writes them down: schemas, calls and their
results.
"""

import json
import re
from dataclasses import replace
from typing import Any

from data_filters.records.traces import Trace
from recipes.vocabulary import Kind, ToolName

LOOKUP, PYTHON = ToolName.LOOKUP, ToolName.PYTHON
NOTHING = "Nothing found."  # the result of a look-up that found nothing
# Marks of turns, thoughts and calls as chat templates write them: <|im_start|>, </think>,
# <start_of_turn>, <function=, <seed:think>, <<SYS>>, [INST], [/TOOL_RESULTS], [|endofturn|]
_MARK_NAMES = (
    r"s|bos|eos|pad|unk|think\w*|tool\w*|function\w*|parameter|invoke|system|user|assistant|model|"
    r"turn|channel|message|observation|gmask|sop|eop|eot|eom|sep|cls|mask|answer"
)
_MARK = re.compile(
    rf"<(?=[|/\uff5c]|(?i:{_MARK_NAMES}|\w+[_:][\w:]+)(?:[>=|\s]|$)|</?[A-Z]{{2,12}}>>)"
    r"|\[(?=\||/?[A-Z][A-Z_]{2,30}\])"
)


def _schema(name: str, description: str, argument: str, meaning: str) -> dict[str, Any]:
    properties = {argument: {"type": "string", "description": meaning}}
    parameters = {"type": "object", "properties": properties, "required": [argument]}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    LOOKUP: _schema(
        LOOKUP,
        "Looks a fact up in the knowledge base.",
        "query",
        "what to look up, e.g. a question",
    ),
    PYTHON: _schema(
        PYTHON,
        "Works out a Python expression or program.",
        "code",
        "its last line is the result, or what it prints",
    ),
}
ARGUMENT = {
    name: next(iter(schema["function"]["parameters"]["properties"]))
    for name, schema in SCHEMAS.items()
}


def tool_schemas(*names: str) -> str:
    """The JSON that a trace's `tools` column holds."""
    return json.dumps([SCHEMAS[name] for name in names])


def call_message(name: str, argument: str) -> dict[str, str]:
    """An assistant's message that does nothing but call a tool; `tool_calls` is JSON, as records
    hold it.
    """
    calls = [
        {"type": "function", "function": {"name": name, "arguments": {ARGUMENT[name]: argument}}}
    ]
    return {"role": "assistant", "content": "", "tool_calls": json.dumps(calls)}


def result_message(text: str) -> dict[str, str]:
    """What came back."""
    return {"role": "tool", "content": text}


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a message: each with name and arguments."""
    calls = message.get("tool_calls") or []
    return [
        call.get("function", call)
        for call in (json.loads(calls) if isinstance(calls, str) else calls)
    ]


def without_calls(trace: Trace) -> Trace:
    """The trace without calls that were put in, their results and the tools; what else was replaced
    stays.
    """
    calls = {
        span.message
        for span in trace.spans
        if span.kind == Kind.CALL and span.detector.startswith("lookups/")
    }
    if not any(span.detector.startswith("lookups/") for span in trace.spans):
        return trace
    gone = calls | {number + 1 for number in calls}
    moved = {
        old: new for new, old in enumerate(n for n in range(len(trace.messages)) if n not in gone)
    }
    spans = [
        replace(span, message=moved[span.message]) for span in trace.spans if span.message in moved
    ]
    messages = [message for number, message in enumerate(trace.messages) if number in moved]
    return replace(trace, messages=messages, spans=spans, tools=None)


def spelled_apart(text: str) -> str:
    """The text without marks of turns and calls: a space goes into each."""
    return _MARK.sub(lambda mark: f"{mark[0]} ", text)
