"""What a text makes itself: symbols that it introduces, and words that follow from the letters of
given ones.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from data_filters.text.lexicon import is_ordinary
from data_filters.text.prompts import PromptFacts
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
    "unscramble jumble anagram cipher decrypt encrypt decode encode palindrome reverse ascii "
    "acronym scrambled alphabet vowel consonant cryptarithm lowercase uppercase".split()
)
_MAYBE_CUES = (
    frozenset(  # these have other meanings: letters go by post; one needs a sign beside it
        "letter word spell font character shift sentence string".split()
    )
)
# a word in quotes or in capitals, one word to a line, a drawing: something to work on
_MATERIAL = re.compile(
    r"[\"'`\u201c\u2018]\w+[\"'`\u201d\u2019]|\b[A-Z]{3,}\b|:\s*\w+\s*$|(?:^\w+\n){2}|[^A-Za-z0-9\s]{4}|\b\w+(?:, ?\w+){3}",
    re.MULTILINE,
)
_GRID_CUES = frozenset("board grid row column square".split())
_LETTERS = re.compile(r"[^\W\d_]+")
_LABEL = re.compile(r"\b[A-Za-z]\d{1,2}\b")
_VARIABLE = re.compile(r"(?<=[a-z,($=+*/-])\s?\b([A-Z])\b(?![.'\u2019]\s?[A-Z]|'|\u2019)")
_MAX_LETTERS = 4
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


class PromptLetters:
    """The letters of a prompt, for words made from them; a conversation reads each of its messages
    once.
    """

    def __init__(self) -> None:
        self.asked = False  # whether the prompt asks for work on letters
        self.board = False  # whether it speaks of a board with fields
        self.known: set[str] = set()  # its words of three letters and more, in lower case
        self.alphabets: set[frozenset[str]] = set()  # the letters of each word in capitals
        self.labels: set[str] = set()
        self.letters: set[str] = set()  # its variables of one letter, as capitals
        self._bags: set[str] = set()
        self._steps: set[tuple[int, ...]] = set()
        self._by_length: defaultdict[int, set[str]] = defaultdict(set)
        self._num_labels = self._num_words = 0  # messages read for labels, and for words
        self._num_characters = self._num_alnum = 0

    def catch_up(self, prompt: PromptFacts) -> None:
        """Reads the messages that are new."""
        maybe = [cue for cue in _MAYBE_CUES if cue in prompt.words]
        material = len(maybe) > 1 or any(map(_MATERIAL.search, prompt.messages))
        self.asked = not prompt.words.isdisjoint(_LETTER_CUES) or (bool(maybe) and material)
        self.board = not prompt.words.isdisjoint(_GRID_CUES)
        for message in prompt.messages[self._num_labels :]:
            self.labels.update(_manner(label) for label in _LABEL.findall(message))
            self.letters.update(_VARIABLE.findall(message))
        self._num_labels = len(prompt.messages)
        if not self.asked:
            return
        for message in prompt.messages[self._num_words :]:
            self._read_words(message)
        self._num_words = len(prompt.messages)

    @property
    def is_drawing(self) -> bool:
        """Whether most of a prompt about letters are other characters: it draws them."""
        num_characters = self._num_characters + max(self._num_words - 1, 0)  # with line breaks
        return (
            self.asked and num_characters > _MIN_DRAWING and self._num_alnum < 0.4 * num_characters
        )

    def gives(self, word: str) -> bool:
        """Whether a word is a given one, its anagram, its reversal or a shifted form of it, or one
        letter away from it.
        """
        return (
            word in self.known
            or _bag(word) in self._bags
            or _shape(word) in self._steps
            or _one_letter_away(word, self._by_length.get(len(word), ()))
        )

    def _read_words(self, message: str) -> None:
        words = set(_LETTERS.findall(message.lower()))
        long = {word for word in words if len(word) >= _MIN_LETTERS} - self.known
        self._bags.update(map(_bag, words))
        self._steps.update(map(_shape, long))
        self.known |= long
        for word in long:
            self._by_length[len(word)].add(word)
        self.alphabets.update(
            frozenset(word)
            for word in _LETTERS.findall(message)
            if len(word) > _MIN_LETTERS and word.isupper()
        )
        self._num_characters += len(message)
        self._num_alnum += sum(map(str.isalnum, message))


class Letters:
    """Words that a message may make from the letters of what it was given, where it was asked for
    that; and labels in the prompt's manner.

    Args:
        given: what the prompt gives.
        text: the message.
    """

    def __init__(self, given: PromptLetters, text: str) -> None:
        self._given = given
        words = _LETTERS.findall(text.lower()) if given.asked else []
        self._beside = {word for word in words if len(word) >= _MIN_LETTERS}

    def make(self, said: str) -> bool:
        """Whether every word follows from given letters, or is a label such as the prompt has.

        An anagram, the reversal or a shifted form of a given word; one letter away from a given
        word or from one beside it; capitals of an alphabet that the prompt spells out ("LURD");
        what a drawing of characters says; a field of a board ("C4").
        """
        given = self._given
        if _LABEL.fullmatch(said) and (_manner(said) in given.labels or given.board):
            return True
        if 1 < len(said) <= _MAX_LETTERS and set(said.upper()) <= given.letters:
            return True  # the alleles A and a make AA and Aa
        made = [word.lower() for word in _LETTERS.findall(said)]
        if not given.asked or not made:
            return False
        if said.isupper() and (
            given.is_drawing or any(set(said) <= letters for letters in given.alphabets)
        ):
            return True
        return all(map(self._makes, made))

    def _makes(self, word: str) -> bool:
        return (
            len(word) < _MIN_LETTERS
            or self._given.gives(word)
            or _one_letter_away(word, self._beside)
        )


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


def _one_letter_away(word: str, others: Iterable[str]) -> bool:
    """Whether one of the others differs from the word in exactly one letter."""
    return any(
        sum(a != b for a, b in zip(word, other, strict=True)) == 1
        for other in others
        if len(other) == len(word)
    )
