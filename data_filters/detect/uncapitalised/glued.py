"""Names that are glued to signs: in e-mail addresses, handles, hashtags and joined words."""

import re
from collections.abc import Iterator

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem
from recipes.vocabulary import Kind

_ADDRESS = re.compile(  # e-mail, handle or hashtag
    r"(?<![\w.+-])(?P<who>[a-z][\w.+-]{2,40})@(?P<host>[A-Za-z][\w-]{2,40})\.[a-z]{2,10}\b"
    r"|(?<![\w@#/&.:])[@#](?P<handle>[A-Za-z]\w{3,40})(?![\w(@])"
)
_JOINED = re.compile(r"(?<![\w./\\@#-])[a-z]{3,}(?:[_-][a-z]{3,})+(?![\w(\[=./\\@-])")
_JOINT = re.compile(r"[_-][a-z]{3}")
_PART = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])")
_STAMP = re.compile(  # the time at the head of a line of a log
    r"^\W?\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?Z?)?\W?\s+\W?"
    r"(?=(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b)",
    re.MULTILINE,
)
_MIN_LETTERS = 4


def find_glued_names(reading: Reading) -> Iterator[CandidateSpan]:
    """Who is meant in "sofia_bergstrom@example.org", "@sofiabergstrom" and "#VisitLisbon"; a town in
    "lisbon-bucket". Words of the prompt and ordinary ones are nobody.
    """
    text = reading.text
    if not any(sign in text for sign in "@#_-"):
        return
    in_code = reading.notation.covers
    for match in _ADDRESS.finditer(text) if "@" in text or "#" in text else ():
        for group in ("who", "host", "handle"):
            start, end = match.span(group)
            if start >= 0 and not in_code(start) and _names_somebody(reading, text[start:end]):
                yield CandidateSpan(start, end, Kind.NAME, "glued")
    for match in _joined(text):
        if in_code(match.start()):
            continue
        for part in _PART.finditer(match[0]):
            if _is_town(reading, part[0]):
                start = match.start() + part.start()
                yield CandidateSpan(start, start + len(part[0]), Kind.PLACE, "glued")


def _joined(text: str) -> Iterator[re.Match[str]]:
    """What `_JOINED` finds, looked for at joints alone: there are few."""
    end = 0
    for joint in _JOINT.finditer(text):
        start = joint.start()
        while start > end and "a" <= text[start - 1] <= "z":
            start -= 1
        match = _JOINED.match(text, start)
        if match is not None:
            end = match.end()
            yield match


def _names_somebody(reading: Reading, said: str) -> bool:
    if said.lower() in reading.prompt.lowered:
        return False
    parts = [part for part in _PART.findall(said) if len(part) >= _MIN_LETTERS]
    return any(not is_ordinary(stem(part)) and not _given(reading, part) for part in parts)


def _is_town(reading: Reading, part: str) -> bool:
    listed = len(part) >= _MIN_LETTERS and reading.gazetteer.kind((part,))
    return bool(listed) and not is_ordinary(stem(part)) and not _given(reading, part)


def _given(reading: Reading, part: str) -> bool:
    return part.lower() in reading.prompt.lowered or stem(part) in reading.curriculum.common


def without_stamps(text: str, spans: list[CandidateSpan]) -> list[CandidateSpan]:
    """The spans outside the times at the heads of log lines, which say nothing of anybody."""
    if "-" not in text:
        return spans
    stamps = [match.span() for match in _STAMP.finditer(text)]
    return [one for one in spans if not any(a <= one.start < b for a, b in stamps)]
