"""What a server's answer says, by one schema: all that is used of its JSON passes here.

Servers differ in how they write the same thing; what can be read is read. What cannot raises
OddAnswer, and costs that one answer.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import torch

from distill.engines.protocol import TopLogprobs
from recipes.vocabulary import FinishReason

# how servers call the end that the model chose, and the end that a limit set
ENDED = frozenset(
    "stop eos eos_token stop_sequence stop_token end_turn tool_calls tool_use tool_call "
    "function_call complete completed".split()
)
CUT_OFF = frozenset(
    "length max_tokens max_output_tokens max_new_tokens model_length token_limit".split()
)
# fields of a part of a message that hold its text
TEXTS = ("text", "content", "thinking", "reasoning", "summary", "output_text")
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
MOST_COUNT = 2**31 - 1  # of tokens: a column of traces holds no more
LEAST_LOGPROB = -100.0  # nats; a likelihood of zero would make a divergence infinite
DEEPEST = 8  # of parts in parts


class OddAnswer(Exception):
    """An answer that cannot be used; the message says what is odd in a few plain words.

    Args:
        again: whether a second try may give another.
    """

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said, as text that every file can hold."""

    text: str
    thought: str  # that the server gives apart
    calls: tuple[dict[str, Any], ...]  # each with name and arguments
    finish_reason: FinishReason
    prompt_tokens: int  # 0: not told
    completion_tokens: int


def read_answer(found: dict[str, Any], max_tokens: int) -> Answer:
    """The first choice of a completion, or of a chat.

    Args:
        found: an object with a list of choices.
        max_tokens: that were asked for; they tell a cut answer where the server does not.

    Raises:
        OddAnswer: it has another shape, or is no whole answer.
    """
    choice = found["choices"][0]
    if not isinstance(choice, dict):
        raise OddAnswer("a choice that is no object")
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    written = count(counts.get("completion_tokens"))
    message = choice.get("message")
    if message is None and "text" in choice:
        message = {"content": choice["text"]}
    if not isinstance(message, dict):
        raise OddAnswer("no message in a choice")
    reason = _finish_reason(choice.get("finish_reason"), written, max_tokens)
    text, thought = _text_and_thought(message.get("content"))
    apart = [_plain(message[name]) for name in THOUGHTS if message.get(name)]
    if not text and not thought and message.get("refusal"):
        raise OddAnswer("the model's refusal", again=False)
    return Answer(
        text=sound_text(text),
        thought=sound_text(next(iter(apart), "") or thought),
        calls=tuple(_calls(message)),
        finish_reason=reason,
        prompt_tokens=count(counts.get("prompt_tokens")),
        completion_tokens=written,
    )


def sound_text(text: str) -> str:
    """The text with halves of surrogate pairs, which no file can hold, as U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def count(value: object) -> int:
    """A number of tokens; 0 for whatever is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 0 <= value <= MOST_COUNT else 0


def _finish_reason(reason: object, written: int, max_tokens: int) -> FinishReason:
    """Why a completion ended.

    Raises:
        OddAnswer: it did not come to an end of its own: filtered, aborted, failed, or unknown.
    """
    if isinstance(reason, dict):  # {"type": "stop", "matched": 2}
        reason = reason.get("type")
    if reason is None or reason == "":
        cut = 0 < max_tokens <= written
        return FinishReason.LENGTH if cut else FinishReason.STOP
    word = reason.lower() if isinstance(reason, str) else ""
    if word in ENDED:
        return FinishReason.STOP
    if word in CUT_OFF:
        return FinishReason.LENGTH
    said = re.sub(r"\W+", " ", word)[:40].strip() or "that is no word"
    raise OddAnswer(f"finish_reason {said}", again=False)


def _text_and_thought(content: object) -> tuple[str, str]:
    """Of a content that is a text, a list of parts, or nothing."""
    if content is None:
        return "", ""
    if not isinstance(content, list):
        return _plain(content), ""
    said: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind = str(part.get("type", "text")) if isinstance(part, dict) else "text"
        thinks = "think" in kind or "reason" in kind
        (thoughts if thinks else said).append(_plain(part))
    return "".join(said), "\n".join(thoughts)


def _plain(value: object, depth: int = 0) -> str:
    """The text of a text, of an object that holds one, or of a list of either."""
    if isinstance(value, str):
        return value
    if depth < DEEPEST and isinstance(value, list):
        return "".join(_plain(each, depth + 1) for each in value)
    if depth < DEEPEST and isinstance(value, dict):
        inner = next((value[name] for name in TEXTS if value.get(name) is not None), None)
        if inner is not None:
            return _plain(inner, depth + 1)
    raise OddAnswer("a content that holds no text")


