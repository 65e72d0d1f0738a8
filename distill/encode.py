"""Traces to token ids and weights. The only place where spans become per-token weights.

Letters: B rows, T tokens. A weight belongs to the token that is *predicted*; weights of prompts, tool output and
padding are 0. What a span does to the tokens it touches (the span is widened to whole tokens):
keep: nothing; mask: no loss of any kind; replaced text (abstain, hide, rename, lookup, generalise): cross-entropy
only, since at these positions the teacher's probability lies on the fact that was taken out (docs/method.md).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from data_filters.traces import Span, Trace
from recipes.errors import ModelError, ShardError

REPLACED = ("abstain", "hide", "rename", "lookup", "generalise")
_SCHEMA = pa.schema(
    [("ids", pa.list_(pa.int32())), ("kl", pa.list_(pa.float32())), ("ce", pa.list_(pa.float32())), ("source", pa.string())]
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence: ids and the weights with which each id is predicted."""

    ids: np.ndarray
    kl: np.ndarray
    ce: np.ndarray
    source: str = ""


def encode_traces(
    traces: Iterable[Trace], tokenizer: PreTrainedTokenizerBase, *, kl: float, ce: float, batch: int = 512
) -> Iterator[Encoded]:
    """Token ids with the weights of divergence and cross-entropy for each predicted token.

    Args:
        traces: conversations with spans.
        kl, ce: weights of both terms where no span says otherwise.
        batch: traces tokenised at once.

    Raises:
        ModelError: the chat template does not render a message verbatim (some drop <think> text).
    """
    for group in _grouped(traces, batch):
        texts = [tokenizer.apply_chat_template(t.messages, tools=None, tokenize=False) for t in group]
        tokens = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        ends, header = set(_end_ids(tokenizer)), _assistant_header(tokenizer)
        for trace, text, ids, offsets in zip(group, texts, tokens["input_ids"], tokens["offset_mapping"], strict=True):
            yield _weigh(trace, text, np.asarray(ids, np.int32), np.asarray(offsets, np.int64).reshape(-1, 2), ends, header, (kl, ce))


def _weigh(
    trace: Trace, text: str, ids: np.ndarray, offsets: np.ndarray, ends: set[int], header: str, plain: tuple[float, float]
) -> Encoded:  # fmt: skip
    weights = np.zeros((2, len(ids)), np.float32)  # rows: kl, ce
    for number, (message, start) in enumerate(zip(trace.messages, _place(trace, text), strict=True)):
        if message["role"] != "assistant":
            continue
        opening, stop = _opening(text, start, header), start + len(message["content"])
        closing = _closing(ids, offsets, stop, ends)
        weights[:, np.append(_touching(offsets, opening, stop), closing)] = np.array(plain, np.float32)[:, None]
        for span in trace.spans:
            if span.message == number and span.action != "keep":
                begin = opening if span.start == 0 else start + span.start
                touched = _touching(offsets, begin, start + span.end)
                if start + span.end >= stop and span.action in REPLACED:
                    touched = np.append(touched, closing)
                weights[:, touched] = _span_weights(span)
    return Encoded(ids, weights[0], weights[1], trace.source)


def _opening(text: str, start: int, header: str) -> int:
    """Where the model itself begins to write: behind the role marker, so a space before the content is taught too."""
    found = text.rfind(header, 0, start)
    return found + len(header) if header and found >= 0 and not text[found + len(header) : start].strip() else start


def _closing(ids: np.ndarray, offsets: np.ndarray, stop: int, ends: set[int]) -> np.ndarray:
    """The end-of-turn token behind the content, if there is one: the model must also learn to stop."""
    after = np.flatnonzero(offsets[:, 0] >= stop)[:1]
    return after if len(after) and int(ids[after[0]]) in ends else after[:0]


def _span_weights(span: Span) -> np.ndarray:
    replaced = span.action in REPLACED
    return np.array([[0.0], [span.weight if replaced else 0.0]], np.float32)


def _place(trace: Trace, text: str) -> list[int]:
    """Where each message's content begins in the rendered text, in order."""
    starts, at = [], 0
    for message in trace.messages:
        found = text.find(message["content"], at)
        if found < 0:
            raise ModelError(
                f"trace {trace.id}: the chat template does not render the {message['role']} message verbatim "
                f"({message['content'][:40]!r}...); use a template that keeps it"
            )
        starts.append(found)
        at = found + len(message["content"])
    return starts


def _touching(offsets: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Indices of tokens that share a character with [start, stop)."""
    return np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))


def _assistant_header(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes before an assistant's turn, e.g. "<|assistant|>"."""
    asked = [{"role": "user", "content": "?"}]
    plain = tokenizer.apply_chat_template(asked, tokenize=False)
    return tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True).removeprefix(plain)


