"""What a text makes itself: symbols that it introduces, and words that follow from the letters of given ones."""

import re
from collections.abc import Iterable
from itertools import pairwise

_LET = re.compile(
    r"\b(?:[Ll]et|[Dd]efine|[Dd]enote|[Cc]all|[Ll]abel|[Ss]et)\b[^.\n]{0,40}?\$?\b([A-Z]\w{0,9})\$?\s(?:be\b|denote|=|:=|represent|stand|as\b)"
)
_FIGURE = re.compile(
    r"\b(?:points?|triangles?|segments?|lines?|angles?|vert(?:ex|ices)|quadrilaterals?|circles?|squares?|rectangles?|vectors?|matri(?:x|ces)|"
    r"variables?|sets?|nodes?|states?|sides?|Points?|Triangles?|Nodes?)\s((?:\$?[A-Z]{1,4}\d?\$?(?:,\s(?:and\s)?|\sand\s)?){1,8})"
)
_ASSIGNED = re.compile(r"(?<!\w)([A-Z]{1,5}\d?)\s?:?=(?!=)")
_CAPITALS = re.compile(r"[A-Z]+\d?|[A-Z]\w+")
_LETTER_CUES = frozenset(  # stems of words by which a prompt asks for work on letters
    "letter word unscramble jumble anagram cipher decrypt encrypt decode encode spell palindrome reverse font ascii acronym scrambled "
    "character "
    "alphabet shift vowel consonant cryptarithm lowercase uppercase sentence string".split()
)
_MIN_LETTERS = 3


def symbols(text: str) -> frozenset[str]:
    """Symbols that the text introduces: "Let N be", "points P and QR", "SUM = "."""
    found = {match[1] for match in _LET.finditer(text)} | {match[1] for match in _ASSIGNED.finditer(text)}
    for match in _FIGURE.finditer(text):
        found.update(_CAPITALS.findall(match[1]))
    return frozenset(found)


class Letters:
    """Words that a text may make from the letters of the words it was given, where it was asked for that.

    Args:
        prompt: all that was given.
        stems: its words, as stems.
    """

    def __init__(self, prompt: str, stems: frozenset[str]) -> None:
        words = re.findall(r"[^\W\d_]+", prompt.lower()) if not stems.isdisjoint(_LETTER_CUES) else []
        self._asked = bool(words)
        self._bags = {_bag(word) for word in words}
        self._steps = {_shape(word) for word in words if len(word) >= _MIN_LETTERS}
        self._known = {word for word in words if len(word) >= _MIN_LETTERS}

    def make(self, words: Iterable[str]) -> bool:
        """Whether each word is an anagram, the reversal or a shifted form of a given word, or differs in one letter from one, or
        from one made before."""
        made = [word.lower() for word in words]
        if not self._asked or not made or not all(map(self._makes, made)):
            return False
        self._known.update(word for word in made if len(word) >= _MIN_LETTERS)
        return True

    def _makes(self, word: str) -> bool:
        if len(word) < _MIN_LETTERS:
            return True
        return (
            word in self._known
            or _bag(word) in self._bags
            or _shape(word) in self._steps
            or any(_one_letter(word, known) for known in self._known)
        )


def _bag(word: str) -> str:
    return "".join(sorted(word))


def _shape(word: str) -> tuple[int, ...]:
    """Distances from letter to letter around the alphabet: the same for a word and its shifted forms."""
    return tuple((ord(b) - ord(a)) % 26 for a, b in pairwise(word))


def _one_letter(word: str, other: str) -> bool:
    return len(word) == len(other) and sum(a != b for a, b in zip(word, other, strict=True)) == 1
