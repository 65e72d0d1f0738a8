"""What a text makes itself: symbols that it introduces, and words that follow from the letters of
given ones.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem

_LET = re.compile(
    r"\b(?:[Ll]et|[Dd]efine|[Dd]enote|[Cc]all|[Ll]abel|[Ss]et)\b[^.\n]{0,40}?\$?\b([A-Z]\w{0,9})\$?\s(?:be\b|denote|=|:=|represent|stand|as\b)"
)
_FIGURE = re.compile(
    r"\b(?:points?|triangles?|segments?|lines?|angles?|vert(?:ex|ices)|quadrilaterals?|circles?|squares?|rectangles?|vectors?|matri(?:x|ces)|"
    r"variables?|sets?|nodes?|states?|sides?|Points?|Triangles?|Nodes?)\s((?:\$?[A-Z]{1,4}\d?\$?(?:,\s(?:and\s)?|\sand\s)?){1,8})"
)
_ASSIGNED = re.compile(r"(?<!\w)([A-Z]{1,5}\d?)\s?:?=(?!=)")
_APPLIED = re.compile(r"\b[A-Za-z]\(([A-Z]{1,4})\)")  # P(HH)
_CODE = re.compile(r"```(.*?)(?:```|\Z)|`([^`\n]+)`", re.DOTALL)
# strings and comments inside it
_NO_CODE = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|(?:#|//|--).*")
_IDENTIFIER = re.compile(r"(?<![\w.])[A-Z]\w+")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CAPITALS = re.compile(r"[A-Z]+\d?|[A-Z]\w+")
_LETTER_CUES = frozenset(  # stems of words by which a prompt asks for work on letters
    "letter word unscramble jumble anagram cipher decrypt encrypt decode encode spell palindrome reverse font ascii acronym scrambled "
    "character "
    "alphabet shift vowel consonant cryptarithm lowercase uppercase sentence string".split()
)
_GRID_CUES = frozenset("board grid row column square".split())
_LETTERS = re.compile(r"[^\W\d_]+")
_LABEL = re.compile(r"\b[A-Za-z]\d{1,2}\b")
_MIN_LETTERS = 3
_MIN_DRAWING = 100  # characters


def symbols(text: str) -> frozenset[str]:
    """Symbols that the text introduces: "Let N be", "points P and QR", "SUM = ", and what stands in
    code.
    """
    found = {match[1] for match in _LET.finditer(text)} | {
        match[1] for match in _ASSIGNED.finditer(text)
    }
    found |= {match[1] for match in _APPLIED.finditer(text)}
    for match in _FIGURE.finditer(text):
        found.update(_CAPITALS.findall(match[1]))
    return frozenset(found.union(*map(_identifiers, _CODE.finditer(text))))


def _identifiers(code: re.Match[str]) -> Iterator[str]:
    """Capitalised names in code that are made of ordinary words: "ValueError", "TwoStackQueue",
    "NULL"; no "France".
    """
    for name in _IDENTIFIER.findall(_NO_CODE.sub(" ", code[1] or code[2] or "")):
        if name.isupper() or all(is_ordinary(stem(part)) for part in _HUMPS.findall(name)):
            yield name


class Letters:
    """Words that a text may make from the letters of what it was given, where it was asked for
    that; and labels in the prompt's manner.

    Args:
        prompt: all that was given.
        stems: its words, as stems.
        text: what was written.
    """

    def __init__(self, prompt: str, stems: frozenset[str], text: str) -> None:
        asked = not stems.isdisjoint(_LETTER_CUES)
        words = _LETTERS.findall(prompt.lower()) if asked else []
        self._asked = asked
        self._bags = {_bag(word) for word in words}
        self._steps = {_shape(word) for word in words if len(word) >= _MIN_LETTERS}
        self._known = {word for word in words if len(word) >= _MIN_LETTERS}
        self._beside = (
            {word for word in _LETTERS.findall(text.lower()) if len(word) >= _MIN_LETTERS}
            if asked
            else set()
        )
        self._alphabets = (
            [
                set(word)
                for word in _LETTERS.findall(prompt)
                if len(word) > _MIN_LETTERS and word.isupper()
            ]
            if asked
            else []
        )
        self._labels = {_manner(label) for label in _LABEL.findall(prompt)}
        self._grid = not stems.isdisjoint(_GRID_CUES)
        self._drawn = (
            asked
            and len(prompt) > _MIN_DRAWING
            and sum(character.isalnum() for character in prompt) < 0.4 * len(prompt)
        )

    def make(self, said: str) -> bool:
        """Whether every word follows from given letters, or is a label such as the prompt has.

        An anagram, the reversal or a shifted form of a given word; one letter away from a given
        word or from one beside it; capitals of an alphabet that the prompt spells out ("LURD");
        what a drawing of characters says; a field of a board ("C4").
        """
        if _LABEL.fullmatch(said) and (_manner(said) in self._labels or self._grid):
            return True
        made = [word.lower() for word in _LETTERS.findall(said)]
        if not self._asked or not made:
            return False
        if said.isupper() and (
            self._drawn or any(set(said) <= alphabet for alphabet in self._alphabets)
        ):
            return True
        return all(map(self._makes, made))

    def _makes(self, word: str) -> bool:
        if (
            len(word) < _MIN_LETTERS
            or word in self._known
            or _bag(word) in self._bags
            or _shape(word) in self._steps
        ):
            return True
        return any(_one_letter(word, other) for other in self._known | self._beside)


def _manner(label: str) -> str:
    """ "A1" and "C7" are written alike."""
    return re.sub(r"\d+", "9", re.sub(r"[A-Za-z]", "A", label))


def _bag(word: str) -> str:
    return "".join(sorted(word))


def _shape(word: str) -> tuple[int, ...]:
    """Distances from letter to letter around the alphabet: the same for a word and its shifted
    forms.
    """
    return tuple((ord(b) - ord(a)) % 26 for a, b in pairwise(word))


def _one_letter(word: str, other: str) -> bool:
    return len(word) == len(other) and sum(a != b for a, b in zip(word, other, strict=True)) == 1
