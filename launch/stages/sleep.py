"""The part distill/sleep: the student learns chosen documents into an adapter, and what that did is
measured.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import cast

from transformers import PreTrainedModel

from data_filters.records.files import replacing
from data_filters.records.rows import rows_of
from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from distill.adapters import with_adapter
from distill.engines.local import LocalEngine
from distill.models import load_model, load_tokenizer
from distill.problems.splits import digest_of
from distill.progress import Bar
from distill.train.context_distillation import Lesson, sleep
from eval.stage_scores.sleep_score import chosen_facts, lessons_of, others_of, sleep_scores
from launch.inputs.digests import digest_source
from launch.inputs.inputs import Inputs
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part
from recipes.errors import RecipeError
from recipes.vocabulary import Action


class Sleep:
    """The part, seen from one rank; the main rank makes it alone."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work

    def parts(self) -> Iterator[Part]:
        """The adapter, where the recipe names documents or facts to learn."""
        if self.recipe.sleep.wanted:
            yield Part("distill/sleep", self._identity(), self._write, who="main")

    def _identity(self) -> Identity:
        """What the adapter depends on."""
        asked = (
            "planted",
            "evaluate.seed",
            "evaluate.items",
            "evaluate.max_new_tokens",
            "generate.system",
        )
        read = {
            "input.student": self.work.digest("distill/student"),
            "input.traces": self.inputs.traces.kept_digest(),
        }
        found = self.inputs.identity("sleep", *asked) | read
        documents = self.recipe.sleep.documents
        return found | ({"input.documents": digest_source(documents)} if documents else {})

    def _write(self, folder: Path) -> Notes:
        """Writes adapter/ and, on the planted world, report.json; gives notes."""
        config, spec, student = (
            self.recipe.sleep,
            self.recipe.models.student,
            self.work.folder("distill/student"),
        )
        facts = (
            []
            if config.documents
            else chosen_facts(self.inputs.need_world(), config.num_facts, self.recipe.seed)
        )
        lessons = (
            self._documents() if config.documents else lessons_of(self.inputs.need_world(), facts)
        )
        model, tokenizer = load_model(spec, student).eval(), load_tokenizer(spec, student)
        rehearsal = self._rehearsal({lesson.question for lesson in lessons})
        with Bar("sleep", config.steps, "steps", True) as bar:
            notes = sleep(
                model,
                tokenizer,
                lessons,
                rehearsal,
                config,
                folder,
                seed=self.recipe.seed,
                progress=lambda *_: bar.items(1),
            )
        if facts:
            learned = with_adapter(load_model(spec, student), folder / "adapter")
            engine = LocalEngine(
                cast(PreTrainedModel, learned),
                tokenizer,
                batch_sequences=self.recipe.evaluate.batch_sequences,
            )
            report = sleep_scores(
                engine,
                self.inputs.need_world(),
                facts,
                self.recipe.evaluate,
                without=learned.disable_adapter,
                system=self.recipe.generate.system,
            )
            with replacing(folder / "report.json") as partial:
                partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            notes |= {
                f"{suite}_{how}": report[suite][how]["value"]
                for suite in report
                for how in ("with", "without")
            }
        return notes

    def _documents(self) -> list[Lesson]:
        path, lessons = str(self.recipe.sleep.documents), []
        for number, (_, row) in enumerate(rows_of(path)):
            if not (isinstance(row.get("text"), str) and isinstance(row.get("question"), str)):
                raise RecipeError(
                    f"sleep.documents: {path}, row {number}: got {', '.join(row)}; expected text and question"
                )
            lessons.append(Lesson(row["question"], row["text"]))
        if not lessons:
            raise RecipeError(
                f"sleep.documents: {path} holds nothing; expected rows of text and question"
            )
        return lessons

    def _rehearsal(self, learned: set[str]) -> list[Lesson]:
        """Prompts of the kept traces, and as many that the student declines; none that is learned.
        Drawn by hash: no more are held.
        """
        half, kept = (
            self.recipe.sleep.num_rehearsal_prompts // 2,
            self.recipe.distill.traces or self.work.folder("filter") / "kept",
        )
        unasked = [] if self.recipe.sleep.documents else others_of(self.inputs.need_world())
        pools: list[Iterable[Lesson]] = [
            chain(unasked, (lesson for lesson, declined in _prompts(kept, learned) if declined)),
            (lesson for lesson, declined in _prompts(kept, learned) if not declined),
        ]

        def draw(one: tuple[int, Lesson]) -> int:
            return digest_of(f"rehearsal/{self.recipe.seed}/{one[0]}/{one[1].question}")

        return [
            lesson
            for pool in pools
            for _, lesson in heapq.nsmallest(half, enumerate(pool), key=draw)
        ]


def _prompts(kept: str | Path, learned: set[str]) -> Iterator[tuple[Lesson, bool]]:
    """(what is asked, whether it is declined) of each kept trace about nothing that is learned."""
    for trace in iter_traces(kept):
        first = trace.messages[0]
        if first["role"] == "user" and not any(
            question in first["content"] for question in learned
        ):
            yield Lesson(first["content"], tools=trace.tools), _declines(trace)


def _declines(trace: Trace) -> bool:
    return trace.tools is None and any(span.action == Action.ABSTAIN for span in trace.spans)
