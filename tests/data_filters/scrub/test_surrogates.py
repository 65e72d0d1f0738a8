"""Fictional names: the same for the same seed, other words, and no digits that give a thing away."""

import re

import pytest

from data_filters.detect.gazetteer import load_gazetteer
from data_filters.scrub.surrogates import Surrogates

GAZETTEER = load_gazetteer()


def renamed(name: str, seed: str = "record") -> str:
    return Surrogates(seed, GAZETTEER).rename(name)


@pytest.mark.parametrize("name", ["10.1000/182", "DE89 3704 0044 0532 0130 00", "RFC 2119"])
def test_an_identifier_keeps_none_of_its_longer_numbers(name: str) -> None:
    new = renamed(name)
    assert len(new) == len(name)
    assert not set(re.findall(r"\d{3,}", name)) & set(re.findall(r"\d{3,}", new))


def test_short_numbers_and_the_kind_of_thing_stay() -> None:
    new = renamed("Apollo 11")
    assert new.endswith(" 11") and not new.startswith("Apollo")
    assert renamed("Lake Constance").startswith("Lake ")


def test_a_number_is_the_same_wherever_it_stands() -> None:
    names = Surrogates("record", GAZETTEER)
    first = names.rename("Form 4711")
    assert names.rename("4711") == first.split()[-1] != "4711"
    assert renamed("Form 4711") == first != renamed("Form 4711", seed="another")
