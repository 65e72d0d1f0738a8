"""The value of a calculation, with the usual order of operations."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MAX_VALUE = 1e18  # what is larger is no number of a text
_MAX_FACTORIAL = 20
_LOOSE = frozenset("+-")
_TIGHT = frozenset("*/%")


class Part(NamedTuple):
    """An operand or an operator of a calculation; `sign` is empty for an operand, "var" for a
    letter.
    """

    sign: str
    value: float = 0.0


class _CannotSay(Exception):
    """The parts make no calculation that has a value."""


def evaluate(parts: Sequence[Part]) -> tuple[float | None, list[float]]:
    """(value, running totals of its sums from the left): 3 + 5 - 2 gives 6, with 8 on the way.

    The value is None where brackets do not match, a letter stands, something is divided by 0, or
    the result is larger than any number of a text.
    """
    if len(parts) == 3 and parts[0].sign == "" == parts[2].sign:
        value = _two(parts[0].value, parts[1].sign, parts[2].value)
        if value is not None:
            return (value, []) if abs(value) <= MAX_VALUE else (None, [])
    reader = _Reader(parts)
    try:
        value = reader.sum(outermost=True)
    except (_CannotSay, ZeroDivisionError, OverflowError, ValueError, RecursionError):
        return None, []
    if reader.place != len(parts) or abs(value) > MAX_VALUE:
        return None, []
    return value, reader.totals


def _two(a: float, sign: str, b: float) -> float | None:
    """The common case, without a reader."""
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    if sign == "*":
        return a * b
    return a / b if sign == "/" and b else None


class _Reader:
    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts, self.place = parts, 0
        self.totals: list[float] = []

    def sum(self, outermost: bool = False) -> float:
        total = self.product()
        while (sign := self._sign()) in _LOOSE and sign:
            self.place += 1
            term = self.product()
            total = total + term if sign == "+" else total - term
            if outermost:
                self.totals.append(total)
        return total

    def product(self) -> float:
        total = self.power()
        while (sign := self._sign()) in _TIGHT and sign:
            self.place += 1
            factor = self.power()
            if sign == "*":
                total *= factor
            else:
                total = total / factor if sign == "/" else total % factor
        return total

    def power(self) -> float:
        base = self.atom()
        while self._sign() == "!":
            self.place += 1
            if base != int(base) or not 0 <= base <= _MAX_FACTORIAL:
                raise _CannotSay
            base = float(math.factorial(int(base)))
        if self._sign() == "^":
            self.place += 1
            exponent = self.power()
            if abs(exponent) > 64 or abs(base) > 1e9:
                raise _CannotSay
            result = base**exponent
            if isinstance(result, complex):
                raise _CannotSay
            return float(result)
        if self._sign() == "choose":
            self.place += 1
            return float(math.comb(int(base), int(self.power())))
        return base

    def atom(self) -> float:
        if self.place >= len(self.parts):
            raise _CannotSay
        part = self.parts[self.place]
        self.place += 1
        if part.sign == "":
            return part.value
        if part.sign == "-":
            return -self.power()
        if part.sign == "sqrt":
            return math.sqrt(self.atom())
        if part.sign == "(":
            inner = self.sum()
            if self._sign() != ")":
                raise _CannotSay
            self.place += 1
            return inner
        raise _CannotSay

    def _sign(self) -> str:
        return self.parts[self.place].sign if self.place < len(self.parts) else ""
