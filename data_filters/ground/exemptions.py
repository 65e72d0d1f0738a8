"""Second thoughts on spans that the prompt did not give: symbols of the text's own, words made from
given letters, common names.
"""

import re
from functools import cached_property

from data_filters.detect.candidates import NAMED, CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.ground.own_symbols import Letters, PromptLetters, symbols
from data_filters.text.lexicon import is_common
from data_filters.text.stem import stem
from recipes.vocabulary import Grounding, Kind

_ASKS_WHO = re.compile(r"\b(?:[Ww]ho(?:m|se)?|[Nn]ames?)\b")
_REACH = 48  # characters
_LAW = re.compile(  # what the name of a discoverer belongs to
    r"(?:['\u2019]s?|-[A-Z]\w+(?:['\u2019]s)?)?(?:\s(?:first|second|third|\d(?:st|nd|rd)|little|last|general|[a-z]+))?\s"
    r"(?:[Tt]heorem|[Ll]aws?|[Rr]ule|[Pp]rinciple|[Ff]ormulas?|[Ee]quations?|[Ii]nequality|[Cc]onstant|[Ii]dentity"
    r"|[Ll]emma|[Aa]lgorithm|[Mm]ethod|[Tt]est|[Ee]ffect|[Tt]riangle|[Cc]riterion|[Cc]onjecture|[Ss]eries|[Tt]ransform"
    r"|[Nn]umbers?|[Dd]istribution|[Dd]iagrams?|[Mm]odel|[Ff]unction|[Ss]ieve|[Ff]orce|[Ss]cale|[Pp]rocess)\b"
)
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

    def grounding(self, one: CandidateSpan) -> Grounding:
        """derived, common or still ungrounded."""
        if one.kind not in NAMED and one.kind != Kind.ANSWER:
            return Grounding.UNGROUNDED
        said = self._reading.text[one.start : one.end]
        parts = said.split()
        if parts and all(part in self._symbols for part in parts):
            return Grounding.DERIVED
        if self._letters.make(said):
            return Grounding.DERIVED
        if self._is_common(said, one.end):
            return Grounding.COMMON
        return Grounding.UNGROUNDED

    def _is_common(self, said: str, end: int) -> bool:
        """A tool of thought ("Hooke's law"), somebody in an example ("Alice"), or a name as frequent
        as the recipe wants.
        """
        curriculum, prompt = self._reading.curriculum, self._reading.prompt
        keys = [stem(word) for word in _WORD.findall(said)]
        if keys and all(key in curriculum.eponyms or curriculum.knows(key) for key in keys):
            after = self._reading.text[end : end + _REACH]
            if _LAW.match(after) or keys[-1] in curriculum.terms:
                return True
        if (
            keys
            and all(key in curriculum.stand_ins for key in keys)
            and _ASKS_WHO.search(prompt.question.text) is None
        ):
            return True
        return self._least is not None and is_common(_WORD.findall(said), self._least)

    @cached_property
    def _symbols(self) -> frozenset[str]:
        return symbols(self._reading.text)

    @cached_property
    def _letters(self) -> Letters:
        self._given.catch_up(self._reading.prompt)
        return Letters(self._given, self._reading.text)
