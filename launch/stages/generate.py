"""The stage generate: who writes which shards, with which engine, and what is shown meanwhile."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.lookup.toolbox import Toolbox
from data_filters.verify.sandbox import Sandbox
from data_filters.verify.verifiers import Verifiers
from distill.engines.endpoint import EndpointEngine
from distill.engines.protocol import Engine
from distill.engines.tool_loop import Limits, ToolEngine
from distill.generation.attempts import Attempt
from distill.generation.live_stats import LiveCounts
from distill.generation.outputs import num_shards, shard_path, write_report
from distill.generation.writer import Writer
from distill.problems.draw import Problem
from distill.progress import Bar
from launch.inputs.inputs import Inputs
from launch.inputs.teacher import SPOKEN
from launch.runs.parts import Notes, Part
from launch.runs.run_log import show_once
from recipes.errors import ModelError, RecipeError
from recipes.vocabulary import ToolName, Verdict

# processes for verifiers that may hang; they are busy for a small share of what a teacher needs
VERIFIERS = 2
SHOWN = ("traces", *Verdict, "truncated", "refused")


class Generate:
    """The stage, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.config, self.spec = self.recipe.generate, self.recipe.models.teacher
        self.served = self.spec.engine == "endpoint"

    def check(self) -> None:
        """Refuses a recipe without problems to ask about.

        Raises:
            RecipeError: as said.
        """
        given = self.recipe.filter.traces or self.recipe.distill.traces
        if not given and not any(source.weight for source in self.config.sources):
            raise RecipeError(
                "generate.sources has no source with a weight above 0; name what the teacher is asked, or traces in filter.traces"
            )

    def parts(self) -> Iterator[Part]:
        """The traces; each rank takes every n-th shard."""
        if outside := self.recipe.filter.traces or self.recipe.distill.traces:
            return show_once(f"generate: not needed, traces come from {outside}", self.work.ranks)
        keys = ("models.teacher", "generate", "planted")
        identity = self.inputs.identity(*keys, leave_out=SPOKEN)
        identity |= {"input.teacher": self.inputs.teacher.digest()} | self.inputs.teacher.speaker()
        yield Part("generate", identity, self._write)

    def _write(self, folder: Path) -> Notes:
        """All shards of this rank, then, on the main rank, the report over all of them; gives notes
        for the manifest.
        """
        numbers = range(num_shards(self.config))
        todo = [
            number
            for number in self.inputs.teacher.share(numbers)
            if not shard_path(folder, number).exists()
        ]
        counts = self._write_shards(todo, folder) if todo else {}
        if not self.work.ranks.is_main:
            return {}
        for number in numbers:
            self.work.wait_for(shard_path(folder, number))
        # every shard is whole; a kill may have left the journal of one that is
        shutil.rmtree(folder / "journal", ignore_errors=True)
        report = write_report(folder, **({"requests": counts} if counts else {}))
        if report["traces"] and report.get("refused") == report["traces"]:
            self._refuse(folder, report)
        return {"shards": len(numbers)} | {name: report[name] for name in SHOWN if report.get(name)}

    def _refuse(self, folder: Path, report: dict[str, Any]) -> NoReturn:
        """Ends a stage in which the teacher answered nothing; the next start asks again.

        Raises:
            ModelError: always; it says what the server said most often.
        """
        for path in [*folder.glob("*.parquet"), *folder.glob("problems/*.parquet")]:
            path.unlink()
        (reason, times), *_ = report["refusals"].items()
        raise ModelError(
            f"{folder}: the teacher refused all of {report['traces']} prompts; {times} times: {reason}; "
            "fix the server or models.teacher, then run again"
        )

    def _write_shards(self, todo: Sequence[int], folder: Path) -> dict[str, int]:
        """Writes shards; gives what a connection counted."""
        config, counts = self.config, LiveCounts()
        size = min(config.shard_problems, config.count) * config.samples_per_problem
        name = self.inputs.teacher.name()
        total = min(len(todo) * size, config.count * config.samples_per_problem)
        with (
            self._speaking() as engine,
            Verifiers(VERIFIERS) as verifiers,
            ThreadPoolExecutor(1) as judging,
            Bar("generate", total, "traces", self.work.ranks.is_main) as bar,
        ):

            def judge(items: Sequence[tuple[str, Problem]]) -> list[tuple[str, str | None]]:
                return [
                    (said.verdict, said.answer)
                    for said in verifiers.judge(
                        [(text, problem.check()) for text, problem in items]
                    )
                ]

            def seen(attempt: Attempt) -> None:
                trace = attempt.trace(
                    config, seed=self.recipe.seed, teacher=name, engine=self.spec.engine
                )
                counts.add(trace)
                bar.remark(counts.line)

            writer = Writer(
                engine=engine,
                config=config,
                world=self.inputs.world,
                seed=self.recipe.seed,
                teacher=name,
                judge=judge,
                judging=judging,
                engine_name=self.spec.engine,
                journals=folder / "journal" if self.served else None,
                progress=bar.tokens,
                more=bar.more,
                seen=seen,
            )
            if not self.served:
                for number in todo:
                    writer.write(number, folder, writer.problems(number))
                return {}
            self._together(writer, engine, todo, folder, size)
            connection = engine.engine if isinstance(engine, ToolEngine) else engine
            assert isinstance(connection, EndpointEngine)
            return dict(connection.client.counts)

    @contextmanager
    def _speaking(self) -> Iterator[Engine]:
        """The teacher, with tools at hand where the recipe gives it some."""
        config = self.config
        with (
            self.inputs.teacher.speaking(
                config.batch_sequences, max_new_tokens=config.max_new_tokens
            ) as engine,
            Sandbox() as sandbox,
        ):
            if not config.tools:
                yield engine
                return
            base = KnowledgeBase.read(config.knowledge_base) if config.knowledge_base else None
            toolbox = Toolbox(
                base=base if ToolName.LOOKUP in config.tools else None,
                sandbox=sandbox if ToolName.PYTHON in config.tools else None,
            )
            longest = getattr(engine, "longest", None) or self.recipe.distill.sequence_tokens
            limits = Limits(max_tokens=5 * config.max_new_tokens, context_tokens=longest)
            at_once = self.spec.server.concurrency if self.served else 2 * config.batch_sequences
            yield ToolEngine(engine, toolbox, limits, at_once=at_once)

    def _together(
        self, writer: Writer, engine: Engine, todo: Sequence[int], folder: Path, size: int
    ) -> None:
        """As many shards at once as keep the server busy while the last answers of one are waited
        for.
        """
        at_once = 1 + -(-2 * self.spec.server.concurrency // size)
        with ThreadPoolExecutor(at_once) as pool:
            jobs: set[Future[int]] = set()
            try:
                for number in todo:
                    jobs.add(pool.submit(writer.write, number, folder, writer.problems(number)))
                    if len(jobs) >= at_once:
                        done, jobs = wait(jobs, return_when=FIRST_COMPLETED)
                        _ = [job.result() for job in done]
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                engine.close()  # what is in flight ends, and with it the threads that wait for it
                raise
