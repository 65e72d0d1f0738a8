"""Encoded sequences on disk, and packed into rows.

Letters: B rows, T tokens.
"""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from data_filters.records.files import replacing
from distill.data.encode import WEIGHTS, Encoded
from distill.progress import Bar, show
from recipes.errors import ShardError

BATCH_SEQUENCES = 2048  # of one record batch
_COUNTS = "counts"  # metadata of the last batch, which is empty
_SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.int32())),
        *((name, pa.list_(pa.float32())) for name in WEIGHTS),
        ("source", pa.string()),
        ("tools", pa.bool_()),
    ]
)


def write_encoded(
    sequences: Iterable[Encoded],
    path: Path,
    *,
    longest: int,
    label: str = "",
    left_out: Counter[str] | None = None,
) -> dict[str, int]:
    """An Arrow file that is read by memory mapping; sequences over `longest` tokens, or with
    nothing taught, are left out.

    Args:
        longest: limit in tokens.
        label: names the progress bar; empty: none.
        left_out: traces that gave no sequence, by reason, as encode_traces counts them meanwhile.

    Returns:
        counts: written, too_long, untaught, taught_tokens; with `left_out` also unrenderable.

    Raises:
        ShardError: nothing is left.
    """
    counts = dict.fromkeys(("written", "too_long", "untaught", "taught_tokens"), 0)
    with (
        Bar(f"{label}: encode", None, "sequences", bool(label)) as bar,
        replacing(path) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        for rows in _groups(_counted(bar.each(sequences), longest, counts), BATCH_SEQUENCES):
            writer.write_batch(_to_batch(rows))
        if left_out is not None:
            counts["unrenderable"] = left_out.total()
        # a resumed run reads them here
        writer.write_batch(_to_batch([]), {_COUNTS: json.dumps(counts)})
    reasons = "".join(f", {n:,}: {reason}" for reason, n in (left_out or Counter()).most_common(3))
    if not counts["written"]:
        others = f"{counts['untaught']} with nothing taught{reasons}"
        raise ShardError(
            f"{path}: no sequence to train on ({counts['too_long']} longer than {longest} tokens, {others})"
        )
    if reasons and label:
        show(f"{label}: traces left out{reasons.replace(',', ':', 1)}")
    return counts


def _counted(
    sequences: Iterable[Encoded], longest: int, counts: dict[str, int]
) -> Iterator[Encoded]:
    """The sequences that are written; `counts` says how many, and why others are not."""
    for sequence in sequences:
        taught = int((sequence.kl + sequence.ce + sequence.flat > 0).sum())
        reason = "too_long" if len(sequence.ids) > longest else "written" if taught else "untaught"
        counts[reason] += 1
        if reason == "written":
            counts["taught_tokens"] += taught
            yield sequence


def _groups(sequences: Iterator[Encoded], size: int) -> Iterator[list[Encoded]]:
    while group := list(islice(sequences, size)):
        yield group


def _to_batch(rows: Sequence[Encoded]) -> pa.RecordBatch:
    return pa.record_batch(
        [pa.array([getattr(row, f.name) for row in rows], f.type) for f in _SCHEMA], schema=_SCHEMA
    )


def counts_of(path: Path) -> dict[str, int]:
    """What `write_encoded` counted when it wrote the file; empty for a file of an older version."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        last = reader.num_record_batches - 1
        _, metadata = reader.get_batch_with_custom_metadata(last)
        said = metadata.get(_COUNTS) if metadata is not None else None
        return {} if said is None else dict(json.loads(said))


class EncodedFile:
    """Random access to the sequences of an Arrow file; nothing but the source numbers is held in
    memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (pa.ArrowInvalid, OSError) as fault:
            raise ShardError(f"{path}: {fault}; delete it and run again") from fault
        self._sources = self._table["source"].combine_chunks().dictionary_encode()

    def __len__(self) -> int:
        return self._table.num_rows

    def pool(self, families: Sequence[str], *, tools: bool = True) -> np.ndarray:
        """Row numbers whose source ends in one of `families` (all rows for an empty list).

        Args:
            tools: those of conversations that offer tools too.

        Raises:
            ShardError: the file does not say which do.
        """
        within = np.ones(len(self), bool)
        if families:
            names = [
                i
                for i, s in enumerate(self._sources.dictionary.to_pylist())
                if s.rpartition("/")[2] in families
            ]
            within = np.isin(self._sources.indices.to_numpy(), names)
        if not tools:
            if "tools" not in self._table.column_names:
                raise ShardError(
                    f"{self.path}: does not say which conversations offer tools; delete it and run again"
                )
            within &= ~self._table["tools"].to_numpy()
        return np.flatnonzero(within)

    def digest(self) -> str:
        """Of all ids, and of which tokens a divergence teaches: what a cache of targets depends
        on.
        """
        whole = hashlib.sha256()
        for batch in self._table.to_batches():
            ids, kl = batch["ids"], batch["kl"]
            whole.update(np.diff(ids.offsets.to_numpy()).astype("<i4").tobytes())
            whole.update(ids.flatten().to_numpy().astype("<i4").tobytes())
            whole.update(np.packbits(kl.flatten().to_numpy() > 0).tobytes())
        return whole.hexdigest()[:16]

    def divergence_tokens(self) -> int:
        """How many tokens a divergence teaches; the first of a sequence has none before it."""
        counts = (self._kl_tokens(batch["kl"]) for batch in self._table.to_batches())
        return sum(counts)

    @staticmethod
    def _kl_tokens(column: pa.ListArray) -> int:
        taught = column.flatten().to_numpy() > 0
        firsts = column.offsets.to_numpy()[:-1] - column.offsets.to_numpy()[0]
        return int(taught.sum() - taught[firsts].sum())

    def take(self, rows: Sequence[int] | np.ndarray) -> list[Encoded]:
        table = self._table.take(pa.array(np.asarray(rows, np.int64)))
        columns = [table[name].combine_chunks() for name in ("ids", *WEIGHTS)]
        taken = []
        for i, row in enumerate(rows):
            ids, kl, ce, flat = (column[i].values.to_numpy() for column in columns)
            taken.append(Encoded(ids, kl, ce, flat, row=int(row)))
        return taken


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of several sequences each. Weights stand at the position that predicts, i.e. one left of
    the token.
    """

    ids_BT: Tensor  # int64
    positions_BT: Tensor  # int64, restart at 0 with every sequence
    segments_BT: Tensor  # int64, counts the sequences of a row from 1; 0 = padding
    sources_BT: Tensor  # int64, row of the encoded file that a token comes from
    labels_BT: Tensor  # int64, the next token of the same sequence
    kl_BT: Tensor  # float32
    ce_BT: Tensor  # float32
    flat_BT: Tensor  # float32

    def taught(self) -> Tensor:
        """Boolean [B, T]: positions whose next token has any weight."""
        return (self.kl_BT + self.ce_BT + self.flat_BT) > 0

    def total_weights(self) -> dict[str, float]:
        """The summed weight of each term of the loss: kl, ce and flat."""
        columns = (self.kl_BT, self.ce_BT, self.flat_BT)
        return {
            name: float(weight_BT.sum(dtype=torch.float64))
            for name, weight_BT in zip(WEIGHTS, columns, strict=True)
        }

    def only_divergence(self) -> "Packed":
        """The same rows, taught by the divergence alone."""
        none_BT = torch.zeros_like(self.ce_BT)
        return dataclasses.replace(self, ce_BT=none_BT, flat_BT=none_BT)

    def weightless(self) -> "Packed":
        """The first row, teaching nothing: what a rank that ran out of rows goes along with."""
        one = self.rows(0, 1)
        none_BT = torch.zeros_like(one.kl_BT)
        return dataclasses.replace(one, kl_BT=none_BT, ce_BT=none_BT, flat_BT=none_BT)

    def to(self, device: torch.device) -> "Packed":
        return Packed(*(getattr(self, name).to(device) for name in self.__slots__))

    def rows(self, start: int, stop: int) -> "Packed":
        return Packed(*(getattr(self, name)[start:stop] for name in self.__slots__))

    def every(self, first: int, step: int) -> "Packed":
        """Every `step`-th row from `first` on: the share of a rank."""
        return Packed(*(getattr(self, name)[first::step] for name in self.__slots__))

    def micro_batches(self, rank: int, ranks: int, size: int) -> Iterator["Packed"]:
        """The rows of a rank, at most `size` at a time; every rank gives as many micro-batches, and
        one that runs out of rows goes along with a row of no weight.
        """
        mine = self.every(rank, ranks)
        for number in range(math.ceil(math.ceil(len(self.ids_BT) / ranks) / size)):
            micro = mine.rows(number * size, (number + 1) * size)
            yield micro if len(micro.ids_BT) else self.weightless()

    def sequence_numbers(self) -> Tensor:
        """int64 [B, T]: counts the sequences of all rows; padding has numbers of its own."""
        rows_B = torch.arange(len(self.ids_BT), device=self.ids_BT.device)
        return rows_B[:, None] * (1 + self.ids_BT.shape[1]) + self.segments_BT


def pack(sequences: Sequence[Encoded], row_tokens: int, *, packing: bool = True) -> Packed:
    """First-fit-decreasing packing into rows of `row_tokens`; without packing, one sequence a row.

    Sequences never see each other: their restarting positions keep them apart, see
    distill.learner.hidden_states.
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
    whole = {
        name: np.zeros(shape, np.int64)
        for name in ("ids", "positions", "segments", "sources", "labels")
    }
    weights = {name: np.zeros(shape, np.float32) for name in WEIGHTS}
    for row, members in enumerate(rows):
        at = 0
        for segment, i in enumerate(members, 1):
            ids = sequences[i].ids
            size = len(ids)
            here = slice(at, at + size)
            whole["ids"][row, here], whole["positions"][row, here] = ids, np.arange(size)
            whole["segments"][row, here], whole["sources"][row, here] = segment, sequences[i].row
            before = slice(at, at + size - 1)
            whole["labels"][row, before] = ids[1:]
            for name in WEIGHTS:
                weights[name][row, before] = getattr(sequences[i], name)[1:]
            at += size
    return Packed(*(torch.from_numpy(a) for a in (*whole.values(), *weights.values())))
