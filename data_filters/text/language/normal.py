"""One normal form of a text, so that two ways to write a letter are equal, and the way back to the
text as it stands.
"""

import re
import unicodedata
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# marks that nobody sees: soft hyphen, joiners, marks of direction, variation selectors
_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
_MARKS = "\u0300-\u036f"  # accents that stand behind their letter
_SAME = {  # one character for another
    **dict.fromkeys(
        "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
    ),
    **dict.fromkeys("\u02bc\u2018\u2019\u201b\uff07", "'"),
    **dict.fromkeys("\u2010\u2011\u2212\ufe63", "-"),
}
_FRACTIONS = "\u00bc-\u00be\u2150-\u215e"
_WIDE = "\uff01-\uff5e\U0001d400-\U0001d7ff\ufb00-\ufb06"  # full width, letters of formulas, fi
_UNSEEN_ONE = re.compile(f"[{_UNSEEN}]")
_SPECIAL = re.compile(f"[{_UNSEEN}{_MARKS}{''.join(_SAME)}{_FRACTIONS}{_WIDE}\u2013]")
_PIECE = re.compile(  # each begins with one of these
    rf"(?P<marks>(?<=[^\W\d_])[{_UNSEEN}]*[{_MARKS}][{_MARKS}{_UNSEEN}]*)"
    rf"|(?P<unseen>[{_UNSEEN}{_MARKS}]+)"
    r"|(?P<group>(?<=\d)[\u2009\u202f](?=\d{3}(?!\d)))"  # 12 000 with a thin space
    r"|(?P<dash>(?<=[^\W\d_])\u2013(?=[^\W\d_])|(?<![\w.)])\u2013(?=\d))"  # no range of numbers
    rf"|(?P<fraction>[{_FRACTIONS}])"
    r"|(?P<other>.)"
)


class NormalText(NamedTuple):
    """A text in normal form. `origins` holds where each of its characters, and its end, stands in
    the text as it was; empty where nothing changed.
    """

    text: str
    origins: Sequence[int] = ()

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original that a range of the normal text stands for: whole letters,
        with the marks behind them.
        """
        if not self.origins:
            return start, end
        return self.origins[start], max(self.origins[end - 1] + 1, self.origins[end])


def normal_text(text: str) -> NormalText:
    """A text with composed letters, plain blanks, hyphens and apostrophes, figures of normal width,
    "1/2" for the one sign, and nothing that is not seen.

    Accents stay, as do quotation marks and the dash of a range. Combining marks that no letter
    takes up are left out.
    """
    special = None if text.isascii() else _SPECIAL.search(text)
    if special is None:
        return NormalText(text)
    parts: list[str] = []
    origins, at = array("l"), 0
    while special is not None:
        match = _PIECE.match(text, special.start())
        assert match is not None  # the last branch takes any character
        start, end = match.start() - (match.lastgroup == "marks"), match.end()
        said = _normal(str(match.lastgroup), text[start:end])
        if match.lastgroup == "fraction" and text[start - 1 : start].isdigit():
            said = f" {said}"  # of a mixed number
        parts += (text[at:start], said)
        origins.extend(range(at, start))
        origins.extend([start] * len(said))
        at = end
        special = _SPECIAL.search(text, at)
    parts.append(text[at:])
    origins.extend(range(at, len(text) + 1))
    return NormalText("".join(parts), origins)


def _normal(kind: str, said: str) -> str:
    if kind == "marks":
        return _composed(said)
    if kind == "fraction":
        return unicodedata.normalize("NFKC", said).replace("\u2044", "/")
    if kind == "other":
        return _SAME.get(said) or unicodedata.normalize("NFKC", said)
    return {"unseen": "", "group": ",", "dash": "-"}[kind]


@lru_cache(maxsize=1 << 12)
def _composed(said: str) -> str:
    letters = unicodedata.normalize("NFC", _UNSEEN_ONE.sub("", said))
    return "".join(one for one in letters if not unicodedata.combining(one))


@lru_cache(maxsize=1 << 15)
def fold(word: str) -> str:
    """The word without accents: "Zurich" for its German spelling."""
    if word.isascii():
        return word
    return "".join(
        part for part in unicodedata.normalize("NFKD", word) if not unicodedata.combining(part)
    )
