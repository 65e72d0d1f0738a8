"""The parts of an assistant's message: its thought and its answer."""

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Part:
    """A range of characters of a message, without the white space around it."""

    start: int
    stop: int


def parts(content: str) -> tuple[Part | None, Part]:
    """The thought and the answer of a message.

    Example: "<think>\\nSo.\\n</think>\\n\\nYes." holds the thought "So." and the answer "Yes.".

    Returns:
        thought: None where there is none, or an empty one.
        answer: what stands behind the last mark, or all of the message.
    """
    closed = content.rfind(CLOSE)
    if closed < 0:
        return None, _stripped(content, 0, len(content))
    begun = content[: len(content) - len(content.lstrip())] + OPEN
    start = len(begun) if content.startswith(begun) else 0
    thought = _stripped(content, start, closed)
    answer = _stripped(content, closed + len(CLOSE), len(content))
    return (thought if thought.stop > thought.start else None), answer


def _stripped(text: str, start: int, stop: int) -> Part:
    inner = text[start:stop]
    first = start + len(inner) - len(inner.lstrip())
    return Part(first, max(first, start + len(inner.rstrip())))


def joined(thought: str, answer: str) -> str:
    """A message with a thought, as records hold it."""
    return f"{OPEN}\n{thought}\n{CLOSE}\n\n{answer}"
