"""The stage evaluate: every contender answers the same questions, and the scorecard says what that
shows.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from data_filters.records.shards import iter_rows
from distill.models import check_pair, load_config, load_tokenizer
from distill.progress import Bar
from eval.ask.ask import SCHEMA, answer_all, write_parts
from eval.ask.with_tools import answer_all_with_tools
from eval.attacks.closed_book import add_attacks
from eval.harness import add_harness, check_tasks, run_task, task_files
from eval.report.sections import QUESTIONS_PER_SUITE
from eval.scorecard import (
    add_sizes,
    build_scorecard,
    read_scorecard,
    save_scorecard,
    to_terminal,
)
from eval.scores.answers.read import read_answers
from eval.scores.sizes.equivalent_sizes import equivalent_sizes
from eval.scores.sizes.ladder import Ladder
from eval.stage_scores.edit_score import frontier_curves
from eval.stage_scores.entropy import entropy_curves
from eval.suites.lookup_suites import settings
from eval.suites.suites import all_questions
from launch.hub.gates import gate_results
from launch.inputs.contenders import part_of
from launch.inputs.digests import digest_source
from launch.inputs.held_out import check_apart
from launch.inputs.inputs import Inputs
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part
from launch.runs.run_log import show_once
from launch.stages.attacks import KNOBS, Attacks
from recipes.errors import RecipeError, ShardError
from recipes.schema import Evaluate as Config
from recipes.schema import Model

# what does not change a contender's own answers
NOT_ASKED = (
    "evaluate.bootstrap",
    "evaluate.tools",
    "evaluate.models",
    "evaluate.harness",
    "evaluate.ladder",
    *KNOBS,
)
Folders = dict[str, Path | None]  # contender -> its model folder inside the run


class Evaluate:
    """The stage, seen from one rank; contenders are shared out over ranks."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.config, self.attacks = self.recipe.evaluate, Attacks(inputs)

    def check(self) -> None:
        """Refuses models that were made elsewhere and public tasks that cannot be asked."""
        if not self.work.done("evaluate"):
            for _, check in contender_checks(self.config):
                check()

    def parts(self) -> Iterator[Part]:
        """Answers of every kind, then the scorecard over all of them."""
        folders = self.inputs.contenders.folders()
        if self.work.ranks.is_main and not self.work.done("evaluate"):
            check_apart(self.recipe, self.inputs.world, self.work)
        answered: dict[str, str] = {}
        for name, part in chain(
            self._answer_parts(folders), self._tool_parts(folders), self._attack_parts(folders)
        ):
            answered[name] = part.name
            yield part
        identity: Identity = {f"input.{n}": self._digest(part) for n, part in answered.items()}
        identity |= {"evaluate.bootstrap": self.config.bootstrap}
        if self.config.ladder:
            answers = Path(self.config.ladder) / "answers.parquet"
            identity["input.ladder"] = digest_source(str(answers))
        yield Part("evaluate", identity, partial(self._score, list(folders)), who="main")
        card = read_scorecard(self.work.folder("evaluate") / "scorecard.json")
        show_once(to_terminal(card), self.work.ranks)

    def _digest(self, part: str) -> str:
        """The digest of a part that another rank may still be making."""
        self.work.wait_for(self.work.folder(part) / "manifest.json")
        return self.work.digest(part)

    # --- what is answered

    def _answer_parts(self, folders: Folders) -> Iterator[tuple[str, Part]]:
        """Answers to the questions of the recipe, and to public tasks where it names some."""
        keys = ("evaluate", "planted", "generate.system")
        asked = self.inputs.identity(*keys, leave_out=NOT_ASKED)
        tasks = harness_identity(self.inputs) if self.config.harness else None
        for number, (name, where) in enumerate(folders.items()):
            owner, model = number % self.work.ranks.count, self.inputs.contenders.identity(name)
            write = partial(self._answer, name, where)
            yield name, Part(f"evaluate/answers/{name}", asked | model, write, owner)
            if tasks is not None:
                write = partial(self._answer_tasks, name, where)
                part = Part(f"evaluate/harness/{name}", tasks | model, write, owner)
                yield f"{name}.harness", part

    def _tool_parts(self, folders: Folders) -> Iterator[tuple[str, Part]]:
        """Answers with tools at hand, of those contenders whom the recipe names."""
        keys = (f"evaluate.{name}" for name in ("seed", "items", "max_new_tokens"))
        asked = self.inputs.identity("evaluate.tools", "planted", *keys)
        for number, name in enumerate(self.config.tools.contenders):
            if name not in folders:
                raise RecipeError(
                    f"evaluate.tools.contenders: {name!r} is not there; "
                    f"expected some of {', '.join(folders)}"
                )
            identity = asked | self.inputs.contenders.identity(name)
            write = partial(self._answer_with_tools, name, folders[name])
            owner = number % self.work.ranks.count
            yield f"{name}.tools", Part(f"evaluate/tools/{name}", identity, write, owner)

    def _attack_parts(self, folders: Folders) -> Iterator[tuple[str, Part]]:
        for part in self.attacks.parts(folders):
            yield part.name.removeprefix("evaluate/attacks/"), part

    def _answer(self, name: str, where: Path | None, folder: Path) -> Notes:
        config = self.config
        questions = all_questions(config, self.inputs.world)
        if not questions and not config.harness:
            raise RecipeError(
                "evaluate: no questions; the recipe has neither a planted world nor "
                "evaluate.sources nor evaluate.harness"
            )
        with Bar(f"evaluate {name}", None, "answers", True) as bar:
            count = answer_all(
                self.inputs.contenders.engine(name, where, config.batch_sequences),
                questions,
                folder,
                contender=name,
                seed=config.seed,
                max_new_tokens=config.max_new_tokens,
                system=self.recipe.generate.system,
                progress=bar.tokens,
                tries=config.tries,
                tries_temperature=config.tries_temperature,
                budgets=config.token_budgets,
            )
        return {"answers": count}

    def _answer_tasks(self, name: str, where: Path | None, folder: Path) -> Notes:
        """Every task of evaluate.harness, a file each."""
        engine = self.inputs.contenders.engine(name, where, self.config.batch_sequences)
        answers = (
            partial(
                run_task,
                task,
                engine.model,
                engine.tokenizer,
                contender=name,
                system=self.recipe.generate.system,
            )
            for task in self.config.harness
        )
        return {"answers": write_parts(folder, answers, SCHEMA)}

    def _answer_with_tools(self, name: str, where: Path | None, folder: Path) -> Notes:
        """Answers in every state of the base."""
        config = self.config
        if self.inputs.world is None:
            raise RecipeError(
                "evaluate.tools.contenders want a planted world, whose key says what is true; "
                "leave them out"
            )
        with Bar(f"evaluate {name} with tools", None, "answers", True) as bar:
            return answer_all_with_tools(
                self.inputs.contenders.engine(name, where, config.batch_sequences),
                settings(self.inputs.world, config),
                folder,
                tools=config.tools,
                contender=name,
                max_new_tokens=config.max_new_tokens,
                system=self.recipe.generate.system,
                at_once=2 * config.batch_sequences,
                progress=bar.tokens,
            )

    # --- the scorecard

    def _score(self, contenders: list[str], folder: Path) -> Notes:
        config, shown = self.config, list[dict[str, Any]]()
        asked = [folder / "answers" / name for name in contenders]
        asked += [folder / "tools" / name for name in config.tools.contenders]
        rows = read_answers(noting(chain.from_iterable(map(answers_of, asked)), shown))
        card = build_scorecard(
            rows,
            recipe=self.recipe.name,
            contenders=contenders,
            bootstrap=config.bootstrap,
            seed=config.seed,
        )
        add_attacks(card, self.attacks.answers(contenders))
        if config.harness:
            answers = (row for name in contenders for row in answers_of(folder / "harness" / name))
            add_harness(card, answers, config.harness, bootstrap=config.bootstrap, seed=config.seed)
        if config.ladder:
            sizes = equivalent_sizes(
                rows,
                Ladder.read(config.ladder),
                contenders=contenders,
                bootstrap=config.bootstrap,
                seed=config.seed,
            )
            add_sizes(card, sizes)
        self._add_curves(card, contenders)
        card["gates"] = gate_results(self.recipe.publish.gates, card, self.recipe.publish.student)
        save_scorecard(card, folder, shown)
        return {"answers": len(rows["suite"])}

    def _add_curves(self, card: dict[str, Any], contenders: list[str]) -> None:
        """What trainings and the edit left beside their models."""
        models = {name: self.work.folder(part_of(name)) for name in contenders}
        if entropy := entropy_curves(models):
            card.setdefault("curves", {})["entropy"] = entropy
        if self.recipe.edit is not None and self.work.done("edit"):
            frontier = frontier_curves(self.work.folder("edit") / "frontier.json")
            card.setdefault("curves", {})["edit_frontier"] = frontier


def _check_contender(spec: Model, key: str) -> str:
    return check_pair(load_config(spec), load_tokenizer(spec), key)


def contender_checks(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """(what, check) of everything in evaluate that was not made here: models, as far as config and
    tokenizer tell, and public tasks.
    """
    for name, spec in config.models.items():
        key = f"evaluate.models.{name}"
        yield (
            key,
            partial(_check_contender, spec, key),
        )
    if config.harness:
        yield "evaluate.harness", lambda: check_tasks(config.harness)


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
