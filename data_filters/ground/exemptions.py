"""Second thoughts on spans that nobody gave: symbols of the text's own, words made from given
letters, common names.
"""

import re

from data_filters.detect.candidates import NAMED
from data_filters.ground.own_symbols import Letters, symbols
from data_filters.text.lexicon import is_common
from data_filters.text.prompts import Told
from recipes.vocabulary import Grounding, Kind

_WORD = re.compile(r"[^\W\d_]+")


class Excuses:
    """Serves one message.

    Args:
        prompt: all that was given before it.
        text: the message.
        told: the prompt as read.
        keep_commonness: Zipf frequency from which a name is common, None: no name is.
    """

    def __init__(self, prompt: str, text: str, told: Told, keep_commonness: float | None) -> None:
        self._prompt, self._text, self._told, self._least = prompt, text, told, keep_commonness
        self._symbols: frozenset[str] | None = None
        self._letters: Letters | None = None

    def grounding(self, said: str, kind: str) -> str:
        """derived, common or still ungrounded."""
        if kind not in NAMED and kind != Kind.ANSWER:
            return Grounding.UNGROUNDED
        words = _WORD.findall(said)
        if self._symbols is None:
            self._symbols = symbols(self._text)
            self._letters = Letters(self._prompt, self._told.words, self._text)
        assert self._letters is not None
        if said.split() and all(part in self._symbols for part in said.split()):
            return Grounding.DERIVED
        if self._letters.make(said):
            return Grounding.DERIVED
        return (
            Grounding.COMMON
            if self._least is not None and is_common(words, self._least)
            else Grounding.UNGROUNDED
        )
