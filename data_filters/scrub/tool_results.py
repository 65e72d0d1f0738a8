"""What a tool has just answered is given, whatever it is about.

A result such as {"amount": 460.5, "currency": "VLK"} names no entity that its values could be bound to;
it answers the call that was made for this very question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from data_filters.records.traces import Span
from data_filters.text.tokens import split_sentences
from recipes.vocabulary import Grounding, Role


def given_by_tools(
    messages: Sequence[Mapping[str, str]], number: int, spans: list[Span]
) -> list[Span]:
    """The spans of message `number`, given where the results before it have their numbers, or all
    their words. Only results in JSON count: prose says of whom it speaks.
    """
    said: set[object] = set()
    for message in reversed(messages[:number]):
        if message["role"] != Role.TOOL:
            break
        if message["content"].lstrip().startswith(("{", "[")):
            said |= _parts(message["content"])
    if not said:
        return spans
    return [
        replace(span, grounding=Grounding.GIVEN)
        if span.grounding == Grounding.UNGROUNDED and _stated(span.original) <= said
        else span
        for span in spans
    ]


def _stated(text: str) -> set[object]:
    """The numbers of a span, without their units; its words where it has none."""
    parts = _parts(text)
    return {part for part in parts if not isinstance(part, str)} or parts


def _parts(text: str) -> set[object]:
    """The stems of the words of a text, and the values of its numbers."""
    return {
        token.key if token.value is None else token.value
        for sentence in split_sentences(text)
        for token in sentence.tokens
        if token.kind in ("word", "number")
    }
