"""Traces to token ids and weights. The only place where spans become per-token weights.

A weight belongs to the token that is *predicted*; weights of prompts (unless the recipe says
otherwise), of tool output and of padding are 0. What a span does to the tokens it touches (the span
is widened to whole tokens): keep: its weight, usually 1; mask: no loss of any kind, or a pull
toward a flat distribution; replaced text (abstain, hide, rename, lookup, generalise): cross-entropy
only, since there the teacher's probability lies on the fact that was taken out (docs/method.md).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from data_filters.records.tool_calls import calls_of
from data_filters.records.traces import Span, Trace
from distill.engines.protocol import written
from recipes.errors import ModelError
from recipes.schema import Distill
from recipes.vocabulary import Action

_NOWHERE = np.zeros(0, np.int64)
REPLACED = (Action.ABSTAIN, Action.HIDE, Action.RENAME, Action.LOOKUP, Action.GENERALISE)
WEIGHTS = ("kl", "ce", "flat")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence: ids and the weights with which each id is predicted."""

    ids: np.ndarray
    kl: np.ndarray  # of the divergence from the teacher
    ce: np.ndarray  # of the cross-entropy
    flat: np.ndarray  # of the pull toward a flat distribution
    source: str = ""
    tools: bool = False  # whether the conversation offers any
    row: int = -1  # number in its file


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What a token teaches: the weights of the terms where no span says otherwise, and what a mask
    does.
    """

    kl: float = 1.0
    ce: float = 0.0
    # None: a masked token teaches nothing; 0..1: how far its target is moved from the teacher's to
    # flat
    soften: float | None = None
    # others, and tools always: 0
    roles: Mapping[str, float] = field(default_factory=lambda: {"assistant": 1.0})

    def plain(self, role: str, weight: float = 1.0) -> np.ndarray:
        """[3, 1]: kl, ce, flat."""
        return (
            np.array([[self.kl], [self.ce], [0.0]], np.float32)
            * weight
            * (0.0 if role == "tool" else self.roles.get(role, 0.0))
        )

    def of_span(self, span: Span, role: str) -> np.ndarray:
        """[3, 1]: what the tokens of a span teach."""
        if span.action == Action.KEEP:
            return self.plain(role, span.weight)
        if span.action in REPLACED:
            return np.array([[0.0], [span.weight], [0.0]], np.float32)
        if self.soften is None:
            return np.zeros((3, 1), np.float32)
        plain = self.plain(role) * (1 - self.soften)
        plain[2] = self.plain(role).sum() * self.soften
        return plain


def encode_traces(
    traces: Iterable[Trace],
    tokenizer: PreTrainedTokenizerBase,
    teaching: Teaching,
    *,
    batch: int = 512,
) -> Iterator[Encoded]:
    """Token ids with the weights of the three terms of the loss for each predicted token.

    Args:
        traces: conversations with spans.
        teaching: weights where no span says otherwise, and what a mask does.
        batch: traces tokenised at once.

    Raises:
        ModelError: the chat template does not render a message verbatim (some drop <think> text).
    """
    for group in _grouped(traces, batch):
        texts = [written(tokenizer, t.messages, t.tools) for t in group]
        tokens = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        ends, header = set(_end_ids(tokenizer)), _assistant_header(tokenizer)
        for trace, text, ids, offsets in zip(
            group, texts, tokens["input_ids"], tokens["offset_mapping"], strict=True
        ):
            yield _weigh(
                trace,
                text,
                np.asarray(ids, np.int32),
                np.asarray(offsets, np.int64).reshape(-1, 2),
                ends,
                header,
                teaching,
            )


def _weigh(
    trace: Trace,
    text: str,
    ids: np.ndarray,
    offsets: np.ndarray,
    ends: set[int],
    header: str,
    teaching: Teaching,
) -> Encoded:
    weights = np.zeros((3, len(ids)), np.float32)
    for number, (message, (start, stop, last)) in enumerate(
        zip(trace.messages, _places(trace, text, header), strict=True)
    ):
        role = message["role"]
        # the model writes this itself: it must also learn how to begin and to stop
        own = role == "assistant"
        opening, closing = (
            (_opening(text, start, header), _closing(ids, offsets, stop, last, ends))
            if own
            else (start, _NOWHERE)
        )
        weights[:, np.append(_touching(offsets, opening, stop), closing)] = teaching.plain(role)
        for span in trace.spans:
            if span.message == number and (span.action, span.weight) != (Action.KEEP, 1.0):
                begin = opening if span.start == 0 else start + span.start
                touched = _touching(offsets, begin, start + span.end)
                if start + span.end >= stop and span.action in REPLACED:
                    touched = np.append(touched, closing)
                weights[:, touched] = teaching.of_span(span, role)
    kl, ce, flat = weights
    return Encoded(ids, kl, ce, flat, trace.source, trace.tools is not None)


def _opening(text: str, start: int, header: str) -> int:
    """Where the model itself begins to write: behind the role marker, so a space before the content
    is taught too.
    """
    found = text.rfind(header, 0, start)
    return (
        found + len(header)
        if header and found >= 0 and not text[found + len(header) : start].strip()
        else start
    )


def _closing(
    ids: np.ndarray, offsets: np.ndarray, stop: int, last: int, ends: set[int]
) -> np.ndarray:
    """What the model writes behind the content: its calls, if any, and the end-of-turn token, since
    it must also learn to stop.
    """
    calls = np.flatnonzero((offsets[:, 0] >= stop) & (offsets[:, 0] < last))
    after = np.flatnonzero(offsets[:, 0] >= last)
    if last > stop:  # the template closes a call with a mark of its own
        end = next((n for n, place in enumerate(after) if int(ids[place]) in ends), -1)
        return np.append(calls, after[: end + 1])
    return after[:1] if len(after) and int(ids[after[0]]) in ends else _NOWHERE


def _places(trace: Trace, text: str, header: str) -> list[tuple[int, int, int]]:
    """Of each message, in order: where its content begins and ends in the rendered text, and where
    the last of its calls ends.
    """
    places, at = [], 0
    for message in trace.messages:
        if message["role"] == "assistant" and not message["content"]:
            at = max(text.find(header, at), at) + len(header)
        start = _find(trace, text, message["content"], at, f"{message['role']} message")
        stop = at = start + len(message["content"])
        for call in calls_of(message):
            given = (
                call["arguments"]
                if isinstance(call["arguments"], str)
                else json.dumps(call["arguments"], ensure_ascii=False)
            )
            at = _find(
                trace, text, given, _find(trace, text, call["name"], at, "call"), "call"
            ) + len(given)
        places.append((start, stop, at))
    return places


def _find(trace: Trace, text: str, wanted: str, at: int, what: str) -> int:
    found = text.find(wanted, at)
    if found < 0:
        raise ModelError(
            f"trace {trace.id}: the chat template does not render the {what} verbatim ({wanted[:40]!r}...); use a template that keeps it"
        )
    return found


def _touching(offsets: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Indices of tokens that share a character with [start, stop)."""
    return np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))


def _assistant_header(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes before an assistant's turn, e.g. "<|assistant|>"."""
    asked = [{"role": "user", "content": "?"}]
    begun = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
    return begun.removeprefix(str(tokenizer.apply_chat_template(asked, tokenize=False)))


def _end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    marks = ("<|im_end|>", "<|eot_id|>", "<|end|>")
    known = {tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, marks)}
    return [i for i in known if isinstance(i, int)]


def _grouped(traces: Iterable[Trace], size: int) -> Iterator[list[Trace]]:
    group: list[Trace] = []
    for trace in traces:
        group.append(trace)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def teaching(config: Distill) -> Teaching:
    """What a token teaches under this recipe."""
    alone = config.divergence == "none"
    soften = config.soften_fraction if config.masked_action == "soften" else None
    return Teaching(
        kl=0.0 if alone else 1.0,
        ce=1.0 if alone else config.ce_weight,
        soften=soften,
        roles=config.role_weights,
    )
