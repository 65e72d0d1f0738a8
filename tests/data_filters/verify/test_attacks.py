"""Answers that want to be run: by no family of reasoning-gym, not by math-verify, and where one is
run all the same, it reaches nothing.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reasoning_gym.factory import DATASETS

from data_filters.verify.checks import Check
from data_filters.verify.gym.trust import why_not
from data_filters.verify.verifiers import Verifiers
from data_filters.verify.worker_pool import WorkerPool
from distill.problems.gym_problems import first_entries
from tests.data_filters.verify.attacks import EFFECTS, SPITE, Trap

CALLS = "tests.data_filters.verify.worker_calls"
FAMILIES = sorted(family for family in DATASETS if not why_not(family))
DRESSED = (
    "{}",
    "[{}]",
    "24 + ({})",
    "x + C if {} else x",
    "'{}'",
)  # slow: in each of these clothes


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    opened = Trap(tmp_path)
    yield opened
    opened.close()


def test_there_are_enough_kinds() -> None:
    assert len(EFFECTS) >= 40 and len(EFFECTS) + len(SPITE) >= 70 and len(FAMILIES) == 104


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_an_attack_works_where_nothing_holds_it_and_not_in_a_locked_worker(
    trap: Trap, tmp_path: Path, name: str
) -> None:
    answer = trap.answer(EFFECTS[name])
    with WorkerPool(timeout_seconds=20, modules=[CALLS], locked=True) as pool:
        pool.run([(f"{CALLS}.run_as_code", (answer,))])
    assert not trap.sprung()
    with WorkerPool(timeout_seconds=20, modules=[CALLS]) as pool:
        pool.run([(f"{CALLS}.run_as_code", (answer,))])
        until = time.monotonic() + 5
        while not trap.sprung() and time.monotonic() < until:
            time.sleep(0.05)
    assert trap.sprung(), "the attack itself is broken"


def test_a_locked_worker_reads_no_file_of_ours(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    places = [
        str(secret),
        "/proc/self/environ",
        "/etc/passwd",
        str(Path(__file__).parents[3] / "setup.cfg"),
    ]
    calls = [(f"{CALLS}.run_as_code", (f"open({place!r}).read()",)) for place in places]
    with WorkerPool(modules=[CALLS], locked=True) as pool:
        assert [done.fault for done in pool.run(calls)] == ["raised PermissionError"] * 4


def test_no_answer_is_run_by_a_scorer(trap: Trap) -> None:
    """Every kind of attack on every family, in one go."""
    attacks = [trap.answer(attack) for attack in (EFFECTS | SPITE).values()]
    cases = []
    for family in FAMILIES:
        entry = first_entries(family, 1, seed=1)[0]
        check = Check(kind="reasoning_gym", family=family, gold=entry["answer"], entry=entry)
        cases += [(attack, check) for attack in attacks]
    assert len(cases) > 7000
    with Verifiers(timeout_seconds=20.0) as verifiers:
        said = verifiers.judge(cases)
    assert not trap.sprung()
    assert {one.why for one in said if "timeout" in one.why or "crash" in one.why} == set()
    # a few hold the right number, such as the 0 of "_exit(0)"; none of these does
    harmful = {trap.answer(attack) for attack in EFFECTS.values()}
    assert not [one for one in said if one.verdict == "correct" and one.answer in harmful]


def test_no_answer_is_run_by_math_verify(trap: Trap) -> None:
    forms = ("${}$", "\\boxed{{{}}}", "The answer is {}")
    # these cost a timeout each: test_verifiers.py has one
    costly = ("power", "signs", "factorial", "memory")
    kinds = {name: kind for name, kind in (EFFECTS | SPITE).items() if name not in costly}
    attacks = [trap.answer(attack) for attack in kinds.values()]
    texts = [form.format(attack) for attack in attacks for form in forms]
    check = Check(kind="math", gold="\\frac{1}{2}")
    with Verifiers(timeout_seconds=10.0) as verifiers:
        said = verifiers.judge([(text, check) for text in texts])
    assert not trap.sprung() and "correct" not in {one.verdict for one in said}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_is_run_in_any_clothes(trap: Trap, family: str) -> None:
    attacks = [trap.answer(attack) for attack in EFFECTS.values()]
    cases = []
    for entry in first_entries(family, 2, seed=2):
        check = Check(kind="reasoning_gym", family=family, gold=entry["answer"], entry=entry)
        cases += [(form.replace("{}", attack), check) for attack in attacks for form in DRESSED]
    with Verifiers(timeout_seconds=2.0) as verifiers:
        said = verifiers.judge(cases)
    assert not trap.sprung() and "correct" not in {one.verdict for one in said}
