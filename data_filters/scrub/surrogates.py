"""Fictional names for real ones: consistent within a record, the same for the same seed, and never
a name that exists in a list.
"""

import random
import re
from collections.abc import Callable

from data_filters.detect.gazetteer import Gazetteer
from data_filters.text.language.normal import fold
from data_filters.text.lexicon import KIND_WORDS, is_ordinary
from data_filters.text.stem import stem

_ONSETS = "b br d dr f g gl k kl m n p pl r s sk t tr v vr z".split()
_VOWELS = "a e i o u".split()
_CODAS = "bix dok fen gul kam lor mip nud pov rak sem tuv vel zan".split()
_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d{3,}")
_TRIES = 1000


class Surrogates:
    """Renames word by word, so that "Ida Wells" and a later "Wells" stay one person.

    Args:
        seed: anything that names the record and the variant; the same seed renames alike.
        gazetteer: its names are never used.
        taken: says whether a word, as a stem, stands in the record already.
    """

    def __init__(
        self, seed: str, gazetteer: Gazetteer, taken: Callable[[str], bool] = lambda key: False
    ) -> None:
        self._rng = random.Random(seed)
        self._gazetteer, self._taken = gazetteer, taken
        self._new: dict[str, str] = {}

    def rename(self, name: str) -> str:
        """The name with other words; small words, particles, titles of address and what kind of
        thing it is stay.

        An identifier is given away by its digits: three or more that stand together are drawn anew.
        """
        name = _DIGITS.sub(lambda match: self._digits(match.group()), name)
        new = _WORD.sub(lambda match: self._word(match.group()), name)
        return new if new != name else _WORD.sub(lambda match: self._other(match.group()), name)

    def _digits(self, digits: str) -> str:
        if digits not in self._new:
            drawn = digits
            while drawn == digits:
                drawn = "".join(self._rng.choice("0123456789") for _ in digits)
            self._new[digits] = drawn
        return self._new[digits]

    def _word(self, word: str) -> str:
        if word.islower() or word.lower() in KIND_WORDS:
            return word
        return self._other(word)

    def _other(self, word: str) -> str:
        key = stem(fold(word))
        if key not in self._new:
            self._new[key] = self._invent(len(word), len(word) > 1 and word.isupper())
        new = self._new[key]
        return new.upper() if word.isupper() else new

    def _invent(self, length: int, letters: bool) -> str:
        """A word that no list, no dictionary and no other name has."""
        for _ in range(_TRIES):
            if letters or length == 1:
                new = "".join(self._rng.choice("BDFGKLMNPRTVXZ") for _ in range(max(length, 1)))
                new = new if length == 1 else new[:-1] + self._rng.choice("QXZ")
            else:
                syllables = 1 if length < 6 else 2
                new = "".join(
                    self._rng.choice(_ONSETS) + self._rng.choice(_VOWELS) for _ in range(syllables)
                ) + self._rng.choice(_CODAS)
                new = new.capitalize()
            if self._is_free(new, length):
                return new
        raise AssertionError(f"no free name after {_TRIES} tries")

    def _is_free(self, new: str, length: int) -> bool:
        key = stem(new)
        if length == 1:
            return True  # an initial
        return not (
            self._gazetteer.names((new,))
            or is_ordinary(key)
            or self._taken(key)
            or new in self._new.values()
        )
