"""Context to weights: a model with documents in its context teaches itself without them, into an
adapter that can be taken off.

Teacher and student are one model in memory, without and with the adapter. The core never changes:
adding and removing what was learned is loading and unloading the adapter.

Letters: N taught tokens, T tokens of a row, V vocabulary, E hidden width.

Source: context distillation, arXiv 2112.00861 (section 2.2), arXiv 2209.15189.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.adapters import add_lora
from distill.chat_templates.turns import Renderer
from distill.data.encode import Encoded
from distill.data.packing import Packed, pack
from distill.engines.local import LocalEngine
from distill.engines.protocol import Conversation, Sampling, render
from distill.forward import hidden_states
from distill.loss.learner import Learner, Objective
from distill.loss.signals import Dense, output_of
from distill.train.optimizer import train_steps
from recipes.errors import ModelError
from recipes.schema.sleep import Sleep
from recipes.vocabulary import FinishReason

WARMUP = 20  # steps


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question, and the document that answers it; without one the question is rehearsed."""

    question: str
    document: str = ""
    tools: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """The same answer behind both prompts, in token ids."""

    teacher: list[int]
    student: list[int]
    answer_tokens: int  # at the end of both


def sleep(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[Lesson],
    rehearsal: Sequence[Lesson],
    config: Sleep,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[int, float], None] = lambda *_: None,
) -> dict[str, Any]:
    """Learns the documents into folder/adapter, a peft adapter; the model comes back without it.

    Args:
        lessons: with documents.
        rehearsal: without: what must stay as it is.
        seed: of batches and adapter.
        progress: called with (step, loss).

    Raises:
        ModelError: the model answers nothing with a document in front of it.

    Returns:
        notes: the losses of the first and the last ten steps (nats a token) and counts.
    """
    engine = LocalEngine(model, tokenizer, batch_sequences=256)
    taught, kept = (_pairs(engine, tokenizer, part, config) for part in (lessons, rehearsal))
    if not taught:
        limit = f"sleep.max_new_tokens {config.max_new_tokens}"
        raise ModelError(
            f"{folder}: none of {len(lessons)} documents was answered within {limit}; raise it, or ask other questions"
        )
    adapted = add_lora(model, config.lora, seed=seed).train()
    rehearsed = round(config.rehearsal_fraction * config.batch_sequences) if kept else 0
    rng = random.Random(f"sleep/{seed}")

    def batches() -> Iterator[tuple[Packed, Dense]]:
        for _ in range(config.steps):
            pairs = rng.choices(taught, k=config.batch_sequences - rehearsed)
            yield paired_batch(adapted, pairs + rng.choices(kept or taught, k=rehearsed))

    def learning_rate(step: int) -> float:
        return config.learning_rate * min((step + 1) / WARMUP, 1 - step / config.steps)

    with Learner(adapted, Objective()) as learner:
        losses = train_steps(
            learner, batches(), learning_rate, done=lambda step, loss, _: progress(step, loss)
        )
    adapted.save_pretrained(str(folder / "adapter"), safe_serialization=True)
    adapted.unload()
    return {
        "documents": len(lessons),
        "rehearsed": len(kept),
        "first_loss": _mean(losses[:10]),
        "last_loss": _mean(losses[-10:]),
    }


def paired_batch(model: PeftModel, pairs: Sequence[AnswerPair]) -> tuple[Packed, Dense]:
    """Rows without the document, and what the model without its adapter says with it, at the same
    tokens of the answers; only hidden states are held, never logits.
    """
    device = next(model.parameters()).device
    shown, bare = (
        _packed([getattr(pair, who) for pair in pairs], pairs).to(device)
        for who in ("teacher", "student")
    )
    with torch.no_grad(), model.disable_adapter():
        hidden_NE = hidden_states(model, shown)[shown.taught()]
    # both are in the order of their rows: the teacher's are put into the student's
    order_N, places_N = (
        packed.sources_BT[packed.taught()].argsort(stable=True) for packed in (shown, bare)
    )
    sorted_NE = torch.empty_like(hidden_NE)
    sorted_NE[places_N] = hidden_NE[order_N]
    return bare, Dense(sorted_NE, output_of(model, None))


def _packed(rows: Sequence[list[int]], pairs: Sequence[AnswerPair]) -> Packed:
    """Rows that teach the answers at their ends, by the divergence alone."""
    sequences = []
    for number, (ids, pair) in enumerate(zip(rows, pairs, strict=True)):
        taught = np.zeros(len(ids), np.float32)
        taught[len(ids) - pair.answer_tokens :] = 1
        none = np.zeros_like(taught)
        sequences.append(Encoded(np.array(ids, np.int32), taught, none, none, row=number))
    return pack(sequences, max(map(len, rows)))


def _pairs(
    engine: LocalEngine,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[Lesson],
    config: Sleep,
) -> list[AnswerPair]:
    """What the model answers with the document in front of it, behind both prompts."""
    pairs = []
    for tools in dict.fromkeys(lesson.tools for lesson in lessons):
        mine = [lesson for lesson in lessons if lesson.tools == tools]
        shown = [_ask(f"{lesson.document} {lesson.question}".strip()) for lesson in mine]
        answers = engine.complete(
            shown, Sampling(max_new_tokens=config.max_new_tokens), tools=tools
        )
        for lesson, talk, answer in zip(mine, shown, answers, strict=True):
            if answer.finish_reason == FinishReason.STOP and answer.text:
                pairs.append(_pair(tokenizer, talk, _ask(lesson.question), answer.text, tools))
    return pairs


def _pair(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    bare: Conversation,
    answer: str,
    tools: str | None,
) -> AnswerPair:
    """The answer's tokens are those behind the bare prompt."""
    talk = [*bare, {"role": "assistant", "content": answer}]
    rendering = Renderer(tokenizer).renderings(talk, tools)[-1]
    turn = rendering.turns[-1]
    before, begun, tail = (
        tokenizer.encode(text, add_special_tokens=False)
        for text in (
            render(tokenizer, shown, tools=tools),
            rendering.text[: turn.begin],
            rendering.text[turn.begin : turn.end],
        )
    )
    return AnswerPair(before + tail, begun + tail, len(tail))


def _ask(text: str) -> Conversation:
    return [{"role": "user", "content": text}]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / max(len(values), 1), 5)
