"""A text as words in one normal form, each with its place, and runs of words as numbers of 64 bits.

Case, punctuation, line ends and the form of apostrophes do not matter: "Don\u2019t\\nstop" and
"don't stop" are the same two words.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from data_filters.dedup.minhash import hash64, mixed

_WORD = re.compile("[^\\W_]+(?:['\u2019\u0300-\u036f]+[^\\W_]+)*")
_FOLDED = re.compile("['\u2019\u0300-\u036f]")
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that no word loses bits; 2^64 over the golden ratio


class Words(NamedTuple):
    """The words of a text, and where each stands in it."""

    words: list[str]
    places: list[tuple[int, int]]  # first character, and the one behind the last


def words_of(text: str) -> Words:
    """The words of a text in their normal form, in order."""
    found = list(_WORD.finditer(text))
    return Words([normal(match[0]) for match in found], [match.span() for match in found])


@lru_cache(maxsize=1 << 16)
def normal(word: str) -> str:
    """A word without case, apostrophes and accents that stand apart."""
    if word.isascii():
        return word.lower().replace("'", "")
    return _FOLDED.sub("", unicodedata.normalize("NFKC", word).casefold())


def run_hashes(words: list[str], length: int) -> np.ndarray:
    """64 bits of each run of so many words, uint64 [len(words) - length + 1], or none.

    Args:
        words: as `words_of` gives them.
        length: of a run, at least 1.
    """
    if len(words) < length:
        return np.empty(0, np.uint64)
    ids = np.fromiter(map(_word_hash, words), np.uint64, len(words))
    count, factor = len(words) - length + 1, 1
    total = np.zeros(count, np.uint64)
    for place in range(length):
        total += ids[place : place + count] * np.uint64(factor)
        factor = factor * _FACTOR % 2**64
    return mixed(total)


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return hash64(word)
