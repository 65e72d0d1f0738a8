"""The stage teacher: a teacher of our own, where the recipe gives it a shape."""

from collections.abc import Iterator
from pathlib import Path

from distill.checks.preflight import teacher_checks
from distill.train.teacher import train_teacher
from launch.inputs.inputs import Inputs
from launch.runs.parts import Notes, Part
from launch.runs.run_log import show_once


class Teacher:
    """The stage, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.spec = inputs.recipe.models.teacher

    def check(self) -> None:
        """Refuses a shape that cannot be trained."""
        if self.spec.path is None and not self.work.done("teacher"):
            for _, check in teacher_checks(self.recipe.teacher, self.spec):
                check()

    def parts(self) -> Iterator[Part]:
        """The teacher, trained by all ranks."""
        if self.spec.path is not None:
            return show_once(f"teacher: {self.spec.path}", self.work.ranks)
        self.inputs.need_world()
        yield Part("teacher", self.inputs.teacher.identity(), self._train)

    def _train(self, folder: Path) -> Notes:
        return train_teacher(
            self.spec,
            self.recipe.teacher,
            self.inputs.need_world(),
            folder,
            seed=self.recipe.seed,
            is_main=self.work.ranks.is_main,
            wait=self.work.wait_for,
            run=f"{self.recipe.name}/teacher",
        )
