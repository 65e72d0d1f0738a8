"""The attacks of the stage evaluate: contenders that may have forgotten answer the closed-book
questions again, attacked in each way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any

from data_filters.records.shards import iter_rows, write_shard
from distill.engines.local import LocalEngine
from distill.progress import Bar
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
from launch.inputs.inputs import Inputs
from launch.runs.parts import Notes, Part
from recipes.errors import RecipeError
from recipes.vocabulary import Contender, Suite

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
    """The attacks, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work

    def parts(self, contenders: Mapping[str, Path | None]) -> Iterator[Part]:
        """evaluate/attacks/CONTENDER/ATTACK, shared out over ranks.

        Args:
            contenders: name -> model folder inside the run; None: the teacher.
        """
        attacked = {name: where for name, where in contenders.items() if self._holds(name)}
        jobs = list(product(attacked, self.recipe.evaluate.attacks))
        for number, (name, attack) in enumerate(jobs):
            keys = (*ASKED, *(RELEARN if attack == "relearn" else ()))
            attacked_by = self.inputs.contenders.identity(name) | {"attack": attack}
            yield Part(
                f"evaluate/attacks/{name}/{attack}",
                self.inputs.identity(*keys) | attacked_by,
                partial(self._attack, name=name, where=attacked[name], attack=attack),
                who=number % self.work.ranks.count,
            )

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
        return name != Contender.TEACHER and (
            name != Contender.BASE or self.recipe.models.student.path is not None
        )

    def _attack(self, folder: Path, *, name: str, where: Path | None, attack: str) -> Notes:
        config, system = self.recipe.evaluate, self.recipe.generate.system
        questions = attacked_questions(all_questions(config, self.inputs.world))
        if len({q.cluster for q in questions if q.suite == Suite.RECALL}) < 2:
            raise RecipeError(
                "evaluate.attacks: fewer than two facts to ask about; "
                "raise evaluate.items or planted.people"
            )
        engine = self.inputs.contenders.engine(name, where, config.batch_sequences)
        notes: Notes = {}
        rows: list[dict[str, Any]] = []
        with Bar(f"attack {name}, {attack}", None, "sequences", True) as bar:

            def put(asked: Sequence[Question], prompt: str | None) -> None:
                rows.extend(
                    ask(
                        engine,
                        asked,
                        contender=name,
                        max_new_tokens=config.max_new_tokens,
                        system=prompt,
                        progress=bar.tokens,
                    )
                )

            if attack == "four_bit":
                notes |= to_four_bits(engine.model)
                put(questions, system)
            elif attack == "relearn":
                notes |= self._relearn(engine, questions, put, bar)
            else:
                for prompt, group in elicited(questions, system):
                    put(group, prompt)
        write_shard(folder / "answers.parquet", rows, ANSWERS)
        return {"answers": len(rows)} | notes

    def _relearn(
        self,
        engine: LocalEngine,
        questions: Sequence[Question],
        put: Callable[[Sequence[Question], str | None], None],
        bar: Bar,
    ) -> Notes:
        """Teaches some facts again, and asks for the others on the way."""
        config, system = self.recipe.evaluate, self.recipe.generate.system
        split = split_taught(questions, config.relearn_fraction)
        losses = relearn(
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
        return {"taught": len(lessons(split))} | losses
