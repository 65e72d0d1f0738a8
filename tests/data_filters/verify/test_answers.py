"""Final answers and what counts as the same answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.verify.answers import final_answer, same_answer
from data_filters.verify.verifiers import verify


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think> Mara Oslo.</think> Oslo.", "Oslo"),
        ("<think> a</think> b <think> c</think> **7**.", "7"),
        ("1 2 3.", "1 2 3"),
        ("So it is \\boxed{\\frac{1}{2}}, done.", "1/2"),
        ("It is \\boxed{\\text{Oslo}}.", "Oslo"),
        ("The answer is 7.\nGoodbye.", "7"),
        ("<think>The answer is 8.</think>\nWe get 5.\nAnswer: (B) Rome", "(B) Rome"),
        ("The answer to this is hard", "The answer to this is hard"),
        ("#### 42", "42"),
        ("<think> never closed", None),
        ("<think>x</think>  ", None),
        (" . ", None),
        ("", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


SAME = """
7 = 7 | 7.0 = 7 | 1,000 = 1000 | $7 = 7 | 7 apples = 7 | seven = 7 | 0.5 = 1/2 | -3 = -3 | 5 = 5 km | 1, 2, 3 = 1 2 3 | c b a = C B A
Mara  Rex = mara rex | Mara lives in Oslo = Oslo | oslo = Oslo. | New-York = New York | (B) Rome = B | B = B | Option B = B
Yes, she is = yes | 12:30 = 12:30 | + = +
"""
DIFFERENT = """
7 or 8 = 7 | not 7 = 7 | 3 = -3 | -3 = 3 | 35 = 3.5 | 5 miles = 5 km | 123 = 1 2 3 | 1 2 3 4 = 1 2 3 | 3 2 1 = 1 2 3 | c b a d = c b a
Mara Rex Bo = Mara Rex | Oslo or Rome = Oslo | not Oslo = Oslo | Mara Oslo = Oslo | a dog = A | yes or no = yes | I do not know = Oslo
I do not know = no | Oslofjord = Oslo | 1/0 = 7 | = 7
"""


def pairs(table: str) -> list[tuple[str, str]]:
    cells = (
        cell.rpartition("=")[::2] for line in table.split("\n") if line for cell in line.split("|")
    )
    return [(answer.strip(), gold.strip()) for answer, gold in cells]


@pytest.mark.parametrize(("answer", "gold"), pairs(SAME))
def test_the_same(answer: str, gold: str) -> None:
    assert same_answer(answer, gold)


@pytest.mark.parametrize(("answer", "gold"), pairs(DIFFERENT))
def test_not_the_same(answer: str, gold: str) -> None:
    assert not same_answer(answer, gold)


def test_verdicts() -> None:
    assert verify("<think> Mara Oslo.</think> Oslo.", "Oslo") == ("correct", "Oslo")
    assert verify("Rome.", "Oslo") == ("wrong", "Rome")
    assert verify("Rome.", None) == ("unknown", "Rome")
    assert verify("<think> cut off", "Oslo") == ("wrong", None)


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_can_be_compared(text: str, gold: str) -> None:
    answer = final_answer(text)
    assert answer is None or answer.strip()
    assert same_answer(text, gold) in (True, False)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_numbers_are_the_same_only_if_equal(a: int, b: int) -> None:
    assert same_answer(f"{a:,}", str(a))
    assert same_answer(f"It is {a}.", str(b)) == (a == b)
