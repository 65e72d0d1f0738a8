"""Whether a trace has the shape of one: an assistant who said something, to the end, in characters
that are text.
"""

import re
import zlib
from collections import Counter

from data_filters.records.traces import Trace
from recipes.vocabulary import FinishReason

LEAST_CHARACTERS = 200  # a short answer may repeat itself
# of its bytes; a page of prose keeps 0.35 to 0.5, arithmetic in steps 0.2 to 0.3
COMPRESSED_FRACTION = 0.12
REPEATED_FRACTION = 0.6  # of its word 6-grams that stand in it before
GRAM_WORDS = 6
RUN_CHARACTERS = 100  # one short unit over and over, without a break
_RUN = re.compile(r"(\S{1,8}?)\1{11,}")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # all but tab and line ends


def misshapen(trace: Trace, longest_characters: int) -> str | None:
    """Why a trace is not worth a look, or None.

    Args:
        longest_characters: of all its messages together.
    """
    size = sum(len(m["content"]) for m in trace.messages)
    if size > longest_characters:
        return f"too long: {size:,} characters, filter.longest_characters is {longest_characters:,}"
    last = next((m["content"] for m in reversed(trace.messages) if m["role"] == "assistant"), None)
    if last is None:
        return "no assistant message"
    if trace.finish_reason == FinishReason.REFUSED:
        return "refused: the teacher's server did not take the prompt"
    if trace.finish_reason == FinishReason.LENGTH:
        return "truncated: finish_reason is length"
    for number, message in enumerate(trace.messages):
        control = CONTROL.search(message["content"])
        if control:
            return f"control character: U+{ord(control[0]):04X} in message {number}"
        if (
            message["role"] in ("user", "assistant")
            and not message["content"].strip()
            and not message.get("tool_calls")
        ):
            return f"empty message: number {number}, of the {message['role']}"
    repeats = degenerate(last)
    return f"degenerate: {repeats}" if repeats is not None else None


def degenerate(text: str) -> str | None:
    """Why a text is degenerate, with the number, or None."""
    run = _longest_run(text)
    if run >= RUN_CHARACTERS:
        return f"one unit repeated over {run} characters"
    if len(text) < LEAST_CHARACTERS:
        return None
    data = text.encode(errors="surrogatepass")
    kept = len(zlib.compress(data, 9)) / len(data)
    if kept < COMPRESSED_FRACTION:
        return f"compresses to {kept:.0%} of its bytes"
    words = text.split()
    grams = Counter(tuple(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))
    repeated = 1 - len(grams) / max(1, grams.total())
    if repeated > REPEATED_FRACTION:
        return f"{repeated:.0%} of its {GRAM_WORDS}-grams repeat"
    return None


def _longest_run(text: str) -> int:
    """Characters of the longest stretch that repeats a unit of one to eight characters
    ("dhdhdhdh"); rules of dashes are no text.
    """
    return max(
        (len(found[0]) for found in _RUN.finditer(text) if any(map(str.isalnum, found[1]))),
        default=0,
    )
