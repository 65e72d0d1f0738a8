"""A text as tokens and sentences: words, numbers with their values, operators. One regular
expression, no model.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache, partial
from typing import NamedTuple

from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem

Value = int | Fraction
_TOKEN = re.compile(  # the likeliest first; no two begin alike but "-3" and "-"
    r"""[ ]?+(?:(?P<word>[^\W\d_]\w*(?:['\u2019-][^\W\d_]\w*)*)
    |(?P<stop>[.!?]+(?=["'*)\]]*(?:\s|$|<))|\n+)
    |(?P<number>(?:(?<![\w.)])-)?[$\u20ac\u00a3\u00a5]?
        (?:\d{4}-\d\d-\d\d(?!\d) | \d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d) | \d+:\d\d(?::\d\d)?(?!\d) | \d+(?:\.\d+)? | (?<!\w)\.\d+)
        (?:st\b|nd\b|rd\b|th\b|%)?)
    |(?P<operator>[-+*/=\u00d7\u00f7\u2212\u2248]|\\(?:times|div|cdot))
    |(?P<pause>[,;()\u2014])
    |(?P<colon>[:|])
    |(?P<tag></?think>))""",
    re.VERBOSE,
)
_NEXT_WORD = re.compile(r"\s+([A-Z][a-z]+)")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr st prof jr sr vs etc fig no mt jan feb apr jun jul aug sep sept oct nov co inc ltd corp".split()
)
_COMMENTS = ("# ", "/ ")  # ends of the signs that open a comment
_OPENERS = frozenset(  # words that open sentences and are no surnames
    "the a an this that these those there here it its he his she her they their we our you your my if "
    "unless while whereas because since as then than though although in on at by with without from to "
    "of for after before during and or but nor not so yet thus hence therefore however moreover also "
    "furthermore meanwhile otherwise instead indeed perhaps maybe is are was were does do did has have "
    "had can could would should must let let's now next first second third finally initially later "
    "similarly likewise conversely alternatively additionally overall generally specifically what "
    "which who when where why how each every either neither both all any some many most no yes okay "
    "well wait hmm given suppose assume assuming consider using substituting solving adding multiply "
    "subtract divide multiplying subtracting dividing compute calculate find note recall remember i i'm "
    "it's that's i'll we're only just even yup nope hmmm still again once another other such same".split()
)
_OPERATORS = {
    "\u00d7": "*",
    "\\times": "*",
    "\\cdot": "*",
    "\u00f7": "/",
    "\\div": "/",
    "\u2212": "-",
    "\u2248": "=",
}
NUMBER_WORDS = {
    word: number
    for number, words in {
        0: "zero",
        1: "one once single",
        2: "two twice double both half pair couple",
        3: "three triple third thrice",
        4: "four quarter",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
        10: "ten",
        11: "eleven",
        12: "twelve dozen",
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
    }.items()
    for word in words.split()
}


class Token(NamedTuple):
    """`key` is the stem of a word or the sign of an operator, `value` the number.

    `name` marks a capitalised word of two letters or more, `first` one that opens a sentence.
    """

    kind: str  # tag number word stop operator pause colon
    start: int
    end: int
    text: str
    key: str
    value: Value | None
    first: bool
    name: bool

    @property
    def ordinary(self) -> bool:
        """Whether the word, or the one that it is a form of, is an ordinary English one."""
        return is_ordinary(self.key)


_new_token = partial(tuple.__new__, Token)  # half the time of a call by name


class Sentence(NamedTuple):
    """A sentence, or what stands between two line breaks or tags."""

    tokens: list[Token]
    words: list[Token]
    names: list[Token]  # capitalised words, ordinary ones among them
    numbers: list[Token]
    asks: bool  # ends with a question mark
    final: bool  # stands behind the reasoning


@lru_cache(maxsize=1 << 15)
def value_of(text: str) -> Value | None:
    """The number that a token such as "$1,000", "3rd" or "2.5" names; 10:15 gives minutes (615); a
    full date gives None.

    The sign and the percent mark: "-3" is -3, "20%" is 20.
    """
    digits = re.sub(r"[$\u20ac\u00a3\u00a5,%]|st$|nd$|rd$|th$", "", text)
    if ":" in digits:
        hours, minutes, *seconds = map(int, digits.lstrip("-").split(":"))
        return hours * 60 + minutes + (Fraction(seconds[0], 60) if seconds and seconds[0] else 0)
    if digits.rfind("-") > 0:
        return None
    number = Fraction(digits)
    return int(number) if number.denominator == 1 else number


def is_year(value: Value) -> bool:
    """Whether a number may name a year of the last thousand, or of the next hundred."""
    return 1000 <= value < 2200 and value == int(value)


def split_sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of a text, in order; reasoning ends with the last </think>, and sentences never
    cross a tag.
    """
    answer_start = text.rfind("</think>")
    sentences: list[Sentence] = []
    tokens, words, names, numbers = parts = _no_tokens()
    first, previous = True, ""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        start, end = match.span(kind)
        found = text[start:end]
        if kind == "word":
            capital = end - start > 1 and found[0].isupper()
            if capital:
                first = first or text[start - 2 : start] in _COMMENTS
            token = _new_token((kind, start, end, found, stem(found), None, first, capital))
            words.append(token)
            if capital:
                names.append(token)
            first = False
        elif kind in ("stop", "tag"):
            if found == "." and _abbreviates(previous) and not _ends_label(text, tokens, end):
                continue
            if tokens:
                final = tokens[0].start > answer_start
                sentences.append(Sentence(*parts, "?" in found, final))
                tokens, words, names, numbers = parts = _no_tokens()
            first = True
            continue
        elif kind == "number":
            token = _new_token((kind, start, end, found, found, value_of(found), first, False))
            numbers.append(token)
            first = False
        else:
            key = _OPERATORS.get(found, found)
            token = _new_token((kind, start, end, found, key, None, first, False))
            first = first or kind == "colon"
        tokens.append(token)
        previous = found
    if tokens:
        sentences.append(Sentence(*parts, False, tokens[0].start > answer_start))
    return tuple(sentences)


def _no_tokens() -> tuple[list[Token], list[Token], list[Token], list[Token]]:
    """The tokens of a sentence that begins, and those that are words, names and numbers."""
    return [], [], [], []


def _ends_label(text: str, tokens: list[Token], end: int) -> bool:
    """ "Fill Jug B. Pour ...": a letter behind a plain capitalised word, before a plain one, ends a
    sentence; it is no initial. So does one behind an operator or a figure ("2 * D. Multiply ...")
    or before a word that no surname is ("D. However, ...").
    """
    if not tokens or tokens[-1].end - tokens[-1].start != 1:
        return False
    following = _NEXT_WORD.match(text, end)
    if following is None:
        return False
    if following[1].lower() in _OPENERS:
        return True
    if len(tokens) < 2:
        return False
    before = tokens[-2]
    if before.kind in ("operator", "number"):
        return True
    return before.name and before.ordinary and is_ordinary(stem(following[1]))


def _abbreviates(word: str) -> bool:
    return (len(word) == 1 and word.isupper()) or word.lower() in _ABBREVIATIONS


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is collected inside; also a decorator. Tokens and spans hold no cycles, so they go
    when nobody has them, and passes over millions of them are a tenth of the filter stage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
