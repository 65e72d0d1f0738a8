"""All that the stages of one run read, in one place."""

from functools import cached_property

from distill.problems.planted_world import World
from launch.inputs.contenders import Contenders
from launch.inputs.teacher import TeacherAccess
from launch.inputs.traces import Traces
from launch.runs.identity import Identity, recipe_identity
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.schema import Recipe


class Inputs:
    """What a stage is given: the recipe, the run folder, and how to reach what it reads."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work
        self.traces = Traces(recipe, work)
        self.teacher = TeacherAccess(recipe, work)
        self.contenders = Contenders(recipe, work, self.teacher)

    @cached_property
    def world(self) -> World | None:
        """The planted world, if the recipe uses it anywhere."""
        sources = (*self.recipe.teacher.sources, *self.recipe.generate.sources)
        planted = any(source.name.startswith("planted/") for source in sources)
        return World(self.recipe.planted) if planted else None

    def need_world(self) -> World:
        """The planted world.

        Raises:
            RecipeError: the recipe has none.
        """
        if self.world is None:
            raise RecipeError(
                "teacher: a teacher with a shape learns planted/FAMILY sources; "
                "set models.teacher.path to use a trained model"
            )
        return self.world

    def identity(self, *keys: str, leave_out: tuple[str, ...] = ()) -> Identity:
        """What a part depends on in this recipe; see `recipe_identity`."""
        return recipe_identity(self.recipe, *keys, leave_out=leave_out)
