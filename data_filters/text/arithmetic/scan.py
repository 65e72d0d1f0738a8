"""A text as the parts of its calculations: numbers with their values, operators, brackets. Figures,
words ("3 times 4 is twelve"), LaTeX and unicode signs read alike.
"""

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

_SIGNS = {
    "\u00d7": "*",
    "\u00b7": "*",
    "\u22c5": "*",
    "\u2217": "*",
    "\u00f7": "/",
    "\u2212": "-",
    "\u2013": "-",
    "**": "^",
    "\u2248": "~",
    "\u2192": "=",
    "->": "=",
    "=>": "=",
    "\u221a": "sqrt",
}
_COMMANDS = {
    "times": "*",
    "cdot": "*",
    "ast": "*",
    "div": "/",
    "over": "/",
    "approx": "~",
    "equiv": "=",
    "implies": "=",
    "rightarrow": "=",
    "to": "=",
    "Rightarrow": "=",
    "sqrt": "sqrt",
    "frac": "frac",
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "binom": "choose",
    "dbinom": "choose",
    "bmod": "%",
    "mod": "%",
    "pmod": "%",
}
_SILENT = frozenset(  # commands that change no value
    "left right big Big bigl bigr text mathrm mathbf quad qquad displaystyle phantom boxed".split()
)
_WORD_OPERATORS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "x": "*",
    "by": "by",
    "over": "/",
    "divided": "/",
    "multiplied": "*",
    "of": "of",
    "mod": "%",
    "modulo": "%",
    "choose": "choose",
    "squared": "squared",
    "cubed": "cubed",
    "percent": "percent",
    "is": "=",
    "are": "=",
    "was": "=",
    "equals": "=",
    "equal": "=",
    "makes": "=",
    "make": "=",
    "gives": "=",
    "give": "=",
    "yields": "=",
    "leaves": "=",
    "becomes": "=",
    "get": "=",
    "be": "=",
}
_ROOTS = {"halves": 2.0, "thirds": 3.0, "quarters": 4.0, "fourths": 4.0, "fifths": 5.0}
_WORD_VALUES: dict[str, float] = {
    word: float(number)
    for number, words in {
        0: "zero none",
        1: "one once single",
        2: "two twice double doubled doubles doubling both pair couple",
        3: "three triple thrice tripled triples",
        4: "four quadruple quadrupled",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
        10: "ten",
        11: "eleven",
        12: "twelve dozen dozens",
        13: "thirteen",
        14: "fourteen",
        15: "fifteen",
        16: "sixteen",
        17: "seventeen",
        18: "eighteen",
        19: "nineteen",
        20: "twenty score",
        30: "thirty",
        40: "forty",
        50: "fifty",
        60: "sixty",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred",
        1000: "thousand",
        10**6: "million",
        10**9: "billion",
        10**12: "trillion",
    }.items()
    for word in words.split()
} | {
    "half": 1 / 2,
    "third": 1 / 3,
    "quarter": 1 / 4,
    "fourth": 1 / 4,
    "fifth": 1 / 5,
    "sixth": 1 / 6,
    "seventh": 1 / 7,
    "eighth": 1 / 8,
    "ninth": 1 / 9,
    "tenth": 1 / 10,
    "halved": 1 / 2,
    "halves": 1 / 2,
    "thirds": 1 / 3,
    "quarters": 1 / 4,
    "fourths": 1 / 4,
    "fifths": 1 / 5,
    "sixths": 1 / 6,
    "eighths": 1 / 8,
    "tenths": 1 / 10,
    "pi": 3.141592653589793,
    "\u03c0": 3.141592653589793,
}
_GROUPS = re.compile(r",|\{,\}|\\,|st|nd|rd|th|\s?\\?%")
_SCALES = frozenset((100.0, 1000.0, 1e6, 1e9, 1e12))
_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789"
)
_VULGAR = dict(
    zip(
        "\u00bc\u00bd\u00be\u2153\u2154\u2155\u2156\u2157\u2158\u2159\u215a\u215b\u215c\u215d\u215e",
        (
            *(1 / 4, 1 / 2, 3 / 4, 1 / 3, 2 / 3, 1 / 5, 2 / 5, 3 / 5, 4 / 5),
            *(1 / 6, 5 / 6, 1 / 8, 3 / 8, 5 / 8, 7 / 8),
        ),
        strict=False,
    )
)


_ABOUT = "about approximately roughly around nearly almost rounds rounded".split()
TRIES = frozenset(
    "say suppose supposing try trying assume assuming imagine guess example test testing".split()
)


def _vocabulary() -> str:
    """The words that mean something here as one pattern, sorted by their first letters."""
    by_letter: dict[str, list[str]] = {}
    for word in sorted({*_WORD_OPERATORS, *_WORD_VALUES, *_ABOUT, *TRIES}, reverse=True):
        by_letter.setdefault(word[0], []).append(word[1:])
    return "|".join(
        f"[{first}{first.upper()}](?:{'|'.join(rest)})" for first, rest in by_letter.items()
    )


