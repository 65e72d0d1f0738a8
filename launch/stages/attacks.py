"""The attacks of the stage evaluate: contenders that may have forgotten answer the closed-book
questions again, attacked in each way.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from data_filters.records.shards import iter_rows, write_shard
from eval.ask.ask import SCHEMA as ANSWERS
from eval.ask.ask import ask
from eval.attacks.closed_book import (
    after_steps,
    attacked_questions,
    elicited,
    lessons,
    split_taught,
)
from eval.attacks.four_bit import to_four_bits
from eval.attacks.relearn import relearn
from eval.suites.suites import Question, all_questions
from launch.runs.identity import Identity
from launch.runs.inputs import Inputs
from launch.runs.progress import Bar
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.schema import Recipe

RELEARN = tuple(
    f"evaluate.relearn_{name}" for name in ("fraction", "steps", "batch_sequences", "learning_rate")
)
KNOBS = ("evaluate.attacks", *RELEARN)  # what the plain answers do not depend on
QUESTIONS = tuple(
    f"evaluate.{name}"
    for name in ("seed", "items", "max_new_tokens", "batch_sequences", "recall_sources")
)
ASKED = (*QUESTIONS, "planted", "generate.system")


class Attacks:
    """One pass through the attacks on one rank.

    Args:
        make: makes a part unless it is there.
    """

    def __init__(
        self, recipe: Recipe, work: Workspace, inputs: Inputs, make: Callable[..., None]
    ) -> None:
        self.recipe, self.work, self.inputs, self.make = recipe, work, inputs, make

    def walk(self, contenders: Mapping[str, Path | None]) -> dict[str, str]:
        """Makes evaluate/attacks/CONTENDER/ATTACK, parts shared out over ranks.

        Args:
            contenders: name -> model folder inside the run; None: the teacher.

        Returns:
            their names, "CONTENDER/ATTACK" -> part.
        """
        jobs = [
            (name, where, attack)
            for name, where in contenders.items()
            if self._holds(name)
            for attack in self.recipe.evaluate.attacks
        ]
        ranks = self.work.ranks
        for number, (name, where, attack) in enumerate(jobs):
            read = {
                "contender": name,
                "attack": attack,
                "input.model": self.work.digest(str(where.relative_to(self.work.root))),
            }
            identity: Identity = (
                self.inputs.identity(*ASKED, *(RELEARN if attack == "relearn" else ())) | read
            )
            mine = number % ranks.count == ranks.index
            how = {"name": name, "where": where, "attack": attack}
            self.make(
                f"evaluate/attacks/{name}/{attack}",
                identity,
                lambda folder, how=how: self._attack(folder, **how),
                owner=mine,
            )
        return {f"{name}/{attack}": f"evaluate/attacks/{name}/{attack}" for name, _, attack in jobs}

    def answers(self, contenders: Iterable[str]) -> dict[str, Iterable[dict[str, Any]]]:
        """Attack -> the answers of all contenders, read from the finished parts."""
        folder, attacks = self.work.folder("evaluate/attacks"), self.recipe.evaluate.attacks
        attacked = list(filter(self._holds, contenders))
        parts = {a: [folder / name / a / "answers.parquet" for name in attacked] for a in attacks}
        return {
            attack: chain.from_iterable(map(iter_rows, paths)) for attack, paths in parts.items()
        }

    def _holds(self, name: str) -> bool:
        """Whether there is something to uncover: the teacher makes no claim, and a base with random
        weights knows nothing.
        """
        return name != "teacher" and (name != "base" or self.recipe.models.student.path is not None)

    def _attack(self, folder: Path, *, name: str, where: Path, attack: str) -> dict[str, Any]:
        config, system = self.recipe.evaluate, self.recipe.generate.system
        questions = attacked_questions(all_questions(config, self.inputs.world))
        if len({q.cluster for q in questions if q.suite == "recall"}) < 2:
            raise RecipeError(
                "evaluate.attacks: fewer than two facts to ask about; raise evaluate.items or planted.people"
            )
        engine, notes, rows = self.inputs.engine(name, config.batch_sequences, where), {}, []
        with Bar(f"attack {name}, {attack}", None, "sequences", True) as bar:

            def put(asked: list[Question], prompt: str | None) -> None:
                how = {
                    "contender": name,
                    "max_new_tokens": config.max_new_tokens,
                    "progress": bar.tokens,
                }
                rows.extend(ask(engine, asked, system=prompt, **how))

            if attack == "four_bit":
                notes = to_four_bits(engine.model)
                put(questions, system)
            elif attack == "relearn":
                split = split_taught(questions, config.relearn_fraction)
                notes = {"taught": len(lessons(split))} | relearn(
                    engine.model,
                    engine.tokenizer,
                    lessons(split),
                    system=system,
                    steps=config.relearn_steps,
                    seed=config.seed,
                    batch_sequences=config.relearn_batch_sequences,
                    learning_rate=config.relearn_learning_rate,
                    progress=bar.tokens,
                    look=lambda step: put(after_steps(split, step), system),
                )
            else:
                for prompt, group in elicited(questions, system):
                    put(group, prompt)
        write_shard(folder / "answers.parquet", rows, ANSWERS)
        return {"answers": len(rows)} | notes
