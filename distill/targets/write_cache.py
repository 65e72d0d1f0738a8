"""Writing a teacher's targets: by prefill over encoded traces, with the model at hand or with one
that is spoken with.

Letters: N taught tokens, K kept tokens, T tokens of a sequence, E the teacher's hidden width.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from data_filters.records.files import replacing
from distill.data.encode import Encoded
from distill.data.packing import EncodedFile, Packed, pack
from distill.engines.protocol import Engine, TopLogprobs
from distill.loss.dense_loss import logits
from distill.loss.signals import Dense, TopK
from distill.targets import compress
from distill.targets.cache import CACHE, OUTPUT, Origin, sequences_of, shard_path
from distill.targets.live import GivesHidden, LiveTeacher, SpokenTeacher, TargetSource
from distill.targets.teacher_facts import TeacherFacts
from recipes.errors import ModelError

_SCHEMA = pa.schema([("targets", pa.large_binary())])
SCORED_AT_ONCE = 256  # sequences whose log-probabilities are held
LOGITS_BYTES = 2**27  # of float64 probabilities at once


class CacheWriter(Protocol):
    """Writes the targets of one teacher, shard by shard."""

    def write(
        self,
        folder: Path,
        number: int,
        sequences: Sequence[Encoded],
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """One shard, whole or not at all; the same shard gives the same bytes, whatever was written
        before.

        Args:
            folder: of the cache.
            number: of the shard.
            sequences: of the encoded file, in its order.
            progress: called with (sequences, taught tokens).
        """
        ...


class LocalCacheWriter:
    """Writes the targets of a loaded model.

    Args:
        teacher: the model, on its device.
        origin: what the cache will say it is.
        seed: of the draws.
        row_tokens, micro_batch_rows: packed rows that the teacher reads at once.
    """

    def __init__(
        self,
        teacher: nn.Module,
        origin: Origin,
        *,
        seed: int,
        row_tokens: int,
        micro_batch_rows: int,
    ) -> None:
        first = next(teacher.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.live: TargetSource = LiveTeacher(teacher, self.device, origin.vocab_size)
        self.origin, self.seed = origin, seed
        self.row_tokens, self.rows = row_tokens, micro_batch_rows

    def write(
        self,
        folder: Path,
        number: int,
        sequences: Sequence[Encoded],
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """As CacheWriter.write."""
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + number)
        found: dict[int, bytes] = {}
        packed = pack(sequences, self.row_tokens)
        for start in range(0, len(packed.ids_BT), self.rows):
            batch = packed.rows(start, start + self.rows).only_divergence()
            found |= self._read(batch.to(self.device), generator)
            progress(
                int((batch.positions_BT[batch.segments_BT > 0] == 0).sum()),
                int(batch.taught().sum()),
            )
        _write_shard(
            shard_path(folder, number), [found.get(sequence.row, b"") for sequence in sequences]
        )

    @torch.no_grad()
    def _read(self, batch: Packed, generator: torch.Generator) -> Iterator[tuple[int, bytes]]:
        """(row of the encoded file, its bytes) for each sequence of a batch."""
        sources_N, begins = sequences_of(batch, batch.taught())
        with self.live.reading(batch) as signal:
            assert isinstance(signal, Dense)
            rows_NB = self._bytes(signal, generator)
        for first, part in zip(begins, np.split(rows_NB, begins[1:]), strict=len(begins) > 0):
            yield int(sources_N[first]), part.tobytes()

    def _bytes(self, signal: Dense, generator: torch.Generator) -> np.ndarray:
        """uint8 [N, bytes per token]."""
        if self.origin.kind == "hidden":
            hidden = signal.hidden_NE.to(self.dtype).contiguous().cpu()
            return (
                hidden.view(torch.uint8)
                .view(len(hidden), hidden.shape[1] * hidden.dtype.itemsize)
                .numpy()
            )
        chunk = max(1, LOGITS_BYTES // (8 * self.origin.vocab_size))
        parts = []
        for start in range(0, max(1, len(signal.hidden_NE)), chunk):
            logits_nV = (
                logits(signal.hidden_NE[start : start + chunk], signal.output)
                / self.origin.temperature
            )
            if self.origin.kind == "top_k":
                parts.append(compress.pack_top_k(compress.top_k(logits_nV, self.origin.tokens)))
            else:
                parts.append(
                    compress.pack_sampled(compress.sketch(logits_nV, self.origin.tokens, generator))
                )
        return np.concatenate(parts)


class SpokenCacheWriter(LocalCacheWriter):
    """Writes what LocalCacheWriter writes, with the same draws, of a teacher that is spoken with:
    its hidden states come from elsewhere, its output matrix lies here.

    Args:
        source: gives hidden states.
        teacher: what is known of it without its weights.
        device: of the output matrix and the draws.
    """

    def __init__(
        self,
        source: GivesHidden,
        teacher: TeacherFacts,
        origin: Origin,
        device: torch.device,
        *,
        seed: int,
        row_tokens: int,
        micro_batch_rows: int,
    ) -> None:
        self.device, self.dtype = device, teacher.dtype
        self.live = SpokenTeacher(source, teacher, device, origin.vocab_size)
        self.origin, self.seed = origin, seed
        self.row_tokens, self.rows = row_tokens, micro_batch_rows


class _ServedCacheWriter(ABC):
    """Writes the targets of a teacher that is spoken with, by prefill."""

    def write(
        self,
        folder: Path,
        number: int,
        sequences: Sequence[Encoded],
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """As CacheWriter.write."""
        values = []
        for start in range(0, len(sequences), SCORED_AT_ONCE):
            some = sequences[start : start + SCORED_AT_ONCE]
            values += self._values(some, [sequence.ids.tolist() for sequence in some])
            progress(len(some), sum(int((sequence.kl[1:] > 0).sum()) for sequence in some))
        _write_shard(shard_path(folder, number), values)

    @abstractmethod
    def _values(self, sequences: Sequence[Encoded], rows: list[list[int]]) -> list[bytes]:
        """The bytes of each sequence's targets."""


