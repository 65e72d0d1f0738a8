"""Dates in a text, in the forms that English has for them, with the parts that they are compared
by.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from data_filters.text.stem import stem

MONTHS = (
    "January February March April May June July August September October November December".split()
)
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth "
    "seventeenth eighteenth nineteenth twentieth twenty-first"
).split()
_MONTH_OF = {name[:3].lower(): number for number, name in enumerate(MONTHS, start=1)}
_SHORT = "Jan Feb Mar Apr Jun Jul Aug Sept Sep Oct Nov Dec".split()
_MONTH = rf"(?:{'|'.join(MONTHS)}|(?:{'|'.join(_SHORT)})\b\.?)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_ERA = r"(?:\s?(?:BCE?|CE|AD)\b)"
_PART = r"(?:(?:[Ee]arly|[Mm]id|[Ll]ate)[- ]|(?:[Tt]he\s)?(?:[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter|[Ee]nd|[Bb]eginning)\s(?:of\s)?)"
_OF_SPAN = r"(?:[Tt]he\s)?(?:[Ee]arly\s|[Ll]ate\s|[Mm]id-)?"
_LENGTH = r"(?:[a-z]*(?:metre|meter|gram|mile|kilo|steps)|k?[mg]\b|s\b)"  # "in 1200 m" is no year
_YEAR = r"(?:1\d{3}|20\d\d|21\d\d)"
_DATE = re.compile(
    rf"""(?<![\w/.:-])(?:
        (?P<iso>\d{{4}}-\d\d-\d\d | \d{{4}}/\d\d/\d\d)
        | (?P<figures>\d{{1,2}}(?P<mark>[/.-])\d{{1,2}}(?P=mark)\d{{4}})
        | (?P<day_first>(?:[Tt]he\s)?{_DAY}\s(?:of\s)?{_MONTH}(?:,?\s\d{{3,4}}{_ERA}?)?)
        | (?P<month_first>{_PART}?{_MONTH}\s{_DAY}(?:\s?,\s?\d{{3,4}})?(?!\w) | {_PART}?{_MONTH},?\s(?:of\s)?\d{{3,4}}{_ERA}?)
        | (?P<century>{_OF_SPAN}(?:\d{{1,2}}(?:st|nd|rd|th)|(?i:{"|".join(ORDINALS)}))[ -][Cc]entur(?:y|ies){_ERA}?)
        | (?P<decade>{_OF_SPAN}\d{{3}}0s)
        | (?P<era>AD\s\d{{1,4}} | \d{{1,4}}{_ERA})
        | (?P<part_year>{_PART}{_YEAR})
    )(?![\w/-])
    | \b(?i:in|since|until|till|during|circa|year|of)\s(?P<year>{_YEAR})(?=[.,;:)!?]|\s(?!\d|[-+*/=%]|{_LENGTH})|$)
    | \((?P<bracketed>{_YEAR})\)""",
    re.VERBOSE,
)


def _hints() -> str:
    """Four figures, "centur", months, BC, CE and AD, behind one set of first signs: `re` leaps to
    the next of a set, but tries each alternative at every place.
    """
    rests = [(r"\d", r"\d{3}"), ("[Cc]", "entur"), ("B", "C"), ("C", "E"), ("A", "D")]
    rests += [(month[0], month[1:]) for month in MONTHS]
    rests += [(month[0], rf"{month[1:]}\b\.?") for month in _SHORT]
    return rf"[\dCcBADFJMNOS](?:{'|'.join(f'(?<={first}){rest}' for first, rest in rests)})"


_HINT = re.compile(_hints())
_REACH = 48  # characters; no form is longer
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[A-Za-z]+(?:-[a-z]+)?")


class Date(NamedTuple):
    """A date in a text; `months` and `numbers` are what it is made of, `span` the years that it
    covers.
    """

    start: int
    end: int
    months: frozenset[str]  # stems of full names
    numbers: frozenset[int]
    # months and days of a date in figures, which of them is which is not known
    figures: frozenset[int]
    span: range  # years; one for a year, ten for a decade; empty where it has none


def find_dates(text: str) -> Iterator[Date]:
    """Dates in order; a plain year counts behind a word such as "in", or alone in brackets."""
    at = 0
    for start, end in _windows(text):
        for match in _DATE.finditer(text, max(start, at), end):
            form = str(match.lastgroup) if match.lastgroup != "mark" else "figures"
            first, last = match.span(form)
            at = last
            yield _date(form, text[first:last], first, last)


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """The surroundings of what every date has in it, figures of a year, a month or a word for an
    era: the rest need not be searched.
    """
    start = end = -1
    for hint in _HINT.finditer(text):
        if hint.start() - _REACH > end:
            if end >= 0:
                yield start, end
            start = max(hint.start() - _REACH, 0)
        end = hint.end() + _REACH
    if end >= 0:
        yield start, end


def _date(form: str, said: str, start: int, end: int) -> Date:
    numbers = [int(found) for found in _NUMBER.findall(said)]
    months = frozenset(
        stem(MONTHS[_MONTH_OF[word[:3].lower()] - 1])
        for word in _WORD.findall(said)
        if _is_month(word)
    )
    if form == "century":
        spelled = (
            number for number in range(len(ORDINALS), 0, -1) if ORDINALS[number - 1] in said.lower()
        )
        number = numbers[0] if numbers else next(spelled)
        return Date(
            start,
            end,
            months,
            frozenset((number,)),
            frozenset(),
            range(number * 100 - 100, number * 100 + 1),
        )
    if form == "decade":
        return Date(
            start, end, months, frozenset(numbers), frozenset(), range(numbers[0], numbers[0] + 10)
        )
    years = [number for number in numbers if number > 31]
    if form in ("iso", "figures"):
        figures = frozenset(number for number in numbers if number <= 31)
        return Date(
            start,
            end,
            months,
            frozenset(years),
            figures,
            range(years[0], years[0] + 1) if years else range(0),
        )
    return Date(
        start,
        end,
        months,
        frozenset(numbers),
        frozenset(),
        range(years[0], years[0] + 1) if years else range(0),
    )


def _is_month(word: str) -> bool:
    return (
        word[0].isupper()
        and word[:3].lower() in _MONTH_OF
        and any(month.startswith(word) for month in (*MONTHS, "Sept"))
    )


def parts_in_any_form(date: Date) -> tuple[set[str], set[int]]:
    """(month stems, numbers) that a date says in any of its forms: 1957-05-12 says may, 1957, 5
    and 12.
    """
    months, numbers = set(date.months), set(date.numbers) | set(date.figures)
    months |= {stem(MONTHS[figure - 1]) for figure in date.figures if 1 <= figure <= 12}
    numbers |= {_MONTH_OF[month[:3]] for month in date.months}
    return months, numbers
