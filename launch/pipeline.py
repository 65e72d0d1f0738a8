"""The main street: every stage in order. A stage reads finished folders to its left and writes one
folder.

Ranks meet through files: no collective outside a training. The main rank decides whether a part is
to be made; it says so by files (identity.json: make it; manifest.json: it is there), and the others
read them.
"""

from collections.abc import Callable

from launch.inputs.inputs import Inputs
from launch.runs.parts import Stage, make_part
from launch.runs.run_folder import Workspace
from launch.stages.distill import Distill
from launch.stages.edit import Edit
from launch.stages.evaluate import Evaluate
from launch.stages.filter import Filter
from launch.stages.generate import Generate
from launch.stages.publish import Publish
from launch.stages.teacher import Teacher
from recipes.schema import Recipe
from recipes.vocabulary import StageName

BUILD: dict[str, Callable[[Inputs], Stage]] = {
    "teacher": Teacher,
    "generate": Generate,
    "filter": Filter,
    "distill": Distill,
    "edit": Edit,
    "evaluate": Evaluate,
    "publish": Publish,
}


class Street:
    """One run of a recipe on one rank."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        inputs = Inputs(recipe, work)
        self.work = work
        self.stages = [BUILD[name](inputs) for name in StageName if name in recipe.stages]

    def run(self) -> None:
        """Runs the wanted stages in street order.

        All are checked first: a fault must not wait for the hours of the stages before it.
        """
        for stage in self.stages:
            stage.check()
        for stage in self.stages:
            for part in stage.parts():
                make_part(part, self.work)


def run(recipe: Recipe, work: Workspace) -> None:
    """Runs the stages of a recipe in its run folder."""
    Street(recipe, work).run()
