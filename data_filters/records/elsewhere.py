"""Conversations as other data sets write them, in our one form: messages of role and content, the
thought in <think>...</think>.

Read are `messages`, ShareGPT's `conversations`, a prompt with a response, a problem with a
solution; thoughts beside the content, in parts of it, and in the marks of several models.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from recipes.vocabulary import Role

Row = Mapping[str, Any]
TALKS = ("messages", "conversations", "conversation", "dialog", "dialogue")
PROMPTS = ("prompt", "question", "instruction", "problem", "query", "input")
REPLIES = (
    "response",
    "completion",
    "output",
    "generation",
    "reply",
    "deepseek_solution",
    "solution",
)
THOUGHTS = ("reasoning_content", "thinking", "reasoning", "thought", "deepseek_reasoning", "cot")
GOLDS = ("gold", "ground_truth", "final_answer", "expected_answer", "reference_answer")
_ROLES = {
    "human": Role.USER,
    "prompter": Role.USER,
    "gpt": Role.ASSISTANT,
    "bot": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "ai": Role.ASSISTANT,
    "developer": Role.SYSTEM,
    "function": Role.TOOL,
    "function_response": Role.TOOL,
    "observation": Role.TOOL,
    "ipython": Role.TOOL,
}
_MARKS = (
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|start_of_thought|>", "<|end_of_thought|>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
)
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>|</?(?:answer|solution|response)>")
_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(\w+)[^<]*<\|message\|>(.*?)"
    r"(?=<\|end\|>|<\|return\|>|<\|call\|>|<\|start\|>|<\|channel\|>|$)(?:<\|(?:end|return|call)\|>)?",
    re.DOTALL,
)


def messages_of(row: Row) -> list[dict[str, Any]] | None:
    """The conversation of a row in our form; None where it has none that can be read.

    Example: {"problem": "1 + 1?", "thinking": "One more.", "solution": "2"} gives a question and
    "<think>\\nOne more.\\n</think>\\n\\n2".
    """
    for name in TALKS:
        if isinstance(row.get(name), list | tuple) and row[name]:
            found = [_message(message) for message in row[name]]
            return None if None in found else [message for message in found if message]
    asked = next((row[name] for name in PROMPTS if row.get(name)), None)
    replied = next((row[name] for name in (*REPLIES, "answer") if row.get(name)), None)
    before = [_message(m) for m in asked] if isinstance(asked, list) else [_user(asked, row)]
    reply = _message({"role": Role.ASSISTANT, "content": _last(replied)} | _thoughts(row))
    if None in before or reply is None or not reply["content"]:
        return None
    return [message for message in (*before, reply) if message]


def with_thought(content: str, thought: str = "") -> str:
    """The content with its thought in our marks, whatever marks it has; `thought` stood beside it.

    Args:
        content: what the assistant said.
        thought: empty: none, or the content holds it.
    """
    if "<|channel|>" in content:
        parts = _CHANNEL.findall(content)
        thought = thought or "\n".join(text for name, text in parts if name == "analysis").strip()
        content = "".join(text for name, text in parts if name == "final").strip()
    for begins, ends in _MARKS:
        if content.lstrip().startswith(begins) and ends in content:
            inside, _, rest = content.lstrip().removeprefix(begins).partition(ends)
            content = f"<think>\n{inside.strip()}\n</think>\n\n{_SOLUTION.sub('', rest).strip()}"
            break
    if not thought.strip() or "<think>" in content:
        return content
    return f"<think>\n{thought.strip()}\n</think>\n\n{content.lstrip()}"


def gold_of(row: Row) -> Any:
    """The reference of a row of another data set; None: it names none.

    A column `answer` is one where it is not what the assistant said and nobody has judged it.
    """
    found = next((row[name] for name in GOLDS if row.get(name) is not None), None)
    model = row.get("reward_model")
    if found is None and isinstance(model, Mapping):
        found = model.get("ground_truth")
    if found is not None or row.get("verdict") or row.get("problem_id"):
        return found
    spoken = any(row.get(name) for name in (*TALKS, *REPLIES))
    return row.get("answer") if spoken else None


def _user(asked: Any, row: Row) -> dict[str, Any] | None:
    if not isinstance(asked, str):
        return None
    more = row.get("input")
    if row.get("instruction") and isinstance(more, str) and more.strip() and more != asked:
        asked = f"{asked}\n\n{more}"
    return {"role": Role.USER, "content": asked}


def _last(replied: Any) -> Any:
    """The reply; of several the first, of messages the last."""
    if isinstance(replied, list) and replied and all(isinstance(one, str) for one in replied):
        return replied[0]
    if isinstance(replied, list) and replied and isinstance(replied[-1], Mapping):
        return replied[-1].get("content")
    return replied


def _thoughts(row: Row) -> dict[str, str]:
    found = [row[name] for name in THOUGHTS if isinstance(row.get(name), str)]
    return {"reasoning_content": found[0]} if found else {}


def _message(message: Any) -> dict[str, Any] | None:
    """A message in our form; None where it has no role or its content is no text."""
    if not isinstance(message, Mapping):
        return None
    role = message.get("role", message.get("from"))
    if not isinstance(role, str):
        return None
    role = str(_ROLES.get(role.lower(), role.lower() if role.lower() in list(Role) else role))
    content = message.get("content", message.get("value", message.get("text", "")))
    text, thought = _parts(content)
    if text is None:
        return None
    thought = thought or next((message[n] for n in THOUGHTS if isinstance(message.get(n), str)), "")
    if role == Role.ASSISTANT:
        text = with_thought(text, thought)
    kept = {"role": role, "content": text}
    return kept | {n: message[n] for n in ("tool_calls", "name") if message.get(n) is not None}


def _parts(content: Any) -> tuple[str | None, str]:
    """(text, thought) of a content: a text, a number, nothing, or parts; no text: None."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content), ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, Sequence):
        return None, ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        said = part if isinstance(part, str) else _said(part)
        if said is None:
            return None, ""
        (thoughts if kind in ("thinking", "reasoning") else texts).append(said)
    return "".join(texts), "\n".join(thoughts)


def _said(part: Any) -> str | None:
    if not isinstance(part, Mapping):
        return None
    names = [n for n in ("text", "thinking", "reasoning", "content") if part.get(n) is not None]
    said = part[names[0]] if names else None
    if isinstance(said, list):
        return "".join(_said(one) or "" for one in said)
    return said if isinstance(said, str) else None


def json_list(value: Any) -> str | None:
    """A list of objects as JSON, from itself or its JSON; None where the value is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping):
        value = [value]
    plain = isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) for v in value)
    return json.dumps(list(value), default=str) if plain else None
