"""An audit: a model names the statements of a trace that neither the prompt gives nor the reasoning
derives, and quotes them. Rules see names and numbers; "the pancreas makes insulin" has neither.

Only quotes count, never opinions: a quote must stand in the trace, word for word in the normal form
of words.py. What the prompt says itself, a calculation and a question are refused, whatever the
model thinks of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_filters.dedup.minhash import hash64
from data_filters.recall.passages import code_words
from data_filters.recall.words import Words, words_of
from data_filters.records.traces import Trace
from data_filters.text.stem import stem
from recipes.vocabulary import Role

Conversation = list[dict[str, str]]
# conversations, what is begun for each, most new tokens of an answer -> (text, tokens that it took)
Say = Callable[[Sequence[Conversation], Sequence[str], int], Sequence[tuple[str, int]]]
Place = tuple[int, int, int]  # message, first character, and the one behind the last

ASKED = """Question:
{question}

Text:
{text}

Copy each sentence of the text that states a fact about the world which the question does not tell \
and which cannot be worked out from it. Copy word for word, one sentence a line. Leave out what \
repeats the question, calculates, plans or concludes. Write NONE if there is no such sentence. \
Do not answer the question."""
# a small model answers the question unless it was shown once what a quote is
_SHOWN = {
    "question": "Ann keeps three bees. How many wings do they have?",
    "text": "Ann keeps three bees.\nBees have four wings.\n3 * 4 = 12.\nHoney is made of nectar.\n"
    "So they have 12 wings.\n",
}
_QUOTED = "Bees have four wings.\nHoney is made of nectar."
PIECE_CHARACTERS = 4000  # of a text in one question
_CHARACTERS_A_TOKEN = 3  # fewer than there are, so that a budget is kept
_LEAST_WORDS = 3  # of a quote
_GIVEN = 0.8  # share of a quote's own words that stand in the prompt
_BULLET = re.compile(r"^\s*(?:[-*\u2022>]+|\(?\d{1,3}[.):])\s+")
_PIECE = re.compile(r"(?<=[.!?])\s+|\n+")
_CALCULATION = re.compile(r"[=\u2248]|\d\s*[-+*/\u00d7\u00f7]\s*\d|\\(?:frac|times|cdot|sqrt)")
_CONCLUDES = re.compile(r"\banswer\s*(?:is|:)|^(?:so|therefore|thus|hence)\b", re.IGNORECASE)
_LITTLE = frozenset(
    "a an the of in on at by for from to and or but with as is are was were be been has have had do "
    "does did it its he she they his her their this that these those there not no so which who whom "
    "what when where how than then also can could would will may might must if because into".split()
)


@dataclass(slots=True)
class Audited:
    """What an audit found in one trace, and what it took."""

    places: list[Place] = field(default_factory=list)
    quotes: int = 0
    unmatched: int = 0  # quotes that do not stand in the trace
    refused: int = 0  # quotes that state nothing which was recalled
    tokens: int = 0  # of questions and answers

    def columns(self) -> dict[str, Any]:
        """As a row of the ask pass has them."""
        numbers = {f"audit_{n}": getattr(self, n) for n in ("quotes", "unmatched", "refused")}
        return {"audit": bool(self.places), "audit_tokens": self.tokens, **numbers}


def audit(
    traces: Sequence[Trace], say: Say, new_tokens: int, budget: int | None
) -> dict[str, Audited]:
    """What a model names in these traces, by trace id; traces beyond the budget are left out.

    Args:
        traces: of one unit.
        say: the model that audits, greedy.
        new_tokens: of an answer, at most.
        budget: tokens for all of them, questions and answers; None: no limit.
    """
    pieces = [
        (trace, number, piece)
        for trace in within(traces, budget, lambda trace: _cost(trace, new_tokens))
        for number, piece in _pieces(trace)
    ]
    said = say(
        [question_about(trace, number, piece) for trace, number, piece in pieces],
        [""] * len(pieces),
        new_tokens,
    )
    found: dict[str, Audited] = {}
    for (trace, number, _), (answer, tokens) in zip(pieces, said, strict=True):
        one = found.setdefault(trace.id, Audited())
        one.tokens += tokens
        _add(one, trace, number, quotes_of(answer))
    for one in found.values():
        one.places = sorted(set(one.places))
    return found


def within(
    traces: Sequence[Trace], budget: int | None, cost: Callable[[Trace], int]
) -> list[Trace]:
    """Those traces that a budget is enough for, drawn by their ids, in their order."""
    if budget is None:
        return list(traces)
    chosen: set[str] = set()
    for trace in sorted(traces, key=lambda trace: hash64(trace.id)):
        budget -= cost(trace)
        if budget < 0:
            break
        chosen.add(trace.id)
    return [trace for trace in traces if trace.id in chosen]


def question_about(trace: Trace, number: int, piece: str) -> Conversation:
    """What the auditor is asked about a piece of a message."""
    given = "\n".join(m["content"] for m in trace.messages[:number] if m["role"] != Role.ASSISTANT)
    return [
        {"role": "user", "content": ASKED.format(**_SHOWN)},
        {"role": "assistant", "content": _QUOTED},
        {"role": "user", "content": ASKED.format(question=given.strip(), text=piece)},
    ]


def quotes_of(answer: str) -> list[str]:
    """The quotes of an answer, each once; thought before it is left out."""
    lines = answer.rpartition("</think>")[2].splitlines()
    bare = (_BULLET.sub("", line).strip().strip("\"'\u201c\u201d\u2018\u2019`*") for line in lines)
    return [line for line in dict.fromkeys(bare) if line and line.strip(".").upper() != "NONE"]


def _pieces(trace: Trace) -> Iterator[tuple[int, str]]:
    """(message, text) of what an assistant wrote, cut between sentences."""
    for number, message in enumerate(trace.messages):
        if message["role"] != Role.ASSISTANT:
            continue
        held = ""
        for sentence in _PIECE.split(re.sub(r"</?think>", "\n", message["content"])):
            if held and len(held) + len(sentence) > PIECE_CHARACTERS:
                yield number, held
                held = ""
            held += f"{sentence.strip()}\n" if sentence.strip() else ""
        if held:
            yield number, held


def _cost(trace: Trace, new_tokens: int) -> int:
    """Tokens that the audit of a trace takes, at most."""
    return sum(
        sum(len(m["content"]) for m in question_about(trace, number, piece)) // _CHARACTERS_A_TOKEN
        + new_tokens
        for number, piece in _pieces(trace)
    )


def _add(one: Audited, trace: Trace, number: int, quotes: Sequence[str]) -> None:
    text = trace.messages[number]["content"]
    found, given = words_of(text), _own_words(trace.prompt())
    code = code_words(text, found)
    parts = (part for quote in quotes for part in _parts(quote, found))
    for quote, place in parts:
        one.quotes += 1
        if place is None:
            one.unmatched += 1
        elif code[place[0] : place[1]].any() or not is_statement(quote, given):
            one.refused += 1
        else:
            first, last = place
            start, end = found.places[first][0], found.places[last - 1][1]
            one.places.append((number, start, end))


def _parts(quote: str, found: Words) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """A quote and its place, or its sentences and theirs: some models write them in one line."""
    place = located(quote, found)
    sentences = [part for part in _PIECE.split(quote) if words_of(part).words]
    if place is None and len(sentences) > 1:
        yield from ((part, located(part, found)) for part in sentences)
    else:
        yield quote, place


def located(quote: str, found: Words) -> tuple[int, int] | None:
    """(first word, the one behind the last) of a quote in a text, in the normal form; None: it does
    not stand there, or is too short to tell.
    """
    wanted = words_of(quote).words
    if len(wanted) < _LEAST_WORDS:
        return None
    text, part = f" {' '.join(found.words)} ", f" {' '.join(wanted)} "
    at = text.find(part)
    if at < 0:
        return None
    first = text.count(" ", 0, at + 1) - 1
    return first, first + len(wanted)


def is_statement(quote: str, given: frozenset[str]) -> bool:
    """Whether a quote states something of its own.

    Args:
        given: stems of the words that the prompt uses.
    """
    if quote.rstrip().endswith("?") or _CALCULATION.search(quote) or _CONCLUDES.search(quote):
        return False
    own = _own_words(quote)
    return bool(own) and len(own & given) < _GIVEN * len(own)


def _own_words(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words_of(text).words if word not in _LITTLE)
