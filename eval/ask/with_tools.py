"""Questions to a contender that may call tools, answers as rows that eval/scores/lookup_use.py
reads.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.lookup.toolbox import Toolbox
from data_filters.records.shards import iter_rows
from data_filters.verify.sandbox import Sandbox
from data_filters.verify.verifiers import Verifiers
from distill.engines.protocol import Engine, Sampling, conversation
from distill.engines.tool_loop import Limits, Rollout, run_conversations
from eval.ask.ask import KEPT, SCHEMA, write_parts
from eval.ask.grade import Answered, grade_all
from eval.suites.lookup_suites import Setting
from eval.suites.questions import Question
from recipes.schema.evaluate import Tools
from recipes.vocabulary import AnswerMode, Outcome, ToolName

PART_QUESTIONS = 1024  # fewer than without tools: a conversation takes several turns
TOOL_SCHEMA = pa.schema(
    [
        *SCHEMA,
        *((name, pa.string()) for name in ("base", "swapped_gold", "talk")),
        ("searched", pa.int32()),
        ("programs", pa.int32()),
        ("events", pa.list_(pa.string())),
    ]
)


def answer_all_with_tools(
    engine: Engine, settings: Iterable[Setting], folder: Path, **how: Any
) -> dict[str, Any]:
    """answers.parquet of one contender, in parts as eval.ask.write_parts has it.

    Args:
        settings: states of the base, each with its questions.
        folder: where to.
        how: as for ask_with_tools.

    Returns:
        answers: their number; events: how often what happened.
    """
    parts = (
        replace(setting, questions=setting.questions[start : start + PART_QUESTIONS])
        for setting in settings
        for start in range(0, len(setting.questions), PART_QUESTIONS)
    )
    count = write_parts(
        folder, (partial(ask_with_tools, engine, part, **how) for part in parts), TOOL_SCHEMA
    )
    events = Counter(
        event for row in iter_rows(folder / "answers.parquet") for event in row["events"]
    )
    return {"answers": count, "events": dict(sorted(events.items()))}


def ask_with_tools(
    engine: Engine,
    setting: Setting,
    *,
    tools: Tools,
    contender: str,
    max_new_tokens: int,
    system: str | None,
    at_once: int,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Answer rows, greedy.

    Args:
        setting: a state of the base with its questions.
        tools: what may be called, and how often.
        max_new_tokens: of each turn.
        at_once: conversations at work.
        progress: called with (questions, new tokens) as they come in.
    """
    limits = Limits(
        max_calls=tools.max_calls,
        max_tokens=max_new_tokens * (tools.max_calls + 2),
        context_tokens=tools.context_tokens,
    )
    with Sandbox() as sandbox:
        asked = (conversation(question.prompt, system) for question in setting.questions)
        talks = run_conversations(
            engine,
            asked,
            toolbox_of(tools, setting, sandbox),
            Sampling(max_new_tokens=max_new_tokens),
            limits,
            at_once=at_once,
            progress=progress,
        )
        answered = [(setting.questions[talk.number], talk) for talk in talks]
    with Verifiers() as verifiers:
        outcomes = grade_all(
            [Answered(t.text, t.finish_reason, q.judged_by()) for q, t in answered], verifiers
        )
    return [
        _row(contender, setting, question, talk, outcome)
        for (question, talk), outcome in zip(answered, outcomes, strict=True)
    ]


def toolbox_of(tools: Tools, setting: Setting, sandbox: Sandbox) -> Toolbox:
    """Both tools where there is a base, none where it is off."""
    if setting.passages is None:
        return Toolbox()
    return Toolbox(
        base=setting.passages,
        sandbox=sandbox,
        snippets=tools.num_snippets,
        result_characters=tools.result_characters,
        seconds=tools.seconds,
        memory_mib=tools.memory_mib,
    )


def _row(
    contender: str, setting: Setting, question: Question, talk: Rollout, outcome: Outcome
) -> dict[str, Any]:
    said = [f"{m['role']}: {m['content']}{m.get('tool_calls', '')}" for m in talk.messages[1:]]
    return (
        {"contender": contender, "question_id": question.id}
        | {name: getattr(question, name) for name in KEPT}
        | {
            "mode": AnswerMode.FREE,
            "outcome": str(outcome),
            "text": talk.text,
            "sample": 0,
            "completion_tokens": talk.completion_tokens,
            "base": setting.base,
            "swapped_gold": setting.swapped.get(question.id, ""),
            "confidence": None if talk.mean_logprob is None else math.exp(talk.mean_logprob),
            "talk": "\n".join(said),
            "searched": talk.calls[ToolName.LOOKUP],
            "programs": talk.calls[ToolName.PYTHON],
            "events": list(talk.events.elements()),
        }
    )
