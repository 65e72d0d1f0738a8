"""Dates that follow from others: a number of days, weeks, months or years away, or at the end of a
month that is counted through.
"""

import calendar
from collections.abc import Collection, Iterable
from datetime import date as Day
from typing import NamedTuple

from data_filters.text.dates import MONTHS, Date
from data_filters.text.stem import stem

_MONTH_OF = {stem(name): number for number, name in enumerate(MONTHS, start=1)}
_PLAIN_YEARS = (2001, 2003, 2004)  # for dates without a year: plain, before a leap year, leap


class _Parts(NamedTuple):
    year: int | None
    month: int | None
    day: int | None


def follows(date: Date, known: Iterable[Date], steps: Collection[float]) -> bool:
    """Whether a date is one step from a known one.

    Args:
        date: to be judged.
        known: dates that were given or reached before.
        steps: lengths that were named, in days, weeks, months or years.
    """
    here = _parts(date)
    if here is None or here.month is None:
        return False
    return any(
        there is not None and there.month is not None and _one_step(here, there, steps)
        for there in map(_parts, known)
    )


def _parts(date: Date) -> _Parts | None:
    """Year, month and day; None for decades, and for figures that may be read in two ways."""
    if len(date.span) > 1 or len(date.months) > 1:
        return None
    years = [number for number in date.numbers if number > 31]
    days = [number for number in date.numbers if number <= 31]
    if len(years) > 1 or len(days) > 1 or date.figures:
        return None
    month = next((_MONTH_OF.get(name) for name in date.months), None)
    return _Parts(years[0] if years else None, month, days[0] if days else None)


def _one_step(here: _Parts, there: _Parts, steps: Collection[float]) -> bool:
    assert here.month and there.month
    if here.day is None or there.day is None:
        years = (here.year or 0) - (there.year or 0) if here.year and there.year else 0
        months = abs(12 * years + here.month - there.month)
        return months in steps or (months % 12 == 0 and months // 12 in steps)
    if _ends_month(here) and abs(here.month - there.month) in (0, 1, 11):
        return True
    return any(_apart(here, there, year, steps) for year in _PLAIN_YEARS)


def _ends_month(one: _Parts) -> bool:
    """The first or last day: where a count goes on."""
    last = calendar.monthrange(one.year or 2004, one.month or 1)[1]
    return one.day in (1, last, 28 if one.month == 2 else last)


def _apart(here: _Parts, there: _Parts, year: int, steps: Collection[float]) -> bool:
    """Whether two days are a named length apart; without years, in some year or over its end."""
    first = here.year or there.year or year
    second = there.year or here.year or year
    try:
        one = Day(first, here.month or 1, here.day or 1)
        other = Day(second, there.month or 1, there.day or 1)
    except ValueError:
        return False
    days = abs((one - other).days)
    lengths = {days} if here.year and there.year else {days, abs(365 - days), abs(366 - days)}
    if any(length in steps or (length % 7 == 0 and length // 7 in steps) for length in lengths):
        return True
    months = abs(12 * (first - second) + one.month - other.month)
    wraps = {months} if here.year and there.year else {months, 12 - months}
    same_day = one.day == other.day
    return same_day and any(
        wrap in steps or (wrap % 12 == 0 and wrap // 12 in steps) for wrap in wraps
    )
