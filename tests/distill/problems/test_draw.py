"""Problems: seeded, split by hash, with what a verifier needs; from worlds and reasoning-gym."""

import hashlib
import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_filters.verify.reading.references import verifier_of
from distill.problems.draw import PATIENCE, draw_problems
from distill.problems.splits import digest_of, split_of
from recipes.errors import RecipeError
from recipes.schema import Source

WITH_SIDES = ("sums", "sort", "reverse", "follow", "hop", "story", "age", "read", "counter")
# quick, of many problems
GYM = ("chain_sum", "caesar_cipher", "isomorphic_strings", "base_conversion", "gcd", "graph_color")


def draw(sources, world=None, **changes):
    return draw_problems(
        sources, world, **({"seed": 1, "start": 0, "count": 40, "split": "training"} | changes)
    )


def test_the_same_call_gives_the_same_problems(world):
    sources = [Source(name="planted/sums"), Source(name="planted/ask", weight=2.0)]
    assert draw(sources, world) == draw(sources, world)
    assert draw(sources, world) != draw(sources, world, start=40)


def test_a_seed_gives_the_same_prompts_for_good(world):
    """Runs are continued, and figures compared, across versions of this code."""
    planted = [
        Source(name=f"planted/{name}", weight=weight)
        for weight, name in enumerate((*WITH_SIDES, "ask", "ask_age", "basics"), 1)
    ]
    small = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2}
    gym = [
        Source(name="reasoning_gym/chain_sum", options=small),
        Source(name="reasoning_gym/gcd", weight=2.0),
    ]
    made = draw(planted, world, count=200, start=200), draw(gym, count=200, split="report")
    assert [
        hashlib.sha256(
            json.dumps([(p.id, p.prompt, p.gold, p.seed) for p in m]).encode()
        ).hexdigest()[:12]
        for m in made
    ] == [
        "57a0eedab0eb",
        "d5da6c5dabb9",
    ]


def test_reasoning_gym_has_references_and_disjoint_splits():
    sources = [Source(name="reasoning_gym/chain_sum", options={"min_terms": 2, "max_terms": 3})]
    training, report = draw(sources), draw(sources, split="report")
    assert all(p.gold.lstrip("-").isdigit() for p in training)
    assert all(split_of(p.prompt) == "training" for p in training)
    assert not {p.prompt for p in training} & {p.prompt for p in report}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.sampled_from(WITH_SIDES), min_size=1, max_size=3),
    families=st.lists(
        st.tuples(st.sampled_from(GYM), st.sampled_from((None, 0, 1))), min_size=1, max_size=3
    ),
    seeds=st.lists(st.integers(0, 2**31), min_size=3, max_size=3),
    start=st.integers(0, 3),
)
def test_no_prompt_is_on_two_sides_whatever_the_seed_and_level(
    world, names, families, seeds, start
):
    sources = [Source(name=f"planted/{name}") for name in names]
    sources += [Source(name=f"reasoning_gym/{family}", level=level) for family, level in families]
    sides = [
        {
            digest_of(p.prompt)
            for p in draw(sources, world, seed=seed, start=start * 10, count=10, split=split)
        }
        for split, seed in zip(("training", "select", "report"), seeds, strict=True)
    ]
    assert all(sides) and not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_a_problem_carries_what_its_verifier_needs(world):
    (planted,) = draw([Source(name="planted/sums")], world, count=1)
    assert (planted.verifier, planted.entry, planted.tests, planted.family) == (
        "answer",
        None,
        None,
        "",
    )
    (gym,) = draw([Source(name="reasoning_gym/chain_sum")], count=1)
    assert (gym.verifier, gym.family) == ("reasoning_gym", "chain_sum")
    assert (
        gym.entry["answer"] == gym.gold
        and gym.entry["question"].strip() == gym.prompt
        and gym.entry["metadata"]["source_index"] >= 0
    )
    assert pickle.loads(pickle.dumps(gym)) == gym
    (asked,) = draw([Source(name="reasoning_gym/chain_sum", verifier="math")], count=1)
    assert asked.verifier == "math" and asked.prompt == gym.prompt


