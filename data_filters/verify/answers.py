"""The final answer of a text, and whether it says the same as a reference. Filters and the
evaluation's grader share it.
"""

import re
import unicodedata
from fractions import Fraction

from data_filters.verify.reading.names import same_date, same_name, without_initials
from data_filters.verify.reading.references import box_range, last_box
from data_filters.verify.reading.spelling import EITHER, in_digits, one_form, one_sign

_MARKERS = re.compile(
    r"\banswer(?:\s+is\b\s*:?|\s*:)(?:\s*(?:option|choice)\b)?|####", re.IGNORECASE
)
_LATEX_WRAPPERS = re.compile(
    r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf)|[mhf]box|operatorname|boxed)\s*\{([^{}]*)\}"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{(-?\d+)\}|(\d))\s*(?:\{(-?\d+)\}|(\d))")
_TOKEN = re.compile(
    r"(?:(?<![\w.)])-)?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|(?:(?<![\w.)])-)?\d*\.?\d+(?:/\d+)?|[^\W\d_]+(?:['\u2019][^\W\d_]+)*"
)
_LONE_LETTER = re.compile(r"\W*([A-Za-z])\W*$")
_OPTION = re.compile(r"^\W*(?:(?:[Oo]ption|[Cc]hoice)\s+)?[A-Z]\s*(?:[).:]|\s-)")
_BRACKETED = re.compile(r"\(([A-Z])\)")
_HALF_BRACKETED = re.compile(r"-\S|\(\w\]|\[\w\)")  # no sign and no interval is a choice
_CHOSEN = re.compile(
    r"^\W*([A-Z])\s*(?:[).:]|\s-)|\(([A-Z])\)|\b(?:[Oo]ption|[Cc]hoice)\s+\W*([A-Z])\b|\bis\s+\W*([A-Z])\W*$"
)
_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_FILLER = frozenset(
    "the a an is are was were be in on at of to from as for it its he she his her they their this that there i we so thus hence therefore "
    "answer lives live lived works work has have had does did called named option choice correct value result year years old".split()
)
_VERDICT_WORDS = frozenset(("yes", "no", "true", "false"))
_HEDGES = frozenset(
    "not no never or and nor neither either isn't wasn't aren't don't doesn't cannot can't unless except minus negative".split()
) | {EITHER}
_SENTENCE_TOKENS = 12
# what a sign may stand behind without being the operator of a difference or a dash in a sentence
_BEFORE_SIGN = (
    r"(^|[(\[{$=:,~]|\b(?:is|are|was|were|equals|equal|be|to|of|than|answer|about|gives)\b)\s*"
)
_SPACED_SIGN = re.compile(_BEFORE_SIGN + r"-\s+(?=[$\u20ac\u00a3\u00a5]?\.?\d)")
_SIGN_WORD = re.compile(_BEFORE_SIGN + r"(?:minus|negative)\s+(?=[$\u20ac\u00a3\u00a5]?\.?\d)")
_SIGN_OF_MONEY = re.compile(r"(?<![\w.)])-\s*([$\u20ac\u00a3\u00a5])\s*(?=\.?\d)")
_OPERATOR = re.compile(r"(?<=[\w)\]])\s*([-+*/^<>=])\s*(?=[\w(\[])(?<![a-z]{2}-)")
_ACCENTS = re.compile("[\u0300-\u036f]")
# one name for each unit that has several
_UNITS = {
    other: unit
    for unit, others in {
        "km": "kilometer kilometre",
        "cm": "centimeter centimetre",
        "mm": "millimeter millimetre",
        "m": "meter metre",
        "kg": "kilogram kilo",
        "g": "gram gramme",
        "mg": "milligram",
        "l": "liter litre",
        "ml": "milliliter millilitre",
        "lb": "lbs pound",
        "oz": "ounce",
        "ft": "foot feet",
        "in": "inch inche",
        "mi": "mile",
        "yd": "yard",
        "h": "hr hrs hour",
        "min": "mins minute",
        "s": "sec secs second",
        "gb": "gigabyte",
        "mb": "megabyte",
        "percent": "percentage pct",
        "mph": "mi/h",
    }.items()
    for other in others.split()
}
Token = str | Fraction


def final_answer(text: str) -> str | None:
    """The parsed final answer, without markdown and closing period; None where there is none.

    Looks behind the last </think>; there, the last \\boxed{...}, else what follows the last "answer
    is" or "Answer:" on its line, else all of it. Reasoning that was never closed has no answer.
    """
    tail = after_thought(text)
    return None if tail is None else _clean(_passages(tail)[0]) or None


