"""A teacher at its desk: asks, asks again what was not solved, has answers judged as they come, and
writes shards.

For an engine in this process a shard is the unit of resume, and its bytes depend on (seed, shard)
alone. A server's answers are kept one by one in a journal beside the shard, until the shard is
whole.
"""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from data_filters.records.shards import write_shard
from data_filters.records.traces import SCHEMA, to_row, trace_id
from distill.engines.protocol import (
    THOUGHT_END,
    Completion,
    Conversation,
    Engine,
    Sampling,
    conversation,
)
from distill.generation.attempts import Attempt, Judge, Verdicts
from distill.generation.journal import Journal
from distill.generation.outputs import PROBLEMS, shard_path, summaries
from distill.problems.draw import Problem, draw_problems
from distill.problems.planted_world import World
from distill.problems.self_review import ask_review, read_review
from recipes.schema import Generate
from recipes.vocabulary import FinishReason, Verdict

CUT = THOUGHT_END  # ends a thought that has used up its budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What every shard of a run is written with.

    Args:
        engine: the teacher.
        teacher: its name in the traces.
        judge: verdicts on finished texts; called from one thread at a time.
        journals: folder of journals, for a server; None: the engine is in this process.
        judging: the one thread that judges.
        progress: called with (answers, new tokens) as they come in.
        more: called with the number of answers that are asked for beyond samples_per_problem.
        seen: called with each attempt whose verdict stands, from the judging thread.
    """

    engine: Engine
    config: Generate
    world: World | None
    seed: int
    teacher: str
    judge: Judge
    judging: ThreadPoolExecutor
    engine_name: str = "transformers"
    journals: Path | None = None
    progress: Callable[[int, int], None] = lambda *_: None
    more: Callable[[int], None] = lambda _: None
    seen: Callable[[Attempt], None] = lambda _: None

    def write(self, shard: int, folder: Path, problems: Sequence[Problem]) -> int:
        """One shard of traces and its table of problems; gives the number of traces."""
        path = self.journals / f"{shard_path(folder, shard).stem}.jsonl" if self.journals else None
        with Journal(path) if path else nullcontext() as journal:
            attempts = self._attempts(problems, shard, journal)
        traces = [
            attempt.trace(
                self.config, seed=self.seed, teacher=self.teacher, engine=self.engine_name
            )
            for tried in attempts
            for attempt in tried
        ]
        write_shard(
            folder / "problems" / shard_path(folder, shard).name,
            summaries(problems, attempts),
            PROBLEMS,
        )
        write_shard(shard_path(folder, shard), [to_row(trace) for trace in traces], SCHEMA)
        if path:
            # where all shards are whole, the main rank clears the folder
            path.unlink(missing_ok=True)
        return len(traces)

    def problems(self, shard: int) -> list[Problem]:
        """Of a shard; from the main thread, since a data set that stalls can be stopped only
        there.
        """
        config, start = self.config, shard * self.config.shard_problems
        count = min(config.shard_problems, config.count - start)
        return draw_problems(
            config.sources,
            self.world,
            seed=self.seed,
            start=start,
            count=count,
            split="training",
            block=config.shard_problems,
        )

    def _attempts(
        self, problems: Sequence[Problem], shard: int, journal: Journal | None
    ) -> list[list[Attempt]]:
        """Of each problem: samples, more where it is not solved, then rewrites."""
        config, turn, todo = self.config, 0, list(range(len(problems)))
        tried: list[list[Attempt]] = [[] for _ in problems]
        most = max(config.max_samples, config.samples_per_problem)
        while todo:
            upto = {n: min(len(tried[n]) + config.samples_per_problem, most) for n in todo}
            if turn:
                self.more(sum(upto[n] - len(tried[n]) for n in todo))
            fresh = {
                n: [self._ask(problems[n], k) for k in range(len(tried[n]), upto[n])] for n in todo
            }
            self._answer(
                [one for asked in fresh.values() for one in asked],
                self._sampling(shard, turn),
                journal,
            )
            for n, asked in fresh.items():
                tried[n] += asked
            todo, turn = (
                [
                    n
                    for n in todo
                    if len(tried[n]) < most and _worth_another(tried[n], config.wanted_correct)
                ],
                turn + 1,
            )
        for _ in range(config.review.rounds if config.review.of != "none" else 0):
            self._review(
                [(one, of) for of in tried for one in _to_review(of, config)],
                self._sampling(shard, turn),
                journal,
            )
            turn += 1
        return tried

    def _sampling(self, shard: int, turn: int) -> Sampling:
        config = self.config
        seed = (self.seed * 100_003 + shard) + turn * 1_000_000_007
        return Sampling(
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=seed,
            stop=tuple(config.stop),
        )

    def _ask(self, problem: Problem, sample: int) -> Attempt:
        """An attempt with its conversation; style and persona go round with the samples, beginning
        anywhere.
        """
        config, notes, prompt, system = self.config, {}, problem.prompt, self.config.system
        begin = random.Random(f"{self.seed}/{problem.id}").randrange(2**31)
        if config.styles:
            notes["style"] = (begin + sample) % len(config.styles)
            prompt = config.styles[notes["style"]].replace("{prompt}", prompt)
        if config.personas:
            notes["persona"] = (begin + sample) % len(config.personas)
            system = "\n\n".join(filter(None, [config.personas[notes["persona"]], system]))
        return Attempt(problem, sample, conversation(prompt, system), notes)

    # --- answers

    def _answer(
        self, attempts: Sequence[Attempt], sampling: Sampling, journal: Journal | None
    ) -> None:
        """Fills in completions and verdicts; a thought that uses up its budget is closed, and the
        answer asked for.
        """
        config, verdicts = self.config, Verdicts(self.judge, self.judging, attempts, self.seen)
        first = replace(sampling, max_new_tokens=config.thinking_tokens or config.max_new_tokens)
        rest = replace(
            sampling,
            max_new_tokens=config.max_new_tokens - first.max_new_tokens,
            seed=sampling.seed + 1,
        )

        def finished(number: int, completion: Completion) -> None:
            if not (config.thinking_tokens and completion.finish_reason == FinishReason.LENGTH):
                verdicts.add(number, completion)

        talks = [attempt.conversation for attempt in attempts]
        found = self._complete(talks, None, first, journal, finished)
        cut = [
            n
            for n, one in enumerate(found)
            if config.thinking_tokens and one.finish_reason == FinishReason.LENGTH
        ]
        self.more(len(cut))
        begun = [_closed(found[n].text) for n in cut]
        for n, text in zip(cut, begun, strict=True):
            attempts[n].notes["thought_cut"] = text.endswith(CUT)
        self._complete(
            [talks[n] for n in cut],
            begun,
            rest,
            journal,
            lambda place, last: verdicts.add(cut[place], _joined(found[cut[place]], last)),
        )
        verdicts.wait()

    def _complete(
        self,
        talks: Sequence[Conversation],
        prefixes: Sequence[str] | None,
        sampling: Sampling,
        journal: Journal | None,
        finished: Callable[[int, Completion], None],
    ) -> list[Completion]:
        """Completions, those that the journal holds from there."""
        prefixes = prefixes or [""] * len(talks)
        how = [
            sampling.max_new_tokens,
            sampling.temperature,
            sampling.top_p,
            sampling.seed,
            sampling.stop,
            self.teacher,
        ]
        keys = [
            trace_id(n, talk, prefix, how)
            for n, (talk, prefix) in enumerate(zip(talks, prefixes, strict=True))
        ]
        kept = ((n, journal.get(key)) for n, key in enumerate(keys)) if journal else iter(())
        found = {number: completion for number, completion in kept if completion is not None}
        for number, completion in found.items():
            finished(number, completion)
            self.progress(1, 0)
        todo = [number for number in range(len(keys)) if number not in found]

        def keep(place: int, completion: Completion) -> None:
            # what was refused cost nothing, and may be answered another time
            if journal is not None and completion.finish_reason != FinishReason.REFUSED:
                journal.add(keys[todo[place]], completion)
            finished(todo[place], completion)

        fresh = (
            self.engine.complete(
                [talks[n] for n in todo],
                sampling,
                prefixes=[prefixes[n] for n in todo],
                seeds=[int(keys[n], 16) for n in todo],
                progress=self.progress,
                finished=keep,
            )
            if todo
            else []
        )
        for number, completion in zip(todo, fresh, strict=True):
            found[number] = completion
        return [found[number] for number in range(len(keys))]

    # --- reviews

    def _review(
        self,
        asked: Sequence[tuple[Attempt, list[Attempt]]],
        sampling: Sampling,
        journal: Journal | None,
    ) -> None:
        """Marks each attempt and adds its rewrite, verified like any other, to the attempts at its
        problem.
        """
        system = self.config.system
        talks = [
            ask_review(one.problem.prompt, one.written.text, one.verdict, system)
            for one, _ in asked
        ]
        self.more(len(asked))
        # marks and a rewrite
        length = replace(sampling, max_new_tokens=2 * self.config.max_new_tokens)
        rewritten = []
        for (one, tried), completion in zip(
            asked, self._complete(talks, None, length, journal, lambda *_: None), strict=True
        ):
            one.review = read_review(completion.text)
            if one.review.rewrite is not None and completion.finish_reason == FinishReason.STOP:
                text = replace(completion, text=one.review.rewrite)
                notes = {"rewrite_of": one.id(self.config, seed=self.seed, teacher=self.teacher)}
                rewritten.append(Attempt(one.problem, len(tried), one.conversation, notes, text))
                tried.append(rewritten[-1])
        verdicts = Verdicts(self.judge, self.judging, rewritten, self.seen)
        for number, one in enumerate(rewritten):
            verdicts.add(number, one.written)
        verdicts.wait()


def _worth_another(tried: Sequence[Attempt], wanted_correct: int) -> bool:
    """Whether a problem may still be solved: too few right answers, and one at least that was
    judged or cut off.
    """
    correct = sum(one.verdict == Verdict.CORRECT for one in tried)
    return correct < wanted_correct and any(
        one.verdict == Verdict.WRONG or one.written.finish_reason == FinishReason.LENGTH
        for one in tried
    )


def _to_review(tried: Sequence[Attempt], config: Generate) -> list[Attempt]:
    """Wrong attempts at problems that nobody solved, and right ones at problems that are rarely
    solved; each once.
    """
    correct, of = sum(one.verdict == Verdict.CORRECT for one in tried), config.review.of
    lucky = len(tried) > 1 and correct / len(tried) <= config.review.lucky_rate
    wanted = (
        {Verdict.WRONG}
        if not correct and of in ("wrong", "both")
        else {Verdict.CORRECT}
        if lucky and of in ("lucky", "both")
        else set()
    )
    return [
        one
        for one in tried
        if one.verdict in wanted and one.review is None and one.whole and one.degenerate is None
    ]


def _closed(text: str) -> str:
    """What a cut-off answer goes on from: a thought that is still open ends behind its last whole
    line or sentence.
    """
    if "<think>" not in text or "</think>" in text:
        return text
    end = max(text.rfind("\n"), *(text.rfind(mark) + 1 for mark in (". ", "? ", "! ")))
    return (text[:end] if end > text.find("<think>") + len("<think>") else text).rstrip() + CUT


def _joined(first: Completion, last: Completion) -> Completion:
    """Both parts of an answer as one; where the second was refused, the first stays cut off."""
    if last.finish_reason == FinishReason.REFUSED:
        return first
    return replace(
        last,
        prompt_tokens=first.prompt_tokens,
        completion_tokens=first.completion_tokens + last.completion_tokens,
    )