@pytest.mark.parametrize(
    "family", ["boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"]
)
def test_data_sets_that_know_no_answer_leave_it_to_their_scorer(family):
    made = draw([Source(name=f"reasoning_gym/{family}")], count=4)
    assert [(p.gold, p.verifier, p.entry["answer"]) for p in made] == [
        (None, "reasoning_gym", None)
    ] * 4
    with pytest.raises(
        RecipeError,
        match=f"{family}: verifier math needs a reference answer, this data set has none; leave verifier out",
    ):
        draw([Source(name=f"reasoning_gym/{family}", verifier="math")], count=1)


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("A", "choice"),
        ("D", "choice"),
        ("42", "math"),
        ("-3.5", "math"),
        ("1,234", "math"),
        ("3/4", "math"),
        ("50%", "math"),
        ("$7", "math"),
        ("2x + 1", "math"),
        ("x^2", "math"),
        ("3*sqrt(2)", "math"),
        ("(3, 4)", "math"),
        ("[0, 1)", "math"),
        ("\\frac{1}{2}", "math"),
        ("$\\pi$", "math"),
        ("x_{1}", "math"),
        ("pi/4", "math"),
        ("x = 3", "math"),
        ("1/2 + 1/3", "math"),
        ("Rome", "answer"),
        ("yes", "answer"),
        ("7 apples", "answer"),
        ("1 2 3", "answer"),
        ("c b a", "answer"),
        ("2021-03-04", "answer"),
        ("1, 2, 3", "answer"),
        ("a", "answer"),
        ("AB", "answer"),
        ("10:30", "answer"),
        ("(B)", "choice"),
        ("\\text{(B)}", "choice"),
        ("5 km", "answer"),
        ("-", "answer"),
        (None, "none"),
        ("", "none"),
    ],
)
def test_the_look_of_a_reference_says_how_it_is_judged(gold, kind):
    assert verifier_of("auto", gold, None) == kind


def test_what_is_asked_and_tests_come_before_the_look_of_a_reference():
    assert verifier_of("auto", "42", "assert f(1) == 2") == "program"
    assert verifier_of("auto", None, "assert f(1) == 2") == "program"
    assert verifier_of("program", "42", None) == "none"
    assert verifier_of("answer", "42", None) == "answer"
    assert verifier_of("math", None, "assert True") == "none"
    assert verifier_of("none", "42", None) == "none"
    assert verifier_of("auto", "1" * 5000 + "+ " * 5000 + "?", None) == "answer"  # in no time


def test_a_data_set_of_few_problems_comes_to_an_end(caplog):
    few = Source(
        name="reasoning_gym/leg_counting",
        options={"min_animals": 1, "max_animals": 1, "max_instances": 1},
    )
    made = draw([few], count=20 * PATIENCE)
    assert 20 < len({p.prompt for p in made}) < 60 and len(made) < 2 * PATIENCE
    assert draw([few], count=20 * PATIENCE) == made
    assert f"nothing new in {PATIENCE} draws after" in caplog.text
    none = Source(name="reasoning_gym/coin_flip", options={"min_trials": 3, "max_trials": 3})
    with pytest.raises(
        RecipeError,
        match=f"none of {PATIENCE} draws is in the split (select|report|training), it has too few problems",
    ):
        for split in ("select", "report", "training"):
            draw([none], split=split, count=1)


def test_bad_sources_say_what_is_wrong():
    with pytest.raises(RecipeError, match="give it a path"):
        draw([Source(name="mine")])
    with pytest.raises(RecipeError, match="reasoning_gym/no_such_set"):
        draw([Source(name="reasoning_gym/no_such_set")])
    with pytest.raises(RecipeError, match="needs a planted world"):
        draw([Source(name="planted/sums")])
