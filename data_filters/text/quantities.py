"""Quantities in a text: numbers with a unit, a scale or a currency, and numbers written as words,
with their values.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "bn": 10**9,
    "m": 10**6,
    "k": 1000,
}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: number for number, word in enumerate(_ONES)} | {
    word: 10 * number for number, word in enumerate(_TENS, start=2)
}
_UNIT = (
    r"(?:(?:square|cubic|nautical|metric)\s)?(?:(?:kilo|centi|milli|micro|nano)?(?:met(?:re|er)s?|grams?|lit(?:re|er)s?)|miles?|yards?|feet|foot|"
    r"inch(?:es)?|acres?|hectares?|tonn?es|tons?|ounces?|pounds?|stones?|gallons?|pints?|barrels?|bushels?|carats?|knots?|light-?years?|"
    r"seconds?|minutes?|hours?|days?|weeks?|fortnights?|months?|years?|decades?|centuries|millennia|"
    r"(?:kilo|mega|giga|tera|peta)?(?:bytes?|bits?|watts?|hertz|joules?|volts?)|watt-hours?|kelvins?|newtons?|pascals?|"
    r"degrees?(?:\s(?:Celsius|Fahrenheit|[NSEW]\b|north|south|east|west))?|dollars?|euros?|cents?|pence|francs?|marks|yen|rupees?|"
    r"km|cm|mm|nm|kg|mg|g|m|s|ms|kW|MW|GW|kWh|MWh|GWh|kHz|MHz|GHz|Hz|kV|Pa|kPa|hPa|kB|MB|GB|TB|ha|ml|mph|lb|lbs|oz|ft|\u00b0[CF]?)"
    r"(?:/(?:h|s|m|km|day|year|kg)\b|\sper\s(?:hour|second|minute|day|year|person|head|capita|metre|meter|litre|liter))?"
)
_SIGN = r"(?:(?:US|A|C|HK|NZ)?[$\u20ac\u00a3\u00a5]\s?|(?:EUR|USD|GBP|CHF|JPY)\s)"
_FIGURES = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:-(?:{'|'.join(_ONES[1:10])}))?|{'|'.join(sorted(_ONES, key=len, reverse=True))})"
_BIG = r"(?:hundred|thousand|million|billion|trillion)"
_QUANTITY = re.compile(
    rf"""(?<![\w.,$\u20ac\u00a3])(?=[\d$\u20ac\u00a3\u00a5UECGJAHNaofstnezOFSTZ])(?:
        (?P<money>(?:\bUS)?{_SIGN}{_FIGURES}(?:\s?(?:thousand|million|billion|trillion|bn|[mk])\b|(?!\w)))
        | (?P<percent>{_FIGURES}(?:\s?%|\sper\s?cent\b|\spercentage\spoints?\b))
        | (?P<scaled>{_FIGURES}[ -](?:thousand|million|billion|trillion)\b(?:\s{_UNIT}(?![\w-]))?)
        | (?P<measured>{_FIGURES}[ -]?{_UNIT}(?![\w-]))
        | (?P<words>(?i:\b(?:(?:{_SMALL}|an?(?=[ -]{_BIG}))(?:(?:[ -]|\sand\s)(?:{_SMALL}|{_BIG}))*)\b)
             (?P<share>\sper\s?cent\b|[ -]{_UNIT}(?![\w-]))?)
    )""",
    re.VERBOSE,
)
_TOKEN = re.compile(r"[a-z]+")
_DIGITS = re.compile(_FIGURES)
_SCALE_AFTER = re.compile(r"[\s-]?(thousand|million|billion|trillion|bn|m|k)\b")


class Quantity(NamedTuple):
    start: int
    end: int
    value: int | Fraction  # scale applied: 3.2 million is 3,200,000
    unit: str  # what stands behind the number, in lower case; "$" and the like for money
    spelled: bool  # written as words


def find_quantities(text: str) -> Iterator[Quantity]:
    """Quantities in order. Plain figures are not among them; plain number words are, from eleven up
    or with a unit.
    """
    for match in _QUANTITY.finditer(text):
        form = str(match.lastgroup) if match.lastgroup != "share" else "words"
        said = match[form]
        if form == "words":
            unit = (match["share"] or "").strip(" -").lower()
            value: int | Fraction = words_value(said[: len(said) - len(match["share"] or "")])
            if value > 10 or unit:
                yield Quantity(match.start(form), match.end(form), value, unit, True)
            continue
        digits = _DIGITS.search(said)
        assert digits
        figures = digits[0].replace(",", "")
        value = Fraction(figures) if "." in figures else int(figures)
        after = said[digits.end() :]
        scale = _SCALE_AFTER.match(after) if form in ("money", "scaled") else None
        value *= _SCALES[scale[1]] if scale else 1
        unit = (
            said[: digits.start()].strip()
            if form == "money"
            else after[scale.end() if scale else 0 :].strip(" -").lower()
        )
        yield Quantity(
            match.start(form),
            match.end(form),
            int(value) if value.denominator == 1 else value,
            unit,
            False,
        )


def words_value(said: str) -> int:
    """The number that words name: "two hundred and forty-eight thousand" is 248,000; several in a
    row add up.
    """
    total = part = 0
    for word in _TOKEN.findall(said.lower()):
        if word in _WORDS:
            part += _WORDS[word]
        elif word == "hundred":
            part = max(part, 1) * 100
        elif word in _SCALES and len(word) > 3:
            total, part = total + max(part, 1) * _SCALES[word], 0
    return total + part
