"""How much a text repeats itself: the one measure for the filter and for a training's probes."""

import re
import zlib
from collections import Counter

LEAST_CHARACTERS = 200  # a short answer may repeat itself
# of its bytes; a page of prose keeps 0.35 to 0.5, arithmetic in steps 0.2 to 0.3
COMPRESSED_FRACTION = 0.12
REPEATED_FRACTION = 0.6  # of its word 6-grams that stand in it before
GRAM_WORDS = 6
RUN_CHARACTERS = 100  # one short unit over and over, without a break
_RUN = re.compile(r"(\S{1,8}?)\1{11,}")


def degenerate(text: str) -> str | None:
    """Why a text is degenerate, with the number, or None."""
    run = longest_run(text)
    if run >= RUN_CHARACTERS:
        return f"one unit repeated over {run} characters"
    if len(text) < LEAST_CHARACTERS:
        return None
    data = text.encode(errors="surrogatepass")
    kept = len(zlib.compress(data, 9)) / len(data)
    if kept < COMPRESSED_FRACTION:
        return f"compresses to {kept:.0%} of its bytes"
    repeated = repeated_fraction(text)
    if repeated > REPEATED_FRACTION:
        return f"{repeated:.0%} of its {GRAM_WORDS}-grams repeat"
    return None


def repetition(text: str) -> float:
    """How much of a text repeats itself, 0..1: the share of its word 6-grams that stand in it
    before, or of its characters in one run of a short unit, whichever is larger.
    """
    return max(repeated_fraction(text), longest_run(text) / max(1, len(text)))


def repeated_fraction(text: str) -> float:
    """Share of its word 6-grams that stand in it before, 0..1."""
    words = text.split()
    grams = Counter(tuple(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))
    return 1 - len(grams) / max(1, grams.total()) if grams else 0.0


def longest_run(text: str) -> int:
    """Characters of the longest stretch that repeats a unit of one to eight characters
    ("dhdhdhdh"); rules of dashes are no text.
    """
    return max(
        (len(found[0]) for found in _RUN.finditer(text) if any(map(str.isalnum, found[1]))),
        default=0,
    )
