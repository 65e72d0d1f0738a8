"""Teacher and student as far as their configs and tokenizers tell: what the checks look at."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from distill.checks.preflight import ModelPair
from distill.models import load_config, load_tokenizer
from launch.inputs.teacher import TeacherAccess
from recipes.schema import Recipe
from recipes.vocabulary import Action

Attempt = Callable[[str, Callable[[], Any]], Any]


def load_pair(
    access: TeacherAccess,
    stand_in: PreTrainedTokenizerBase | None = None,
    attempt: Attempt = lambda _, load: load(),
    *,
    built: bool = True,
) -> ModelPair:
    """The pair; a teacher that is still to be trained has no tokenizer yet.

    Args:
        stand_in: for the tokenizer of such a teacher.
        attempt: called with the name of a thing and what loads it; may give None where it cannot
            be had.
        built: False: what lies in teacher/ is not looked at, its stage has not run yet.
    """
    models, distill = access.recipe.models, access.recipe.distill
    spec, own = models.teacher, models.student.shape is not None
    taught = distill.divergence != "none" and (own or spec.engine != "endpoint")
    made = built and stand_in is None and access.work.done("teacher")
    to_be_built = spec.path is None and not made
    teachers = stand_in
    if not to_be_built and (taught or own):
        teachers = attempt("the teacher's tokenizer", access.tokenizer)
    students = teachers
    if not own:
        students = attempt("the student's tokenizer", lambda: load_tokenizer(models.student))
    student = attempt(
        "the student's config", lambda: load_config(models.student, tokenizer=students)
    )
    folder, teacher = None if to_be_built else access.folder, None
    if taught:
        teacher = attempt("the teacher's config", lambda: load_config(spec, folder, teachers))
    known = teachers if taught else None
    tools = offers_tools(access.recipe)
    return ModelPair(distill, models.student, student, students, teacher, known, spec, tools)


def offers_tools(recipe: Recipe) -> bool:
    """Whether conversations of the run may call tools."""
    looks_up = Action.LOOKUP in (
        recipe.filter.ungrounded_action,
        *recipe.filter.ungrounded_actions_by_kind.values(),
    )
    return looks_up or bool(recipe.generate.tools or recipe.evaluate.tools.contenders)
