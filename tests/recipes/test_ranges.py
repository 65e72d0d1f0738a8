"""Every number of a recipe has a rule, told with its place when the recipe is read."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipes.errors import RecipeError
from recipes.find import FOLDER, recipe_names
from recipes.knobs import dotted, fields_of, without_none
from recipes.load import load_recipe
from recipes.ranges import range_of
from recipes.schema import Edit, Lora, Recipe, Shape

RECIPE = """\
name: mine
models: {teacher: {path: a}, student: {path: b}}
generate: {max_new_tokens: 50, sources: [{name: planted/read}]}
edit: {recall_sources: []}
"""


def numbers(schema: Any = Recipe, key: str = "") -> Iterator[tuple[str, Any, str]]:
    """Dotted key, section and name of every key that holds one number."""
    for name, hint in fields_of(schema).items():
        core = without_none(hint)
        if dataclasses.is_dataclass(core):
            yield from numbers(core, dotted(key, name))
        elif core in (int, float):
            yield dotted(key, name), schema, name


KEYS = [one for one in numbers() if not one[0].startswith("models.")]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranges") / "mine.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(("key", "schema", "name"), KEYS, ids=[key for key, *_ in KEYS])
def test_no_key_takes_what_is_no_number_or_what_no_machine_holds(recipe, key, schema, name):
    whole = fields_of(schema)[name] in (int, int | None)
    for value in ("-2e9", "1e30", *(() if whole else (".nan", ".inf", "-.inf"))):
        value = str(int(float(value))) if whole else value
        with pytest.raises(RecipeError) as told:
            load_recipe(recipe, [f"{key}={value}"])
        lines = str(told.value).splitlines()
        assert len(lines) == 1 and lines[0].startswith("command line: ") and name in lines[0]
    assert range_of(schema, name).fault(key, float("nan"))


@pytest.mark.parametrize(
    "override",
    [
        "distill.checkpoint_steps=0",
        "distill.micro_batch_rows=0",
        "distill.learning_rate=0",
        "distill.adam_betas=[0.9,1]",
        "distill.weight_decay=-0.1",
        "distill.clip_norm=-1",
        "generate.count=0",
        "generate.shard_problems=0",
        "generate.stop=['']",
        "planted.people=0",
        "planted.exposures=[1,0,2,3]",
        "evaluate.batch_sequences=0",
        "evaluate.token_budgets=[0]",
        "edit.removed_curvature_fractions=[0.1,.nan]",
        "models.student={shape: {head_size: 15}}",
        "models.student={shape: {num_kv_heads: 0}}",
        "models.student={path: b, lora: {rank: 4, dropout: 1}}",
        "models.teacher={path: a, engine: endpoint, base_urls: [x], server: {start_seconds: 0}}",
        "seed=4294967296",
        "name=..",
        "name=a/b",
    ],
)
def test_a_number_that_cannot_work_is_refused_in_one_line(recipe, override):
    with pytest.raises(RecipeError) as told:
        load_recipe(recipe, [override])
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    "override",
    [
        "distill.clip_norm=0",
        "distill.warmup_steps=0",
        "filter.small_numbers=-1",
        "evaluate.tries=0",
    ],
)
def test_numbers_that_turn_something_off_stay(recipe, override):
    assert load_recipe(recipe, [override])


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_of_the_package_stand(name):
    assert load_recipe(FOLDER / f"{name}.yaml").name


def test_defaults_are_inside_their_ranges():
    for schema in (Recipe, Edit, Lora, Shape):
        for name, hint in fields_of(schema).items():
            field = schema.__dataclass_fields__[name]
            if without_none(hint) in (int, float) and isinstance(field.default, int | float):
                assert not range_of(schema, name).fault(name, field.default)
