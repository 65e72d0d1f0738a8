"""Whether an expression is an antiderivative: by exact polynomials where both sides are some, else
by sympy, whose parts are put together one by one and never parsed by it.
"""

import functools
from typing import Any

import sympy

from data_filters.verify.gym.expressions import MAX_DIGITS, NotReadable, read
from data_filters.verify.gym.polynomials import (
    MAX_EXPONENT,
    Polynomials,
    derivative,
    same_polynomial,
)

TOLERANCE = 1e-12  # of a value, or of a coefficient where the answer has decimal numbers
# where both sides are compared; some may lie outside of where they have values
POINTS = [sympy.Rational(n, 97) for n in (31, 88, -45, 130, -110, 12)]
MAX_OPERATIONS = 400  # of an expression that sympy works on
_CONSTANTS = {"pi": sympy.pi, "E": sympy.E}
_FUNCTIONS = {
    name: getattr(sympy, name)
    for name in "sin cos tan cot sec csc asin acos atan acot sinh cosh tanh coth asinh acosh atanh "
    "exp log ln sqrt Abs sign erf".split()
} | {"abs": sympy.Abs, "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan}


def is_antiderivative(answer: str, integrand: str, variable: str) -> bool:
    """Whether the derivative of the answer is the integrand; other names are constants.

    Raises:
        NotReadable: one of them is no expression of known functions.
        ZeroDivisionError: it divides by zero.
    """
    try:
        found = derivative(read(answer, Polynomials()), variable)
        wanted = read(integrand, Polynomials())
    except NotReadable:
        return _by_sympy(answer, integrand, variable)
    return same_polynomial(found, wanted, TOLERANCE if "." in answer else 0.0)


def _by_sympy(answer: str, integrand: str, variable: str) -> bool:
    """Whether both sides agree at some points: to simplify a difference that is not zero takes
    sympy seconds, and of one that is zero it may not see it.
    """
    x = _symbol(variable)
    found = sympy.diff(read(answer, Expressions(variable)), x)
    wanted = _integrand(integrand, variable)
    names = sorted((found.free_symbols | wanted.free_symbols) - {x}, key=str)
    met = 0
    for point in POINTS:
        at = {x: point} | {name: point + i + 2 for i, name in enumerate(names)}
        value, difference = (_value(side, at) for side in (wanted, found - wanted))
        if value is None or difference is None:
            continue
        if difference > TOLERANCE * max(1.0, value):
            return False
        met += 1
    return met >= len(POINTS) // 2


def _value(expression: Any, at: dict[Any, Any]) -> float | None:
    """How large an expression is at a point; None where it has no value there."""
    value = abs(expression.subs(at).evalf(20, maxn=60))
    return float(value) if value.is_Float or value.is_Integer else None


def _symbol(name: str) -> Any:
    return sympy.Symbol(name, real=True)


@functools.lru_cache(maxsize=1024)
def _integrand(text: str, variable: str) -> Any:
    return read(text, Expressions(variable))


class Expressions:
    """sympy's expressions of numbers, names and elementary functions.

    Args:
        variable: other names count as constants.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.operations = 0

    def number(self, text: str) -> Any:
        return sympy.Float(text) if "." in text else sympy.Integer(text)

    def name(self, text: str) -> Any:
        if text != self.variable and text in _CONSTANTS:
            return _CONSTANTS[text]
        if text in _FUNCTIONS:
            raise NotReadable(f"{text} of what?")
        return _symbol(text)

    def apply(self, operation: str, values: list[Any]) -> Any:
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise NotReadable("too long")
        if operation in _FUNCTIONS and len(values) == 1:
            return _FUNCTIONS[operation](values[0])
        if len(values) == 1 and operation == "-":
            return -values[0]
        if len(values) != 2 or operation not in ("+", "-", "*", "/", "**"):
            raise NotReadable(f"{operation} is not a function of {len(values)} values")
        one, other = values
        if operation == "+":
            return one + other
        if operation == "-":
            return one - other
        if operation == "*":
            return one * other
        if operation == "/":
            if other == 0:
                raise ZeroDivisionError
            return one / other
        return _power(one, other)


def _power(base: Any, exponent: Any) -> Any:
    """A power, where sympy does not make a number of it that is too long to write."""
    if exponent.is_number and not abs(exponent.evalf(8)) <= MAX_EXPONENT:
        raise NotReadable("too large an exponent")
    if base.is_Number and exponent.is_Number:
        digits = len(str(base)) * abs(float(exponent))
        if digits > MAX_DIGITS * 50:
            raise NotReadable("too large a power")
    return base**exponent