# --- calls


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Name and arguments of each call; arguments stay a text where they are no object."""
    calls = message.get("tool_calls") or message.get("function_call") or []
    if isinstance(calls, str):
        calls = _parsed(calls)
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        raise OddAnswer("tool calls that are no list")
    return [_call(call) for call in calls]


def _call(call: object) -> dict[str, Any]:
    inner: object = call
    if isinstance(call, dict):
        inner = call.get("function") or call.get("custom") or call
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
        raise OddAnswer("a tool call without a name")
    given: object = next(
        (inner[name] for name in ("arguments", "parameters", "input") if inner.get(name)), {}
    )
    if isinstance(given, str):
        read = _parsed(given)
        given = read if isinstance(read, dict) else given
    if not isinstance(given, dict | str):
        raise OddAnswer("arguments of a tool call that are no object")
    return {"name": sound_text(inner["name"]), "arguments": _sound(given)}


def _sound(given: dict[str, Any] | str) -> dict[str, Any] | str:
    if isinstance(given, str):
        return sound_text(given)
    try:
        sound: dict[str, Any] = json.loads(sound_text(json.dumps(given, ensure_ascii=False)))
    except (ValueError, RecursionError) as fault:
        raise OddAnswer("arguments of a tool call that no JSON holds") from fault
    return sound


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- log-probabilities


def read_logprobs(found: dict[str, Any], positions: int, top_k: int) -> TopLogprobs:
    """vLLM's prompt_logprobs: for each token but the first a row of {token id: {logprob, rank}}.

    The row also holds the token that follows, which is left out unless it is among the likeliest.

    Args:
        positions: tokens of the prompt.

    Raises:
        OddAnswer: none there, too few of them, or something that is no log-probability.
    """
    choice = found["choices"][0]
    rows = choice.get("prompt_logprobs") if isinstance(choice, dict) else None
    if rows is None:
        rows = found.get("prompt_logprobs")
    if not isinstance(rows, list) or not rows:
        raise OddAnswer("no prompt_logprobs", again=False)
    if len(rows) != positions:
        raise OddAnswer(f"prompt_logprobs of {len(rows)} tokens for a prompt of {positions}")
    kept = [_likeliest(row, top_k) for row in rows[1:]]
    if not kept:
        return TopLogprobs(torch.empty(0, top_k, dtype=torch.int64), torch.empty(0, top_k))
    ids_TK = torch.tensor([[token for _, token in row] for row in kept])
    return TopLogprobs(ids_TK, torch.tensor([[logprob for logprob, _ in row] for row in kept]))


def _likeliest(row: object, top_k: int) -> list[tuple[float, int]]:
    """(log-probability, id) of the likeliest tokens of one position, the likeliest first."""
    if not isinstance(row, dict):
        raise OddAnswer("a position without log-probabilities")
    found = [(_rank(said), -_logprob(said), _token(token)) for token, said in row.items()]
    found.sort()
    if len(found) < top_k:
        raise OddAnswer(f"{len(found)} log-probabilities at a token, {top_k} were asked for")
    return [(max(-minus, LEAST_LOGPROB), token) for _, minus, token in found[:top_k]]


def _logprob(said: object) -> float:
    value = said.get("logprob") if isinstance(said, dict) else said
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OddAnswer("a log-probability that is none")
    if math.isnan(value) or value > 1e-3:
        raise OddAnswer("a log-probability that is none")
    return min(float(value), 0.0)


def _rank(said: object) -> int:
    """Where the server tells it; without ranks the log-probabilities alone give the order."""
    rank = said.get("rank") if isinstance(said, dict) else None
    return rank if isinstance(rank, int) and not isinstance(rank, bool) else 0


def _token(token: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", token):
        raise OddAnswer("a token that is no id")
    return int(token)


# --- models


def read_models(found: object) -> dict[str, int | None]:
    """Names of the models that a server lists, with their context where it tells it, tokens."""
    listed = found.get("data", found.get("models")) if isinstance(found, dict) else found
    models: dict[str, int | None] = {}
    for one in listed if isinstance(listed, list) else []:
        name = one.get("id", one.get("name")) if isinstance(one, dict) else one
        if isinstance(name, str) and name:
            context = one.get("max_model_len") if isinstance(one, dict) else None
            models[sound_text(name)] = count(context) or None
    return models
