"""Programs and their tests: right ones are right, and no trick makes a wrong one right."""

from collections.abc import Iterator

import pytest

from data_filters.verify.assertions import Unjudgeable, prepare
from data_filters.verify.program_judge import Judged, judge_program
from data_filters.verify.sandbox import Sandbox
from tests.data_filters.verify.programs import ALL, EQUAL, HONEST, SHADOWED, TRICKS


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


@pytest.mark.parametrize("wrong", [False, True])
def test_sixty_right_programs_and_sixty_wrong_ones(sandbox: Sandbox, wrong: bool) -> None:
    assert len(ALL) == 60
    said = {
        name: judge_program(sandbox, problem[wrong], problem[2], 20.0)
        for name, problem in ALL.items()
    }
    assert {name: one for name, one in said.items() if one.right is not (not wrong)} == {}


@pytest.mark.parametrize("name", sorted(TRICKS))
def test_a_trick_does_not_make_a_program_right(sandbox: Sandbox, name: str) -> None:
    assert judge_program(sandbox, *TRICKS[name], 2.0).right is not True


@pytest.mark.parametrize("name", SHADOWED)
def test_builtins_of_the_tests_are_out_of_reach(sandbox: Sandbox, name: str) -> None:
    program = (
        f"{EQUAL}def {name}(*a, **k):\n    return A()\n"
        f"def f(x):\n    global {name}\n    {name} = lambda *a, **k: True\n    return [0.5]\n"
    )
    tests = "assert all([f(1) == [2]]) and len(f(1)) == 1 and abs(f(1)[0] - 2) < 1"
    if name in ("list", "set", "tuple", "sorted", "str", "sum", "max", "min"):
        tests = f"assert {name}(f(1)) == {name}([2.5])"
    assert judge_program(sandbox, program, tests, 20.0).right is False


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("['assert f(1) == 2']", "the tests assert nothing"),
        ("x = f(1)", "the tests assert nothing"),
        ("", "the tests assert nothing"),
        ("assert 1 == 1", "the tests ask nothing of the program"),
        ("assert f(", "the tests cannot be read: SyntaxError"),
        ("import torch\nassert f(1)", "the tests import torch"),
        (
            ("import unittest\nclass T(unittest.TestCase):\n    def test(self): assert f(1)"),
            "the tests use unittest.TestCase",
        ),
        (
            ("import pytest\n@pytest.mark.parametrize('x', [1])\ndef test_a(x): assert f(x)"),
            "the tests use pytest.mark.parametrize",
        ),
        (
            "def test_a(tmp_path): assert f(tmp_path)",
            "the tests' function test_a needs pytest's marks or fixtures",
        ),
        ("import pytest\nassert f(1) == pytest.approx(2)", "the tests use pytest.approx"),
        ('{"inputs": ["1"]}', "the tests are JSON without lists of inputs and outputs"),
        ('{"inputs": [], "outputs": []}', "the tests have 0 inputs and 0 outputs"),
        ('{"inputs": ["1"], "outputs": []}', "the tests have 1 inputs and 0 outputs"),
        ("if False:\n    assert f(1)", "no assertion asked the program"),
        ("for x in []:\n    assert x\nf(1)", "no assertion ran"),
    ],
)
def test_tests_that_say_nothing_are_named(sandbox: Sandbox, tests: str, why: str) -> None:
    assert judge_program(sandbox, HONEST, tests, 20.0) == Judged(None, why)


def test_a_candidate_among_several_functions_is_not_guessed() -> None:
    with pytest.raises(Unjudgeable, match="nothing says which function that is"):
        prepare("def check(candidate):\n    assert candidate(1)", HONEST + "def g(x): return x")
