"""The main street: every stage in order. A stage reads finished folders to its left and writes one
folder.

Ranks meet through files: no collective outside a training. The main rank decides whether a part is
to be made; it says so by files (identity.json: make it; manifest.json: it is there), and the others
read them.
"""

import json
import time
from collections.abc import Callable
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distill.checks.preflight import teacher_checks
from distill.train.teacher import train_teacher
from eval.ask.ask import answer_all
from eval.attacks.closed_book import add_attacks
from eval.harness import add_harness
from eval.scorecard import add_sizes, build_scorecard, save_scorecard, to_markdown, to_terminal
from eval.scores.answer_table import read_answers
from eval.scores.entropy import entropy_curves
from eval.scores.sizes.equivalent_sizes import equivalent_sizes
from eval.scores.sizes.ladder import Ladder
from eval.stage_scores.edit_score import frontier_curves
from eval.suites.suites import all_questions
from launch.runs.inputs import SPOKEN, Inputs, digest_source, part_of
from launch.runs.progress import Bar
from launch.runs.run_folder import Workspace
from launch.stages.attacks import KNOBS, Attacks
from launch.stages.distill import Students
from launch.stages.edit import Editing
from launch.stages.evaluate import (
    answer_harness,
    answer_with_tools,
    answers_of,
    check_apart,
    contender_checks,
    harness_identity,
    noting,
)
from launch.stages.filter import ASKED, Filtering
from launch.stages.gates import check_gates, gate_results
from launch.stages.generate import Generation
from launch.stages.publish import publish_student, push
from launch.stages.sleep import Sleeping
from recipes.errors import RecipeError
from recipes.load import to_yaml
from recipes.schema import STAGES, Recipe

Identity = dict[str, Any]
# what does not change a contender's own answers
NOT_ASKED = (
    "evaluate.bootstrap",
    "evaluate.tools",
    "evaluate.models",
    "evaluate.harness",
    "evaluate.ladder",
    *KNOBS,
)


