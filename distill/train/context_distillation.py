"""Context to weights: a model with documents in its context teaches itself without them, into an
adapter that can be taken off.

Teacher and student are one model in memory, without and with the adapter. The core never changes:
adding and removing what was learned is loading and unloading the adapter.

Source: context distillation, arXiv 2112.00861 (section 2.2), arXiv 2209.15189.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.engines.local import LocalEngine
from distill.engines.protocol import Conversation, Sampling, render, written
from distill.models import add_lora
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
class Pair:
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
    learner = add_lora(model, config.lora, seed=seed).train()
    optimizer = torch.optim.AdamW(
        [p for p in learner.parameters() if p.requires_grad],
        lr=config.learning_rate,
        weight_decay=0.0,
    )
    rng, losses = random.Random(f"sleep/{seed}"), []
    rehearsed = round(config.rehearsal * config.batch_sequences) if kept else 0
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min((step + 1) / WARMUP, 1 - step / config.steps)
        batch = rng.choices(taught, k=config.batch_sequences - rehearsed) + rng.choices(
            kept or taught, k=rehearsed
        )
        loss = divergence(learner, batch, tokenizer.pad_token_id)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        progress(step + 1, losses[-1])
    learner.save_pretrained(folder / "adapter", safe_serialization=True)
    learner.unload()
    return {
        "documents": len(lessons),
        "rehearsed": len(kept),
        "first_loss": _mean(losses[:10]),
        "last_loss": _mean(losses[-10:]),
    }


def divergence(learner: PeftModel, batch: Sequence[Pair], pad: int) -> Tensor:
    """KL(model with the document || adapter without), nats, mean over the tokens of the answers."""
    with torch.no_grad(), learner.disable_adapter():
        teacher_NV = _answer_logprobs(learner, [pair.teacher for pair in batch], batch, pad)
    student_NV = _answer_logprobs(learner, [pair.student for pair in batch], batch, pad)
    return torch.nn.functional.kl_div(
        student_NV, teacher_NV, log_target=True, reduction="batchmean"
    )


def _answer_logprobs(
    model: PeftModel, rows: Sequence[list[int]], batch: Sequence[Pair], pad: int
) -> Tensor:
    """Log-probabilities [N, V] with which each token of the answers is predicted; only these logits
    are kept.
    """
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad)
    mask_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, ids in enumerate(rows):
        ids_BT[row, longest - len(ids) :] = torch.tensor(ids)
        mask_BT[row, longest - len(ids) :] = 1
    most, device = max(pair.answer_tokens for pair in batch), next(model.parameters()).device
    position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    logits_BTV = model(
        input_ids=ids_BT.to(device),
        attention_mask=mask_BT.to(device),
        position_ids=position_BT.to(device),
        use_cache=False,
        logits_to_keep=most + 1,
    ).logits
    rows_of_answers = [
        logits_BTV[row, most - pair.answer_tokens : most] for row, pair in enumerate(batch)
    ]
    return torch.log_softmax(torch.cat(rows_of_answers).float(), -1)


def _pairs(
    engine: LocalEngine,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[Lesson],
    config: Sleep,
) -> list[Pair]:
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
) -> Pair:
    """The answer's tokens are those behind the bare prompt."""
    begun, whole = (
        tokenizer.encode(text, add_special_tokens=False)
        for text in (
            render(tokenizer, bare, tools=tools),
            written(tokenizer, [*bare, {"role": "assistant", "content": answer}], tools),
        )
    )
    common = next(
        (n for n, (a, b) in enumerate(zip(begun, whole, strict=False)) if a != b), len(begun)
    )
    tail = whole[common:]
    before = tokenizer.encode(render(tokenizer, shown, tools=tools), add_special_tokens=False)
    return Pair(before + tail, whole[:common] + tail, len(tail))


def _ask(text: str) -> Conversation:
    return [{"role": "user", "content": text}]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / max(len(values), 1), 5)
