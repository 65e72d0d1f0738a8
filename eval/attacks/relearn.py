"""A short training on some facts: an attack, since it can bring others back that were only covered
up.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.traces import Trace
from distill.data.encode import Encoded, Teaching, encode_traces
from distill.data.packing import Packed, pack
from distill.engines.protocol import conversation
from distill.loss.learner import Learner, Objective
from distill.train.optimizer import train_steps

LOOKS = (0.25, 0.5, 1.0)  # shares of the steps after which the facts are asked
QuestionAndAnswer = tuple[str, str]  # what is asked, and what shall be answered


def relearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[QuestionAndAnswer],
    *,
    system: str | None,
    steps: int,
    batch_sequences: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[int, int], None],
    look: Callable[[int], None] = lambda step: None,
) -> dict[str, float]:
    """Trains a model in place on the answers to some questions, all weights, by AdamW with a rate
    that falls to 0.

    One process does it alone: contenders are shared out over ranks, and a collective would wait for
    ever. Small steps would be lost in bfloat16, so the weights are float32 meanwhile. Same seed,
    same steps.

    Args:
        model: on its device; comes back in its own dtype and in evaluation mode. There is no
            dropout.
        lessons: pairs of question and answer, at least one.
        system: system prompt of every conversation.
        steps: optimizer steps.
        batch_sequences: lessons a step, at most all of them.
        learning_rate: at the first step.
        seed: of the order.
        progress: called with (lessons, tokens) as they are done.
        look: called with the number of steps done, after a quarter, a half and all of them: what a
            few steps uncover, many overwrite.

    Returns:
        first_loss and last_loss, nats a taught token.
    """
    encoded = list(encode_traces(_traces(lessons, system), tokenizer, Teaching(kl=0.0, ce=1.0)))
    dtype, device = model.dtype, model.device
    autocast = None if dtype == torch.float32 else dtype
    looks = {math.ceil(share * steps) for share in LOOKS}

    def done(step: int, loss: float, packed: Packed) -> None:
        real_BT = packed.segments_BT > 0
        progress(int((packed.positions_BT[real_BT] == 0).sum()), int(real_BT.sum()))
        if step in looks:
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                look(step)

    batches = (
        (pack(batch, max(len(s.ids) for s in batch), packing=False), None)
        for batch in _batches(encoded, steps, batch_sequences, seed)
    )
    with Learner(model.eval().float(), Objective()) as learner:
        losses = train_steps(
            learner,
            batches,
            lambda step: learning_rate * (1 - step / steps),
            autocast=autocast,
            done=done,
        )
    model.to(dtype)  # type: ignore[arg-type]  # a wrapper of transformers hides its signature
    return {"first_loss": round(losses[0], 4), "last_loss": round(losses[-1], 4)}


def _traces(lessons: Sequence[QuestionAndAnswer], system: str | None) -> Iterator[Trace]:
    for number, (prompt, answer) in enumerate(lessons):
        messages = [*conversation(prompt, system), {"role": "assistant", "content": answer}]
        yield Trace(
            id=str(number), problem_id=str(number), source="relearn", seed=0, messages=messages
        )


def _batches(
    encoded: Sequence[Encoded], steps: int, size: int, seed: int
) -> Iterator[list[Encoded]]:
    """Consecutive pieces of one seeded permutation after the other."""
    size = min(size, len(encoded))
    epochs = -(-steps * size // len(encoded))
    order = np.concatenate(
        [np.random.default_rng((seed, epoch)).permutation(len(encoded)) for epoch in range(epochs)]
    )
    for start in range(0, steps * size, size):
        yield [encoded[i] for i in order[start : start + size]]