def answer_range(text: str) -> tuple[int, int] | None:
    """Where the passage stands that `final_answer` reads: (start, end) in characters.

    In "<think>3 + 4 = 7</think>The answer is 7." it is "7."; None where a thought was never closed.
    """
    tail = after_thought(text)
    if tail is None:
        return None
    shift = len(text) - len(tail)
    start, end = _passage_ranges(tail)[0]
    return start + shift, end + shift


def answer_forms(text: str) -> list[str]:
    """The readings of the final answer, each once: as final_answer gives it, as written, without a
    code fence, over several lines.

    For scorers that want the exact form of a grid or a list, which cleaning would damage. Empty
    where there is no answer.
    """
    tail = after_thought(text)
    passages = [] if tail is None else _passages(tail)
    forms = [_clean(passage) for passage in passages[:1]]
    for passage in passages:
        forms += [
            passage.strip(),
            *(inside.strip("\n") for inside in _FENCED.findall(passage)[-1:]),
        ]
    return [form for form in dict.fromkeys(forms) if form]


def says_nothing(text: str) -> bool:
    """Whether the answer is given as an empty one: nothing behind the thought, in the box or behind
    the marker.

    A few problems have that as their answer (what is left when all tokens cancel).
    """
    tail = after_thought(text)
    if tail is None:
        return False
    boxed, markers = last_box(tail), list(_MARKERS.finditer(tail))
    passage = boxed if boxed is not None else tail[markers[-1].end() :] if markers else tail
    return not passage.strip(" \n\t.`*$")


def after_thought(text: str) -> str | None:
    """What follows the last </think>, or all of a text without a thought; None where a thought was
    never closed.
    """
    _, closed, tail = text.rpartition("</think>")
    tail = tail if closed else text
    return None if "<think>" in tail else tail


def same_answer(answer: str, gold: str) -> bool:
    """Whether an answer says the same as the reference.

    Case, spaces and punctuation do not matter; numbers are compared as numbers ("7.0", "$7", "7
    apples" and "seven" are 7, if no other number is there); a choice letter counts alone or marked
    as one ("(B) Rome"); a reference in words may stand in a short sentence. Lists ("1 2 3", "c b
    a", "Mara Rex") must match from end to end.
    """
    answer, gold = _clean(answer), _clean(gold)
    said, wanted = _tokens(answer), _tokens(gold)
    if answer.startswith("-") and answer[1:2].isalpha() and not gold.startswith("-"):
        return False  # a negated word; a dash of a list has a space behind it
    if not wanted or not said:
        return bool(gold.strip()) and answer.strip() == gold.strip()
    if said == wanted:
        return _operators(answer) == _operators(gold) or not (
            _operators(answer) and _operators(gold)
        )
    if len(wanted) == 1 and isinstance(wanted[0], str) and len(wanted[0]) == 1:
        return _chooses(answer, wanted[0])
    if not any(isinstance(token, Fraction) for token in wanted):
        names = (_tokens(without_initials(text)) for text in (answer, gold))
        if _says(said, wanted) or same_name(*names):
            return True
        wanted = _tokens(in_digits(gold))
        if not isinstance(wanted[0], Fraction) or not isinstance(said[0], Fraction):
            return False
    numbers = [token for token in wanted if isinstance(token, Fraction)]
    if same_date(said, wanted):
        return True
    return len(numbers) == 1 and _same_number(answer, wanted)


def same_choice(answer: str, gold: str) -> bool | None:
    """Whether an answer picks the option of the reference: "B", "(B) Rome" or "Rome".

    None where one of the two gives a letter and the other only a text, so that nobody without the
    list of options could say.
    """
    answer, gold = _clean(answer), _clean(gold)
    if _HALF_BRACKETED.match(answer):
        return False
    letter, wanted = _letter(answer), _letter(gold)
    if wanted and len(set(_BRACKETED.findall(answer))) > 1:
        return False
    if letter and wanted:
        return letter == wanted
    if letter or wanted:
        lettered = gold if wanted else answer
        text = "" if _LONE_LETTER.match(lettered) else _OPTION.sub("", lettered).strip()
        return same_answer(answer if wanted else text, text if wanted else gold) if text else None
    return same_answer(answer, gold)


def _passages(tail: str) -> list[str]:
    """Where the answer stands: in a box, or behind a marker (to the end of its line; to the end),
    or all of it.
    """
    return [tail[start:end] for start, end in _passage_ranges(tail)]


