"""Abbreviations that a text's own names make: "NGE" of the Northern Grain Exchange."""

from collections.abc import Iterator, Sequence

from data_filters.text.tokens import Token

_SMALL = frozenset("of the and for in on de la del des du di von van".split())
_MAX_WORDS = 8


def initials(words: Sequence[Token]) -> Iterator[str]:
    """The abbreviations of every run of capitalised words of a sentence, in lower case; with and
    without the small words between them. A single name has its first letter: "J. Smith".

    Args:
        words: of one sentence, in order.
    """
    for run in _runs(words):
        yield from {word.text[0].lower() for word in run if word.name}
        for first in range(len(run)):
            if not run[first].name:
                continue
            for last in range(first + 1, len(run)):
                if run[last].name:
                    part = run[first : last + 1]
                    yield "".join(word.text[0] for word in part if word.name).lower()
                    yield "".join(word.text[0] for word in part).lower()


def _runs(words: Sequence[Token]) -> Iterator[list[Token]]:
    run: list[Token] = []
    for word in words:
        goes_on = bool(run) and word.start - run[-1].end <= 2 and len(run) < _MAX_WORDS
        if goes_on and (word.name or word.text in _SMALL):
            run.append(word)
            continue
        if run:
            yield run
        run = [word] if word.name else []
    if run:
        yield run
