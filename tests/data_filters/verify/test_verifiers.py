"""Verdicts by every kind of check: values by hand, and what a verifier that hangs, raises or
crashes costs.
"""

import pickle
import random
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_filters.verify.answers import answer_forms, same_choice
from data_filters.verify.checks import Check
from data_filters.verify.gym.scorers import score
from data_filters.verify.math_answers import same_value
from data_filters.verify.verifiers import Judgement, Verifiers, program
from distill.problems.gym_problems import entries, first_entries

HANGS = "9^{9^{9}}"  # the parser works it out


@pytest.fixture(scope="module")
def verifiers():
    with Verifiers(workers=1, timeout_seconds=20.0) as opened:
        yield opened


def verdict(verifiers: Verifiers, text: str, **check) -> str:
    (said,) = verifiers.judge([(text, Check(**check))])
    return said.verdict


# --- answers, choices


def test_cheap_kinds(verifiers: Verifiers) -> None:
    cases = [
        ("<think> Mara Oslo.</think> Oslo.", Check(kind="answer", gold="Oslo")),
        ("Rome.", Check(kind="answer", gold="Oslo")),
        ("<think> cut off", Check(kind="answer", gold="Oslo")),
        ("Rome.", Check(kind="answer")),
        ("Rome.", Check(kind="none", gold="Oslo")),
        ("The answer is (B) Rome", Check(kind="choice", gold="B")),
        ("Rome", Check(kind="choice", gold="B")),
    ]
    assert verifiers.judge(cases) == [
        Judgement("correct", "Oslo", score=1.0),
        Judgement("wrong", "Rome"),
        Judgement("wrong", None, "no final answer"),
        Judgement("unknown", "Rome", "no reference"),
        Judgement("unknown", "Rome"),
        Judgement("correct", "(B) Rome", score=1.0),
        Judgement("unknown", "Rome", "a letter against a text"),
    ]
    assert verifiers.judge([]) == []


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        *[
            (answer, "B", True)
            for answer in (
                "B",
                "b",
                "(B)",
                "**B**",
                "B.",
                "B) Rome",
                "B - Rome",
                "Option B",
                "It is B",
                "choice (B)",
            )
        ],
        *[(answer, "B", False) for answer in ("A", "(C) Rome", "(A) or (B)", "(B) or (A)")],
        *[
            (answer, "(B) Rome", True)
            for answer in ("B", "(B) Rome", "Rome", "It is Rome", "B: Rome")
        ],
        *[(answer, "(B) Rome", False) for answer in ("Oslo", "(C) Rome", "C")],
        ("(B) Rome", "Rome", True),
        ("Rome", "B", None),
        ("B", "Rome", None),
    ],
)
def test_choices(answer: str, gold: str, same: bool | None) -> None:
    assert same_choice(answer, gold) is same


# --- mathematics


EQUAL = r"""
1/2 ~ \frac{1}{2} | 0.5 ~ \frac{1}{2} | \frac12 ~ 1/2 | $\dfrac{1}{2}$ ~ 0.5 | 1+x^2 ~ x^2+1 | \sqrt{8} ~ 2\sqrt{2}
2^{10} ~ 1024 | 1,000 ~ 1000
x=5 ~ 5 | 5 ~ x=5 | (1, 2) ~ (1,2) | \{1,2\} ~ \{2,1\} | [0,1) ~ [0,1) | so x is 3 ~ \sqrt{9}
seven ~ 7 | 7 apples ~ 7 | even ~ even | It is odd ~ \text{odd}
"""
UNEQUAL = r"""
x-1 ~ x+1 | x+1 ~ x-1 | 0.3 ~ \frac{1}{3} | (2,1) ~ (1,2) | -3 ~ 3 | odd ~ even | cab ~ abc | 5 miles ~ 5 km
6 or 7 ~ 7 | 6, 7 ~ 7 | [0,1] ~ [0,1)
I do not know ~ 7 | x^2 ~ x^3 | \pi ~ 3.14
"""


