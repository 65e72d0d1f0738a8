"""Names and dates that are written in several ways: with a title or an initial, in another order,
as one or as many.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_MONTHS = {
    name[:length]: number
    for number, name in enumerate(
        (
            "january february march april may june july august september october november december"
        ).split(),
        start=1,
    )
    for length in (3, len(name))
} | {"sept": 9}
_DAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())
_INITIAL = re.compile(r"(?<=\w )[A-Z]\. (?=\w)")
_BESIDE = frozenset("the a an in at of on by from for to and is was it he she they".split())
_TITLES = frozenset(
    "mr mrs ms miss dr prof professor sir dame lord lady saint st king queen prince princess "
    "president senator governor general gen colonel col captain capt lieutenant lt major sergeant "
    "sgt reverend rev pope emperor maharaja sultan justice judge pilot".split()
)


class _Date(NamedTuple):
    year: int | None
    month: int | None
    day: int | None


def without_initials(text: str) -> str:
    """The text without capital letters that stand, with a period, between two words."""
    return _INITIAL.sub("", text)


def same_name(said: Sequence[str | Fraction], wanted: Sequence[str | Fraction]) -> bool:
    """Whether two rows of tokens are one name but for titles, small words and an s.

    Example: "Gen. John Pershing" is "John Pershing"; "c b a" is never "c a".
    """
    first, second = _name(said), _name(wanted)
    return bool(first) and first == second and any(len(word) > 2 for word in first)


def same_date(said: Sequence[str | Fraction], wanted: Sequence[str | Fraction]) -> bool:
    """Whether two rows of tokens are one date, in any order of its parts. Less of it will do if its
    year is said; more than is wanted will not, since nobody could say whether it is right.
    """
    first, second = _date(said), _date(wanted)
    if first is None or second is None or second.month is None:
        return False
    if first.year is None and second.year is not None:
        return False
    return all(a is None or a == b for a, b in zip(first, second, strict=True))


def _name(tokens: Sequence[str | Fraction]) -> list[str]:
    words = [str(token).removesuffix("'s") for token in tokens]
    kept = [word for word in words if word not in _BESIDE and word not in _TITLES]
    return [
        word[:-1] if len(word) > 4 and word[-2:] not in ("ss", "us") and word[-1] == "s" else word
        for word in kept
    ]


def _date(tokens: Sequence[str | Fraction]) -> _Date | None:
    """The date that all of the tokens make; None where they say anything else."""
    year = month = day = None
    for token in tokens:
        if isinstance(token, str):
            if token in _MONTHS and month is None:
                month = _MONTHS[token]
            elif token not in _BESIDE | _DAYS | {"th", "rd", "nd"}:
                return None
        elif token.denominator == 1 and 1000 <= token < 2200 and year is None:
            year = int(token)
        elif token.denominator == 1 and 1 <= token <= 31 and day is None:
            day = int(token)
        else:
            return None
    return _Date(year, month, day) if year or (month and day) else None
