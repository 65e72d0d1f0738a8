"""Whether a number follows from others in one step."""

import math
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import permutations

from data_filters.text.arithmetic.scan import Item
from data_filters.text.tokens import Value

MAX_SUMMANDS = 6  # 2^5 signs to try
_MOST = 40  # numbers that are tried with a partner
_NEAREST = 12  # numbers whose pairs are tried in every way


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


def variants(item: Item) -> Iterator[float]:
    """A number as others may be computed from it: 30% is also 30, what is left of the whole, and
    the whole with it.
    """
    yield item.value
    if item.percent:
        yield from (100 * item.value, 1 - item.value, 1 + item.value, 100 - 100 * item.value)


def reaches(
    target: float,
    digits: int,
    named: Sequence[float],
    others: Collection[float],
    factors: Collection[float],
) -> bool:
    """Whether one step leads from the named numbers to the target: two of them added, subtracted,
    multiplied, divided (also with a rest, or rounded), a power, a root or a part of one, their sum,
    product or mean, one of them in another unit; or one of them with one of the others.

    Args:
        target: the number.
        digits: decimals that are printed; with some, the last may be rounded.
        named: by the step, the nearest last.
        others: may be the second operand of + - * /.
        factors: between units; they multiply and divide.
    """
    numbers = list(dict.fromkeys(named))
    slack = 10.0**-digits if digits > 0 else 1e-9 * max(abs(target), 1e-3)
    if any(abs(value - target) < slack for number in numbers for value in _alone(number, factors)):
        return True
    if any(_part_of(target, number) for number in numbers):
        return True
    if _partnered(target, numbers[-_MOST:], {*numbers[-_MOST:], *others}):
        return True
    nearest = numbers[-_NEAREST:]
    if any(
        abs(value - target) < slack for a, b in permutations(nearest, 2) for value in _pair(a, b)
    ):
        return True
    return len(nearest) > 2 and _together(target, slack, nearest)


def _partnered(target: float, numbers: Sequence[float], partners: Collection[float]) -> bool:
    """Whether a number and one of the partners make the target, exactly."""
    for a in numbers:
        if target - a in partners or a - target in partners:
            return True
        if a and (target / a in partners or target * a in partners):
            return True
        if target and a / target in partners:
            return True
    return False


def _alone(number: float, factors: Collection[float]) -> Iterator[float]:
    """What one number makes: counted on, squared, its root, its complement, in another unit."""
    yield from (number, number + 1, number - 1, 1 - number, -number)
    yield from (number * 100, number / 100, 100 - number, 2 * number, number / 2)
    if abs(number) < 1e6:
        yield from (number * number, number**3)
    if number > 0:
        yield math.sqrt(number)
        if number == int(number) and number <= 12:
            yield float(math.factorial(int(number)))
            yield 2.0**number
    for factor in factors:
        yield number * factor
        yield number / factor


def _pair(a: float, b: float) -> Iterator[float]:
    """What two numbers make; the other order is asked for by itself."""
    if a <= b:
        yield from (a + b, a * b, (a + b) / 2)
    yield a - b
    if b:
        quotient = a / b
        yield from (quotient, a * (1 + b / 100), a * (1 - b / 100), a * b / 100)
        if abs(quotient) < 1e15:
            yield from (float(math.floor(quotient)), float(math.ceil(quotient)), a % b)
    if 1 < b <= 12 and b == int(b) and 0 < abs(a) < 1000:
        yield a**b
    if 1 < a < 1e9 and 1 < b < 1e9 and a == int(a) and b == int(b):
        yield from (float(math.gcd(int(a), int(b))), float(math.lcm(int(a), int(b))))


def _together(target: float, slack: float, numbers: list[float]) -> bool:
    """The sum, mean or product of all."""
    total, product = math.fsum(numbers), math.prod(numbers)
    return any(
        abs(value - target) < slack for value in (total, total / len(numbers), product, -total)
    )


def _part_of(target: float, number: float) -> bool:
    """A number split by its places or rounded: 40 and 6 of 46, 49 and 0.50 of 49.50, 300 for 296."""
    if number < 10 or not 0 < target <= 2 * number:
        return False
    if abs(target - int(number)) < 1e-9 or abs(target - (number - int(number))) < 1e-9:
        return True
    if target != int(target):
        return False
    size = 10 ** int(math.log10(number))
    for unit in (size, size // 10):
        if unit < 10:
            continue
        low = number // unit * unit
        if target in (low, low + unit, int(number - low)):
            return True
    return False


def _divide(a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    quotient = Fraction(a) / b
    return int(quotient) if quotient.denominator == 1 else quotient
