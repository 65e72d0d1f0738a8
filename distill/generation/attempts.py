"""One answer to one problem, from the question to the trace, and its verdict."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from data_filters.filters.shape import degenerate
from data_filters.records.tool_calls import tool_schemas
from data_filters.records.traces import Span, Trace, trace_id
from distill.engines.protocol import Completion, Conversation, conversation
from distill.problems.draw import Problem
from distill.problems.self_review import Review, unsound_spans
from recipes.schema import Generate
from recipes.vocabulary import FinishReason, Verdict

# texts -> (verdict, parsed answer)
Judge = Callable[[Sequence[tuple[str, Problem]]], Sequence[tuple[str, str | None]]]
JUDGED_AT_ONCE = 64


@dataclass(slots=True)
class Attempt:
    """What becomes of one sample."""

    problem: Problem
    sample: int
    conversation: Conversation  # as the teacher is asked
    notes: dict[str, Any] = field(default_factory=dict)  # go into the trace's sampling column
    completion: Completion | None = None
    verdict: Verdict = Verdict.UNKNOWN
    answer: str | None = None
    degenerate: str | None = None  # why its text is none
    review: Review | None = None  # what the teacher said of it afterwards

    @property
    def written(self) -> Completion:
        """What the teacher wrote; it was asked before."""
        assert self.completion is not None
        return self.completion

    @property
    def whole(self) -> bool:
        """Whether the answer came to its own end."""
        return self.completion is not None and self.completion.finish_reason == FinishReason.STOP

    def how(self, config: Generate) -> str:
        plain = {
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_new_tokens": config.max_new_tokens,
        }
        return json.dumps(plain | self.notes)

    def id(self, config: Generate, *, seed: int, teacher: str) -> str:
        return trace_id(
            self.problem.id, self.sample, teacher, self.problem.prompt, self.how(config), seed
        )

    def trace(self, config: Generate, *, seed: int, teacher: str, engine: str) -> Trace:
        """The record, with the plain prompt: styles and personas are scaffolding that nobody is to
        learn.
        """
        problem, written = self.problem, self.written
        text = "" if written.finish_reason == FinishReason.REFUSED else written.text
        before = [*conversation(problem.prompt, config.system), *written.said]
        return Trace(
            id=self.id(config, seed=seed, teacher=teacher),
            problem_id=problem.id,
            source=problem.source,
            seed=problem.seed,
            messages=[*before, {"role": "assistant", "content": text}],
            tools=tool_schemas(*config.tools) if config.tools else None,
            gold=problem.gold,
            check=problem.check().note(),
            answer=self.answer,
            verdict=self.verdict,
            spans=self._spans(text, len(before), config),
            prompt_tokens=written.prompt_tokens,
            completion_tokens=written.completion_tokens,
            finish_reason=written.finish_reason,
            teacher=teacher,
            engine=engine,
            sampling=self.how(config),
        )

    def _spans(self, text: str, message: int, config: Generate) -> list[Span]:
        return (
            unsound_spans(text, self.review, message, config.review.unsound_weight)
            if self.review
            else []
        )


class Verdicts:
    """Judges finished attempts in a thread of its own, while others are still being written.

    What was cut off or refused stays unknown, degenerate text is wrong before anybody looks at its
    answer.

    Args:
        judging: of one thread.
        seen: called there with each attempt, once its verdict stands.
    """

    def __init__(
        self,
        judge: Judge,
        judging: ThreadPoolExecutor,
        attempts: Sequence[Attempt],
        seen: Callable[[Attempt], None],
    ) -> None:
        self.judge, self.judging, self.attempts, self.seen = judge, judging, attempts, seen
        self._waiting: list[Attempt] = []
        self._jobs: list[Future[None]] = []
        self._lock = threading.Lock()

    def add(self, number: int, completion: Completion) -> None:
        """From any thread."""
        attempt = self.attempts[number]
        attempt.completion = completion
        if completion.finish_reason == FinishReason.REFUSED:
            attempt.notes["refused"] = completion.text
        with self._lock:
            self._waiting.append(attempt)
            if len(self._waiting) >= JUDGED_AT_ONCE:
                self._send()

    def wait(self) -> None:
        """Waits until all are judged."""
        with self._lock:
            self._send()
        for job in self._jobs:
            job.result()

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        self._jobs.append(self.judging.submit(self._judge, batch))

    def _judge(self, batch: Sequence[Attempt]) -> None:
        whole = [attempt for attempt in batch if attempt.whole]
        for attempt in whole:
            attempt.degenerate = degenerate(attempt.written.text)
            attempt.verdict = Verdict.WRONG if attempt.degenerate else Verdict.UNKNOWN
        sane = [attempt for attempt in whole if attempt.degenerate is None]
        judged = self.judge([(attempt.written.text, attempt.problem) for attempt in sane])
        for attempt, (verdict, answer) in zip(sane, judged, strict=True):
            attempt.verdict, attempt.answer = Verdict(verdict), answer
        for attempt in batch:
            self.seen(attempt)
