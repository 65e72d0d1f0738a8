"""Every data set of reasoning-gym gives problems, the same in every process, or says in one line
why not.
"""

import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from reasoning_gym.factory import CURRICULA, DATASETS, create_dataset, get_score_answer_fn

from distill.problems import gym_determinism
from distill.problems.gym_problems import entries
from recipes.errors import RecipeError

WITHOUT_ANSWER = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
REFUSED = {"codeio": "runs 3,000 programs", "composite": "mixes other data sets"}
SLOW = ("futoshiki", "knight_swap", "sokoban", "zebra_puzzles", "jugs")
IN_SETS = (
    "isomorphic_strings",
    "list_functions",
    "polynomial_multiplication",
    "pool_matrix",
    "ransom_note",
    "word_ladder",
)
PROGRAM = """
import itertools, json, random, sys
from distill.problems.gym_problems import entries
made = {name: [e for _, e in itertools.islice(entries(name, random.Random(5)), int(sys.argv[1]))] for name in sys.argv[2:]}
print(json.dumps(made, default=str))
"""


def take(family, count=5, seed=3, **how):
    return [
        entry for _, entry in itertools.islice(entries(family, random.Random(seed), **how), count)
    ]


def kinds(value):
    yield type(value)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from kinds(item)


def in_a_process(families, count, root, hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count), *families],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(family):
    """Five problems of plain types that the data set's own scorer, which sees only the entry, calls
    right; or one line.
    """
    if family in REFUSED:
        with pytest.raises(RecipeError, match=REFUSED[family]) as caught:
            take(family)
        assert "\n" not in str(caught.value)
        return
    made = take(family)
    assert made == take(family) and len({entry["question"] for entry in made}) == 5
    score = get_score_answer_fn(family)
    for entry in pickle.loads(pickle.dumps(made)):
        assert set(kinds(entry)) <= {
            str,
            int,
            float,
            bool,
            type(None),
            dict,
            list,
            tuple,
            set,
            frozenset,
        }, family
        assert (entry["answer"] is None) == (family in WITHOUT_ANSWER)
        assert entry["answer"] is None or score(entry["answer"], entry) == 1


@pytest.mark.parametrize(
    "family",
    sorted(
        {*sorted(DATASETS)[::4], *WITHOUT_ANSWER, *REFUSED, *IN_SETS, "number_sequence"} - set(SLOW)
    ),
)
def test_a_data_set_gives_problems_or_says_why_not(family):
    check(family)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(DATASETS))
def test_every_data_set_gives_problems_or_says_why_not(family):
    check(family)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 1, 2, 9])
@pytest.mark.parametrize("family", sorted(set(DATASETS) - set(REFUSED)))
def test_every_data_set_gives_problems_at_every_level_or_says_why_not(family, level, monkeypatch):
    monkeypatch.setattr(gym_determinism, "PROBLEM_SECONDS", 3.0)
    try:
        made = take(family, 2, level=level)
    except RecipeError as fault:
        assert "\n" not in str(fault) and f"reasoning_gym/{family}" in str(fault)
    else:
        assert len(made) == 2


def test_a_problem_is_the_same_in_every_process(request):
    """Sets of texts are walked in another order in each, and the global generators start
    elsewhere.
    """
    one, other = (
        in_a_process(IN_SETS, 12, request.config.rootpath, hash_seed) for hash_seed in ("1", "2")
    )
    assert one == other and all(len(made) == 12 for made in one.values())


@pytest.mark.slow
def test_every_problem_is_the_same_in_every_process(request):
    families = sorted(set(DATASETS) - set(REFUSED))
    one, other = (
        in_a_process(families, 6, request.config.rootpath, hash_seed) for hash_seed in ("1", "2")
    )
    assert [name for name in families if one[name] != other[name]] == []