class Street:
    """One run of a recipe on one rank."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work
        self.inputs = Inputs(recipe, work)
        self.is_main = work.ranks.is_main
        self.attacks = Attacks(recipe, work, self.inputs, self._make)

    @cached_property
    def students(self) -> Students:
        return Students(self.recipe, self.work, self.inputs, self._make)

    @cached_property
    def editing(self) -> Editing | None:
        """The stage edit, where the recipe has one."""
        return (
            Editing(self.recipe, self.work, self.inputs, self.students, self._make)
            if self.recipe.edit is not None
            else None
        )

    def walk(self) -> None:
        """Runs the wanted stages, in street order."""
        steps: dict[str, Callable[[], None]] = {
            "teacher": self.teacher,
            "generate": self.generate,
            "filter": self.filter,
            "distill": self.distill,
            "edit": self.edit,
            "evaluate": self.evaluate,
            "publish": self.publish,
        }
        if "distill" in self.recipe.stages:
            # what is known already: a fault must not wait for the hours of the stages before it
            self.students.check(early=True)
        if "evaluate" in self.recipe.stages and not self.work.done("evaluate"):
            for _, check in contender_checks(self.recipe.evaluate):
                check()
        if self.editing is not None and "edit" in self.recipe.stages and not self.work.done("edit"):
            self.editing.check()
        for name in STAGES:
            if name in self.recipe.stages:
                steps[name]()

    # --- the stages
    # ---------------------------------------------------------------------------------------------

    def teacher(self) -> None:
        """A teacher of our own, if the recipe gives it a shape."""
        models, recipe = self.recipe.models, self.recipe
        if models.teacher.path is not None:
            return self._say(f"teacher: {models.teacher.path}")
        for _, check in (
            teacher_checks(recipe.teacher, models.teacher) if not self.work.done("teacher") else ()
        ):
            check()
        identity = self.inputs.teacher_identity()
        how = {
            "seed": recipe.seed,
            "is_main": self.is_main,
            "wait": self.work.wait_for,
            "run": f"{recipe.name}/teacher",
        }
        world = self.inputs.need_world()
        self._make(
            "teacher",
            identity,
            lambda folder: train_teacher(models.teacher, recipe.teacher, world, folder, **how),
        )

    def generate(self) -> None:
        """The teacher writes traces; each rank takes every n-th shard."""
        if self.recipe.filter.traces or self.recipe.distill.traces:
            return self._say(
                f"generate: not needed, traces come from {self.recipe.filter.traces or self.recipe.distill.traces}"
            )
        recipe = self.inputs.identity("models.teacher", "generate", "planted", leave_out=SPOKEN)
        identity = recipe | {"input.teacher": self.inputs.teacher_digest()}
        self._make("generate", identity, Generation(self.recipe, self.work, self.inputs).write)

    def filter(self) -> None:
        """Keeps what teaches thought, takes recalled facts out, says why."""
        if self.recipe.distill.traces:
            return self._say(f"filter: not needed, traces come from {self.recipe.distill.traces}")
        filtering = Filtering(self.recipe, self.work, self.inputs)
        if filtering.probes:
            self._make(ASKED, filtering.asked_identity(), filtering.ask)
        self._make("filter", filtering.identity(), filtering.write, main_only=True)

    def distill(self) -> None:
        """The students: the base once, then every arm from its weights; then what is learned in
        sleep.
        """
        self.students.walk()
        if self.recipe.sleep.wanted:
            sleeping = Sleeping(self.recipe, self.work, self.inputs)
            self._make("distill/sleep", sleeping.identity(), sleeping.make, main_only=True)

    def edit(self) -> None:
        """Memory taken out of one arm's weights, where the recipe says so."""
        if self.editing is not None:
            self.editing.walk()

    def evaluate(self) -> None:
        """Every contender answers the same questions; contenders are shared out over ranks."""
        contenders, config = self.inputs.contenders(), self.recipe.evaluate
        if self.is_main and not self.work.done("evaluate"):
            check_apart(self.inputs)
        scope = self.inputs.identity("evaluate", "planted", "generate.system", leave_out=NOT_ASKED)
        asking = {"answers": (scope, self._answer)}
        if config.harness:
            asking["harness"] = (
                harness_identity(self.inputs),
                partial(answer_harness, self.inputs),
            )
        parts = {}
        for number, (name, where) in enumerate(contenders.items()):
            mine, model = (
                number % self.work.ranks.count == self.work.ranks.index,
                self.inputs.contender_identity(name),
            )
            for kind, (about, ask_all) in asking.items():
                parts[name if kind == "answers" else f"{name}.{kind}"] = part = (
                    f"evaluate/{kind}/{name}"
                )
                self._make(part, about | model, partial(ask_all, name, where), owner=mine)
        parts |= self._ask_with_tools(contenders)
        parts |= self.attacks.walk(contenders)
        identity = {f"input.{n}": self._later_digest(p) for n, p in parts.items()} | {
            "evaluate.bootstrap": config.bootstrap
        }
        if config.ladder:
            identity["input.ladder"] = digest_source(str(Path(config.ladder) / "answers.parquet"))
        self._make(
            "evaluate",
            identity,
            lambda folder: self._score(list(contenders), folder),
            main_only=True,
        )
        if self.is_main:
            card = json.loads((self.work.folder("evaluate") / "scorecard.json").read_text())
            self._say(to_terminal(card))

    def publish(self) -> None:
        """A hub-ready folder of one arm; pushed only where the recipe names a repository."""
        config, arm = self.recipe.publish, self.recipe.publish.student
        if not self.work.done(part_of(arm)) or not self.work.done("evaluate"):
            raise RecipeError(
                f"publish: {part_of(arm)} or evaluate is not finished in {self.work.root}; run those stages first"
            )
        check_gates(
            config.gates,
            json.loads((self.work.folder("evaluate") / "scorecard.json").read_text()),
            arm,
        )
        identity = self.inputs.identity(
            "publish", leave_out=("publish.repo", "publish.private", "publish.gates")
        ) | {
            "input.student": self.work.digest(part_of(arm)),
            "input.scorecard": self.work.digest("evaluate"),
        }
        self._make("publish", identity, self._publish, main_only=True)
        if config.repo and self.is_main:
            push(self.work.folder("publish"), config.repo, private=config.private)

    # --- how a part is made
    # -------------------------------------------------------------------------------------

    def _make(
        self,
        part: str,
        identity: Identity,
        make: Callable[[Path], dict[str, Any]],
        *,
        main_only: bool = False,
        owner: bool | None = None,
    ) -> None:
        """Makes a part unless it is there: by all ranks, by the main rank, or by its owner; then it
        gets its manifest.
        """
        if owner is False:
            return
        leads = self.is_main or owner is True
        takes_part = leads or not main_only
        began = time.monotonic()
        if not self.work.claim(part, identity, leads=leads, say=self._say):
            return
        if takes_part:
            notes = make(self.work.folder(part)) or {}
        if leads:
            seconds = round(time.monotonic() - began, 1)
            self.work.finish(part, identity, notes | {"seconds": seconds})
            tqdm.write(f"{part}: done in {seconds:,.1f} s{_brief(notes)}")
        else:
            self.work.wait(part, identity)

    def _answer(self, name: str, where: Path | None, folder: Path) -> dict[str, Any]:
        config = self.recipe.evaluate
        questions = all_questions(config, self.inputs.world)
        if not questions and not config.harness:
            raise RecipeError(
                "evaluate: no questions; the recipe has neither a planted world nor evaluate.sources nor evaluate.harness"
            )
        with Bar(f"evaluate {name}", None, "answers", True) as bar:
            count = answer_all(
                self.inputs.engine(name, config.batch_sequences, where),
                questions,
                folder,
                contender=name,
                seed=config.seed,
                max_new_tokens=config.max_new_tokens,
                system=self.recipe.generate.system,
                progress=bar.tokens,
                tries=config.tries,
                tries_temperature=config.tries_temperature,
                budgets=config.budgets,
            )
        return {"answers": count}

    def _ask_with_tools(self, contenders: dict[str, Path | None]) -> dict[str, str]:
        """Parts of the contenders that are asked with tools at hand, by name."""
        config, parts = self.recipe.evaluate, {}
        about = self.inputs.identity(
            "evaluate.tools",
            "planted",
            *(f"evaluate.{name}" for name in ("seed", "items", "max_new_tokens")),
        )
        for number, name in enumerate(config.tools.contenders):
            if name not in contenders:
                raise RecipeError(
                    f"evaluate.tools.contenders: {name!r} is not there; wanted some of {', '.join(contenders)}"
                )
            parts[f"{name}.tools"] = part = f"evaluate/tools/{name}"
            mine, make = (
                number % self.work.ranks.count == self.work.ranks.index,
                partial(answer_with_tools, self.inputs, name, contenders[name]),
            )
            self._make(part, about | self.inputs.contender_identity(name), make, owner=mine)
        return parts

    def _score(self, contenders: list[str], folder: Path) -> dict[str, Any]:
        config = self.recipe.evaluate
        shown: list[dict[str, Any]] = []
        parts = [folder / "answers" / name for name in contenders] + [
            folder / "tools" / name for name in config.tools.contenders
        ]
        rows = read_answers(noting(chain.from_iterable(map(answers_of, parts)), shown))
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
            how = {"contenders": contenders, "bootstrap": config.bootstrap, "seed": config.seed}
            add_sizes(card, equivalent_sizes(rows, Ladder.read(config.ladder), **how))
        if entropy := entropy_curves(
            {name: self.work.folder(part_of(name)) for name in contenders}
        ):
            card.setdefault("curves", {})["entropy"] = entropy
        if self.recipe.edit is not None and self.work.done("edit"):
            card.setdefault("curves", {})["edit_frontier"] = frontier_curves(
                self.work.folder("edit") / "frontier.json"
            )
        card["gates"] = gate_results(self.recipe.publish.gates, card, self.recipe.publish.student)
        save_scorecard(card, folder, shown)
        return {"answers": len(rows["suite"])}

    def _publish(self, folder: Path) -> dict[str, Any]:
        config = self.recipe.publish
        card = json.loads((self.work.folder("evaluate") / "scorecard.json").read_text())
        made = json.loads(
            (self.work.folder(part_of(config.student)) / "manifest.json").read_text()
        )["notes"]
        publish_student(
            self.work.folder(part_of(config.student)),
            card,
            to_markdown(card),
            to_yaml(self.recipe),
            folder,
            arm=config.student,
            license=config.license,
            base_model=self.recipe.models.student.path,
            teacher_name=self.inputs.teacher_name(),
            notes={
                name: made[name] for name in ("written", "taught_tokens", "steps") if name in made
            },
            repo=config.repo,
        )
        return {}

    def _later_digest(self, part: str) -> str:
        """The digest of a part that another rank may still be making."""
        self.work.wait_for(self.work.folder(part) / "manifest.json")
        return self.work.digest(part)

    def _say(self, text: str) -> None:
        if self.is_main:
            tqdm.write(text)


def run(recipe: Recipe, work: Workspace) -> None:
    """Walks the street."""
    Street(recipe, work).walk()


def _brief(notes: dict[str, Any]) -> str:
    shown = {name: value for name, value in notes.items() if isinstance(value, int | float | list)}
    return (
        " (" + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items()) + ")"
        if shown
        else ""
    )
