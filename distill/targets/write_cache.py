"""Writing a teacher's targets: by prefill over encoded traces, with the model at hand or with one
that is spoken with.

Letters: N taught tokens, K kept tokens, T tokens of a sequence, E the teacher's hidden width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PretrainedConfig

from distill.data.encode import Encoded
from distill.data.packing import EncodedFile, Packed, pack
from distill.engines.protocol import Engine, TopLogprobs
from distill.forward import logit_scale, softcap
from distill.loss.dense_loss import logits
from distill.loss.signals import Dense, Output, TopK
from distill.targets import compress as sketch
from distill.targets.cache import CACHE, OUTPUT, Origin, sequences_of, shard_path
from distill.targets.live import LiveTeacher, output_of
from recipes.errors import ModelError

OUTPUT_NAMES = ("lm_head.weight", "lm_head.bias", "embed_tokens.weight")
_SCHEMA = pa.schema([("targets", pa.large_binary())])
SCORED_AT_ONCE = 256  # sequences whose log-probabilities are held
LOGITS_BYTES = 2**27  # of float64 probabilities at once


class GivesHidden(Protocol):
    """What is asked for hidden states."""

    def hidden_states(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """[T, D] of each row, final norm included."""
        ...


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """What a cache must know of a teacher beside its targets."""

    dtype: torch.dtype  # of its hidden states
    width: int
    softcap: float | None
    logit_scale: float
    output: Callable[[], Output]  # read only where hidden states are kept


def teacher_at_hand(model: nn.Module) -> Teacher:
    """Of a loaded model, whose hidden states are scaled as they are read."""
    dtype, width = next(model.parameters()).dtype, model.config.hidden_size
    return Teacher(
        dtype=dtype,
        width=width,
        softcap=softcap(model),
        logit_scale=1.0,
        output=lambda: output_of(model, None),
    )


def teacher_elsewhere(
    config: PretrainedConfig, dtype: torch.dtype, folder: Callable[[], Path]
) -> Teacher:
    """Of a model that is spoken with.

    Args:
        folder: where its files lie, asked only for its output matrix.

    Raises:
        ModelError: no safetensors there with an output matrix.
    """
    known = SimpleNamespace(config=config.get_text_config())
    cap = softcap(known)
    return Teacher(
        dtype=dtype,
        width=known.config.hidden_size,
        softcap=cap,
        logit_scale=logit_scale(known),
        output=lambda: Output(*_output_tensors(folder(), dtype), cap),
    )


def _output_tensors(folder: Path, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Output matrix, or the embeddings that stand in for it, and bias."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                last = next(
                    (end for end in OUTPUT_NAMES if name == end or name.endswith(f".{end}")), None
                )
                if last:
                    found[last] = file.get_tensor(name).to(dtype)
    weight, bias, embeddings = map(found.get, OUTPUT_NAMES)
    if weight is None and embeddings is None:
        raise ModelError(
            f"{folder}: no safetensors with lm_head or embed_tokens, the hidden states of this teacher cannot be used"
        )
    return embeddings if weight is None else weight, bias


class Scribe:
    """Writes the targets of one teacher.

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
        self.live = LiveTeacher(teacher, self.device, origin.vocab_size)
        self.origin, self.seed, self.row_tokens, self.rows = (
            origin,
            seed,
            row_tokens,
            micro_batch_rows,
        )

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
            sequences: of the encoded file, in its order.
            progress: called with (sequences, taught tokens).
        """
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
                parts.append(sketch.pack_top_k(sketch.top_k(logits_nV, self.origin.tokens)))
            else:
                parts.append(
                    sketch.pack_sampled(sketch.sketch(logits_nV, self.origin.tokens, generator))
                )
        return np.concatenate(parts)


class ServedScribe:
    """Writes the targets of a teacher that is spoken with, by prefill: its likeliest tokens, or its
    hidden states.

    Args:
        engine: gives as many log-probabilities a token as the cache keeps (top_k), or hidden states
            (hidden).
        origin: of kind top_k at temperature 1, or hidden: nobody hands out whole distributions.
        teacher: what is known of it without its weights.
    """

    def __init__(self, engine: Engine | GivesHidden, origin: Origin, teacher: Teacher) -> None:
        self.engine, self.origin, self.teacher = engine, origin, teacher

    def write(
        self,
        folder: Path,
        number: int,
        sequences: Sequence[Encoded],
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """As Scribe.write."""
        values = []
        for start in range(0, len(sequences), SCORED_AT_ONCE):
            some = sequences[start : start + SCORED_AT_ONCE]
            rows = [sequence.ids.tolist() for sequence in some]
            if self.origin.kind == "hidden":
                values += [
                    self._hidden(one, found)
                    for one, found in zip(some, self.engine.hidden_states(rows), strict=True)
                ]
            else:
                scored = self.engine.score(rows, self.origin.tokens)
                values += [
                    self._likeliest(one, found) for one, found in zip(some, scored, strict=True)
                ]
            progress(len(some), sum(int((sequence.kl[1:] > 0).sum()) for sequence in some))
        _write_shard(shard_path(folder, number), values)

    def _likeliest(self, sequence: Encoded, found: TopLogprobs) -> bytes:
        if found.ids_TK.shape != (len(sequence.ids) - 1, self.origin.tokens):
            shapes = f"{tuple(found.ids_TK.shape)}, wanted {len(sequence.ids) - 1} x {self.origin.tokens}"
            raise ModelError(
                f"the teacher gave log-probabilities of shape {shapes}; lower distill.targets.tokens"
            )
        taught_N = torch.from_numpy(sequence.kl[1:] > 0)  # row t of the scores predicts token t + 1
        return sketch.pack_top_k(
            TopK(found.ids_TK[taught_N], found.logprobs_TK[taught_N])
        ).tobytes()

    def _hidden(self, sequence: Encoded, hidden_TD: Tensor) -> bytes:
        taught_N = torch.from_numpy(sequence.kl[1:] > 0)
        return (
            (hidden_TD[:-1][taught_N] * self.teacher.logit_scale)
            .to(self.teacher.dtype)
            .contiguous()
            .view(torch.uint8)
            .numpy()
            .tobytes()
        )


def _write_shard(path: Path, values: Sequence[bytes]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.record_batch([pa.array(values, pa.large_binary())], schema=_SCHEMA))
    temporary.replace(path)


def finish_cache(
    folder: Path, origin: Origin, teacher: Teacher, data: EncodedFile, shard_sequences: int
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
    each = sketch.bytes_per_token(origin.kind, origin.tokens, teacher.width, teacher.dtype.itemsize)
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
