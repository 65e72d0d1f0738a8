"""Passages in what an assistant wrote: long runs of words that stand in a known text and not in the
prompt.

A formula, a usual piece of code or the prompt said again is no passage: words of formulas and code
do not count, except in a run that is as long as a whole function, and a run needs many different
words of its own.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data_filters.recall.known_texts import RUN_WORDS, KnownTexts
from data_filters.recall.words import Words, run_hashes, words_of
from data_filters.records.traces import Span, Trace
from recipes.vocabulary import Grounding, Kind, Role

PASSAGE_WORDS = 10
_BRIDGED = 6  # other words between two runs of one passage: somebody changed them
_CODE_WORDS = 64  # of a run in code or formulas
_DISTINCT = 6  # different words of three letters or more
_PLAIN = 0.6  # share of words that are neither numbers nor single letters
_CODE = re.compile(
    r"```.*?(?:```|\Z)|\$\$.{1,2000}?\$\$|\$[^$\n]{1,300}\$|\\\[.{1,2000}?\\\]|\\\(.{1,300}?\\\)"
    r"|`[^`\n]{1,200}`",
    re.DOTALL,
)
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/|\"\"\".*?\"\"\"", re.DOTALL)


def passages(trace: Trace, known: KnownTexts, least_words: int = PASSAGE_WORDS) -> list[Span]:
    """The spans of passages in the assistant's messages, ungrounded, in order.

    Args:
        trace: as the teacher wrote it.
        known: the known texts.
        least_words: of a passage.
    """
    given = [run_hashes(words_of(trace.prompt()).words, RUN_WORDS)]
    spans: list[Span] = []
    for number, message in enumerate(trace.messages):
        if message["role"] != Role.ASSISTANT:
            continue
        text = message["content"]
        found = words_of(text)
        runs = run_hashes(found.words, RUN_WORDS)
        if len(runs):
            hits = known.holds(runs) & ~np.isin(runs, np.concatenate(given))
            code = code_words(text, found)
            for first, last in _stretches(hits):
                if last - first < _CODE_WORDS:
                    first, last = _without_code(code, first, last)
                if is_passage(found.words[first:last], code[first:last], least_words):
                    spans.append(passage_span(number, text, found, first, last, "known_texts"))
        given.append(runs)  # what was said once is no new passage
    return spans


def overlaid(spans: Sequence[Span], wider: Sequence[Span]) -> list[Span]:
    """All of both, in order: a wider span stands in place of those that it touches.

    Args:
        spans: without overlap.
        wider: the same.
    """
    taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for span in wider:
        taken[span.message].append((span.start, span.end))
    kept = [
        span
        for span in spans
        if not any(start < span.end and span.start < end for start, end in taken[span.message])
    ]
    return sorted([*kept, *wider], key=lambda span: (span.message, span.start, -span.end))


def passage_span(
    message: int, text: str, found: Words, first: int, last: int, detector: str
) -> Span:
    """The span of words `first` to `last` of a message, the last one left out."""
    start, end = found.places[first][0], found.places[last - 1][1]
    return Span(
        message=message,
        start=start,
        end=end,
        kind=Kind.PASSAGE,
        grounding=Grounding.UNGROUNDED,
        original=text[start:end],
        detector=detector,
    )


def code_words(text: str, found: Words) -> np.ndarray:
    """Whether each word stands in code or a formula, bool [len(words)]; comments are prose."""
    inside = np.zeros(len(found.words), bool)
    starts = [start for start, _ in found.places]
    for match in _CODE.finditer(text):
        first, last = np.searchsorted(starts, match.span())
        inside[first:last] = True
        for comment in _COMMENT.finditer(text, *match.span()):
            first, last = np.searchsorted(starts, comment.span())
            inside[first:last] = False
    return inside


def _stretches(hits: np.ndarray) -> Iterator[tuple[int, int]]:
    """First word and the one behind the last of each stretch that runs cover, short gaps closed."""
    begun: tuple[int, int] | None = None
    for place in np.flatnonzero(hits).tolist():
        if begun and place <= begun[1] + _BRIDGED:
            begun = begun[0], place + RUN_WORDS
            continue
        if begun:
            yield begun
        begun = place, place + RUN_WORDS
    if begun:
        yield begun


def _without_code(code: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """A stretch without the code at its ends."""
    prose = np.flatnonzero(~code[first:last]).tolist()
    return (first + prose[0], first + prose[-1] + 1) if prose else (first, first)


def is_passage(words: Sequence[str], code: np.ndarray, least: int) -> bool:
    """Whether a run of words is long and varied enough to be a passage.

    Args:
        words: in their normal form.
        code: whether each stands in code or a formula.
        least: words outside code that it must have.
    """
    long = {word for word in words if len(word) > 2 and word.isalpha()}
    plain = [word for word in words if len(word) > 1 and word.isalpha()]
    enough = len(words) - int(code.sum()) >= least or len(words) >= _CODE_WORDS
    return enough and len(long) >= _DISTINCT and len(plain) >= _PLAIN * len(words)
