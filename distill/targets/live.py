"""A live teacher: it reads the batch that the student learns from, in the same process.

Letters: B rows, T tokens, N taught tokens, V vocabulary, E the teacher's hidden width.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.data.packing import Packed
from distill.forward import hidden_states, output_matrix
from distill.loss.signals import Dense, Output, Signal, output_of
from distill.targets.teacher_facts import TeacherFacts


class TargetSource(Protocol):
    """Where the teacher's signal for a batch comes from: a live teacher, or a cache."""

    def reading(self, batch: Packed) -> AbstractContextManager[Signal]:
        """The signal at batch.taught(), in that order; to be used (backward excluded) before the
        context ends.
        """
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


class GivesHidden(Protocol):
    """What is asked for hidden states."""

    def hidden_states(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """[T, E] of each row, final norm included."""
        ...


class LiveTeacher:
    """A live teacher, whole on every rank.

    Args:
        model: moved to the device and frozen.
        vocab_size: ids that teacher and student share; None: all of the teacher's.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, vocab_size: int | None = None
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.vocab_size = vocab_size

    @contextmanager
    def reading(self, batch: Packed) -> Iterator[Dense]:
        with torch.no_grad():
            signal = Dense(
                hidden_states(self.model, batch)[batch.taught()],
                output_of(self.model, self.vocab_size),
            )
        yield signal

    def close(self) -> None:
        pass


class SpokenTeacher:
    """A teacher that runs elsewhere and gives its hidden states; the output matrix is at hand.

    Args:
        source: asked for every sequence of a batch.
        teacher: what is known of it without its weights.
        device: of the output matrix.
        vocab_size: ids that teacher and student share.
    """

    def __init__(
        self, source: GivesHidden, teacher: TeacherFacts, device: torch.device, vocab_size: int
    ) -> None:
        whole = teacher.output().first(vocab_size)
        bias_V = None if whole.bias_V is None else whole.bias_V.to(device)
        self.output = Output(whole.weight_VD.to(device), bias_V, whole.softcap)
        self.source, self.teacher, self.device = source, teacher, device

    @contextmanager
    def reading(self, batch: Packed) -> Iterator[Dense]:
        taught_BT, numbers_BT = batch.taught(), batch.sequence_numbers()
        asked = numbers_BT[taught_BT].unique_consecutive()
        places = [numbers_BT == number for number in asked]
        found = self.source.hidden_states([batch.ids_BT[here].tolist() for here in places])
        kept = [
            hidden_TE[taught_BT[here].to(hidden_TE.device)]
            for here, hidden_TE in zip(places, found, strict=True)
        ]
        width, dtype = self.output.weight_VD.shape[1], self.teacher.dtype
        hidden_NE = torch.cat(kept) if kept else torch.empty(0, width)
        yield Dense((hidden_NE * self.teacher.logit_scale).to(self.device, dtype), self.output)

    def close(self) -> None:
        pass


class ShardedTeacher:
    """A live teacher whose weights are cut up over all ranks by ZeRO-3 and gathered module by
    module as it reads.

    Every rank must ask the same number of times: the loop's micro-batches see to that.

    Args:
        model: loaded under `loading_sharded`, or whole (then it is cut up here).
        config: what `loading_sharded` gave.
        vocab_size: as for LiveTeacher.
    """

    def __init__(
        self, model: nn.Module, config: dict[str, Any], vocab_size: int | None = None
    ) -> None:
        import deepspeed

        self.model = model.eval().requires_grad_(False)
        self.vocab_size = vocab_size
        self.engine, *_ = deepspeed.initialize(model=self.model, config=config)

    @contextmanager
    def reading(self, batch: Packed) -> Iterator[Dense]:
        import deepspeed

        with torch.no_grad():
            hidden_NE = hidden_states(self.model, batch)[batch.taught()]
        # gathered afterwards: where the embeddings are the same tensor, reading them would let go
        # of it again
        with deepspeed.zero.GatheredParameters(list(output_matrix(self.model).parameters())):
            yield Dense(hidden_NE, output_of(self.model, self.vocab_size))

    def close(self) -> None:
        self.engine.destroy()


@contextmanager
def loading_sharded() -> Iterator[dict[str, Any]]:
    """Inside, transformers loads a model cut up over all ranks, so that it never lies whole
    anywhere; gives the settings for ShardedTeacher.
    """
    from transformers.integrations import HfDeepSpeedConfig

    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
    }
    held = HfDeepSpeedConfig(config)  # transformers looks for a living one
    try:
        yield config
    finally:
        del held
