"""Algebras for `expressions.read` that need no sympy: exact numbers, and polynomials with their
derivatives.
"""

import math
from fractions import Fraction

from data_filters.verify.gym.expressions import MAX_DEPTH, NotReadable

MAX_BITS = 10_000  # of a number that is worked out
MAX_EXPONENT = 1_000
MAX_TERMS = 500  # of a polynomial
Monomial = tuple[tuple[str, int], ...]  # (variable, exponent), in the order of the variables
Polynomial = dict[Monomial, Fraction]


class Numbers:
    """Exact numbers; no names, no functions."""

    def number(self, text: str) -> Fraction:
        return Fraction(text)

    def name(self, text: str) -> Fraction:
        raise NotReadable(f"{text} is not a number")

    def apply(self, operation: str, values: list[Fraction]) -> Fraction:
        if len(values) == 1 and operation == "-":
            return -values[0]
        if len(values) != 2 or operation not in ("+", "-", "*", "/", "**"):
            raise NotReadable(f"{operation} is not arithmetic")
        one, other = values
        if operation == "+":
            return one + other
        if operation == "-":
            return one - other
        if operation == "*":
            return one * other
        return one / other if operation == "/" else number_power(one, other)


def number_power(base: Fraction, exponent: Fraction) -> Fraction:
    """A power with a whole exponent, where it is not too large to work out.

    Raises:
        NotReadable: a broken exponent, or a result of more than MAX_BITS.
    """
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator != 1 or abs(exponent) * bits > MAX_BITS:
        raise NotReadable("a power that is not worked out")
    return base ** int(exponent)


class Polynomials:
    """Sums of products of numbers and whole powers of variables, negative powers too.

    Args:
        expanded: a product of two sums, or a power of one, is not worked out: what is asked for is
            the sum, and `(x + 1)*(x + 2)` would be the question once more.
    """

    def __init__(self, expanded: bool = False) -> None:
        self.expanded = expanded

    def number(self, text: str) -> Polynomial:
        return _terms({(): Fraction(text)})

    def name(self, text: str) -> Polynomial:
        return {((text, 1),): Fraction(1)}

    def apply(self, operation: str, values: list[Polynomial]) -> Polynomial:
        if len(values) == 1 and operation == "-":
            return _times(values[0], {(): Fraction(-1)})
        if len(values) != 2 or operation not in ("+", "-", "*", "/", "**"):
            raise NotReadable(f"{operation} makes no polynomial")
        one, other = values
        if operation in ("+", "-"):
            return _plus(one, other, 1 if operation == "+" else -1)
        if operation == "*":
            return self._product(one, other)
        if operation == "/":
            return self._product(one, _inverse(other))
        return self._power(one, _constant(other))

    def _product(self, one: Polynomial, other: Polynomial) -> Polynomial:
        sums = [p for p in (one, other) if len(p) > 1]
        factors = [p for p in (one, other) if len(p) <= 1 and not _is_constant(p)]
        if self.expanded and (len(sums) > 1 or (sums and factors)):
            raise NotReadable("a product that is not expanded")
        return _times(one, other)

    def _power(self, base: Polynomial, exponent: Fraction) -> Polynomial:
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
            raise NotReadable("a power that is not worked out")
        times = int(exponent)
        if len(base) == 1:
            ((monomial, coefficient),) = base.items()
            raised = tuple((name, power * times) for name, power in monomial if power * times)
            return {raised: number_power(coefficient, exponent)}
        if times < 0 or times > MAX_DEPTH or (self.expanded and times > 1):
            raise NotReadable("a power of a sum")
        value: Polynomial = {(): Fraction(1)}
        for _ in range(times):
            value = _times(value, base)
        return value


def derivative(polynomial: Polynomial, variable: str) -> Polynomial:
    """By one variable; the others count as constants."""
    found: Polynomial = {}
    for monomial, coefficient in polynomial.items():
        powers = dict(monomial)
        power = powers.get(variable, 0)
        if power:
            powers[variable] = power - 1
            lower = tuple((name, p) for name, p in sorted(powers.items()) if p)
            found[lower] = found.get(lower, Fraction(0)) + coefficient * power
    return _terms(found)


def same_polynomial(one: Polynomial, other: Polynomial, tolerance: float = 0.0) -> bool:
    """Whether all coefficients agree, up to a fraction of themselves."""
    if tolerance == 0.0:
        return one == other
    return all(
        math.isclose(one.get(m, 0), other.get(m, 0), rel_tol=tolerance, abs_tol=tolerance)
        for m in one.keys() | other.keys()
    )


def _terms(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MAX_TERMS:
        raise NotReadable("too many terms")
    found = {m: c for m, c in polynomial.items() if c}
    if any(
        max(c.numerator.bit_length(), c.denominator.bit_length()) > MAX_BITS for c in found.values()
    ):
        raise NotReadable("too large a number")
    return found


def _plus(one: Polynomial, other: Polynomial, sign: int) -> Polynomial:
    found = dict(one)
    for monomial, coefficient in other.items():
        found[monomial] = found.get(monomial, Fraction(0)) + sign * coefficient
    return _terms(found)


def _times(one: Polynomial, other: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for m, c in one.items():
        for n, d in other.items():
            powers = dict(m)
            for name, power in n:
                powers[name] = powers.get(name, 0) + power
            key = tuple((name, p) for name, p in sorted(powers.items()) if p)
            found[key] = found.get(key, Fraction(0)) + c * d
    return _terms(found)


def _inverse(polynomial: Polynomial) -> Polynomial:
    if not polynomial:
        raise ZeroDivisionError
    if len(polynomial) > 1:
        raise NotReadable("a sum in a denominator")
    ((monomial, coefficient),) = polynomial.items()
    return {tuple((name, -power) for name, power in monomial): 1 / coefficient}


def _is_constant(polynomial: Polynomial) -> bool:
    return not polynomial or set(polynomial) == {()}


def _constant(polynomial: Polynomial) -> Fraction:
    if not _is_constant(polynomial):
        raise NotReadable("a variable in an exponent")
    return polynomial.get((), Fraction(0))
