"""Conversations as text, and which characters of it the model itself must write.

What is taught comes from two renderings: the prompt, which ends where the assistant goes on, and
the same conversation with the assistant's turn. What stands between them is the model's to write,
whatever the template put there. Example: a template that writes an empty thought before "I do not
know." teaches it too; one whose prompt opens the thought teaches from behind the opening on.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from data_filters.records.tool_calls import calls_of
from distill.chat_templates.forms import Form, Message, Unrenderable, form_of, rendered
from distill.chat_templates.thoughts import CLOSE, parts

_OPENED = re.compile(r"<think>\s*$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a range of a message stands in the text."""

    start: int  # in the message
    stop: int
    at: int  # in the text, of `start`


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the text."""

    message: int  # its number
    role: str
    begin: int  # of an assistant: where the model goes on
    end: int  # behind the token that ends the turn
    places: tuple[Place, ...]

    def range_of(self, start: int, stop: int) -> tuple[int, int]:
        """Characters of the text that stand for [start, stop) of the message; what the template put
        in the place of marks and white space belongs to a range that touches those.
        """
        begin, end = self.begin, self.places[-1].at + self.places[-1].stop - self.places[-1].start
        for place in self.places:
            if place.start <= start:
                begin = place.at + min(start, place.stop) - place.start
        for place in reversed(self.places):
            if stop <= place.stop:
                end = place.at + max(stop, place.start) - place.start
        return begin, end

    @property
    def content_end(self) -> int:
        """Behind the last character of the message."""
        last = self.places[-1]
        return last.at + last.stop - last.start


@dataclass(frozen=True, slots=True)
class Rendering:
    """A text and the messages in it. An assistant's turn stands in one rendering of a conversation,
    exactly as the template would have it written last.
    """

    text: str
    turns: tuple[Turn, ...]


class Renderer:
    """Writes the conversations of one tokenizer.

    Args:
        tokenizer: with a chat template.
        others: also find the messages that are not the assistant's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, others: bool = False) -> None:
        self.tokenizer, self.form, self.others = tokenizer, form_of(tokenizer), others
        self.eos = str(tokenizer.eos_token or "")
        marks = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special} | {self.eos}
        self.special = re.compile("|".join(map(re.escape, sorted(marks - {""}, key=len)[::-1])))

    def renderings(self, messages: Sequence[Message], tools: str | None = None) -> list[Rendering]:
        """The conversation in as few texts as teach each assistant's turn as it is written last.

        Example: a template that leaves out earlier thoughts gives a text for each turn.

        Raises:
            Unrenderable: the template refuses the conversation, or would lose some of it.
        """
        found: list[Rendering] = []
        text, turns, told = "", list[Turn](), 0
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = rendered(self.tokenizer, messages[:number], self.form, tools, prompt=True)
            if turns and not prompt.startswith(text):
                found.append(Rendering(text, tuple(turns)))
                turns = []
            first, at = (told, len(text)) if turns else (0, 0)
            turns += self._others(messages[:number], prompt, first=first, at=at, told=told)
            told = number + 1
            text, turn = self._turn(messages[: number + 1], prompt, tools)
            turns.append(turn)
        if turns:
            found.append(Rendering(text, tuple(turns)))
        elif messages:
            text = rendered(self.tokenizer, messages, self.form, tools)
            found.append(Rendering(text, tuple(self._others(messages, text))))
        return found

    def _turn(
        self, messages: Sequence[Message], prompt: str, tools: str | None
    ) -> tuple[str, Turn]:
        """The text up to the end of the last message, an assistant's, and its turn."""
        last = messages[-1]
        opened = _OPENED.search(prompt)
        begun = opened.start() if opened else len(prompt)
        whole = self._as_written(messages, prompt, begun, tools)
        places = _places(str(last["content"] or ""), whole, (begun, len(prompt)), self.form)
        stop = max(len(prompt), places[-1].at + places[-1].stop - places[-1].start)
        stop = _behind_calls(last, whole, stop)
        text, end = self._ended(whole, stop)
        turn = Turn(len(messages) - 1, "assistant", len(prompt), end, places)
        return text[:end], turn

    def _ended(self, text: str, stop: int) -> tuple[str, int]:
        """The text, and where the turn ends that has its last words before `stop`: with the model's
        own end, or with the last special token of the template.
        """
        marks = list(self.special.finditer(text, stop))
        own = next((mark.end() for mark in marks if mark.group() == self.eos), 0)
        if own or marks:
            return text, own or marks[-1].end()
        return text + self.eos, len(text + self.eos)

    def _as_written(
        self, messages: Sequence[Message], prompt: str, begun: int, tools: str | None
    ) -> str:
        """The prompt and what the model writes behind it."""
        whole = rendered(self.tokenizer, messages, self.form, tools)
        if whole.startswith(prompt):
            return whole
        if begun == len(prompt):  # no thought is opened
            pairs = zip(prompt, whole, strict=False)
            same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(whole))
            if not prompt[same:].strip():
                return prompt + whole[same:]
        elif whole.startswith(prompt[:begun]):
            # the prompt opens a thought, and the template leaves it out of a finished turn
            rest = whole[begun:]
            if rest.startswith("<think>"):
                return prompt + rest.removeprefix("<think>")
            content = str(messages[-1]["content"] or "")
            thought, _ = parts(content)
            said = content[thought.start : thought.stop] if thought else ""
            return f"{prompt}{said}\n{CLOSE}\n\n{rest.lstrip()}"
        raise Unrenderable(
            f"the prompt of the chat template ends with {prompt[-30:]!r}, which no such answer follows"
        )

    def _others(
        self,
        messages: Sequence[Message],
        text: str,
        *,
        first: int = 0,
        at: int = 0,
        told: int = 0,
    ) -> list[Turn]:
        """The messages that are not the assistant's: each must stand in the text.

        Args:
            first: the number of the first that is looked for.
            at: where it stands at the earliest.
            told: those before it were found in an earlier rendering.
        """
        turns = []
        for number, message in enumerate(messages[first:], first):
            if message["role"] == "assistant":
                continue
            whole = str(message["content"] or "")
            content = whole.strip()
            found = text.find(content, at)
            if found < 0:
                _check_written(message, content, text)
                continue
            at = found + len(content)
            if self.others and number >= told:
                start = whole.find(content)
                place = Place(start, start + len(content), found)
                turns.append(Turn(number, message["role"], found, at, (place,)))
        return turns


