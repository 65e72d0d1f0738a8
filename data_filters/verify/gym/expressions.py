"""Reads arithmetic as Python writes it, without running it: numbers, names, + - * / ** and calls.

What the parts mean is up to an algebra: exact numbers, polynomials, or sympy's expressions.
"""

import re
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
MAX_CHARACTERS = 2_000
MAX_DIGITS = 40  # of one number
MAX_DEPTH = 50  # of brackets, signs and powers
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<name>[A-Za-z]\w*)|(?P<sign>\*\*|[-+*/(),]))",
    re.ASCII,
)
_PADDED = re.compile(r"0\d")  # Python takes 007 for a mistake


class NotReadable(ValueError):
    """The text is no such expression, or one that would take too long to work out."""


class Algebra(Protocol[T]):
    """What the parts of an expression mean."""

    def number(self, text: str) -> T:
        """An integer or a decimal number without sign."""

    def name(self, text: str) -> T:
        """A variable or a constant."""

    def apply(self, operation: str, values: list[T]) -> T:
        """`+ - * / **` of two values, `-` of one, or a function by its name."""


def read(text: str, algebra: Algebra[T]) -> T:
    """What a text means in an algebra.

    Raises:
        NotReadable: it is no expression, too long, or nested too deeply.
        ZeroDivisionError: it divides by zero.
    """
    return _Reader(text, algebra).read()


class _Reader(Generic[T]):
    """One text on its way through the grammar, one method a rule."""

    def __init__(self, text: str, algebra: Algebra[T]) -> None:
        self.tokens, self.algebra = _tokens(text), algebra
        self.place = self.depth = 0

    def read(self) -> T:
        value = self.sum()
        if self.place < len(self.tokens):
            raise NotReadable(f"{self.tokens[self.place][1]!r} is one too many")
        return value

    def sum(self) -> T:
        value = self.product()
        while sign := self.take("+", "-"):
            value = self.algebra.apply(sign, [value, self.product()])
        return value

    def product(self) -> T:
        value = self.signed()
        while sign := self.take("*", "/"):
            value = self.algebra.apply(sign, [value, self.signed()])
        return value

    def signed(self) -> T:
        self.deeper(1)
        if self.take("+"):
            value = self.signed()
        elif self.take("-"):
            value = self.algebra.apply("-", [self.signed()])
        else:
            value = self.power()
        self.deeper(-1)
        return value

    def power(self) -> T:
        value = self.atom()
        return self.algebra.apply("**", [value, self.signed()]) if self.take("**") else value

    def atom(self) -> T:
        kind, text = self.tokens[self.place] if self.place < len(self.tokens) else ("end", "")
        self.place += 1
        if kind == "number":
            return self.algebra.number(text)
        if kind == "name":
            if not self.take("("):
                return self.algebra.name(text)
            values = [self.sum()]
            while self.take(","):
                values.append(self.sum())
            self.close()
            return self.algebra.apply(text, values)
        if text != "(":
            raise NotReadable(f"{text!r} where a number or a name is wanted")
        value = self.sum()
        self.close()
        return value

    def take(self, *signs: str) -> str:
        if self.place < len(self.tokens) and self.tokens[self.place] in [
            ("sign", s) for s in signs
        ]:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return ""

    def close(self) -> None:
        if not self.take(")"):
            raise NotReadable("a bracket is not closed")

    def deeper(self, by: int) -> None:
        self.depth += by
        if self.depth > MAX_DEPTH:
            raise NotReadable("nested too deeply")


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each part."""
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise NotReadable("too long")
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise NotReadable(f"{text[place]!r} has no place in an expression")
        part = match[match.lastgroup]
        if match.lastgroup == "number" and (len(part) > MAX_DIGITS or _PADDED.match(part)):
            raise NotReadable(f"{part[:MAX_DIGITS]} is not a number")
        found.append((match.lastgroup, part))
        place = match.end()
    return found
