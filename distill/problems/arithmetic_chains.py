"""Chains of small sums, worked step by step, and such chains with a slip in them."""

import random
from collections.abc import Sequence

MOST = 60  # running totals stay in 0..MOST


def chain(rng: random.Random, length: int) -> tuple[int, list[tuple[str, int]], str, int]:
    """First operand, (sign, operand) steps, the worked steps as text, the total."""
    start = total = rng.randint(1, 9)
    steps, lines = [], []
    for number in (rng.randint(1, 9) for _ in range(length - 1)):
        sign = "-" if total >= number and (rng.random() < 0.45 or total + number > MOST) else "+"
        after = _apply(total, sign, number)
        steps.append((sign, number))
        lines.append(f"{total} {sign} {number} = {after}.")
        total = after
    return start, steps, " ".join(lines), total


def spoilt(
    rng: random.Random, start: int, steps: Sequence[tuple[str, int]]
) -> tuple[str, int, int]:
    """The same chain with one step off by 1 to 3, and what follows worked on from there: text,
    total, index of the slip.
    """
    slip, total, lines = rng.randrange(len(steps)), start, []
    for number, (sign, operand) in enumerate(steps):
        after = _apply(total, sign, operand)
        if number == slip:
            after += rng.choice([by for by in (-3, -2, -1, 1, 2, 3) if after + by >= 0])
        lines.append(f"{total} {sign} {operand} = {after}.")
        total = after
    return " ".join(lines), total, slip


def _apply(total: int, sign: str, number: int) -> int:
    return total + number if sign == "+" else total - number