def test_the_global_generators_are_left_as_they_were():
    random.seed(4)
    np.random.seed(4)
    expected = [random.random(), np.random.rand()]
    for before in (1, 2):
        random.seed(before)
        assert take("list_functions", 20) == take("list_functions", 20)
    random.seed(4)
    np.random.seed(4)
    take("list_functions")
    take("pool_matrix")
    assert [random.random(), np.random.rand()] == expected


def test_sequences_are_those_of_the_library_without_those_that_never_end():
    seed = random.Random(3).randrange(2**31)
    # two squares a term at most: it ends
    theirs = create_dataset("number_sequence", seed=seed, size=64, max_complexity=1)
    assert take("number_sequence", 64, options={"max_complexity": 1}) == list(theirs)
    assert (
        len(take("number_sequence", 2000, options={"max_complexity": 5, "max_terms": 16})) == 2000
    )


def test_a_level_sets_the_curriculum_and_options_override_it():
    digits = [
        max(entry["metadata"]["num_digits"] for entry in take("chain_sum", 30, level=level))
        for level in (0, 1, 3)
    ]
    assert digits == sorted(digits) and digits[0] < digits[-1]
    # past the last step is the last
    assert take("chain_sum", level=50) == take("chain_sum", level=99)
    assert {
        entry["metadata"]["num_terms"]
        for entry in take("chain_sum", 30, level=3, options={"min_terms": 2, "max_terms": 2})
    } == {2}
    assert take("chain_sum") != take("chain_sum", level=0)
    assert len(take("knight_swap", 1, level=0, options={"min_nodes": 6, "max_nodes": 6})) == 1


@pytest.mark.parametrize(
    ("family", "how", "says"),
    [
        ("chain_sums", {}, "no such data set; did you mean chain_sum"),
        ("zzz", {}, "no such data set; there are 106, such as chain_sum"),
        (
            "gsm_symbolic",
            {"level": 1},
            r"level 1, but it has no curriculum \(all have but acre, composite, gsm_symbolic, list_functions\)",
        ),
        (
            "chain_sum",
            {"options": {"max_term": 3}},
            "no option 'max_term'; did you mean 'max_terms'\\? It has min_terms, max_terms, ",
        ),
        ("chain_sum", {"options": {"seed": 3}}, "option seed is set by the run, leave it out"),
        (
            "chain_sum",
            {"options": {"min_terms": 9, "max_terms": 2}},
            "max_terms must be >= min_terms; change level or options",
        ),
        ("knight_swap", {"level": 0}, "level 0: min_nodes must be >= 6; change level or options"),
        (
            "word_ladder",
            {
                "options": {
                    "min_word_length": 3,
                    "max_word_length": 3,
                    "min_chain_length": 90,
                    "max_chain_length": 99,
                }
            },
            "64 problems in a row could not be made .*; change level or options",
        ),
    ],
)
def test_a_fault_is_one_line(family, how, says):
    with pytest.raises(RecipeError, match=f"^source reasoning_gym/{family}: .*{says}") as caught:
        take(family, **how)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_a_newer_library_brings_is_refused_if_its_scorer_evaluates(monkeypatch):
    class New:
        __module__ = "reasoning_gym.games.new"

        def score_answer(self, answer, entry):
            return float(__import__("sympy").sympify(answer) == entry["answer"])

    monkeypatch.setitem(DATASETS, "new", (New, CURRICULA["chain_sum"]))
    with pytest.raises(RecipeError, match=r"reasoning_gym/new: its scorer might run what a model"):
        take("new")


def test_a_problem_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(gym_determinism, "PROBLEM_SECONDS", 0.5)
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    left, _ = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with pytest.raises(
            RecipeError,
            match=r"jugs: one problem took more than 0.5 s to make; set another level, or options",
        ):
            take("jugs", level=3)
        # what was running before goes on
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] < 100 and not rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def test_those_without_a_curriculum_are_four():
    assert set(DATASETS) - set(CURRICULA) == {"acre", "composite", "gsm_symbolic", "list_functions"}
