"""Entries of reasoning-gym: of any of its data sets, at any level, endless, and the same for the
same seed.
"""

import dataclasses
import difflib
import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from distill.problems import gym_determinism
from distill.problems.gym_determinism import TooSlow, make_deterministic, plain, steady
from recipes.errors import RecipeError

BLOCK = 64  # entries of one seed
FAILURES = 64  # entries in a row that could not be made, after which a data set is given up
_REFUSED = {
    "codeio": "it runs 3,000 programs of its data inside the run; some of them write files, read the clock or the network, or exit",
    "composite": "it mixes other data sets; name those as sources of their own, with weights",
}
Entry = dict[str, Any]


def entries(
    family: str,
    rng: random.Random,
    *,
    level: int | None = None,
    options: Mapping[str, int] | None = None,
) -> Iterator[tuple[int, Entry]]:
    """(seed, entry) without end; an entry holds question, answer and metadata, in plain types, as
    the data set's own scorer wants it.

    Five data sets know no answer (None): boxnet, graph_color, propositional_logic, rubiks_cube,
    rush_hour. Entries that a data set fails to make are left out.

    Args:
        family: name of the data set.
        rng: gives the seed of each block.
        level: step of the data set's curriculum, 0 = easiest; settings that have fewer steps stay
            at their last.
        options: the data set's own settings, over those of the level.

    Raises:
        RecipeError: no such data set, level or option, it gives no problems with them, it is one of
            the two that are refused, or its scorer might run what a model writes.
    """
    settings = _settings(family, level, options or {})
    failed = 0
    while True:
        seed = rng.randrange(2**31)
        dataset = _dataset(family, seed, settings, level)
        for number in range(BLOCK):
            try:
                entry = _entry(family, dataset, seed, number)
            except RecipeError:
                raise
            # of its own making: each data set raises what it likes where it finds no problem
            except Exception as fault:
                failed += 1
                if failed == FAILURES:
                    line = " ".join(str(fault).split()) or type(fault).__name__
                    raise RecipeError(
                        f"source reasoning_gym/{family}: {FAILURES} problems in a row could not be made ({line}); change level or options"
                    ) from fault
                continue
            failed = 0
            yield seed, entry


def first_entries(family: str, count: int, seed: int) -> list[Entry]:
    """The first ones of a seed, as a function that another process can be asked for."""
    return [entry for _, entry in islice(entries(family, random.Random(seed)), count)]


def _entry(family: str, dataset: Any, seed: int, number: int) -> Entry:
    try:
        with steady(family, seed + number):
            entry: Entry = plain(dataset[number])
    except TooSlow:
        raise RecipeError(
            f"source reasoning_gym/{family}: one problem took more than {gym_determinism.PROBLEM_SECONDS:g} s to make; "
            "set another level, or options that make it smaller"
        ) from None
    if family == "polynomial_multiplication":
        entry["metadata"]["variables"].sort()
    return entry


def _dataset(family: str, seed: int, settings: Mapping[str, Any], level: int | None) -> Any:
    import reasoning_gym

    try:
        with steady(family, seed):
            return make_deterministic(
                family, reasoning_gym.create_dataset(family, seed=seed, size=BLOCK, **settings)
            )
    except (ValueError, TypeError, AssertionError) as fault:
        # a few curricula hold values that their own data set refuses
        at = "" if level is None else f"level {level}: "
        raise RecipeError(
            f"source reasoning_gym/{family}: {at}{fault}; change level or options"
        ) from fault
    except TooSlow:
        raise RecipeError(
            f"source reasoning_gym/{family}: took more than {gym_determinism.PROBLEM_SECONDS:g} s to set up"
        ) from None


def _settings(family: str, level: int | None, options: Mapping[str, int]) -> dict[str, Any]:
    """What the data set is made with, checked by name."""
    from reasoning_gym.factory import DATASETS

    from data_filters.verify.gym.trust import why_not

    where = f"source reasoning_gym/{family}"
    if family not in DATASETS:
        near = difflib.get_close_matches(family, DATASETS, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"there are {len(DATASETS)}, such as chain_sum"
        )
        raise RecipeError(f"{where}: reasoning-gym has no such data set; {hint}")
    if family in _REFUSED:
        raise RecipeError(f"{where}: {_REFUSED[family]}")
    if reason := why_not(family):
        raise RecipeError(
            f"{where}: its scorer might run what a model writes ({reason}); take another data set"
        )
    known = [
        field.name
        for field in dataclasses.fields(DATASETS[family][1])
        if field.init and field.name not in ("seed", "size")
    ]
    for name in options:
        if name in ("seed", "size"):
            raise RecipeError(f"{where}: option {name} is set by the run, leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise RecipeError(
                f"{where}: no option {name!r}{f'; did you mean {near[0]!r}?' if near else ''} It has {', '.join(known)}"
            )
    of_level = {} if level is None else _of_level(family, level)
    return {name: value for name, value in of_level.items() if name in known} | dict(options)


def _of_level(family: str, level: int) -> dict[str, Any]:
    """Settings of a step of the data set's curriculum."""
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

    if family not in CURRICULA:
        without = sorted(set(DATASETS) - set(CURRICULA))
        raise RecipeError(
            f"source reasoning_gym/{family}: level {level}, but it has no curriculum (all have but {', '.join(without)}); "
            "leave level out, set options"
        )
    curriculum = create_curriculum(family)
    curriculum.set_global_level(level)
    return dict(vars(curriculum.generate_configuration()))
