"""Verdicts on texts: each against what its problem is checked by, where a verifier that hangs or
crashes costs one verdict.
"""

import ast
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from data_filters.verify.answers import (
    after_thought,
    answer_forms,
    final_answer,
    same_answer,
    same_choice,
    says_nothing,
)
from data_filters.verify.checks import Check, check_of
from data_filters.verify.program_judge import judge_program
from data_filters.verify.reading.formulas import as_written, plain_number
from data_filters.verify.reading.references import Kind, is_readable
from data_filters.verify.sandbox import Sandbox
from data_filters.verify.worker_pool import Done, WorkerPool
from recipes.vocabulary import Verdict

_PYTHON_BLOCK = re.compile(r"```(?:python|python3|py)[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_ANY_BLOCK = re.compile(r"```\w*[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a verifier says of a text."""

    verdict: Verdict
    answer: str | None  # as parsed; the program for kind program
    why: str = ""  # "timeout", "no final answer", "verifier raised ValueError", ...
    score: float = 0.0  # 0..1; reasoning_gym gives partial credit, correct is 1.0; unknown has 0


class Verifiers:
    """Judges texts; a context manager, since some verifiers run in processes of their own (started
    when first needed).

    Args:
        workers: such processes, 1 and above.
        timeout_seconds: wall clock of one verdict; for a program, of it and of its tests each.
    """

    def __init__(self, workers: int = 1, timeout_seconds: float = 5.0) -> None:
        self.workers, self.timeout_seconds = workers, timeout_seconds
        self._open = ExitStack()
        self._pools: dict[str, WorkerPool] = {}
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> "Verifiers":
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()
        self._pools, self._sandbox = {}, None

    def judge(self, texts_and_checks: Sequence[tuple[str, Check]]) -> list[Judgement]:
        """A verdict on each text, in order. No text makes it raise."""
        verdicts: list[Judgement | None] = [
            _at_hand(text, check) for text, check in texts_and_checks
        ]
        for kind, judge in (
            ("reasoning_gym", self._by_gym),
            ("math", self._by_equations),
            ("program", self._by_tests),
        ):
            places = [
                i
                for i, said in enumerate(verdicts)
                if said is None and texts_and_checks[i][1].kind == kind
            ]
            if places:
                for place, said in zip(
                    places, judge([texts_and_checks[i] for i in places]), strict=True
                ):
                    verdicts[place] = said
        return [said for said in verdicts if said is not None]

    def _by_gym(self, cases: Sequence[tuple[str, Check]]) -> list[Judgement]:
        calls = [(text, check.family, check.entry) for text, check in cases]
        return [
            _of_gym(text, done)
            for (text, _), done in zip(
                cases, self._away("gym.scorers", "score", calls), strict=True
            )
        ]

    def _by_equations(self, cases: Sequence[tuple[str, Check]]) -> list[Judgement]:
        calls = [(answer_forms(text), list(check.references)) for text, check in cases]
        return [
            _of_equations(text, done)
            for (text, _), done in zip(
                cases, self._away("math_answers", "same_as_any", calls), strict=True
            )
        ]

    def _by_tests(self, cases: Sequence[tuple[str, Check]]) -> list[Judgement]:
        self._sandbox = self._sandbox or self._open.enter_context(Sandbox(self.workers))
        # the sandbox works in processes of its own
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(self._try_out, cases))

    def _try_out(self, case: tuple[str, Check]) -> Judgement:
        text, check = case
        code = program(text)
        if code is None:
            return Judgement(Verdict.WRONG, None, "no program")
        assert self._sandbox is not None and check.tests is not None
        judged = judge_program(self._sandbox, code, check.tests, self.timeout_seconds)
        if judged.right is None:
            return Judgement(Verdict.UNKNOWN, code, judged.why)
        verdict = Verdict.CORRECT if judged.right else Verdict.WRONG
        return Judgement(verdict, code, judged.why, float(judged.right))

    def _away(self, module: str, function: str, calls: Sequence[tuple[Any, ...]]) -> list[Done]:
        """Calls of a function of this room in a process that may be killed; heavy modules are
        loaded only for kinds that are asked for.
        """
        name = f"data_filters.verify.{module}"
        if name not in self._pools:
            pool = WorkerPool(self.workers, self.timeout_seconds, modules=[name], locked=True)
            self._pools[name] = self._open.enter_context(pool)
        return self._pools[name].run([(f"{name}.{function}", args) for args in calls])


def verify(text: str, gold: str | None) -> tuple[Verdict, str | None]:
    """(verdict, parsed answer) of one text against a reference. Verifiers judge many at once."""
    with Verifiers() as verifiers:
        said = verifiers.judge([(text, check_of(gold))])[0]
    return said.verdict, said.answer


def says_the_same(text: str, other: str) -> bool:
    """Whether two texts give the same answer letter by letter, so that no verifier can tell them
    apart.
    """
    return answer_forms(text) == answer_forms(other) and program(text) == program(other)


def program(text: str) -> str | None:
    """The last Python block behind the thought, else the last block, else the text itself where it
    is Python; None where it is not.
    """
    tail = after_thought(text) or ""
    blocks = _PYTHON_BLOCK.findall(tail) or _ANY_BLOCK.findall(tail)
    if blocks:
        return str(blocks[-1])
    try:
        return tail if ast.parse(tail).body else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _at_hand(text: str, check: Check) -> Judgement | None:
    """The verdict where it needs no process of its own."""
    answer = final_answer(text)
    if check.kind == "none":
        return Judgement(Verdict.UNKNOWN, answer)
    if check.kind == "program":
        return (
            Judgement(Verdict.UNKNOWN, program(text), "no tests") if check.tests is None else None
        )
    if check.gold is None and check.kind != "reasoning_gym":
        return Judgement(Verdict.UNKNOWN, answer, "no reference")
    if check.kind == "reasoning_gym" and check.entry is not None and check.entry["answer"] == "":
        return (
            Judgement(Verdict.CORRECT, "", score=1.0)
            if says_nothing(text)
            else Judgement(Verdict.UNKNOWN, answer, "the reference is empty")
        )
    if answer is None:
        return Judgement(Verdict.WRONG, None, "no final answer")
    if check.kind == "reasoning_gym":
        return None
    return _against_references(text, answer, check)


def _against_references(text: str, answer: str, check: Check) -> Judgement | None:
    """The verdict where letters or plain numbers decide; None where a formula must be worked out."""
    wanted = check.references
    found = [_same(text, answer, reference, check.kind) for reference in wanted]
    if True in found:
        return Judgement(Verdict.CORRECT, answer, score=1.0)
    if not all(map(is_readable, wanted)):
        return Judgement(Verdict.UNKNOWN, answer, "the reference is a text without a final answer")
    if None not in found:
        return Judgement(Verdict.WRONG, answer)
    if check.kind == "choice":
        return Judgement(Verdict.UNKNOWN, answer, "a letter against a text")
    return None


def _same(text: str, answer: str, reference: str, kind: Kind) -> bool | None:
    if kind == "answer":
        return same_answer(answer, reference)
    if kind == "choice":
        return same_choice(answer, reference)
    written = as_written(reference)
    if any(as_written(form) == written for form in answer_forms(text)):
        return True
    number, said = plain_number(reference), plain_number(answer)
    return None if number is None or said is None else number == said


def _of_gym(text: str, done: Done) -> Judgement:
    if done.fault:
        return Judgement(Verdict.UNKNOWN, final_answer(text), _why(done.fault))
    score, answer = done.value
    return Judgement(
        Verdict.CORRECT if score >= 1.0 else Verdict.WRONG, answer, score=min(score, 1.0)
    )


def _of_equations(text: str, done: Done) -> Judgement:
    if done.fault:
        return Judgement(Verdict.UNKNOWN, final_answer(text), _why(done.fault))
    if done.value is None:
        return Judgement(Verdict.WRONG, final_answer(text))
    return Judgement(Verdict.CORRECT, done.value, score=1.0)


def _why(fault: str) -> str:
    return f"verifier {fault}" if fault.startswith("raised") else fault
