"""Arithmetic in a text: written steps that are right, and numbers that given numbers reach in one
step.
"""

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from data_filters.text.tokens import Token, Value

_WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "x": "*"}
_EQUALS = frozenset(("=", "equal", "is", "make", "give"))  # stems
MAX_SUMMANDS = 6  # 2^5 signs to try


class Step(NamedTuple):
    """operands -> result, as tokens; only steps that are arithmetically right are made."""

    operands: tuple[Token, ...]
    result: Token


def steps(tokens: Sequence[Token]) -> Iterator[Step]:
    """Every "a op b = c" of a sentence that is right, also chained ("3 + 5 = 8 - 2 = 6"), with
    words ("5 apples plus 3 is 8") and brackets.

    A printed decimal may be rounded: 10 / 3 = 3.33 is right, 10 / 3 = 3 is not.
    """
    expression: list[Token] = []
    for place, token in enumerate(tokens):
        if _equals(token) and _complete(expression):
            result = _next_number(tokens, place)
            total = evaluate(expression)
            if result is not None and total is not None and _agrees(total, result):
                yield Step(tuple(t for t in expression if t.kind == "number"), result)
            expression = []
        else:
            _extend(expression, token)


def expression_values(tokens: Sequence[Token]) -> set[Value]:
    """What the expressions of a sentence come to, with the running totals from the left: 3 + 5 - 2
    gives 8 and 6.
    """
    values: set[Value] = set()
    expression: list[Token] = []
    for token in tokens:
        _extend(expression, token)
        if token.kind in ("number", "pause") and _complete(expression):
            total = evaluate(expression)
            if total is not None:
                values.add(total)
    return values


def in_expression(tokens: Sequence[Token], place: int) -> bool:
    """Whether the number at `place` stands beside an operator."""
    beside = [*tokens[max(place - 1, 0) : place], *tokens[place + 1 : place + 2]]
    return any(_operator(token) or token.key == "=" for token in beside)


def one_step(target: Value, numbers: Collection[Value], *, twice: bool = False) -> bool:
    """Whether a op b = target for two of the numbers, op one of + - * /; with `twice` also for one
    number and itself.
    """
    for a in numbers:
        partners = [target - a, a - target]
        if a:
            partners += [target * a, _divide(target, a)]
            partners += [_divide(a, target)] if target else []
        if any(b in numbers and (twice or b != a) for b in partners):
            return True
    return False


def signed_sum(target: Value, numbers: Sequence[Value]) -> bool:
    """Whether all the numbers, each added or taken away, the first added, make the target; only for
    up to 6 numbers.
    """
    if not 2 <= len(numbers) <= MAX_SUMMANDS:
        return False
    totals = {numbers[0]}
    for number in numbers[1:]:
        totals = {total + sign * number for total in totals for sign in (1, -1)}
    return target in totals


def evaluate(expression: Sequence[Token]) -> Value | None:
    """The value of an expression with * and / before + and -; None where brackets do not match or
    something is divided by 0.
    """
    rest = [token for token in expression if token.kind != "word" or token.key in _WORD_OPERATORS]
    try:
        total, rest = _sum(rest)
    except (ZeroDivisionError, IndexError):
        return None
    return total if not rest else None


def _sum(rest: list[Token]) -> tuple[Value, list[Token]]:
    total, rest = _product(rest)
    while rest and _operator(rest[0]) in ("+", "-"):
        term, after = _product(rest[1:])
        total, rest = (total + term if _operator(rest[0]) == "+" else total - term), after
    return total, rest


def _product(rest: list[Token]) -> tuple[Value, list[Token]]:
    total, rest = _atom(rest)
    while rest and _operator(rest[0]) in ("*", "/"):
        factor, after = _atom(rest[1:])
        total, rest = (
            (total * factor if _operator(rest[0]) == "*" else _divide(total, factor)),
            after,
        )
    return total, rest


def _atom(rest: list[Token]) -> tuple[Value, list[Token]]:
    if rest[0].text == "(":
        total, after = _sum(rest[1:])
        if after[0].text != ")":
            raise IndexError
        return total, after[1:]
    if rest[0].value is None:
        raise IndexError
    return rest[0].value, rest[1:]


def _divide(a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    quotient = Fraction(a) / b
    return int(quotient) if quotient.denominator == 1 else quotient


def _operator(token: Token) -> str:
    if token.kind == "operator":
        return token.key if token.key != "=" else ""
    return _WORD_OPERATORS.get(token.key, "") if token.kind == "word" else ""


def _equals(token: Token) -> bool:
    return token.key in _EQUALS and token.kind in ("operator", "word")


def _complete(expression: list[Token]) -> bool:
    """An expression with an operator that does not end in one."""
    return (
        len(expression) >= 3 and not _operator(expression[-1]) and any(map(_operator, expression))
    )


def _extend(expression: list[Token], token: Token) -> None:
    """Appends the token where it can follow, else starts the expression afresh."""
    wants_operand = not expression or bool(_operator(expression[-1])) or expression[-1].text == "("
    if token.value is not None or token.text == "(":
        if not wants_operand:
            expression.clear()
        expression.append(token)
    elif (
        expression
        and not wants_operand
        and (_operator(token) or token.text == ")" or _names_unit(expression, token))
    ):
        expression.append(token)
    else:
        expression.clear()


def _names_unit(expression: list[Token], token: Token) -> bool:
    """One word may follow a number: 5 apples + 3 apples."""
    return token.kind == "word" and expression[-1].kind == "number" and token.text[0].islower()


def _next_number(tokens: Sequence[Token], place: int) -> Token | None:
    following = tokens[place + 1] if place + 1 < len(tokens) else None
    return (
        following
        if following is not None and following.kind == "number" and following.value is not None
        else None
    )


def _agrees(total: Value, result: Token) -> bool:
    if total == result.value:
        return True
    _, point, decimals = result.text.rstrip("%").partition(".")
    return (
        bool(point)
        and result.value is not None
        and abs(total - result.value) * 10 ** len(decimals) <= Fraction(1, 2)
    )