def _end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return [i for i in {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|eot_id|>", "<|end|>"])} if i is not None]


def _grouped(traces: Iterable[Trace], size: int) -> Iterator[list[Trace]]:
    group: list[Trace] = []
    for trace in traces:
        group.append(trace)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def write_encoded(sequences: Iterable[Encoded], path: Path, *, longest: int, label: str = "") -> dict[str, int]:
    """An Arrow file that is read by memory mapping; sequences over `longest` tokens, or with nothing taught, are left out.

    Args:
        longest: limit in tokens.
        label: names the progress bar; empty: none.

    Returns:
        counts: written, too_long, untaught, taught_tokens.
    """
    counts = dict.fromkeys(("written", "too_long", "untaught", "taught_tokens"), 0)
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        rows: list[Encoded] = []
        for sequence in tqdm(sequences, desc=f"{label}: encode", unit=" sequences", mininterval=1.0, disable=not label):
            taught = int(((sequence.kl + sequence.ce) > 0).sum())
            reason = "too_long" if len(sequence.ids) > longest else "written" if taught else "untaught"
            counts[reason] += 1
            if reason == "written":
                counts["taught_tokens"] += taught
                rows.append(sequence)
            if len(rows) == 2048:
                writer.write_batch(_to_batch(rows))
                rows = []
        if rows:
            writer.write_batch(_to_batch(rows))
    temporary.replace(path)
    if not counts["written"]:
        raise ShardError(
            f"{path}: no sequence to train on ({counts['too_long']} longer than {longest} tokens, {counts['untaught']} with nothing taught)"
        )
    return counts


def _to_batch(rows: Sequence[Encoded]) -> pa.RecordBatch:
    columns = ([r.ids for r in rows], [r.kl for r in rows], [r.ce for r in rows], [r.source for r in rows])
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)


class EncodedFile:
    """Random access to the sequences of an Arrow file; nothing but the source numbers is held in memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (pa.ArrowInvalid, OSError) as fault:
            raise ShardError(f"{path}: {fault}; delete it and run again") from fault
        self._sources = self._table["source"].combine_chunks().dictionary_encode()

    def __len__(self) -> int:
        return self._table.num_rows

    def pool(self, families: Sequence[str]) -> np.ndarray:
        """Row numbers whose source ends in one of `families` (all rows for an empty list)."""
        if not families:
            return np.arange(len(self))
        names = [i for i, s in enumerate(self._sources.dictionary.to_pylist()) if s.rpartition("/")[2] in families]
        return np.flatnonzero(np.isin(self._sources.indices.to_numpy(), names))

    def take(self, rows: Sequence[int] | np.ndarray) -> list[Encoded]:
        table = self._table.take(pa.array(np.asarray(rows, np.int64)))
        columns = [table[name].combine_chunks() for name in ("ids", "kl", "ce")]
        return [Encoded(*(column[i].values.to_numpy() for column in columns)) for i in range(len(rows))]


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of several sequences each. Weights stand at the position that predicts, i.e. one left of the token."""

    ids_BT: Tensor  # int64
    positions_BT: Tensor  # int64, restart at 0 with every sequence
    segments_BT: Tensor  # int64, 0 = padding
    labels_BT: Tensor  # int64, the next token of the same sequence
    kl_BT: Tensor  # float32
    ce_BT: Tensor  # float32

    def to(self, device: torch.device) -> "Packed":
        return Packed(*(getattr(self, name).to(device) for name in self.__slots__))

    def rows(self, start: int, stop: int) -> "Packed":
        return Packed(*(getattr(self, name)[start:stop] for name in self.__slots__))


def pack(sequences: Sequence[Encoded], row_tokens: int, *, packing: bool = True) -> Packed:
    """First-fit-decreasing packing into rows of `row_tokens`; without packing, one sequence a row.

    Sequences never see each other: block_mask() and restarting positions keep them apart.
    """
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i].ids), i))
    rows: list[list[int]] = []
    room: list[int] = []
    for i in order:
        size = len(sequences[i].ids)
        fits = next((j for j, left in enumerate(room) if left >= size), None) if packing else None
        if fits is None:
            rows.append([])
            room.append(row_tokens)
            fits = len(rows) - 1
        rows[fits].append(i)
        room[fits] -= size
    width = row_tokens if packing else max(len(s.ids) for s in sequences)
    return _fill(sequences, rows, width)


def _fill(sequences: Sequence[Encoded], rows: list[list[int]], width: int) -> Packed:
    shape = (len(rows), width)
    whole = {name: np.zeros(shape, np.int64) for name in ("ids", "positions", "segments", "labels")}
    weights = {name: np.zeros(shape, np.float32) for name in ("kl", "ce")}
    for row, members in enumerate(rows):
        at = 0
        for segment, i in enumerate(members, 1):
            ids = sequences[i].ids
            size = len(ids)
            here = slice(at, at + size)
            whole["ids"][row, here], whole["positions"][row, here], whole["segments"][row, here] = ids, np.arange(size), segment
            before = slice(at, at + size - 1)
            whole["labels"][row, before] = ids[1:]
            weights["kl"][row, before], weights["ce"][row, before] = sequences[i].kl[1:], sequences[i].ce[1:]
            at += size
    return Packed(*(torch.from_numpy(a) for a in (*whole.values(), *weights.values())))


def block_mask(segments_BT: Tensor) -> Tensor:
    """Boolean [B, 1, T, T]: causal, inside one sequence only; padding sees padding, so that no row is empty."""
    size = segments_BT.shape[1]
    same = segments_BT[:, :, None] == segments_BT[:, None, :]
    return (same & torch.ones(size, size, dtype=torch.bool, device=segments_BT.device).tril())[:, None]
