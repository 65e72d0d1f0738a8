"""What the stage evaluate looks at before it asks, the answers of public tasks, and answers read
back.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_filters.records.shards import iter_rows, iter_traces
from distill.models import check_pair, load_config, load_tokenizer
from distill.problems.splits import digest_of
from eval.ask.ask import SCHEMA, write_parts
from eval.ask.with_tools import answer_all_with_tools
from eval.harness import check_tasks, run_task, task_files
from eval.report.sections import QUESTIONS_PER_SUITE
from eval.suites.lookup_suites import settings
from eval.suites.suites import TOLD, all_questions
from launch.runs.identity import Identity
from launch.runs.inputs import Inputs, digest_source
from launch.runs.progress import Bar
from recipes.errors import RecipeError, ShardError
from recipes.schema import ARMS, Evaluate

SHOWN = 5  # questions found in the training data that are named; the others are counted


def contender_checks(config: Evaluate) -> Iterator[tuple[str, Callable[[], str]]]:
    """(what, check) of everything in evaluate that was not made here: models, as far as config and
    tokenizer tell, and public tasks.
    """
    for name, spec in config.models.items():
        key = f"evaluate.models.{name}"
        yield (
            key,
            lambda spec=spec, key=key: check_pair(load_config(spec), load_tokenizer(spec), key),
        )
    if config.harness:
        yield "evaluate.harness", lambda: check_tasks(config.harness)


def check_apart(inputs: Inputs) -> None:
    """Refuses questions that the students of this run were trained on, word for word (case and
    spacing aside).

    Only questions that hold all that is needed: recall asks about trained facts on purpose.

    Raises:
        RecipeError: a line for each, with the question's id and the trace's.
    """
    recipe, work = inputs.recipe, inputs.work
    traces = Path(recipe.distill.traces or work.folder("filter") / "kept")
    if not (traces.exists() and any(work.done(f"distill/{arm}") for arm in ARMS)):
        return
    asked = {
        digest_of(q.prompt): q
        for q in all_questions(recipe.evaluate, inputs.world)
        if q.suite in TOLD
    }
    faults = []
    for trace in iter_traces(traces):
        for text in (message["content"] for message in trace.messages if message["role"] == "user"):
            if question := asked.get(digest_of(text)):
                faults.append(
                    f"evaluate: question {question.id} stands in the training data, {traces}, as trace {trace.id}: {text[:60]!r}"
                )
    if faults:
        more = [f"evaluate: and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        way_out = "; ask other sources, or train without it (filter.overlap: true takes it out)"
        raise RecipeError("\n".join([*(fault + way_out for fault in faults[:SHOWN]), *more]))


def harness_identity(inputs: Inputs) -> Identity:
    """What answers to public tasks depend on beside the model: the tasks, files of tasks by
    content, and the harness's version.
    """
    tasks = inputs.recipe.evaluate.harness
    files = {
        f"input.{task.label}": "/".join(map(digest_source, task_files(task)))
        for task in tasks
        if task.is_file
    }
    return (
        inputs.identity("evaluate.harness", "generate.system")
        | files
        | {"lm_eval": importlib.metadata.version("lm_eval")}
    )


def answer_harness(inputs: Inputs, name: str, where: Path | None, folder: Path) -> dict[str, Any]:
    """Every task of evaluate.harness, asked of one contender, a part each; gives notes for the
    manifest.
    """
    config = inputs.recipe.evaluate
    engine = inputs.engine(name, config.batch_sequences, where)
    how = {"contender": name, "system": inputs.recipe.generate.system}
    parts = (
        partial(run_task, task, engine.model, engine.tokenizer, **how) for task in config.harness
    )
    return {"answers": write_parts(folder, parts, SCHEMA)}


def answer_with_tools(
    inputs: Inputs, name: str, where: Path | None, folder: Path
) -> dict[str, Any]:
    """What a contender answers with tools at hand, in every state of the base; gives notes for the
    manifest.
    """
    config = inputs.recipe.evaluate
    if inputs.world is None:
        raise RecipeError(
            "evaluate.tools.contenders want a planted world, whose key says what is true; leave them out"
        )
    with Bar(f"evaluate {name} with tools", None, "answers", True) as bar:
        return answer_all_with_tools(
            inputs.engine(name, config.batch_sequences, where),
            settings(inputs.world, config),
            folder,
            tools=config.tools,
            contender=name,
            max_new_tokens=config.max_new_tokens,
            system=inputs.recipe.generate.system,
            at_once=2 * config.batch_sequences,
            progress=bar.tokens,
        )


def answers_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The answers that a part holds, one by one.

    Raises:
        ShardError: they are of another schema, or the file is damaged.
    """
    path = folder / "answers.parquet"
    for row in iter_rows(path):
        if missing := [name for name in SCHEMA.names if name not in row]:
            raise ShardError(
                f"{path}: answers of another schema, they lack {', '.join(missing)}; delete {folder} and evaluate again"
            )
        yield row


def noting(rows: Iterable[dict[str, Any]], shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows unchanged; those that the report shows go into `shown` on their way: main answers to
    the first questions of each suite.
    """
    kept: dict[str, set[str]] = {}
    for row in rows:
        questions = kept.setdefault(row["suite"], set())
        wanted = row["question_id"] in questions or len(questions) < QUESTIONS_PER_SUITE
        if wanted and not row["sample"] and not row["budget"]:
            questions.add(row["question_id"])
            shown.append(row)
        yield row