class TopKCacheWriter(_ServedCacheWriter):
    """Writes a served teacher's likeliest tokens; nobody hands out whole distributions.

    Args:
        engine: gives as many log-probabilities a token as the cache keeps.
        origin: of kind top_k, at temperature 1.
    """

    def __init__(self, engine: Engine, origin: Origin) -> None:
        self.engine, self.origin = engine, origin

    def _values(self, sequences: Sequence[Encoded], rows: list[list[int]]) -> list[bytes]:
        scored = self.engine.score(rows, self.origin.tokens)
        return [self._likeliest(*both) for both in zip(sequences, scored, strict=True)]

    def _likeliest(self, sequence: Encoded, found: TopLogprobs) -> bytes:
        expected = (len(sequence.ids) - 1, self.origin.tokens)
        if found.ids_TK.shape != expected:
            raise ModelError(
                f"the teacher gave log-probabilities of shape {tuple(found.ids_TK.shape)}, "
                f"expected {expected}; lower distill.targets.tokens_per_position"
            )
        taught_N = torch.from_numpy(sequence.kl[1:] > 0)  # row t of the scores predicts token t + 1
        kept = TopK(found.ids_TK[taught_N], found.logprobs_TK[taught_N])
        return compress.pack_top_k(kept).tobytes()


class HiddenCacheWriter(_ServedCacheWriter):
    """Writes a served teacher's hidden states.

    Args:
        source: gives them.
        teacher: what is known of it without its weights.
    """

    def __init__(self, source: GivesHidden, teacher: TeacherFacts) -> None:
        self.source, self.teacher = source, teacher

    def _values(self, sequences: Sequence[Encoded], rows: list[list[int]]) -> list[bytes]:
        found = self.source.hidden_states(rows)
        return [self._hidden(*both) for both in zip(sequences, found, strict=True)]

    def _hidden(self, sequence: Encoded, hidden_TD: Tensor) -> bytes:
        taught_ND = hidden_TD[:-1][torch.from_numpy(sequence.kl[1:] > 0)]
        scaled_ND = (taught_ND * self.teacher.logit_scale).to(self.teacher.dtype)
        return scaled_ND.contiguous().view(torch.uint8).numpy().tobytes()


def _write_shard(path: Path, values: Sequence[bytes]) -> None:
    batch = pa.record_batch([pa.array(values, pa.large_binary())], schema=_SCHEMA)
    with (
        replacing(path) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        writer.write_batch(batch)


def finish_cache(
    folder: Path, origin: Origin, teacher: TeacherFacts, data: EncodedFile, shard_sequences: int
) -> dict[str, Any]:
    """Says what a finished cache is; a cache of hidden states gets the output matrix that makes
    them distributions.

    Returns:
        notes: taught tokens, bytes per token with all overhead, bytes in all.
    """
    if origin.kind == "hidden":
        output = teacher.output().first(origin.vocab_size)
        tensors = {"weight": output.weight_VD} | (
            {} if output.bias_V is None else {"bias": output.bias_V}
        )
        save_file(
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            folder / OUTPUT,
        )
    tokens, size = (
        data.divergence_tokens(),
        sum(path.stat().st_size for path in folder.glob("targets-*.arrow")),
    )
    each = compress.bytes_per_token(
        origin.kind, origin.tokens, teacher.width, teacher.dtype.itemsize
    )
    about = asdict(origin) | {
        "bytes_per_token": each,
        "hidden_size": teacher.width,
        "dtype": str(teacher.dtype).removeprefix("torch."),
        "softcap": teacher.softcap,
        "shard_sequences": shard_sequences,
        "sequences": len(data),
        "taught_tokens": tokens,
        "bytes": size,
    }
    (folder / CACHE).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return {
        "target_tokens": tokens,
        "bytes_per_token": round(size / max(1, tokens), 1),
        "target_bytes": size,
    }