def _passage_ranges(tail: str) -> list[tuple[int, int]]:
    box = box_range(tail)
    if box is not None:
        return [box]
    markers = list(_MARKERS.finditer(tail))
    behind = markers[-1].end() if markers else len(tail)
    end = len(tail.rstrip())
    start = len(tail) - len(tail[behind:].lstrip())
    if start >= end:
        return [(0, len(tail))]
    if tail.startswith("```", start):
        return [(start, end)]
    line = tail.find("\n", start, end)
    return [(start, end if line < 0 else line), (start, end)]


def _clean(text: str) -> str:
    text = one_form(text).strip()
    if "\\" in text:
        text = _LATEX_WRAPPERS.sub(r"\1", text.replace("\\$", "$"))
        text = _LATEX_FRACTION.sub(_as_ratio, text)
        text = (
            text.strip()
            .removeprefix("\\(")
            .removesuffix("\\)")
            .removeprefix("\\[")
            .removesuffix("\\]")
        )
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text.strip("$")
    text = text.strip().strip("*_`").strip()
    return text[:-1].rstrip("*_` ") if text.endswith(".") else text


def _operators(text: str) -> list[str]:
    """The signs of arithmetic between two digits or letters, in order."""
    return _OPERATOR.findall(one_sign(text))


def _as_ratio(found: re.Match[str]) -> str:
    return f"{found[1] or found[2]}/{found[3] or found[4]}"


def _tokens(text: str) -> list[Token]:
    """Lower-case words without accents, and numbers with their signs; everything else is
    punctuation.
    """
    text = one_sign(text).lower()
    text = _SIGN_WORD.sub(r"\1 -", _SIGN_OF_MONEY.sub(r"\1-", text))
    return [_token(found) for found in _TOKEN.findall(_SPACED_SIGN.sub(r"\1 -", text))]


def _token(found: str) -> Token:
    if found[-1].isdigit():
        try:
            return Fraction(found.replace(",", ""))
        except (ValueError, ZeroDivisionError):
            return found
    if not found.isascii():
        found = _ACCENTS.sub("", unicodedata.normalize("NFD", found))
    return found.replace("\u2019", "'")


def _same_number(answer: str, wanted: list[Token]) -> bool:
    """One number in the answer, the wanted one; words such as a unit must agree where both have
    them ("5 km" is not "5 miles").
    """
    said = _tokens(answer)
    if not any(isinstance(token, Fraction) for token in said):
        said = _tokens(in_digits(answer))
    words = {token for token in said if isinstance(token, str)}
    number = [token for token in wanted if isinstance(token, Fraction)]
    if [token for token in said if isinstance(token, Fraction)] != number or (
        _HEDGES & words - {"and"}
    ):
        return False
    units = {_unit(token) for token in wanted if isinstance(token, str)}
    words = {_unit(token) for token in words - _FILLER}
    return not units or not words or units <= words


def _unit(word: str) -> str:
    """One name for a unit, and for one and many of a thing."""
    one = word.removesuffix("s") if len(word) > 3 else word
    return _UNITS.get(word) or _UNITS.get(one, one)


def _letter(text: str) -> str:
    """The one option letter that a text names; empty where it names none or several."""
    if alone := _LONE_LETTER.match(text):
        return alone[1].upper()
    found = {letter for letters in _CHOSEN.findall(text) for letter in letters if letter}
    return found.pop() if len(found) == 1 else ""


def _chooses(answer: str, letter: str) -> bool:
    """A capital letter that opens the answer with a bracket, period or colon, or ends "option
    B".
    """
    pattern = rf"^\W*{letter.upper()}\s*[).:]|\(({letter.upper()})\)|\b(?:[Oo]ption|[Cc]hoice|is)\s+\W*{letter.upper()}\W*$"
    return (
        len(set(re.findall(r"\(([A-Z])\)", answer))) <= 1 and re.search(pattern, answer) is not None
    )


def _says(said: list[Token], wanted: list[Token]) -> bool:
    """Whether a short sentence contains the wanted words in a row and nothing that takes them
    back.
    """
    if len(said) > _SENTENCE_TOKENS or any(len(str(token)) == 1 for token in wanted):
        return False
    if set(wanted) & _VERDICT_WORDS:
        return (
            len(wanted) == 1
            and said[0] == wanted[0]
            and not _VERDICT_WORDS & set(said[1:])
            and "or" not in said
        )
    place = next(
        (i for i in range(len(said) - len(wanted) + 1) if said[i : i + len(wanted)] == wanted), -1
    )
    if place < 0:
        return False
    rest = {token for token in said[:place] + said[place + len(wanted) :] if isinstance(token, str)}
    return bool(rest & _FILLER) and not rest & _HEDGES - set(wanted)
