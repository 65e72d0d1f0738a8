"""Written calculations: which numbers of a text are results, operands or only stated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.text.arithmetic.reach import reaches
from data_filters.text.arithmetic.working import Role, Working


def roles(text: str) -> str:
    """One letter for each number of the text."""
    letters = {Role.STATED: "s", Role.OPERAND: "o", Role.RIGHT: "r", Role.RESULT: "="}
    return "".join(letters[mark.role] for mark in Working(text).marks.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 5 = 8 - 2 = 6", "oorr="),
        ("14 + 9 = 23", "rr="),
        ("14 + 9 = 24", "oos"),
        ("17 pears plus 5 is 22", "rr="),
        ("45 divided by 9 equals 5", "rr="),
        ("12 multiplied by 11 gives 132", "rr="),
        ("half of 90 is 45", "rr="),
        ("three quarters of 80 is 60", "rrr="),
        ("35% of 60 is 21", "rr="),
        ("40 percent of 90 is 36", "rr="),
        ("twice 31 is 62", "sss"),
        ("13 squared is 169", "r="),
        ("7! = 5040", "r="),
        ("3^4 = 81, 3**4 = 81", "rr=rr="),
        ("12\u00b2 = 144", "rr="),
        (r"\frac{5}{8} \times 40 = 25", "rrr="),
        (r"\dfrac{45}{9} = 5", "rr="),
        (r"\binom{6}{2} = 15", "rr="),
        (r"\sqrt{81} = 9", "r="),
        (r"$12 \cdot 12 = 144$", "rr="),
        (r"12 \div 5 = 2.4", "rr="),
        ("6 \u00d7 7 = 42 and 42 \u00f7 6 = 7", "rr=rr="),
        ("20 x 15 = 20 x 10 + 20 x 5 = 200 + 100 = 300", "rrrrrrrr="),
        ("(12 + 8) / 4 = 5", "rrr="),
        ("2(3 + 4) = 14", "rrr="),
        ("11 / 3 = 3.67", "rr="),
        ("11 / 3 = 3.66", "rr="),
        ("11 / 3 is about 4", "rr="),
        ("11 / 3 = 4", "oos"),
        ("$1,250 - $50 = $1,200", "rr="),
        ("15 miles/hour * 4 hours = 60 miles", "rr="),
        ("7 + 8\n= 15", "rr="),
        ("10 / 0 = 10", "oos"),
        ("17 mod 5 = 2", "rr="),
    ],
)
def test_roles(text: str, expected: str) -> None:
    assert roles(text) == expected


def test_a_result_knows_what_it_was_computed_from() -> None:
    text = "Take 12 jars times 14, which is 168."
    mark = next(mark for mark in Working("12 times 14 is 168").marks.values() if mark.operands)
    assert [start for start in mark.operands] == [0, 9]
    assert 168.0 in Working(text).lines[-1].made


@pytest.mark.parametrize(
    ("target", "named", "expected"),
    [
        (48, (60, 12), True),
        (2080, (2000, 4), True),  # 4 % more
        (0.7, (0.3,), True),
        (40, (46,), True),
        (6, (46,), True),
        (300, (296,), True),
        (18, (90, 5), True),
        (33.33, (100, 3), True),
        (47, (12, 5, 7), False),
        (79, (2, 9), False),
    ],
)
def test_one_step(target: float, named: tuple[float, ...], expected: bool) -> None:
    digits = 2 if target == 33.33 else 0
    assert reaches(target, digits, named, (), ()) is expected


def test_units_multiply_and_divide() -> None:
    assert reaches(180, 0, (3,), (), (60,))
    assert not reaches(180, 0, (3,), (), ())


@given(st.integers(2, 999), st.integers(2, 999), st.sampled_from("+-*"))
def test_what_is_right_is_a_result_and_what_is_not_is_none(a: int, b: int, sign: str) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert roles(f"{a} {sign} {b} = {abs(value)}")[-1] == ("=" if value >= 0 else "s")
    assert roles(f"{a} {sign} {b} = {abs(value) + 17}")[-1] == "s" or value + 17 == -value


@given(st.text(alphabet="0123456789+-*/^!(){}[]=. %\\frac$xn,\n", max_size=120))
def test_any_formula_can_be_read(text: str) -> None:
    assert all(0 <= start < len(text) for start in Working(text).marks)
