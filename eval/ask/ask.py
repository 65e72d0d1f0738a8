"""Questions to a contender, answers as rows: free, with the note begun for it, and as a forced
choice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.files import replacing
from data_filters.records.shards import write_shard
from data_filters.verify.verifiers import Verifiers
from distill.engines.local import LocalEngine
from distill.engines.protocol import Completion, Sampling, conversation
from eval.ask.grade import Answered, grade_all
from eval.suites.questions import Question
from recipes.vocabulary import AnswerMode, Outcome, Suite

PART_QUESTIONS = 4096
KEPT = (
    "suite",
    "family",
    "cluster",
    "relation",
    "exposure",
    "prompt",
    "gold",
    "difficulty",
    "distractors",
)
SCHEMA = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("contender", "suite", "family", "question_id", "cluster", "relation")
        ),
        ("exposure", pa.int32()),
        *((name, pa.string()) for name in ("mode", "outcome")),
        ("completion_tokens", pa.int32()),
        ("confidence", pa.float32()),
        *((name, pa.int32()) for name in ("difficulty", "sample", "distractors", "budget")),
        *((name, pa.string()) for name in ("prompt", "gold", "text")),
    ]
)


def answer_all(
    engine: LocalEngine, questions: Sequence[Question], folder: Path, *, seed: int, **how: Any
) -> int:
    """answers.parquet of one contender; gives the number of answers.

    Args:
        questions: answered PART_QUESTIONS at a time.
        folder: as for write_parts.
        seed: of drawn answers; each part has its own.
        how: as for ask.
    """
    starts = enumerate(range(0, len(questions), PART_QUESTIONS))
    parts = (
        partial(
            ask, engine, questions[start : start + PART_QUESTIONS], seed=seed + 7919 * number, **how
        )
        for number, start in starts
    )
    return write_parts(folder, parts, SCHEMA)


def write_parts(
    folder: Path, parts: Iterable[Callable[[], list[dict[str, Any]]]], schema: pa.Schema
) -> int:
    """answers.parquet from parts that are made one after another, so that a killed start goes on
    behind its last whole part.

    Args:
        folder: holds the parts until all are there.
        parts: what makes the rows of each; not called for a part that lies there.
        schema: of all.

    Returns:
        number of answers.
    """
    paths = []
    for number, make in enumerate(parts):
        paths.append(path := folder / f"part-{number:05d}.parquet")
        if not path.exists():
            write_shard(path, make(), schema)
    count = 0
    with (
        replacing(folder / "answers.parquet") as half,
        pq.ParquetWriter(half, schema, compression="zstd") as whole,
    ):
        for path in paths:
            table = pq.read_table(path)
            whole.write_table(table)
            count += len(table)
    for path in paths:
        path.unlink()
    return count


def ask(
    engine: LocalEngine,
    questions: Sequence[Question],
    *,
    contender: str,
    max_new_tokens: int,
    system: str | None,
    progress: Callable[[int, int], None],
    tries: int = 0,
    tries_temperature: float = 1.0,
    seed: int = 0,
    budgets: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Answer rows of one contender, greedy; reasoning is tried some times more, drawn.

    Args:
        progress: called with (questions, new tokens) as they come in.
        tries: drawn answers to each reasoning problem, beside the greedy one.
        seed: of these.
        budgets: caps in tokens; a greedy answer under a cap is the same one, cut off where it is
            longer, so nothing is asked again.
    """
    sampling = Sampling(max_new_tokens=max_new_tokens)
    asked = [conversation(q.prompt, system) for q in questions]
    rows = _rows(
        contender, AnswerMode.FREE, questions, engine.complete(asked, sampling, progress=progress)
    )
    tried = [
        (q, talk) for q, talk in zip(questions, asked, strict=True) if q.suite == Suite.REASONING
    ]
    for number in range(1, tries + 1):
        drawn = Sampling(
            max_new_tokens=max_new_tokens, temperature=tries_temperature, seed=seed * 1009 + number
        )
        written = engine.complete([talk for _, talk in tried], drawn, progress=progress)
        rows += _rows(contender, AnswerMode.FREE, [q for q, _ in tried], written, number)
    greedy = [row for row in rows if row["suite"] == Suite.REASONING and not row["sample"]]
    rows += [_capped(row, cap) for cap in budgets for row in greedy]
    noted = [(q, talk) for q, talk in zip(questions, asked, strict=True) if q.note]
    if noted:
        begun = engine.complete(
            [talk for _, talk in noted],
            sampling,
            prefixes=[q.note for q, _ in noted],
            progress=progress,
        )
        rows += _rows(contender, AnswerMode.NOTE, [q for q, _ in noted], begun)
    chosen = [(q, talk) for q, talk in noted if q.choices]
    if chosen:
        picks = engine.choose_among(
            [engine.render(talk, q.note) for q, talk in chosen],
            [[f" {c}" for c in q.choices] for q, _ in chosen],
        )
        progress(len(chosen), 0)
        rows += [
            _choice(contender, q, q.choices[pick])
            for (q, _), pick in zip(chosen, picks, strict=True)
        ]
    return rows


def _rows(
    contender: str,
    mode: str,
    questions: Sequence[Question],
    written: Sequence[Completion],
    sample: int = 0,
) -> list[dict[str, Any]]:
    """Answers of one kind, graded together."""
    answers = [
        Answered(one.text, one.finish_reason, question.judged_by())
        for question, one in zip(questions, written, strict=True)
    ]
    with Verifiers() as verifiers:
        outcomes = grade_all(answers, verifiers)
    return [
        _row(contender, question, mode, one, outcome, sample)
        for question, one, outcome in zip(questions, written, outcomes, strict=True)
    ]


def _row(
    contender: str,
    question: Question,
    mode: str,
    written: Completion,
    outcome: Outcome,
    sample: int,
) -> dict[str, Any]:
    known = None if written.mean_logprob is None else math.exp(written.mean_logprob)
    return _common(contender, question) | {
        "mode": mode,
        "outcome": str(outcome),
        "completion_tokens": written.completion_tokens,
        "text": written.text,
        "confidence": known,
        "sample": sample,
    }


def _capped(row: dict[str, Any], cap: int) -> dict[str, Any]:
    """The row as it had been under a cap."""
    within = row["completion_tokens"] <= cap
    outcome = row["outcome"] if within else str(Outcome.TRUNCATED)
    return row | {
        "budget": cap,
        "outcome": outcome,
        "completion_tokens": min(row["completion_tokens"], cap),
        "text": "",
    }


def _choice(contender: str, question: Question, value: str) -> dict[str, Any]:
    outcome = Outcome.CORRECT if value == question.gold else Outcome.WRONG
    return _common(contender, question) | {
        "mode": AnswerMode.CHOICE,
        "outcome": str(outcome),
        "completion_tokens": 0,
        "text": value,
        "sample": 0,
    }


def _common(contender: str, question: Question) -> dict[str, Any]:
    return {"contender": contender, "question_id": question.id} | {
        name: getattr(question, name) for name in KEPT
    }
