"""What a model wrote in the form of its template, as records hold it: a thought between <think> and
</think>, a call as JSON between <tool_call> and </tool_call>.

Example: "<|channel|>final<|message|>Yes." is "Yes.", and "<tool_call>lookup\\n<arg_key>query..." is
<tool_call>{"name": "lookup", "arguments": {"query": ...}}</tool_call>. The marks are learned from
what the template writes.
"""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from distill.chat_templates.forms import (
    ASKED,
    KEY,
    NAME,
    OFFERED,
    VALUE,
    Form,
    Unrenderable,
    call_message,
)
from distill.chat_templates.thoughts import CLOSE, OPEN, joined
from distill.chat_templates.turns import Renderer

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
QUOTED = 'Ada "eyes"'


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a template writes a call with one text as its argument."""

    pattern: re.Pattern[str]
    escaped: bool  # the argument is written as in JSON
    quote: str  # what it stands between, if anything
    end: str  # the special token that ends a turn with a call

    def as_json(self, found: re.Match[str]) -> str:
        """The call as records hold it; one that cannot be read is left as it was."""
        name, key, value = found["name"], found["key"], found["value"]
        try:
            if self.quote == "'":
                value = str(ast.literal_eval(f"'''{value}'''" if "\n" in value else f"'{value}'"))
            elif self.escaped:
                value = json.loads(f'"{value}"', strict=False)
        except (ValueError, SyntaxError):
            return found.group()
        said = json.dumps({"name": name, "arguments": {key: value}}, ensure_ascii=False)
        return f"{CALL_OPEN}{said}{CALL_CLOSE}"


class Reader:
    """Reads what models with one tokenizer write.

    Args:
        tokenizer: with a chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        renderer = Renderer(tokenizer)
        self.form = renderer.form
        self.special = renderer.special
        self.call = _call_form(renderer)
        kept = "".join((OPEN, CLOSE, CALL_OPEN, CALL_CLOSE, _marks(self.form)))
        kept += self.call.pattern.pattern.replace("\\", "") if self.call else ""
        added = tokenizer.added_tokens_decoder.items()
        special = {int(i): str(token) for i, token in added if token.special}
        special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        self.special_ids = set(special)
        self.dropped = {i for i, token in special.items() if token not in kept}

    def said(self, ids: Sequence[int], ends: Sequence[int]) -> str:
        """The text of new tokens, without the special one that ends it.

        Args:
            ids: behind a prompt.
            ends: ids that end an answer.
        """
        ended = bool(ids) and ids[-1] in ends and ids[-1] in self.special_ids
        kept = [i for i in ids[: len(ids) - ended] if i not in self.dropped]
        return self.read(str(self.tokenizer.decode(kept, skip_special_tokens=False)))

    def read(self, text: str) -> str:
        """What a model wrote behind a prompt, as records hold it."""
        if self.call:
            text = self.call.pattern.sub(self.call.as_json, text)
        opening, closing = self.form.thought_open.strip(), self.form.thought_close.strip()
        if opening and CLOSE not in closing and text.lstrip().startswith(opening):
            return self._thought(text.lstrip().removeprefix(opening), closing)
        before, bare = self.form.plain_open.strip(), text.lstrip()
        # an end alone closes what the prompt has opened
        whole = (OPEN in before) == (CLOSE in before)
        return (
            bare.removeprefix(before).lstrip()
            if before and whole and bare.startswith(before)
            else text
        )

    def _thought(self, text: str, closing: str) -> str:
        """A thought in the template's own marks; behind its end comes an answer or a call."""
        mark = self.special.search(closing)
        end = mark.group() if mark else closing
        thought, closed, rest = text.partition(end)
        if not closed:
            return f"{OPEN}\n{thought.strip()}"
        header = closing.partition(end)[2]
        same = next(
            (n for n, (a, b) in enumerate(zip(header, rest, strict=False)) if a != b), len(header)
        )
        return joined(thought.strip(), rest[same:].lstrip())


@lru_cache(maxsize=16)
def _reader(tokenizer: PreTrainedTokenizerBase, template: str) -> Reader:
    """Of `template`, which the tokenizer holds: it may be set anew."""
    return Reader(tokenizer)


def reader_of(tokenizer: PreTrainedTokenizerBase) -> Reader:
    """What reads the answers of models with this tokenizer; made once a template."""
    return _reader(tokenizer, json.dumps(tokenizer.chat_template))


def _marks(form: Form) -> str:
    return f"{form.plain_open}{form.thought_open}{form.thought_close}"


def _call_form(renderer: Renderer) -> CallForm | None:
    """How calls are written, if they are."""
    try:
        plain, quoted = (_call(renderer, value) for value in (VALUE, QUOTED))
    except Unrenderable:
        return None
    ends = list(renderer.special.finditer(plain))
    end = ends[-1].group() if ends and ends[-1].end() == len(plain) else ""
    before, _, rest = plain.removesuffix(end).partition(NAME)
    between, _, rest = rest.partition(KEY)
    opening, _, closing = rest.partition(VALUE)
    before = before.removeprefix(renderer.form.plain_open).rpartition(CLOSE)[2].lstrip()
    if not before.strip() or not closing.strip():
        return None
    again = re.escape(between).replace(re.escape(NAME), "(?P=name)")
    pattern = re.compile(
        rf"{re.escape(before)}(?P<name>[\w.-]+?){again}(?P<key>\w+?){re.escape(opening)}(?P<value>.*?){re.escape(closing.rstrip())}",
        re.DOTALL,
    )
    quote = opening[-1:] if opening[-1:] in ("'", '"') else ""
    return CallForm(pattern, QUOTED not in quoted, quote, end if end != renderer.eos else "")


def _call(renderer: Renderer, value: str) -> str:
    """What the model writes to call."""
    (rendering,) = renderer.renderings([ASKED, call_message(value)], OFFERED)
    turn = rendering.turns[-1]
    return rendering.text[turn.begin : turn.end]
