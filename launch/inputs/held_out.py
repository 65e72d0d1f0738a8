"""The questions of the evaluation that no trace may hold."""

from pathlib import Path

from data_filters.records.shards import iter_traces
from distill.problems.planted_world import World
from distill.problems.splits import digest_of
from eval.suites.catalog import HELD_OUT
from eval.suites.suites import all_questions
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.schema import Recipe
from recipes.vocabulary import Arm

NUM_SHOWN = 5  # questions found in the training data that are named; the others are counted


def held_out_prompts(recipe: Recipe, world: World | None) -> list[str]:
    """Prompts of the evaluation's reasoning and reading problems: no recall questions, no gold
    answers. Nothing where `filter.decontaminate` is off.
    """
    if not recipe.filter.decontaminate:
        return []
    return [q.prompt for q in all_questions(recipe.evaluate, world) if q.suite in HELD_OUT]


def check_apart(recipe: Recipe, world: World | None, work: Workspace) -> None:
    """Refuses questions that the students of this run were trained on, word for word (case and
    spacing aside).

    Only questions that hold all that is needed: recall asks about trained facts on purpose.

    Raises:
        RecipeError: a line for each, with the question's id and the trace's.
    """
    traces = Path(recipe.distill.traces or work.folder("filter") / "kept")
    if not (traces.exists() and any(work.done(f"distill/{arm}") for arm in Arm)):
        return
    asked = {
        digest_of(q.prompt): q for q in all_questions(recipe.evaluate, world) if q.suite in HELD_OUT
    }
    faults = []
    for trace in iter_traces(traces):
        for text in (message["content"] for message in trace.messages if message["role"] == "user"):
            if question := asked.get(digest_of(text)):
                faults.append(
                    f"evaluate: question {question.id} stands in the training data, {traces}, as trace {trace.id}: {text[:60]!r}"
                )
    if faults:
        more = [f"evaluate: and {len(faults) - NUM_SHOWN} more"] if len(faults) > NUM_SHOWN else []
        way_out = (
            "; ask other sources, or train without it (filter.decontaminate: true takes it out)"
        )
        raise RecipeError("\n".join([*(fault + way_out for fault in faults[:NUM_SHOWN]), *more]))
