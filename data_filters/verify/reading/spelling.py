"""One form for what can be written in several: signs, letters, and numbers in words."""

import itertools
import re
import unicodedata
from fractions import Fraction

# signs that a text means as a minus wherever they stand before a number
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d\u2796"), "-")
# soft hyphen, joiners, marks of direction, byte-order mark
_UNSEEN = dict.fromkeys(
    map(ord, "\u00ad\u200b\u200c\u200d\u2060\u200e\u200f\u2061\u2062\u2063\ufeff")
)
_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u2002\u2003\u2004\u2005\u2007\u2008\u2009\u200a\u202f"), " "
)
_WIDE = {number: chr(number - 0xFEE0) for number in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_ONE_FORM = _WIDE | _SPACES | _DASHES | _UNSEEN
_THOUSANDS = re.compile(r"(?<=\d)(?:[\u2009\u202f\u00a0]|\\[,!;:]|\{,\}|,\\!)(?=\d{3}(?!\d))")
_LATEX_NEGATIVE = re.compile(r"\\(?:text|mathrm)\s*\{\s*(?:minus|negative)\s*\}", re.IGNORECASE)
_EITHER_SIGN = re.compile(r"\\pm\b|\\mp\b|\u00b1|\u2213|\+/-|\bplus or minus\b", re.IGNORECASE)
MAX_DIGITS = 4000  # Python turns no longer number into text and back
EITHER = "plusminus"  # a word that stands for a sign of both kinds

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: number for number, word in enumerate(_ONES)} | {
    word: 10 * number for number, word in enumerate(_TENS, start=2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_GROUPS = {"hundred": 100, "dozen": 12}
_PARTS = {
    word: number
    for number, words in {
        2: "half halves",
        3: "third thirds",
        4: "quarter quarters fourth fourths",
        5: "fifth fifths",
        6: "sixth sixths",
        7: "seventh sevenths",
        8: "eighth eighths",
        9: "ninth ninths",
        10: "tenth tenths",
    }.items()
    for word in words.split()
}
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*-\s*|\s+")
_COUNTED = re.compile(
    rf"(?<!\d)(\d++(?:\.\d++)?)\s+({'|'.join([*_SCALES, 'dozen'])})\b", re.IGNORECASE
)


def one_form(text: str) -> str:
    """The text with composed letters, plain dashes, spaces and digits, and without letters that
    nobody sees; ASCII is given back as it is.

    Example: "5" behind U+2212 becomes "-5". An em dash stays: it is punctuation.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _THOUSANDS.sub("", text).translate(_ONE_FORM))


def one_sign(text: str) -> str:
    """The text, in one form, with thousands as digits alone, "1.5 million" as 1500000 and both
    signs as one word.
    """
    text = _COUNTED.sub(_times, _THOUSANDS.sub("", one_form(text)))
    return _EITHER_SIGN.sub(f" {EITHER} ", _LATEX_NEGATIVE.sub("minus ", text))


def in_digits(text: str) -> str:
    """The text with its numbers in words as digits.

    Example: "one hundred and five" becomes "105", "three quarters" "3/4", "2 million" "2000000".
    """
    words = [(found.start(), found.end(), found[0].lower()) for found in _WORD.finditer(text)]
    pieces, place, number = [], 0, 0
    while number < len(words):
        value, used = _numeral(text, words[number:])
        if used:
            pieces += [text[place : words[number][0]], str(value)]
            place = words[number + used - 1][1]
        number += max(used, 1)
    return "".join([*pieces, text[place:]])


def _times(found: re.Match[str]) -> str:
    if len(found[1]) > MAX_DIGITS:
        return found[0]
    scale = (_SCALES | _GROUPS)[found[2].lower()]
    return str(Fraction(found[1]) * scale)


def _numeral(text: str, words: list[tuple[int, int, str]]) -> tuple[Fraction, int]:
    """(value, number of words) of the number that the words begin with; 0 words: none."""
    row = _adjoining(text, words)
    whole, used = _whole(row)
    if used and row[used : used + 3] == ["and", "a", "half"]:
        return whole + Fraction(1, 2), used + 3
    if row[0] == "half":
        return Fraction(1, 2), 1
    if row[0] in ("a", "an") and row[1:2] in (["half"], ["quarter"], ["third"]):
        return Fraction(1, _PARTS[row[1]]), 2
    if used and row[used : used + 1] and row[used] in _PARTS:
        return whole / _PARTS[row[used]], used + 1
    return whole, used


def _adjoining(text: str, words: list[tuple[int, int, str]]) -> list[str]:
    """The first words with nothing between them but a space or a hyphen."""
    row = [words[0][2]]
    for (_, end, _), (start, _, word) in itertools.pairwise(words):
        if not _BETWEEN.fullmatch(text[end:start]):
            break
        row.append(word)
    return row


def _whole(row: list[str]) -> tuple[Fraction, int]:
    """(value, number of words) of a whole number at the beginning of a row of words."""
    total = group = used = 0
    scale = 10**15
    for place, word in enumerate(row):
        if word in _SMALL and _fits(group, _SMALL[word], used):
            group += _SMALL[word]
        elif word in _GROUPS and 0 < group < 100 and (group % 10 or word == "dozen"):
            group *= _GROUPS[word]
        elif word in _SCALES and group and _SCALES[word] < scale:
            scale = _SCALES[word]
            total, group = total + group * scale, 0
        elif word in ("a", "an") and not used and row[place + 1 : place + 2]:
            if row[place + 1] not in _SCALES | _GROUPS:
                break
            group = 1
            continue
        elif word == "and" and used and (group % 100 == 0) and row[place - 1] != "and":
            continue
        else:
            break
        used = place + 1
    return Fraction(total + group), used


def _fits(group: int, small: int, used: int) -> bool:
    """Whether a small number goes on with a group: "twenty" with "five", "hundred" with both."""
    if small == 0:
        return used == 0
    rest = group % 100
    return rest == 0 or (rest % 10 == 0 and rest >= 20 and small < 10)
