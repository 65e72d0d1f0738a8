"""The stage publish: a hub-ready folder of one arm, pushed only where the recipe names a
repository.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.scorecard import read_scorecard, to_markdown
from launch.hub.gates import check_gates
from launch.hub.model_folder import publish_student
from launch.hub.push import push
from launch.inputs.contenders import part_of
from launch.inputs.inputs import Inputs
from launch.runs.parts import Notes, Part
from recipes.errors import RecipeError
from recipes.load import to_yaml

# what does not change the folder
ASIDE = ("publish.repo", "publish.private", "publish.gates")
SHOWN = ("written", "taught_tokens", "steps")  # notes of the training that the card tells


class Publish:
    """The stage, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.config = self.recipe.publish
        self.student = part_of(self.config.student)

    def check(self) -> None:
        """Nothing can be known before the scorecard is there."""

    def parts(self) -> Iterator[Part]:
        """The folder, made by the main rank.

        Raises:
            PipelineError: a gate does not hold, or the upload failed.
        """
        if not self.work.done(self.student) or not self.work.done("evaluate"):
            raise RecipeError(
                f"publish: {self.student} or evaluate is not finished in {self.work.root}; "
                "run those stages first"
            )
        check_gates(self.config.gates, self._scorecard(), self.config.student)
        read = {
            "input.student": self.work.digest(self.student),
            "input.scorecard": self.work.digest("evaluate"),
        }
        identity = self.inputs.identity("publish", leave_out=ASIDE) | read
        yield Part("publish", identity, self._write, who="main")
        if self.config.repo and self.work.ranks.is_main:
            push(self.work.folder("publish"), self.config.repo, private=self.config.private)

    def _write(self, folder: Path) -> Notes:
        card, student = self._scorecard(), self.work.folder(self.student)
        made = json.loads((student / "manifest.json").read_text())["notes"]
        publish_student(
            student,
            card,
            to_markdown(card),
            to_yaml(self.recipe),
            folder,
            arm=self.config.student,
            license=self.config.license,
            base_model=self.recipe.models.student.path,
            teacher_name=self.inputs.teacher.name(),
            notes={name: made[name] for name in SHOWN if name in made},
            repo=self.config.repo,
        )
        return {}

    def _scorecard(self) -> dict[str, Any]:
        return read_scorecard(self.work.folder("evaluate") / "scorecard.json")
