"""Traces to token ids and weights. The only place where spans become per-token weights.

A weight belongs to the token that is *predicted*; weights of prompts (unless the recipe says
otherwise), of tool output and of padding are 0. What a span does to the tokens it touches (the span
is widened to whole tokens): keep: its weight, usually 1; mask: no loss of any kind, or a pull
toward a flat distribution; replaced text (abstain, hide, rename, lookup, generalise): cross-entropy
only, since there the teacher's probability lies on the fact that was taken out (docs/method.md).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, cast

import numpy as np
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from data_filters.records.traces import Span, Trace
from distill.chat_templates.forms import Unrenderable
from distill.chat_templates.turns import Renderer, Rendering, Turn
from recipes.errors import ModelError
from recipes.schema import Distill
from recipes.vocabulary import Action

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
    left_out: Counter[str] | None = None,
    batch: int = 128,
) -> Iterator[Encoded]:
    """Token ids with the weights of the three terms of the loss for each predicted token.

    A trace of several turns gives several sequences where the template rewrites earlier turns:
    each assistant's turn is taught as it is written last.

    Args:
        traces: conversations with spans.
        teaching: weights where no span says otherwise, and what a mask does.
        left_out: counts the traces that the chat template refuses or would change, by reason.
        batch: traces tokenised at once.

    Raises:
        ModelError: there is such a trace, and nobody counts.
    """
    encoder = Encoder(tokenizer, teaching)
    for group in _grouped(traces, batch):
        sequences, reasons = encoder.encode(group)
        if left_out is None and reasons:
            raise ModelError(f"trace {reasons[0][0]}: {reasons[0][1]}; use another template")
        if left_out is not None:
            left_out.update(reason for _, reason in reasons)
        yield from sequences


class Encoder:
    """Encodes the traces of one tokenizer.

    Args:
        tokenizer: with a chat template.
        teaching: weights where no span says otherwise, and what a mask does.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, teaching: Teaching) -> None:
        others = any(weight for role, weight in teaching.roles.items() if role != "assistant")
        self.renderer, self.teaching = Renderer(tokenizer, others=others), teaching
        self.backend: Tokenizer = cast(Any, tokenizer).backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()

    def encode(self, traces: Sequence[Trace]) -> tuple[list[Encoded], list[tuple[str, str]]]:
        """The sequences of these traces in order; id and reason of each trace that gives none."""
        told: list[tuple[Trace, Rendering]] = []
        reasons: list[tuple[str, str]] = []
        for trace in traces:
            try:
                found = self.renderer.renderings(trace.messages, trace.tools)
            except Unrenderable as fault:
                reasons.append((trace.id, str(fault)))
                continue
            told += [(trace, one) for one in found]
        texts = [one.text for _, one in told]
        read = self.backend.encode_batch(texts, add_special_tokens=False)
        return [
            self._weigh(trace, one, self._cut(one, tokens))
            for (trace, one), tokens in zip(told, read, strict=True)
        ], reasons

    def _cut(self, rendering: Rendering, tokens: Encoding) -> Encoding:
        """The same tokens, unless one stands across the place where the model goes on: a prompt is
        tokenised by itself when the model is asked.
        """
        cuts = [turn.begin for turn in rendering.turns if turn.role == "assistant"]
        if not any(_across(tokens, cut) for cut in cuts):
            return tokens
        text, edges = rendering.text, [0, *cuts, len(rendering.text)]
        pieces = [text[a:b] for a, b in pairwise(edges)]
        read = self.backend.encode_batch(pieces, add_special_tokens=False)
        return Encoding.merge(read, growing_offsets=True)

    def _weigh(self, trace: Trace, rendering: Rendering, tokens: Encoding) -> Encoded:
        ids = np.asarray(tokens.ids, np.int32)
        weights = np.zeros((3, len(ids)), np.float32)
        for turn in rendering.turns:
            whole = token_range(tokens, turn.begin, turn.end)
            weights[:, whole] = self.teaching.plain(turn.role)
            for span in trace.spans:
                if span.message == turn.message and (span.action, span.weight) != (
                    Action.KEEP,
                    1.0,
                ):
                    touched = token_range(tokens, *_range(span, turn))
                    first, stop = max(touched.start, whole.start), min(touched.stop, whole.stop)
                    weights[:, first:stop] = self.teaching.of_span(span, turn.role)
        kl, ce, flat = weights
        return Encoded(ids, kl, ce, flat, trace.source, trace.tools is not None)


def _range(span: Span, turn: Turn) -> tuple[int, int]:
    """Characters that a span stands for. The model writes what stands before its content and behind
    it too: how to begin belongs to a span at the beginning, how to stop to replaced text.
    """
    begin, end = turn.range_of(span.start, span.end)
    if turn.role != "assistant":
        return begin, end
    begin = turn.begin if span.start == 0 else begin
    if span.action in REPLACED and span.end >= turn.places[-1].stop:
        end = turn.end
    return begin, end


def token_range(tokens: Encoding, start: int, stop: int) -> slice:
    """Tokens that share a character with [start, stop)."""
    if stop <= start:
        return slice(0, 0)
    first, last = tokens.char_to_token(start), tokens.char_to_token(stop - 1)
    if first is None or last is None:  # white space that no token holds
        offsets = np.asarray(tokens.offsets, np.int64).reshape(-1, 2)
        touched = np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))
        return slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 0)
    end = last + 1
    while end < len(tokens) and (tokens.token_to_chars(end) or (stop, stop))[0] < stop:
        end += 1  # several tokens of one character
    return slice(first, end)


def _across(tokens: Encoding, cut: int) -> bool:
    """Whether a token stands on both sides of a place in the text."""
    place = tokens.char_to_token(cut)
    chars = None if place is None else tokens.token_to_chars(place)
    return chars is not None and chars[0] < cut


def _grouped(traces: Iterable[Trace], size: int) -> Iterator[list[Trace]]:
    stream = iter(traces)
    while group := list(islice(stream, size)):
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
