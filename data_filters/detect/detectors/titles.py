"""Titles of works in quotation marks or italics."""

import re
from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.stem import stem
from recipes.vocabulary import Kind

MAX_WORDS = 12
_INSIDE = r"[^\W_][^\n\"\u201c\u201d*_]{1,90}?"
_MARKED = re.compile(  # the mark stands first: `re` leaps to the next one
    r"[\"\u201c\u00ab*_](?<!\w.)(?:"
    rf"(?<=\")({_INSIDE})\"|(?<=\u201c)({_INSIDE})\u201d|(?<=\u00ab)\s?({_INSIDE})\s?\u00bb"
    rf"|(?<=\*)(?<!\*\*)({_INSIDE})\*(?!\*)|(?<=_)(?<!__)({_INSIDE})_(?!_))(?!\w)"
)
_SPEECH = re.compile(r"[,.;?!]$|\.\s|[=<>{}\\|/]|:$")
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
_SMALL = frozenset("a an the of and or in on at to for from by with without".split())


def find_titles(reading: Reading) -> Iterator[CandidateSpan]:
    """Marked passages that read like a title: no sentence of speech, with a capital first, and a
    word that is no tool of thought.
    """
    text, ordinary = reading.text, reading.curriculum.ordinary
    for match in _MARKED.finditer(text):
        start, end = match.span(match.lastindex or 0)
        inside = text[start:end]
        words = _WORD.findall(inside)
        if (
            not words
            or len(words) > MAX_WORDS
            or _SPEECH.search(inside)
            or not inside[0].isupper()
            or inside.isupper()
        ):
            continue
        content = [word for word in words if word.lower() not in _SMALL]
        if sum(word[0].islower() for word in content[1:]) > len(content) / 2:
            continue  # "Deposit must be positive" is no title
        numbered = bool(content) and inside.split()[-1].isdigit()
        if content and (numbered or any(stem(word) not in ordinary for word in content)):
            yield CandidateSpan(start, end, Kind.TITLE, "titles")
