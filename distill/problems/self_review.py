"""An attempt goes back to its teacher with the verdict: it says which steps were sound, and writes
anew.

What the teacher says of itself earns nothing: a rewrite is verified like any other attempt, and
marks only lower the weight of steps.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from data_filters.records.traces import Span
from distill.engines.protocol import Conversation
from recipes.vocabulary import Grounding

DETECTOR = "review"
_ASK = """A checker says that this answer is {verdict}. These are the steps of the solution:
{steps}
Say of each step, one a line, whether it is sound, as "1: sound" or "1: unsound, because ...". Then write a line "Rewrite:" and below it \
the whole solution anew, in the form of the first."""
_MARK = re.compile(
    r"^\W*(?:step\s*)?(\d+)\W*[:.)-]\W*(sound|unsound)\b", re.IGNORECASE | re.MULTILINE
)
_REWRITE = re.compile(r"^\W*rewrite\W*:?\W*?$|^\W*rewrite\s*:\s*", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]?")


@dataclass(frozen=True, slots=True)
class Review:
    """What came back: step number -> sound, and the new text, or None where there is none."""

    marks: Mapping[int, bool]
    rewrite: str | None


def steps_of(text: str) -> list[tuple[int, int]]:
    """(start, end) of the steps of a thought: its lines, or its sentences where it is one line.
    Without a thought: of the whole text.
    """
    start, stop = 0, len(text)
    opened, closed = text.find("<think>"), text.find("</think>")
    if opened >= 0 and closed > opened:
        start, stop = opened + len("<think>"), closed
    lines = _trimmed(
        text, [match.span() for match in re.finditer(r"[^\n]+", text[start:stop])], start
    )
    return (
        lines
        if len(lines) > 1
        else _trimmed(text, [match.span() for match in _SENTENCE.finditer(text[start:stop])], start)
    )


def ask_review(prompt: str, attempt: str, verdict: str, system: str | None) -> Conversation:
    """The conversation that asks for marks and a rewrite."""
    steps = "\n".join(
        f"{number}: {attempt[start:end]}"
        for number, (start, end) in enumerate(steps_of(attempt), start=1)
    )
    said = [{"role": "system", "content": system}] if system else []
    return [
        *said,
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": attempt},
        {"role": "user", "content": _ASK.format(verdict=verdict, steps=steps)},
    ]


def read_review(text: str) -> Review:
    """What a teacher wrote back; a thought before its marks is passed over."""
    opened, closed = text.find("<think>"), text.find("</think>")
    if 0 <= opened < closed and not text[:opened].strip():
        text = text[closed + len("</think>") :]
    begun = _REWRITE.search(text)
    marks = {
        int(found[1]): found[2].lower() == "sound"
        for found in _MARK.finditer(text[: begun.start()] if begun else text)
    }
    rewrite = text[begun.end() :].strip() if begun else ""
    return Review(marks, rewrite or None)


def unsound_spans(text: str, review: Review, message: int, weight: float) -> list[Span]:
    """Spans of the steps that were marked unsound, with their loss weight."""
    unsound = [
        place
        for number, place in enumerate(steps_of(text), start=1)
        if review.marks.get(number) is False
    ]
    return [
        Span(
            message=message,
            start=start,
            end=end,
            kind="step",
            grounding=Grounding.COMMON,
            weight=weight,
            original=text[start:end],
            detector=DETECTOR,
        )
        for start, end in unsound
    ]


def _trimmed(text: str, ranges: list[tuple[int, int]], shift: int) -> list[tuple[int, int]]:
    """Ranges without the spaces around them; empty ones are left out."""
    found = []
    for start, end in ((a + shift, b + shift) for a, b in ranges):
        inner = text[start:end]
        if inner.strip():
            found.append(
                (start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip()))
            )
    return found