def _check_written(message: Message, content: str, text: str) -> None:
    """Results of tools may be written as JSON, and some messages stand before earlier ones.

    Raises:
        Unrenderable: it is not there at all.
    """
    if not any(form in text for form in (content, *_escaped(content))):
        raise Unrenderable(f"the chat template leaves out or changes a {message['role']} message")


def _escaped(value: str) -> Iterable[str]:
    """The value as texts of JSON and of Python hold it."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return (
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quoted,
        quoted.replace("\n", "\\n"),
    )


def _places(content: str, text: str, begun: tuple[int, int], form: Form) -> tuple[Place, ...]:
    """Where the assistant's message stands, whole or its thought and its answer.

    Args:
        begun: where its text begins at the earliest, and where the model goes on.

    Raises:
        Unrenderable: some of it is not there.
    """
    if not content:
        return (Place(0, 0, begun[1]),)
    if (found := _found(content, text, begun[0], begun[1] + len(form.plain_open))) >= 0:
        return (Place(0, len(content), found),)
    thought, answer = parts(content)
    places: list[Place] = []
    at, likely = begun[0], begun[1] + len(form.thought_open)
    for part, what in ((thought, "thought"), (answer, "answer")):
        if part is None or (places and part.start == part.stop):
            continue
        found = _found(content[part.start : part.stop], text, at, likely)
        if found < 0:
            raise Unrenderable(f"the chat template leaves out or changes the {what}")
        places.append(Place(part.start, part.stop, found))
        at = found + part.stop - part.start
        likely = at + len(form.thought_close)
    return tuple(places)


def _found(said: str, text: str, at: int, likely: int) -> int:
    """Where it stands: short texts may also stand in the template's own."""
    return likely if text.startswith(said, likely) else text.find(said, at)


def _behind_calls(message: Message, text: str, at: int) -> int:
    """Where the last argument of the last call ends.

    Raises:
        Unrenderable: a call is not there.
    """
    for call in calls_of(dict(message)):
        given = call.get("arguments", {})
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                given = {"": given}
        for said in (call["name"], *(v for v in given.values() if isinstance(v, str))):
            ways = (said.strip(), *_escaped(said))
            found = [(text.find(way, at), way) for way in ways if way in text[at:]]
            if not found:
                raise Unrenderable(
                    f"the chat template leaves out or changes a call of {call['name']}"
                )
            start, way = min(found)
            at = start + len(way)
    return at
