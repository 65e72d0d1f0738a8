"""Formulas as they are written: signs of Unicode in LaTeX, one form of what LaTeX writes in many,
and what no parser tells apart, such as the ends of an interval.
"""

import re
from fractions import Fraction

from data_filters.verify.reading.spelling import MAX_DIGITS, one_form

_SIGNS = {
    "\u03c0": r"\pi ",
    "\u221e": r"\infty ",
    "\u222a": r"\cup ",
    "\u2229": r"\cap ",
    "\u2264": r"\le ",
    "\u2265": r"\ge ",
    "\u2260": r"\ne ",
    "\u00d7": r"\times ",
    "\u00b7": r"\cdot ",
    "\u22c5": r"\cdot ",
    "\u00f7": "/",
    "\u2044": "/",
    "\u00b1": r"\pm ",
    "\u00b0": r"^\circ ",
    "\u03b8": r"\theta ",
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u00bd": r"\frac{1}{2}",
    "\u2153": r"\frac{1}{3}",
    "\u2154": r"\frac{2}{3}",
    "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}",
}
_RAISED = dict(
    zip(
        "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b",
        "0123456789-",
        strict=True,
    )
)
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_ROOT = re.compile(r"\u221a\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([\d.]+|[a-zA-Z]))")
_NAMED_ROOT = re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)")
_OPERATORS = re.compile(r"[\\^*=<>+{}()\[\]|]|(?<=\S)\s*-")
PLAIN_WORDS = re.compile(r"[A-Za-z]{3,}|\d\s+[A-Za-z]{2,}")
_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it)|mbox|hbox)\s*\{([^{}]*)\}")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)")
_IDLE = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;: ]|\\q?quad|\$|\\displaystyle")
_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d)|(?<=\d)\s+(?=\d{3}(?!\d))")
_BASE = re.compile(r"(?<=\d)_\{?(\w+)\}?\s*$")
_POWER_OF_UNIT = re.compile(r"[a-z}]\s*\^\s*\{?(\d)\}?\s*$")
# a variable is a letter that stands alone and is neither a word nor a unit behind a space
_FORMULA = re.compile(r"[\\^*=<>+{}|]|(?<![A-Za-z'])(?<!\d )[b-hj-zB-HJ-Z](?![A-Za-z'])|\d[a-z]\b")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")


def in_latex(text: str) -> str:
    """The formula with the signs of Unicode as LaTeX writes them."""
    text = _NAMED_ROOT.sub(r"\\sqrt{\1}", one_form(text))
    if text.isascii():
        return text
    text = _ROOT.sub(lambda m: f"\\sqrt{{{m[1] or m[2] or m[3]}}}", text)
    text = _RAISED_RUN.sub(lambda m: "^{" + "".join(_RAISED[c] for c in m[0]) + "}", text)
    return "".join(_SIGNS.get(letter, letter) for letter in text)


def as_written(text: str) -> str:
    """One form of what LaTeX writes in many; two formulas of the same form are equal."""
    text = in_latex(text).strip().removesuffix(".")
    for begins, ends in (("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(begins) and text.endswith(ends):
            text = text[2:-2]
    text = re.sub(r"\\[dtc]frac", r"\\frac", _IDLE.sub("", text.replace("\\$", "")))
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", _WRAPPED.sub(r"\1", text))
    return _SPACE.sub("", text.replace("^{\\circ}", "^\\circ"))


def plain_number(text: str) -> Fraction | None:
    """The value of a text that is one number in digits; None where it is anything else."""
    text = as_written(text)
    is_number = len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) is not None
    return Fraction(text.replace(",", "")) if is_number else None


def without_operators(gold: str) -> str:
    """A reference that words can meet, such as "7" or "even"; empty where it is a formula."""
    plain = _IDLE.sub("", _WRAPPED.sub(r"\1", one_form(gold))).strip().removesuffix(".").strip()
    return "" if _OPERATORS.search(plain) else plain


def in_words(answer: str) -> bool:
    """Whether an answer is a number or words, with no variable and no operator in it."""
    return not _FORMULA.search(one_form(answer).strip().strip("$"))


def differs_in_form(answer: str, gold: str) -> bool:
    """Whether an answer differs from the reference where a parser sees no difference: brackets
    of an interval, the base of a number, the power of a unit.
    """
    if len(answer) > 2000:
        return False
    said, wanted = as_written(answer), as_written(gold)
    ours, theirs = _brackets(said), _brackets(wanted)
    if len(ours) == len(theirs) and ours != theirs:
        return True
    for pattern in (_BASE, _POWER_OF_UNIT):
        found, asked = pattern.search(said), pattern.search(wanted)
        if found and asked and found[1] != asked[1]:
            return True
    return False


def _brackets(text: str) -> list[tuple[str, str]]:
    """(opening, closing) of each outermost group that holds a comma."""
    groups: list[tuple[str, str]] = []
    depth, opened, comma = 0, "", False
    for found in re.finditer(r"\\?[(\[{}\])]|,", text):
        sign = found[0]
        if sign in "{}":  # LaTeX's own, which say nothing
            continue
        if sign == ",":
            comma = comma or depth == 1
        elif sign[-1] in "([{":
            depth += 1
            if depth == 1:
                opened, comma = sign, False
        elif depth:
            depth -= 1
            if depth == 0 and comma:
                groups.append((opened, sign))
    return groups
