"""Recitation: a model gets the first words of a run and nothing else. If it goes on with the words
of the trace, it knows them by heart.

Only prose is asked about, and only where the words to come are not foretold by those before: a
table, a formula or a list that anybody would continue is no passage.
Source: extraction by prefix, Carlini et al. 2021, arXiv 2012.07805; greedy, as in arXiv 2202.07646.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from data_filters.recall.audit import Place, Say, within
from data_filters.recall.passages import code_words, is_passage
from data_filters.recall.words import Words, words_of
from data_filters.records.traces import Trace
from recipes.vocabulary import Role

BEGUN_WORDS, ASKED_WORDS = 16, 24
RECITED = 0.75  # share of the asked words that come in their order
NEW_TOKENS = 2 * ASKED_WORDS
_ASKED = [{"role": "user", "content": "Write down the text that begins with these words."}]
_IN_A_ROW = 3  # equal words that count; a single one may be chance
_NEW_WORDS = 8  # different words among those to come that neither the prompt nor the beginning has
_CHARACTERS_A_TOKEN = 3


class Run(NamedTuple):
    """A run of words of a trace: how it begins, and what should follow."""

    message: int
    begun: str
    rest: list[str]
    start: int
    end: int


@dataclass(slots=True)
class Recited:
    """What a model went on with in one trace."""

    places: list[Place] = field(default_factory=list)
    runs: int = 0
    tokens: int = 0
    most: float = 0.0  # largest share of words that came

    def columns(self) -> dict[str, Any]:
        """As a row of the ask pass has them."""
        return {
            "recite": bool(self.places),
            "recite_tokens": self.tokens,
            "recite_runs": self.runs,
            "recite_share": self.most,
        }


def recite(traces: Sequence[Trace], say: Say, budget: int | None) -> dict[str, Recited]:
    """What a model recites of these traces, by trace id; traces beyond the budget are left out.

    Args:
        traces: of one unit.
        say: the model, greedy.
        budget: tokens for all of them, questions and answers; None: no limit.
    """
    chosen = within(traces, budget, _cost)
    runs = [(trace, run) for trace in chosen for run in runs_of(trace)]
    said = say([_ASKED] * len(runs), [run.begun for _, run in runs], NEW_TOKENS)
    found = {trace.id: Recited() for trace in chosen}
    for (trace, run), (text, tokens) in zip(runs, said, strict=True):
        one = found[trace.id]
        share = share_equal(run, text)
        one.runs, one.tokens, one.most = one.runs + 1, one.tokens + tokens, max(one.most, share)
        if share >= RECITED:
            one.places = joined([*one.places, (run.message, run.start, run.end)])
    return found


def runs_of(trace: Trace) -> Iterator[Run]:
    """The runs of a trace that are asked about, one behind the other."""
    given = set(words_of(trace.prompt()).words)
    for number, message in enumerate(trace.messages):
        if message["role"] == Role.ASSISTANT:
            found = words_of(message["content"])
            code = code_words(message["content"], found)
            for first in _firsts(message["content"], found):
                middle, last = first + BEGUN_WORDS, first + BEGUN_WORDS + ASKED_WORDS
                begun, rest = found.words[first:middle], found.words[middle:last]
                new = set(rest) - set(begun) - given
                if code[first:last].any() or len(new) < _NEW_WORDS:
                    continue
                if not is_passage(rest, code[middle:last], ASKED_WORDS):
                    continue
                start, end = found.places[first][0], found.places[last - 1][1]
                said = message["content"][start : found.places[middle - 1][1]]
                yield Run(number, said, rest, start, end)


def _firsts(text: str, found: Words) -> Iterator[int]:
    """Where runs begin: behind one another, and none across a tag, since nobody wrote it down so."""
    first = 0
    while first + BEGUN_WORDS + ASKED_WORDS <= len(found.words):
        last = first + BEGUN_WORDS + ASKED_WORDS
        tag = text.rfind("think>", found.places[first][0], found.places[last - 1][1])
        if tag >= 0:
            first = next(n for n in range(first, last) if found.places[n][0] >= tag) + 1
            continue
        yield first
        first = last


def share_equal(run: Run, text: str) -> float:
    """The share of the words to come that a continuation has, in their order, 0..1."""
    said = words_of(text).words
    begun = words_of(run.begun).words
    if said[: len(begun)] == begun:
        said = said[len(begun) :]
    # the last word may be cut by the limit of tokens
    pairs = SequenceMatcher(None, run.rest, said[: len(run.rest) + 4], autojunk=False)
    equal = sum(m.size for m in pairs.get_matching_blocks() if m.size >= _IN_A_ROW)
    return equal / len(run.rest)


def joined(places: Sequence[Place]) -> list[Place]:
    """Places in order; those with nothing but signs between them become one."""
    whole: list[Place] = []
    for message, start, end in sorted(places):
        if whole and whole[-1][0] == message and start <= whole[-1][2] + 3:
            whole[-1] = message, whole[-1][1], end
        else:
            whole.append((message, start, end))
    return whole


def _cost(trace: Trace) -> int:
    asked = len(_ASKED[0]["content"])
    return sum(
        (asked + len(run.begun)) // _CHARACTERS_A_TOKEN + NEW_TOKENS for run in runs_of(trace)
    )
