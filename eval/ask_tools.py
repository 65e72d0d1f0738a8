"""Questions to a contender that may call tools, answers as rows that eval/lookup.py reads."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from data_filters.sandbox import Sandbox
from data_filters.toolbox import Toolbox
from distill.attempts import conversation
from distill.converse import Limits, Talk, converse
from distill.speech import Engine, Sampling
from eval.ask import KEPT, SCHEMA
from eval.grade import grade
from eval.lookup_suites import Setting
from eval.questions import Question
from recipes.schema_lookup import Tools

TOOL_SCHEMA = pa.schema(
    [*SCHEMA, *((name, pa.string()) for name in ("base", "swapped_gold", "talk")), ("searched", pa.int32()), ("programs", pa.int32())]
)


def ask_with_tools(
    engine: Engine, settings: Sequence[Setting], tools: Tools, *, contender: str, max_new_tokens: int, system: str | None, at_once: int,
    progress: Callable[[int, int], None],
) -> tuple[list[dict[str, Any]], dict[str, int]]:  # fmt: skip
    """Answer rows, greedy, and how often what happened.

    Args:
        settings: states of the base, each with its questions.
        max_new_tokens: of each turn.
        at_once: conversations at work.
        progress: called with (questions, new tokens) as they come in.
    """
    rows, events = [], Counter()
    limits = Limits(max_calls=tools.max_calls, max_tokens=max_new_tokens * (tools.max_calls + 2), context_tokens=tools.context_tokens)
    with Sandbox() as sandbox:
        for setting in settings:
            toolbox = toolbox_of(tools, setting, sandbox)
            asked = (conversation(question.prompt, system) for question in setting.questions)
            talks = converse(
                engine, asked, toolbox, Sampling(max_new_tokens=max_new_tokens), limits, at_once=at_once, progress=progress
            )  # fmt: skip
            for talk in talks:
                rows.append(_row(contender, setting, setting.questions[talk.number], talk))
                events.update(talk.events)
    return rows, dict(sorted(events.items()))


def toolbox_of(tools: Tools, setting: Setting, sandbox: Sandbox) -> Toolbox:
    """Both tools where there is a base, none where it is off."""
    if setting.passages is None:
        return Toolbox()
    return Toolbox(
        base=setting.passages, sandbox=sandbox, snippets=tools.snippets, result_characters=tools.result_characters,
        seconds=tools.seconds, memory_mib=tools.memory_mib,
    )  # fmt: skip


def _row(contender: str, setting: Setting, question: Question, talk: Talk) -> dict[str, Any]:
    said = [f"{m['role']}: {m['content']}{m.get('tool_calls', '')}" for m in talk.messages[1:]]
    return {"contender": contender, "question_id": question.id} | {name: getattr(question, name) for name in KEPT} | {
        "mode": "free", "outcome": str(grade(talk.text, talk.finish_reason, question.gold)), "text": talk.text, "sample": 0,
        "completion_tokens": talk.completion_tokens, "base": setting.base, "swapped_gold": setting.swapped.get(question.id, ""),
        "confidence": None if talk.mean_logprob is None else math.exp(talk.mean_logprob), "talk": "\n".join(said),
        "searched": talk.calls["lookup"], "programs": talk.calls["python"],
    }  # fmt: skip
