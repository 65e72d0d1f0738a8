"""The record that flows through the house: one conversation, what is known of it, and its spans."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import pyarrow as pa

from recipes.vocabulary import Action, FinishReason, Grounding, Verdict

VERSION = 1  # of the record: raised when a reader of today could misread it
VERSION_KEY = "trace_version"  # in the metadata of a Parquet file, or a column of a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A character range in messages[message]["content"] as it now stands.

    `original` holds what stood there before an edit; `weight` (0..1) multiplies the loss of its
    tokens. `bound` says whether a number belongs to a named entity ("Everest is 8,849 metres"), or
    answers a question about one; names and words always are. A bare number is masked at most: it is
    no reason to decline.
    """

    message: int
    start: int
    end: int
    kind: str  # of recipes/vocabulary.py, or what a detector of one's own says
    grounding: Grounding
    action: Action = Action.KEEP
    weight: float = 1.0
    original: str = ""
    subject: str = ""
    relation: str = ""
    detector: str = ""
    bound: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One conversation written by a teacher."""

    id: str
    problem_id: str
    source: str  # e.g. reasoning_gym/chain_sum
    seed: int
    # role and content; the assistant's reasoning stands in <think>...</think>
    messages: list[dict[str, str]]
    tools: str | None = None  # JSON tool schemas offered in this conversation
    gold: str | None = None  # reference answer; filters other than verification never see it
    # JSON, how the answer is judged where gold does not say it; hidden like gold
    check: str | None = None
    answer: str | None = None  # parsed final answer
    verdict: Verdict = Verdict.UNKNOWN
    spans: list[Span] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = FinishReason.STOP  # length: truncated
    teacher: str = ""
    engine: str = ""
    sampling: str = "{}"  # JSON

    def prompt(self) -> str:
        """All that the assistant was given: the text of every non-assistant message, one a line."""
        return "\n".join(m["content"] for m in self.messages if m["role"] != "assistant")

    def asked(self) -> str:
        """The text of all messages of the user, one a line."""
        return "\n".join(m["content"] for m in self.messages if m["role"] == "user")

    def replies(self) -> str:
        """The text of all messages of the assistant, one a line."""
        return "\n".join(m["content"] for m in self.messages if m["role"] == "assistant")

    def last_reply(self) -> str | None:
        """The text of the assistant's last message; None: it has none."""
        return next(
            (m["content"] for m in reversed(self.messages) if m["role"] == "assistant"), None
        )


_SPAN = pa.struct(
    [
        ("message", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        *((name, pa.string()) for name in ("kind", "grounding", "action")),
        ("weight", pa.float32()),
        *((name, pa.string()) for name in ("original", "subject", "relation", "detector")),
        ("bound", pa.bool_()),
    ]
)
_SPAN_NAMES = tuple(f.name for f in dataclasses.fields(Span))
span_values = attrgetter(*_SPAN_NAMES)  # of a span, in the order of its fields
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("problem_id", pa.string()),
        ("source", pa.string()),
        ("seed", pa.int64()),
        (
            "messages",
            pa.list_(
                pa.struct(
                    [("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.string())]
                )
            ),
        ),
        *((name, pa.string()) for name in ("tools", "gold", "check", "answer", "verdict")),
        ("spans", pa.list_(_SPAN)),
        (
            "usage",
            pa.struct(
                [
                    ("prompt_tokens", pa.int32()),
                    ("completion_tokens", pa.int32()),
                    ("finish_reason", pa.string()),
                ]
            ),
        ),
        *((name, pa.string()) for name in ("teacher", "engine", "sampling")),
    ],
    metadata={VERSION_KEY: str(VERSION)},
)
_NAMES = tuple(f.name for f in dataclasses.fields(Trace))
_USAGE = ("prompt_tokens", "completion_tokens", "finish_reason")
DROPPED_SCHEMA = SCHEMA.append(pa.field("dropped_by", pa.string())).append(
    pa.field("reason", pa.string())
)


def trace_id(*parts: object) -> str:
    """16 hex digits that name a trace: problem, sample index, teacher, prompt, sampling, seed."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:16]


def to_row(trace: Trace, **extra: str) -> dict[str, Any]:
    """The Parquet row of a trace; `extra` adds dropped_by and reason."""
    row = {name: getattr(trace, name) for name in _NAMES}
    row["usage"] = {name: row.pop(name) for name in _USAGE}
    row["messages"] = [{"tool_calls": None, **m} for m in trace.messages]
    row["spans"] = [{name: getattr(s, name) for name in _SPAN_NAMES} for s in trace.spans]
    return row | extra


def span_of(row: Mapping[str, Any]) -> Span:
    """The span of a row of a Parquet or JSON file."""
    words: dict[str, type[Grounding | Action]] = {"grounding": Grounding, "action": Action}
    known: dict[str, Any] = {
        name: words[name](value) if name in words else value for name, value in row.items()
    }
    return Span(**known)


def span_of_values(values: Sequence[Any]) -> Span:
    """The span that `span_values` took apart."""
    return span_of(dict(zip(_SPAN_NAMES, values, strict=True)))


def from_row(row: dict[str, Any]) -> Trace:
    """The trace of a Parquet row; columns that a trace lacks are ignored, so hub data sets load
    too.
    """
    flat = row | (row.get("usage") or {})
    known = {k: v for k, v in flat.items() if k in _NAMES and v is not None}
    known["messages"] = [{k: v for k, v in m.items() if v is not None} for m in row["messages"]]
    known["spans"] = [span_of(s) for s in row.get("spans") or []]
    if "verdict" in known:
        known["verdict"] = Verdict(known["verdict"])
    if "id" not in known:
        known["id"] = trace_id(known["messages"])
    known.setdefault("problem_id", known["id"])
    known.setdefault("source", "external")
    known.setdefault("seed", 0)
    return Trace(**known)
