"""What a chat template wants of messages, found by rendering small conversations.

Example: one template reads a thought from the key `thinking`, another from the text; one takes the
arguments of a call as an object, another as JSON; one refuses a system message. No family is named
here: a template that nobody has seen yet is asked in the same way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from data_filters.records.tool_calls import SCHEMAS
from distill.chat_templates.thoughts import joined, parts
from recipes.errors import ModelError

Message = Mapping[str, Any]
THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")
# what templates raise where they meet what they do not expect
REFUSALS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
QUESTION, ANSWER, THOUGHT, SYSTEM = "Which one?", "It is blue.", "Sky means blue.", "Be brief."
# of a call; none of them stands in the schemas that are offered
NAME, KEY, VALUE, RESULT = "fetch_page", "topic", "Ada eyes", "Nine apples."
ASKED = {"role": "user", "content": QUESTION}
OFFERED = json.dumps(list(SCHEMAS.values()))


class Unrenderable(ModelError):
    """A chat template refuses a conversation, or would change what it says."""


@dataclass(frozen=True, slots=True)
class Form:
    """How messages are handed to one template."""

    parts: bool = False  # contents as lists of typed parts
    # where a thought goes: a key of the message; inline: in the text; opened: the prompt opens it
    # and the template leaves it out; none: there is no place for it
    thought: str = "inline"
    folds_system: bool = False  # a system message goes before the first question
    text_arguments: bool = False  # of calls: JSON text, no object
    no_content: str | None = ""  # beside calls
    calls: bool = False  # whether calls are written at all
    # what the model writes before a plain answer, before a thought and behind it
    plain_open: str = ""
    thought_open: str = ""
    thought_close: str = ""


def form_of(tokenizer: PreTrainedTokenizerBase) -> Form:
    """What the tokenizer's template wants; found once a template."""
    return _form(tokenizer, json.dumps(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _form(tokenizer: PreTrainedTokenizerBase, template: str) -> Form:
    """Of `template`, which the tokenizer holds: it may be set anew."""
    form = Form()
    if not _says(tokenizer, form, [ASKED, _said(ANSWER)], [QUESTION, ANSWER]):
        as_parts = replace(form, parts=True)
        listed = _says(tokenizer, as_parts, [ASKED, _said(ANSWER)], [QUESTION, ANSWER])
        form = as_parts if listed else form
    form = replace(form, thought=_place_of_thoughts(tokenizer, form))
    talk = [{"role": "system", "content": SYSTEM}, ASKED, _said(ANSWER)]
    form = replace(form, folds_system=not _says(tokenizer, form, talk, [SYSTEM, QUESTION]))
    return _with_marks(tokenizer, next(_with_calls(tokenizer, form), form))


def _with_marks(tokenizer: PreTrainedTokenizerBase, form: Form) -> Form:
    """The form with what stands around thoughts and answers."""
    try:
        begun = rendered(tokenizer, [ASKED], form, prompt=True)
        plain = rendered(tokenizer, [ASKED, _said(ANSWER)], form)
        told = rendered(tokenizer, [ASKED, _said(joined(THOUGHT, ANSWER))], form)
    except Unrenderable:
        return form
    if plain.startswith(begun):
        form = replace(form, plain_open=plain[len(begun) :].partition(ANSWER)[0])
    if told.startswith(begun) and THOUGHT in told:
        opening, _, others = told[len(begun) :].partition(THOUGHT)
        form = replace(form, thought_open=opening, thought_close=others.partition(ANSWER)[0])
    return form


def _said(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def call_message(value: str) -> dict[str, Any]:
    """An assistant's message that is one call with this argument."""
    calls = [{"type": "function", "function": {"name": NAME, "arguments": {KEY: value}}}]
    return _said("") | {"tool_calls": calls}


def _place_of_thoughts(tokenizer: PreTrainedTokenizerBase, form: Form) -> str:
    talk = [ASKED, _said(joined(THOUGHT, ANSWER))]
    for place in (*THOUGHT_KEYS, "inline"):
        if _says(tokenizer, replace(form, thought=place), talk, [THOUGHT, ANSWER]):
            return place
    try:
        begun = rendered(tokenizer, [ASKED], form, prompt=True)
    except Unrenderable:
        return "none"
    return "opened" if begun.rstrip().endswith("<think>") else "none"


def _with_calls(tokenizer: PreTrainedTokenizerBase, form: Form) -> Iterator[Form]:
    """Forms in which a call and its result are written whole."""
    talk = [ASKED, call_message(VALUE), {"role": "tool", "content": RESULT}]
    wanted = [QUESTION, NAME, KEY, VALUE, RESULT]
    for text_arguments in (False, True):
        for no_content in ("", None):
            how = replace(form, text_arguments=text_arguments, no_content=no_content, calls=True)
            # a text of JSON that is written as JSON once more has its quotes escaped
            if _says(tokenizer, how, talk, wanted, OFFERED, unwanted=f'\\"{KEY}\\"'):
                yield how


def _says(
    tokenizer: PreTrainedTokenizerBase,
    form: Form,
    talk: Sequence[Message],
    wanted: Sequence[str],
    tools: str | None = None,
    unwanted: str = "\0",
) -> bool:
    """Whether the texts are written, in this order."""
    try:
        text = rendered(tokenizer, talk, form, tools)
    except Unrenderable:
        return False
    at = 0
    for piece in wanted:
        at = text.find(piece, at)
        if at < 0:
            return False
    return unwanted not in text


def messages_for(form: Form, conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation as the template wants it.

    Args:
        conversation: as records hold it: thoughts in the text, calls as JSON.
    """
    said, open_calls = [], []
    for message in _folded(conversation) if form.folds_system else conversation:
        one = dict(message)
        calls = one.pop("tool_calls", None)
        if one["role"] == "assistant":
            one |= _thought_and_answer(form, one["content"] or "")
        if calls := json.loads(calls) if isinstance(calls, str) else calls:
            one["tool_calls"] = [_call(form, call) for call in calls]
            one["content"] = one["content"] or form.no_content
            open_calls = [call["function"]["name"] for call in one["tool_calls"]]
        if one["role"] == "tool" and open_calls and "name" not in one:
            one["name"] = open_calls.pop(0)
        if form.parts and isinstance(one["content"], str):
            one["content"] = [{"type": "text", "text": one["content"]}]
        said.append(one)
    return said


def _thought_and_answer(form: Form, content: str) -> dict[str, str]:
    if form.thought == "inline":
        return {"content": content}
    thought, answer = parts(content)
    told = {"content": content[answer.start : answer.stop] if "</think>" in content else content}
    if form.thought == "none":
        return {"content": content}
    if thought is not None and form.thought != "opened":
        told[form.thought] = content[thought.start : thought.stop]
    return told


def _call(form: Form, call: Mapping[str, Any]) -> dict[str, Any]:
    inner = call.get("function", call)
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str) and not form.text_arguments:
        try:
            read = json.loads(arguments)
        except ValueError:
            read = None
        arguments = read if isinstance(read, dict) else arguments
    elif form.text_arguments and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "function": {"name": inner.get("name"), "arguments": arguments}}


def _folded(conversation: Sequence[Message]) -> list[Message]:
    """A system message and the question behind it as one question."""
    if len(conversation) < 2 or conversation[0]["role"] != "system":
        return list(conversation)
    system, first, *others = conversation
    if first["role"] != "user":
        return list(conversation)
    told = f"{system['content'].strip()}\n\n{first['content']}"
    return [{**first, "content": told}, *others]


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Sequence[Message],
    form: Form,
    tools: str | None = None,
    *,
    prompt: bool = False,
) -> str:
    """What the template writes.

    Args:
        conversation: as records hold it.
        form: what the template wants.
        tools: JSON schemas of the tools that are offered.
        prompt: write also what begins the assistant's turn.

    Raises:
        Unrenderable: the template refuses it.
    """
    try:
        return str(
            tokenizer.apply_chat_template(
                messages_for(form, conversation),
                tools=json.loads(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=prompt,
            )
        )
    except REFUSALS as fault:
        said = str(fault).strip().splitlines() or [type(fault).__name__]
        raise Unrenderable(f"the chat template refuses it: {said[0][:120]}") from fault
