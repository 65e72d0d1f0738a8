"""Where recipes and the files that they name are found, from whatever folder one works."""

import difflib
import fnmatch
import os
from pathlib import Path

from recipes.errors import RecipeError
from recipes.yaml_locations import Placed

FOLDER = Path(__file__).parent
# the keys that may hold a path
PATH_KEYS = (
    "models.teacher",
    "models.student",
    "models.*.path",
    "models.*.chat_template",
    "evaluate.models.*",
    "*sources.path",
    "generate.knowledge_base",
    "filter.traces",
    "filter.curriculum_file",
    "filter.gazetteer",
    "filter.probes.reference",
    "distill.traces",
    "distill.targets.path",
    "sleep.documents",
    "edit.calibration_text",
    "evaluate.ladder",
    "evaluate.harness.task",
)


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_recipe(given: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a recipe of the package, such as "smoke".

    A path that is not there is given back as it is, if it looks like one.

    Raises:
        RecipeError: no recipe has this name; one line with those that there are.
    """
    path = Path(given)
    if path.exists() or len(path.parts) > 1 or path.suffix:
        return path
    names = recipe_names()
    if path.name in names:
        return FOLDER / f"{path.name}.yaml"
    near = [f"did you mean {name!r}? " for name in difflib.get_close_matches(path.name, names, n=1)]
    raise RecipeError(
        f"no recipe named {str(given)!r}; {''.join(near)}there are {', '.join(names)}, "
        "or name a YAML file"
    )


def place_paths(node: Placed, folder: Path, key: str = "") -> Placed:
    """The document of a recipe file with its paths as they are reached from the working directory.

    A path is relative to the folder of the file that names it. One that is not there is left as it
    is: a hub name, a path relative to the working directory, or one that will be made.

    Args:
        folder: of the recipe file.
        key: where the node stands, such as "models.teacher"; positions in lists are left out.
    """
    if isinstance(node.value, dict):
        below = {
            name: place_paths(child, folder, f"{key}.{name}" if key else name)
            for name, child in node.value.items()
        }
        return Placed(below, node.place)
    if isinstance(node.value, list):
        return Placed([place_paths(item, folder, key) for item in node.value], node.place)
    holds = any(fnmatch.fnmatchcase(key, pattern) for pattern in PATH_KEYS)
    if not holds or not isinstance(node.value, str) or not node.value:
        return node
    there = folder / node.value
    if Path(node.value).is_absolute() or not there.exists():
        return node
    inside = there.resolve().is_relative_to(Path.cwd().resolve())
    reached = os.path.relpath(there) if inside else str(there.absolute())
    return Placed(reached, node.place, reached)
