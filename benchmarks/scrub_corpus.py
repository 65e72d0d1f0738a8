"""Texts with planted facts whose places are known: sentence templates in five registers, filled
from a seed.

Half of the templates, by hash, are held out: what a detector misses in them is counted, and was not
looked at when it was written.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scrub_entities import COUNTED, Values
from recipes.vocabulary import Kind

TEMPLATES = Path(__file__).with_name("scrub_templates.txt")
KINDS = {
    "person": Kind.PERSON,
    "place": Kind.PLACE,
    "org": Kind.ORGANISATION,
    "date": Kind.DATE,
    "quantity": Kind.QUANTITY,
    "title": Kind.TITLE,
}
OPEN_PROMPTS = (
    "Tell me something that I do not know yet.",
    "Write one line for a school magazine.",
    "What comes to your mind?",
    "Continue the text.",
    "Give an example.",
    "Which one is it? Think aloud.",
    "Please answer the question from the lecture.",
)
_SLOT = re.compile(r"\{(person|place|org|date|quantity|title)2?\}")
_SMALL_WORDS = frozenset(  # they say nothing by themselves
    "the of and a an in on at for to with from by between dr sir".split()
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Template:
    register: str
    text: str

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 1


@dataclass(frozen=True, slots=True)
class Fact:
    """A range of a text that states what nobody gave."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A text with its facts."""

    template: Template
    prompt: str
    text: str
    facts: tuple[Fact, ...]


def templates() -> list[Template]:
    """All templates, in the order of the file."""
    lines = TEMPLATES.read_text(encoding="utf-8").splitlines()
    parts = [line.split(" | ", 1) for line in lines if line and not line.startswith("#")]
    return [Template(register, text) for register, text in parts]


def planted(each: int, seed: int) -> Iterator[Planted]:
    """Every template filled `each` times; the prompt gives none of its values."""
    values, rng = Values(seed), random.Random(seed)
    for template in templates():
        for _ in range(each):
            text, facts = fill(template, values)
            yield Planted(template, rng.choice(OPEN_PROMPTS), *_framed(template, text, facts))


def fill(template: Template, values: Values) -> tuple[str, list[Fact]]:
    """The sentence, and where its values stand."""
    text, facts, at = "", [], 0
    for slot in _SLOT.finditer(template.text):
        text += template.text[at : slot.start()]
        value = values.draw(slot[1], text)
        if not text.strip('|*_#>-`" ') and value[0].islower():
            value = value[0].upper() + value[1:]
        # what is counted is no part of it
        stated = (
            value.removesuffix(f" {value.split()[-1]}") if value.split()[-1] in COUNTED else value
        )
        facts.append(Fact(len(text), len(text) + len(stated), KINDS[slot[1]]))
        text, at = text + value, slot.end()
    return text + template.text[at:], facts


def _framed(template: Template, text: str, facts: list[Fact]) -> tuple[str, tuple[Fact, ...]]:
    """Thinking aloud stands in a reasoning block."""
    if template.register != "thinking":
        return text, tuple(facts)
    opening = "<think>\n"
    moved = tuple(
        Fact(fact.start + len(opening), fact.end + len(opening), fact.kind) for fact in facts
    )
    return f"{opening}{text}\n</think>\n\nI hope that this helps.", moved


def covered(text: str, fact: Fact, spans: list[tuple[int, int]]) -> bool:
    """Whether every word of a fact, small ones such as "of" aside, lies in a span."""
    words = [
        match
        for match in _WORD.finditer(text, fact.start, fact.end)
        if match.group().lower() not in _SMALL_WORDS
    ]
    return all(
        any(start <= word.start() and word.end() <= end for start, end in spans) for word in words
    )
