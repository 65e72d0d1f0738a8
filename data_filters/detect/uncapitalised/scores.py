"""How a game ended: "won 3-1", "scored twice". Small numbers, and yet nobody can work them out."""

import re
from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from recipes.vocabulary import Kind

_PLAY = re.compile(
    r"\b(?:w[io]n|wins|winning|beat|beats|beaten|lost|loses?|losing|drew|draws|drawn|defeat(?:s|ed)?"
    r"|scor(?:e|es|ed|ing)|lead|led|trail(?:s|ed)?|finished|ended|matches|match|goals?|game|final|half)\b"
)
_SCORE = re.compile(r"(?<![\w.,:/-])\d{1,3}(?:\s?[-\u2013:]\s?\d{1,3}){1}(?![\w/%:-]|[.,]\d)")
_HOW_OFTEN = re.compile(
    r"\bscor(?:ed|es|ing)\s(once|twice|thrice|(?:two|three|four|five)\s(?:times|goals))\b"
)
_REACH = 60  # characters on either side in which the play is named


def find_scores(reading: Reading) -> Iterator[CandidateSpan]:
    """Scores near a word of play, as they stand; none where the prompt has something to work out."""
    text, prompt = reading.text, reading.prompt
    if prompt.works_out or _PLAY.search(text) is None:
        return
    for match in _SCORE.finditer(text):
        start, end = match.span()
        if _PLAY.search(text, max(0, start - _REACH), min(len(text), end + _REACH)):
            yield CandidateSpan(start, end, Kind.ANSWER, "scores")
    for match in _HOW_OFTEN.finditer(text):
        yield CandidateSpan(match.start(1), match.end(1), Kind.ANSWER, "scores")