_WORD = rf"(?:{_vocabulary()})(?![\w'])"
_ITEM = re.compile(
    # words that mean nothing here are passed over in one go
    rf"""(?:(?!{_WORD})(?:[^\W\d_\u00aa-\u00ba\u2070-\u209f][\w'-]+|[aI](?!\w))[ ]*)*+(?:
    (?P<word>{_WORD}(?:-{_WORD})?)
    |(?P<break>[.?](?=["'*)\]$]*(?:\s|$|<))|\n+(?![ \t]*(?:&[ \t]*)?=)|</?think>|!(?=\s+[A-Z]|\s*$))
    |(?P<index>_\{{[^}}\n]{{1,12}}\}}|_\w+|\#\d+)
    |(?P<number>(?:\d{{4}}-\d\d-\d\d(?!\d) | (?:\d{{1,3}}(?:(?:,|\{{,\}}|\\,)\d{{3}})+(?!\d) | \d+)
        (?: :\d\d(?!\d) | (?:\.\d+)?(?:[eE][+-]?\d+(?!\w))? ) | \.\d+)
        (?:st\b|nd\b|rd\b|th\b|(?P<mark>\s?\\?%))?)
    |(?P<raised>[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+)
    |(?P<letter>[^\W\d_](?!['\w]))
    |\\(?P<command>[A-Za-z]+)
    |(?P<operator>\*\*|->|=>|[-+*/=^!|<>%\u00d7\u00f7\u2212\u2248\u00b7\u22c5\u2217\u221a\u2192\u2260\u2264\u2265]|(?<=\s)\u2013(?=\s?[\d$]))
    |(?P<open>[({{\[])|(?P<close>[)}}\]])
    |(?P<pause>[,;:\u2014&])
    |(?P<vulgar>[\u00bc-\u00be\u2150-\u215e]))""",
    re.VERBOSE,
)


class Item(NamedTuple):
    """A part of a calculation.

    `kind`: number, operator, equals, open, close, word ("about"), letter (a variable), date,
    pause, break.
    `key`: the sign of an operator. `value`: of a number, a percentage as a fraction of 100.
    `percent`: said to be one. `digits`: decimals as printed, -1 for words and clock times.
    """

    kind: str
    start: int
    end: int
    key: str = ""
    value: float = 0.0
    percent: bool = False
    digits: int = -1


_new_item = partial(tuple.__new__, Item)  # half the time of a call by name


def scan(text: str) -> Iterator[Item]:
    """The items of a text in order, without the words that mean nothing here."""
    for match in _ITEM.finditer(text):
        kind = match.lastgroup or ""
        if kind == "mark":
            kind = "number"
        start, end = match.span(kind)
        said = text[start:end]
        if kind == "number":
            if said.isdecimal():
                yield _new_item((kind, start, end, "", float(said), False, 0))
            else:
                yield _number(said, match["mark"] is not None, start, end)
        elif kind == "word":
            kind, sign, value = _word(said)
            yield _new_item((kind, start, end, sign, value, False, -1))
        elif kind == "operator":
            sign = _SIGNS.get(said, said)
            kind = "equals" if sign in "=~" else kind
            yield _new_item((kind, start, end, sign, 0.0, False, -1))
        elif kind == "command":
            yield from _command(said, start, end)
        elif kind == "raised":
            yield Item("operator", start, start, "^")
            yield Item("number", start, end, "", float(said.translate(_RAISED)), False, 0)
        elif kind == "vulgar":
            yield Item("number", start, end, "", _VULGAR[said])
        elif kind != "index":
            yield _new_item((kind, start, end, said, 0.0, False, -1))


@lru_cache(maxsize=1 << 12)
def _word(said: str) -> tuple[str, str, float]:
    """(kind, sign or word, value): an operator, a number, or a word by which a number is rounded."""
    lower = said.lower()
    sign = _WORD_OPERATORS.get(lower)
    if sign is not None:
        return "equals" if sign == "=" else "operator", sign, 0.0
    value = _WORD_VALUES.get(lower)
    if value is None and "-" in lower:
        value = _compound(lower)
    return ("word", lower, 0.0) if value is None else ("number", lower, value)


def _compound(lower: str) -> float | None:
    """ "twenty-four" is 24, "two-thirds" 2/3; None for words that are no numbers."""
    first, _, second = lower.partition("-")
    one = _WORD_VALUES.get(first)
    if one is None:
        return None
    if second in _ROOTS:
        return one / _ROOTS[second]
    other = _WORD_VALUES.get(second)
    if other is None:
        return None
    return one + other if other >= 1 and other not in _SCALES else one * other


def _number(said: str, percent: bool, start: int, end: int) -> Item:
    if said.count("-") == 2 and "e" not in said.lower():
        return Item("date", start, end, said)
    plain = _GROUPS.sub("", said)
    if ":" in plain:
        hours, _, minutes = plain.partition(":")
        return Item("number", start, end, "clock", float(hours) * 60 + float(minutes))
    value = float(plain)
    digits = len(plain.partition(".")[2]) if "e" not in plain.lower() else 0
    if percent:
        value, digits = value / 100, digits + 2
    return Item("number", start, end, "", value, percent, digits)


def _command(name: str, start: int, end: int) -> Iterator[Item]:
    if name == "pi":
        yield Item("number", start, end, name, _WORD_VALUES["pi"])
    elif name in _COMMANDS:
        sign = _COMMANDS[name]
        yield Item("equals" if sign in "=~" else "operator", start, end, sign)
    elif name not in _SILENT:
        yield Item("letter", start, end, name)