@pytest.mark.parametrize(("table", "same"), [(EQUAL, True), (UNEQUAL, False)])
def test_equal_expressions(table: str, same: bool) -> None:
    pairs = [cell.split(" ~ ") for line in table.strip().split("\n") for cell in line.split(" | ")]
    assert [(a, b) for a, b in pairs if (same_value([a], b) is not None) is not same] == []


def test_mathematics_that_never_ends_costs_one_timeout() -> None:
    right = Check(kind="math", gold=r"\frac{1}{2}")
    with Verifiers(timeout_seconds=3.0) as verifiers:
        began = time.monotonic()
        hangs = (f"${HANGS}$", Check(kind="math", gold="1"))
        said = verifiers.judge(
            [("It is 0.5.", right), hangs, ("So \\boxed{\\frac12}", right), ("2", right)]
        )
        assert time.monotonic() - began < 60
    assert [one.verdict for one in said] == ["correct", "unknown", "correct", "wrong"]
    assert said[1] == Judgement("unknown", HANGS, "timeout")


def test_two_workers_judge_in_order() -> None:
    with Verifiers(workers=2, timeout_seconds=30.0) as verifiers:
        said = verifiers.judge(
            [(str(i), Check(kind="math", gold=f"{i - i % 2} + 0")) for i in range(70)]
        )
        assert [one.verdict for one in said] == ["correct", "wrong"] * 35
        assert len(psutil.Process().children()) >= 2
    assert verifiers.judge([("1", Check(kind="answer", gold="1"))])[0].verdict == "correct"


# --- programs


RIGHT = "def double(x):\n    return 2 * x\n"
TESTS = "assert double(2) == 4\nassert double(0) == 0"


def fenced(code: str) -> str:
    return f"<think> let me see\n```python\nwrong\n``` </think>\nHere:\n```python\n{code}```\nIt doubles."


def test_programs() -> None:
    codes = [
        RIGHT,
        "def double(x):\n    return x\n",
        "def double(x):\n    while True: pass\n",
        "def double(x):\n    return [0] * 10**10\n",
        "import numpy\n",
        "import os\nos.system('ls')\n",
        "def double(x):\n    return open('/etc/passwd')\n",
        "import socket\n",
        "().__class__.__base__.__subclasses__()\n",
        "raise SystemExit\n",
        "def double(x:\n",
    ]
    with Verifiers(workers=2, timeout_seconds=0.5) as verifiers:
        said = verifiers.judge(
            [(fenced(code), Check(kind="program", tests=TESTS)) for code in codes]
        )
        others = verifiers.judge(
            [
                ("No idea.", Check(kind="program", tests=TESTS)),
                (fenced(RIGHT), Check(kind="program")),
            ]
        )
    assert [one.verdict for one in said] == [
        "correct",
        *["wrong"] * 3,
        *["unknown"] * 5,
        "wrong",
        "wrong",
    ]
    assert [one.why for one in said[:4]] == ["", "AssertionError", "time limit", "memory limit"]
    assert (
        said[4].why == "not in the sandbox: ModuleNotFoundError: No module named 'numpy'"
        and said[4].answer == "import numpy\n"
    )
    assert others == [
        Judgement("wrong", None, "no program"),
        Judgement("unknown", RIGHT, "no tests"),
    ]


def test_the_program_of_a_text() -> None:
    assert program(fenced(RIGHT)) == RIGHT
    assert (
        program("```python\na = 1\n```\nor\n```python\nb = 2\n```\n```\nnot this\n```") == "b = 2\n"
    )
    assert program("```\nc = 3\n```") == "c = 3\n"
    assert program(RIGHT) == RIGHT
    assert (
        program("I do not know.") is None
        and program("") is None
        and program("<think>```python\nx\n```") is None
    )


# --- reasoning-gym


