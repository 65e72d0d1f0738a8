"""The keys that parts depend on, composed from names in the stages, are keys of a recipe."""

import pytest

from launch.inputs import teacher
from launch.runs.identity import recipe_identity
from launch.stages import attacks, distill, edit, evaluate, publish, targets
from launch.stages import filter as filtering
from recipes.load import load_recipe

RECIPE = load_recipe("recipes/planted_world_edit.yaml", [])
KEYS = {
    "attacks": attacks.KNOBS,
    "distill": distill.ASIDE,
    "edit": (*edit.SEARCHED, *edit.COLLECTED),
    "evaluate": evaluate.NOT_ASKED,
    "filter": filtering.HOW_FAST,
    "publish": publish.ASIDE,
    "targets": targets.CACHED,
    "teacher": teacher.SPOKEN,
}


@pytest.mark.parametrize("stage", sorted(KEYS))
def test_every_key_is_one_of_a_recipe(stage):
    assert KEYS[stage]
    for key in KEYS[stage]:
        recipe_identity(RECIPE, key)  # an unknown key is an AttributeError
