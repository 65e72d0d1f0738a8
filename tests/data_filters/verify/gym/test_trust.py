"""Which scorers of reasoning-gym may read a model's text."""

import os
import subprocess
from typing import Any

import numpy as np
import pytest
import sympy
from reasoning_gym.factory import DATASETS

from data_filters.verify.gym.own_scorers import OWN_SCORERS
from data_filters.verify.gym.trust import why_not, why_not_class


def test_all_families_have_a_safe_scorer_but_two() -> None:
    unsafe = {family for family in DATASETS if why_not(family)}
    assert unsafe == {"codeio", "composite"} and len(DATASETS) - len(unsafe) == 104


def test_the_rule_alone_finds_every_scorer_that_we_had_to_replace() -> None:
    assert all(why_not_class(DATASETS[family][0]) for family in OWN_SCORERS)


def helper(text: str) -> Any:
    return deeper(text)


def deeper(text: str) -> Any:
    return eval(text)


class Plain:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(answer.strip().lower() == entry["answer"])


class Calls:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(helper(answer))


class ByMethod:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return self.parse(answer)

    def parse(self, answer: str) -> float:
        return sum(eval(part) for part in answer.split())


class Inherits(ByMethod):
    pass


class Inside:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        from ast import literal_eval

        return float(literal_eval(answer))


class ByAttribute:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(getattr(sympy, answer)(1))


class Loads:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(np.load(answer))


class Runs:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(subprocess.run(answer).returncode + os.getpid())


class Opens:
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        with open(answer) as file:
            return float(file.read())


@pytest.fixture
def as_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes and functions above as if a newer library had brought them."""
    import sys

    import data_filters.verify.gym.trust as trust

    for thing in (
        helper,
        deeper,
        Plain,
        Calls,
        ByMethod,
        Inherits,
        Inside,
        ByAttribute,
        Loads,
        Runs,
        Opens,
    ):
        monkeypatch.setattr(thing, "__module__", "reasoning_gym.games.new")
        for function in vars(thing).values() if isinstance(thing, type) else ():
            if hasattr(function, "__code__"):
                monkeypatch.setattr(function, "__module__", "reasoning_gym.games.new")
    monkeypatch.setitem(sys.modules, "reasoning_gym.games.new", sys.modules[__name__])
    trust._methods.cache_clear()
    yield
    trust._methods.cache_clear()


@pytest.mark.parametrize(
    ("data_set", "reason"),
    [
        (Plain, ""),
        (Calls, "deeper uses eval"),
        (ByMethod, "ByMethod.parse uses eval"),
        (Inherits, "ByMethod.parse uses eval"),
        (Inside, "Inside.score_answer uses ast"),
        (ByAttribute, "ByAttribute.score_answer uses getattr"),
        (Loads, "Loads.score_answer uses load"),
        (Runs, "Runs.score_answer uses subprocess"),
        (Opens, "Opens.score_answer uses open"),
    ],
)
@pytest.mark.usefixtures("as_library")
def test_a_new_data_set_is_trusted_only_if_its_scorer_evaluates_nothing(
    data_set: type, reason: str
) -> None:
    assert why_not_class(data_set) == reason
