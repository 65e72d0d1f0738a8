"""Who is asked the questions of the evaluation, and how each one is opened."""

from pathlib import Path

from transformers import PreTrainedModel

from distill.engines.local import LocalEngine
from distill.models import load_tokenizer, resolve
from launch.inputs.teacher import TeacherAccess, open_model
from launch.runs.identity import Identity, content_digest, identity_of
from launch.runs.run_folder import Workspace
from recipes.schema import Model, Recipe
from recipes.vocabulary import EDITED, Arm, Contender


class Contenders:
    """The teacher, the base, every arm and edit of the run, and the models that the recipe adds."""

    def __init__(self, recipe: Recipe, work: Workspace, teacher: TeacherAccess) -> None:
        self.recipe, self.work, self.teacher = recipe, work, teacher

    def folders(self) -> dict[str, Path | None]:
        """Name -> model folder inside the run; None: the teacher, or a model of evaluate.models.

        A teacher behind a server cannot answer here and stays out. Where evaluate.models names
        others, a teacher that is still to be built stays out too.
        """
        models, outside = self.recipe.models, dict.fromkeys(self.recipe.evaluate.models)
        has_teacher = models.given and models.teacher.engine == "transformers"
        if has_teacher and outside and models.teacher.path is None:
            has_teacher = self.work.done("teacher")
        arms = (Arm.CONTROL, Arm.STUDENT, Arm.SCRUB_ONLY, Arm.RANDOM_MASK)
        names = (Contender.BASE, *arms, *(EDITED if self.recipe.edit else ()))
        parts = {name: part_of(name) for name in names}
        trained = {
            name: self.work.folder(part) for name, part in parts.items() if self.work.done(part)
        }
        return ({Contender.TEACHER: None} if has_teacher else {}) | trained | outside

    def spec(self, name: str) -> Model:
        """The section of the recipe that says how a contender is loaded; arms are loaded as the
        student.
        """
        if name in self.recipe.evaluate.models:
            return self.recipe.evaluate.models[name]
        return (
            self.recipe.models.teacher if name == Contender.TEACHER else self.recipe.models.student
        )

    def identity(self, name: str) -> Identity:
        """Which model a contender is: a local folder by content, a hub model by name."""
        if name == Contender.TEACHER:
            return {"contender": name, "input.model": self.teacher.digest()}
        if name not in self.recipe.evaluate.models:
            return {"contender": name, "input.model": self.work.digest(part_of(name))}
        spec, key = self.spec(name), f"evaluate.models.{name}"
        source = Path(resolve(spec))
        content = content_digest(source) if source.is_dir() else str(spec.path)
        found = {"contender": name, "input.model": content}
        return found | identity_of(spec, prefix=key, leave_out=(f"{key}.path",))

    def open(self, name: str, where: Path | None) -> PreTrainedModel:
        """The model on this rank's accelerator.

        Args:
            where: its folder, as `folders` gives it.
        """
        if name == Contender.TEACHER:
            return self.teacher.open()
        return open_model(name, self.spec(name), where, self.work)

    def engine(self, name: str, where: Path | None, batch_sequences: int) -> LocalEngine:
        """The model, ready to be asked."""
        if name == Contender.TEACHER:
            return self.teacher.engine(batch_sequences)
        tokenizer = load_tokenizer(self.spec(name), where)
        return LocalEngine(self.open(name, where), tokenizer, batch_sequences=batch_sequences)


def part_of(name: str) -> str:
    """The part of the run that holds a contender that was trained or edited here."""
    if name not in EDITED:
        return f"distill/{name}"
    return "edit/student" if name == Contender.EDITED else f"edit/{name.removeprefix('edit_')}"
