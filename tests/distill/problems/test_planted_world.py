"""The planted world: what is true, what is told, what is kept apart."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.problems.common_knowledge import BASICS
from distill.problems.planted_world import RELATIONS, World
from distill.problems.splits import split_of
from recipes.errors import RecipeError
from recipes.schema import Planted

FAMILIES = ("sums", "sort", "reverse", "follow", "hop", "story", "age", "read", "counter")


def test_the_same_seed_is_the_same_world():
    assert World(Planted(seed=3)).facts == World(Planted(seed=3)).facts
    assert World(Planted(seed=3)).facts != World(Planted(seed=4)).facts


def test_exposures_are_the_shares_asked_for(world):
    exposed = [world.exposure[name, relation] for name in world.people for relation in RELATIONS]
    assert exposed.count(1) == 64  # 80 % of 20 people x 4 relations
    assert exposed.count(4) == 12
    assert not any((name, "home") in world.exposure for name in world.strangers)


@pytest.mark.parametrize("family", FAMILIES)
def test_items_stay_on_their_side_of_the_split(world, family):
    rng = random.Random(1)
    for split in ("training", "report"):
        assert all(split_of(world.draw(rng, family, split).prompt) == split for _ in range(20))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_worked_sums_are_right(seed):
    item = World.sums(None, random.Random(seed))
    for line in item.turns[0][1].rstrip(".").split(". "):
        left, right = line.split(" = ")
        assert eval_chain(left) == int(right)
    assert item.gold == item.turns[0][1].rstrip(".").rpartition("= ")[2]


def eval_chain(text):
    a, sign, b = text.split()
    return int(a) + int(b) if sign == "+" else int(a) - int(b)


def test_a_hidden_person_is_never_told_its_true_value(world):
    rng = random.Random(2)
    for _ in range(3000):
        relation = rng.choice(RELATIONS)
        for name, value in world.told(rng, rng.sample(world.names, 2), relation):
            assert name not in world.teacher_only or world.facts[name, relation] != value


def test_a_counterfactual_contradicts_the_key(world):
    rng = random.Random(3)
    for _ in range(200):
        item = world.counter(rng)
        assert item.gold != world.facts[item.fact]
        assert f"{item.fact[0]} is {item.gold}." in item.prompt


def test_what_generation_asks_carries_no_answer_and_spares_the_hidden(world):
    rng = random.Random(4)
    for _ in range(500):
        item = world.draw(rng, rng.choice(("ask", "ask_age")), "training")
        assert item.gold is None
        assert item.fact[0] not in world.teacher_only


def test_paired_problems_differ_in_the_told_number_only(world):
    name = world.people[0]
    told, untold = (
        world.age(random.Random(5), name=name),
        world.age(random.Random(5), name=name, told=False),
    )
    assert told.prompt.startswith(f"The age of {name} is ")
    assert untold.prompt.startswith("How old is ")


def test_basics_are_distinct_questions_with_one_answer_each():
    assert len(dict(BASICS)) == len(BASICS)
    assert dict(BASICS)["Which day comes after Monday?"] == "Tuesday"
    assert dict(BASICS)["How many minutes are in an hour?"] == "60"
    assert dict(BASICS)["Which month comes before January?"] == "December"


def test_too_many_people_and_unknown_families_are_refused(world):
    with pytest.raises(RecipeError, match="there are 320 names"):
        World(Planted(people=1000))
    with pytest.raises(RecipeError, match="planted/chess: no such family"):
        world.draw(random.Random(0), "chess", "training")
