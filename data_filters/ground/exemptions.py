"""Second thoughts on spans that the prompt did not give: symbols of the text's own, words made from
given letters, common names.
"""

import re
from functools import cached_property

from data_filters.detect.candidates import NAMED
from data_filters.detect.reading import Reading
from data_filters.ground.own_symbols import Letters, PromptLetters, symbols
from data_filters.text.lexicon import is_common
from recipes.vocabulary import Grounding, Kind

_WORD = re.compile(r"[^\W\d_]+")


class Exemptions:
    """Serves one message.

    Args:
        reading: the message.
        letters: of the conversation's prompt.
        keep_commonness: Zipf frequency from which a name is common, None: no name is.
    """

    def __init__(
        self, reading: Reading, letters: PromptLetters, keep_commonness: float | None
    ) -> None:
        self._reading, self._given, self._least = reading, letters, keep_commonness

    def grounding(self, said: str, kind: str) -> Grounding:
        """derived, common or still ungrounded.

        Args:
            said: the span as it stands.
            kind: of the span.
        """
        if kind not in NAMED and kind != Kind.ANSWER:
            return Grounding.UNGROUNDED
        parts = said.split()
        if parts and all(part in self._symbols for part in parts):
            return Grounding.DERIVED
        if self._letters.make(said):
            return Grounding.DERIVED
        if self._least is not None and is_common(_WORD.findall(said), self._least):
            return Grounding.COMMON
        return Grounding.UNGROUNDED

    @cached_property
    def _symbols(self) -> frozenset[str]:
        return symbols(self._reading.text)

    @cached_property
    def _letters(self) -> Letters:
        self._given.catch_up(self._reading.prompt)
        return Letters(self._given, self._reading.text)