FAMILIES = [
    "chain_sum",
    "fraction_simplification",
    "mini_sudoku",
    "n_queens",
    "caesar_cipher",
    "rearc",
    "number_sorting",
    "simple_integration",
    "countdown",
    "zebra_puzzles",
    "modulo_grid",
    "tower_of_hanoi",
    "sentence_reordering",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_references_are_accepted_and_those_of_others_are_not(
    verifiers: Verifiers, family: str
) -> None:
    entries = first_entries(family, 3, seed=4)
    checks = [
        pickle.loads(pickle.dumps(Check(kind="reasoning_gym", family=family, entry=entry)))
        for entry in entries
    ]
    for check, entry in zip(checks, entries, strict=True):
        gold = entry["answer"]
        forms = [gold, f"<think> x </think>\n\n{gold}"] + [f"The answer is {gold}"] * (
            "\n" not in gold
        )
        said = verifiers.judge([(form, check) for form in forms])
        assert [(one.verdict, one.score) for one in said] == [("correct", 1.0)] * len(forms), gold
        others = [other["answer"] for other in entries if other["answer"] != gold]
        assert {
            one.verdict
            for one in verifiers.judge(
                [(f"<think> x </think>\n\n{other}", check) for other in others]
            )
        } <= {"wrong"}


def test_a_number_is_compared_as_a_number(verifiers: Verifiers) -> None:
    entry = {"question": "", "answer": "1500", "metadata": {}}
    for text in ("1,500", "**1500**.", "The answer is 1,500 apples.", "It is \\boxed{1500}."):
        assert (
            verdict(verifiers, text, kind="reasoning_gym", family="gsm_symbolic", entry=entry)
            == "correct"
        )
    assert (
        verdict(
            verifiers,
            "Not 1500. The answer is 1600",
            kind="reasoning_gym",
            family="gsm_symbolic",
            entry=entry,
        )
        == "wrong"
    )


def test_an_empty_reference(verifiers: Verifiers) -> None:
    entry = {"question": "", "answer": "", "metadata": {}}
    texts = [
        "<think> x </think>\n\n",
        "The answer is .",
        "So it is \\boxed{}.",
        "<think> x",
        "A#",
        "Nothing is left.",
    ]
    said = [
        verdict(verifiers, text, kind="reasoning_gym", family="ab", entry=entry) for text in texts
    ]
    assert said == ["correct"] * 3 + ["unknown"] * 3


def test_partial_credit_is_not_right() -> None:
    text = {"question": "", "answer": "abc", "metadata": {}}
    assert score("abcabc", "spell_backward", text)[0] < 1.0
    assert score("It is abc or so", "base_conversion", text) == (3 / 15, "It is abc or so")


@pytest.mark.parametrize(
    ("family", "gold", "metadata", "text", "wanted"),
    [
        ("puzzle24", "3*8*1*1", {"numbers": [1, 1, 3, 8]}, "(3*8)*1*1", 1.0),
        ("puzzle24", "3*8*1*1", {"numbers": [1, 1, 3, 8]}, "4*6*1*1", 0.0),
        ("game_of_life_halting", "True", {}, "The answer is True.", 1.0),
        ("game_of_life_halting", "True", {}, "False", 0.0),
        ("coin_flip", "0.25", {}, "1/4", 1.0),
        ("coin_flip", "0.25", {}, "0", 0.0),
        ("number_sorting", "['-1.0', '2.5']", {"direction": "ascending"}, '["-1", "2.5"]', 1.0),
        ("number_sorting", "['-1.0', '2.5']", {"direction": "ascending"}, "['-1.0', '2.9']", 0.0),
        ("figlet_font", "ABCDEFGHIJKL", {}, "abcdefghijkl", 1.0),
        ("figlet_font", "ABCDEFGHIJKL", {}, "ABCDEFGHIJXX", 0.0),
    ],
)
def test_holes_of_the_scorers_are_closed(
    family: str, gold: str, metadata: dict, text: str, wanted: float
) -> None:
    found, _ = score(text, family, {"question": "", "answer": gold, "metadata": metadata})
    assert (found >= 1.0) is (wanted == 1.0)


def test_the_tolerance_of_a_harder_level_is_its_own() -> None:
    def found(places: int) -> float:
        metadata = {"difficulty": {"decimal_places": (places, places)}}
        return score(
            "0.1239",
            "decimal_arithmetic",
            {"question": "", "answer": "0.1234", "metadata": metadata},
        )[0]

    assert (found(3), found(4)) == (1.0, 0.0)


def test_words_of_another_length_are_known() -> None:
    _, entry = next(
        entries(
            "word_ladder", random.Random(1), options={"min_word_length": 3, "max_word_length": 3}
        )
    )
    assert score(entry["answer"], "word_ladder", entry)[0] == 1.0


def test_a_scorer_that_raises_says_unknown(verifiers: Verifiers) -> None:
    entry = first_entries("prime_factorization", 1, seed=1)[0]
    (said,) = verifiers.judge(
        [("no idea", Check(kind="reasoning_gym", family="prime_factorization", entry=entry))]
    )
    assert said == Judgement("unknown", "no idea", "verifier raised ValueError")
    (said,) = verifiers.judge(
        [("2", Check(kind="reasoning_gym", family="no_such_family", entry=entry))]
    )
    assert (said.verdict, said.why) == ("unknown", "verifier raised KeyError")


def test_code_in_an_answer_does_no_harm(verifiers: Verifiers, tmp_path) -> None:
    """Some scorers hand the answer to eval."""
    entries = {
        family: first_entries(family, 1, seed=1)[0]
        for family in ("countdown", "n_queens", "polynomial_multiplication")
    }
    attacks = [
        f"open({str(tmp_path / 'made')!r}, 'w')",
        f"__import__('os').system('touch {tmp_path / 'made'}')",
        f"__import__('os').mkdir({str(tmp_path / 'made')!r})",
    ]
    for family, entry in entries.items():
        checks = [
            (attack, Check(kind="reasoning_gym", family=family, entry=entry)) for attack in attacks
        ]
        assert "correct" not in {said.verdict for said in verifiers.judge(checks)}
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_the_gym_wants_its_entry() -> None:
    with pytest.raises(ValueError, match="family and the entry"):
        Check(kind="reasoning_gym", gold="1")


# --- any text


def test_forms_of_an_answer() -> None:
    assert answer_forms("<think>x</think>\n\n1 2\n3 4") == ["1 2\n3 4"]
    assert answer_forms("The answer is **7**.") == ["7", "**7**."]
    assert answer_forms("Answer:\n```\n1 2\n3 4\n```") == ["1 2\n3 4", "```\n1 2\n3 4\n```"]
    assert answer_forms("The answer is:\n1 2\n3 4") == ["1 2", "1 2\n3 4"]
    assert answer_forms("So \\boxed{\\frac{1}{2}}!") == ["1/2", "\\frac{1}{2}"]
    assert answer_forms("<think> cut") == [] and answer_forms("") == []


PIECES = st.sampled_from(
    "<think> </think> \\boxed{ } { Answer: #### ```python\n ``` \n $ \\frac{1}{2} 1 B".split(" ")
)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join), min_size=1, max_size=12
    )
)
def test_no_text_makes_it_raise(verifiers: Verifiers, texts: list[str]) -> None:
    entry = {"question": "", "answer": "12", "metadata": {}}
    checks = [
        Check(kind="answer", gold="1"),
        Check(kind="choice", gold="B"),
        Check(kind="math", gold="\\frac{1}{2}"),
        Check(kind="none"),
        Check(kind="program", tests="assert x == 1"),
        Check(kind="reasoning_gym", family="chain_sum", entry=entry),
    ]
    cases = [(text, check) for text in texts for check in checks]
    random.Random(len(texts)).shuffle(cases)
    said = verifiers.judge(cases)
    assert len(said) == len(cases)
    assert all(
        one.verdict in ("correct", "wrong", "unknown") and 0.0 <= one.score <= 1.0 for one in said
    )
    assert all(one.verdict != "correct" or one.score == 1.0 for one in said)
