"""A teacher's targets on disk: what a cache was made of, and reading it beside the traces.

Letters: N taught tokens, K kept tokens, E the teacher's hidden width. One Arrow file a shard of
sequences, one value of bytes a sequence, as many for each of its tokens that a divergence teaches.
cache.json says what the cache was made of; whoever opens it says what it must have been made of.
"""

import hashlib
import json
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill.data.packing import EncodedFile, Packed
from distill.loss.signals import Dense, Output, Sampled, Signal, TopK
from distill.targets import compress
from recipes.errors import ModelError, ShardError
from recipes.schema import Distill

CACHE, OUTPUT = "cache.json", "output.safetensors"
OPEN_SHARDS = 64  # memory-mapped at once
NAMES = {
    "tokenizer": "tokenizer",
    "template": "chat template",
    "data": "set of traces",
    "vocab_size": "vocabulary",
}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a cache was made of. Two caches of the same origin serve the same training."""

    kind: str  # sampled, top_k or hidden
    tokens: int  # kept for each taught token
    temperature: float  # of the probabilities
    vocab_size: int  # ids that teacher and student share
    teacher: str
    tokenizer: str  # digest
    template: str  # digest of the chat template
    data: str  # digest of the encoded sequences and of which tokens are taught

    def refuse_other(self, folder: Path, found: dict[str, Any]) -> None:
        """One line that names all that differs.

        Raises:
            ModelError: the cache was made of something else.
        """
        wanted = asdict(self)
        if self.kind == "hidden":  # hidden states serve any temperature, and keep no tokens
            wanted |= {name: found.get(name) for name in ("temperature", "tokens")}
        differs = {name: value for name, value in wanted.items() if found.get(name) != value}
        other = [
            f"another {NAMES.get(name, name)} ({found.get(name)}, expected {value})"
            for name, value in differs.items()
        ]
        if other:
            raise ModelError(
                f"target cache {folder} was made with {'; '.join(other)}; make it again, or name the recipe it belongs to"
            )


def origin_of(
    config: Distill,
    tokenizer: PreTrainedTokenizerBase,
    *,
    teacher: str,
    vocab_size: int,
    data: EncodedFile,
) -> Origin:
    """What a cache for these sequences must be made of under this recipe.

    Args:
        tokenizer: the student's, which is also the teacher's.
        teacher: names its weights: hub id and revision, or a digest.
    """
    names = json.dumps(
        [sorted(tokenizer.get_vocab().items()), tokenizer.eos_token], ensure_ascii=False
    )
    return Origin(
        kind=config.targets.kind,
        tokens=config.targets.tokens_per_position,
        temperature=config.temperature,
        vocab_size=vocab_size,
        teacher=teacher,
        tokenizer=_short(names),
        template=_short(str(tokenizer.chat_template)),
        data=data.digest(),
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"targets-{number:05d}.arrow"


def sequences_of(batch: Packed, asked_BT: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The encoded row of each asked token, and where among them a sequence begins (a batch may hold
    one twice).
    """
    sources_N, numbers_N = (
        values_BT[asked_BT].cpu().numpy()
        for values_BT in (batch.sources_BT, batch.sequence_numbers())
    )
    return sources_N, np.flatnonzero(np.diff(numbers_N, prepend=-1))


# --- reading
# ------------------------------------------------------------------------------------------------------------


class CachedTargets:
    """The signal of a cache for a packed batch; nothing but the batch is held in memory.

    Args:
        folder: a finished cache.
        wanted: what it must have been made of.

    Raises:
        ShardError: no cache there, or an unreadable one.
        ModelError: it was made of something else.
    """

    def __init__(self, folder: Path, wanted: Origin, device: torch.device) -> None:
        try:
            self.about = json.loads((folder / CACHE).read_text())
        except (OSError, ValueError) as fault:
            raise ShardError(
                f"{folder}: no finished target cache ({fault}); run the stage distill that writes it first"
            ) from fault
        wanted.refuse_other(folder, self.about)
        self.folder, self.device, self.kind, self.kept = (
            folder,
            device,
            wanted.kind,
            self.about["tokens"],
        )
        self.output = self._output() if self.kind == "hidden" else None
        self.shards: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def _output(self) -> Output:
        found = {
            name: tensor.to(self.device) for name, tensor in load_file(self.folder / OUTPUT).items()
        }
        return Output(found["weight"], found.get("bias"), self.about["softcap"])

    def signal(self, batch: Packed) -> Signal:
        """At batch.taught(), in that order; tokens that no divergence teaches get a harmless
        filling.
        """
        asked_BT = batch.kl_BT > 0
        sources_N, begins = sequences_of(batch, asked_BT)
        known = [self._sequence(int(row)) for row in sources_N[begins]]
        rows_NB = np.frombuffer(b"".join(known), np.uint8).reshape(
            -1, self.about["bytes_per_token"]
        )
        if len(rows_NB) != len(sources_N):
            found = f"{len(rows_NB)} targets for {len(sources_N)} taught tokens of a batch"
            raise ShardError(f"{self.folder}: {found}; delete it and run again")
        return self._signal(rows_NB, asked_BT[batch.taught()].to(self.device))

    def reading(self, batch: Packed) -> AbstractContextManager[Signal]:
        return nullcontext(self.signal(batch))

    def close(self) -> None:
        self.shards.clear()

    def _signal(self, rows_NB: np.ndarray, asked_N: Tensor) -> Signal:
        if self.kind == "hidden":
            bytes_NB = torch.empty(rows_NB.shape, dtype=torch.uint8).copy_(
                torch.from_numpy(rows_NB.copy())
            )
            assert self.output is not None  # read when the cache was opened
            hidden_NE = bytes_NB.view(getattr(torch, self.about["dtype"]))
            return Dense(self._spread(hidden_NE, asked_N, 0.0), self.output)
        if self.kind == "top_k":
            ids_NK, logprobs_NK = map(_tensor, compress.unpack_top_k(rows_NB, self.kept))
            even = -float(np.log(self.kept + 1))
            ids_NK = self._spread(ids_NK, asked_N, 0)
            ids_NK[~asked_N] = torch.arange(self.kept, device=self.device)
            return TopK(ids_NK, self._spread(logprobs_NK, asked_N, even))
        ids_NK, probs_NK, entropy_N = map(_tensor, compress.unpack_sampled(rows_NB, self.kept))
        return Sampled(
            self._spread(ids_NK, asked_N, 0),
            self._spread(probs_NK, asked_N, 0.0),
            self._spread(entropy_N, asked_N, 0.0),
        )

    def _spread(self, known: Tensor, asked_N: Tensor, filling: float) -> Tensor:
        whole = torch.full(
            (len(asked_N), *known.shape[1:]), filling, dtype=known.dtype, device=self.device
        )
        whole[asked_N] = known.to(self.device)
        return whole

    def _sequence(self, row: int) -> bytes:
        number, place = divmod(row, self.about["shard_sequences"])
        if number not in self.shards:
            path = shard_path(self.folder, number)
            try:
                self.shards[number] = pa.ipc.open_file(pa.memory_map(str(path))).read_all()[
                    "targets"
                ]
            except (pa.ArrowInvalid, OSError) as fault:
                raise ShardError(f"{path}: {fault}; delete {self.folder} and run again") from fault
            if len(self.shards) > OPEN_SHARDS:
                self.shards.popitem(last=False)
        return self.shards[number][place].as_buffer().to_pybytes()


def _tensor(values: np.ndarray) -> Tensor:
    """The values in memory of their own: fields of packed records may lie at odd distances."""
    return torch.from_numpy(np.array(values, order="C"))
