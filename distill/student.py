"""The students: one base, then an arm each, on the same traces, batches and steps; arms differ in span actions only."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.traces import Trace
from distill.encode import EncodedFile, encode_traces, write_encoded
from distill.loop import Trainer
from distill.models import add_lora, build_model, check_pair, check_same_vocabulary, load_model, load_tokenizer, save_model
from recipes.schema import Distill, Model


def make_base(spec: Model, teacher_tokenizer: PreTrainedTokenizerBase | None, folder: Path, *, seed: int) -> dict[str, object]:
    """The student before training, saved: every arm starts from these weights.

    A student with a shape takes the teacher's tokenizer; one with a path brings its own.
    """
    if spec.shape is not None:
        assert teacher_tokenizer is not None
        tokenizer, model = (
            teacher_tokenizer,
            build_model(spec.shape, teacher_tokenizer, seed=seed, dtype=spec.dtype, attention=spec.attention),
        )
    else:
        tokenizer, model = load_tokenizer(spec), load_model(spec)
    check_pair(model, tokenizer, "models.student")
    save_model(model, tokenizer, folder)
    return {"parameters": model.num_parameters(), "vocab_size": len(tokenizer)}


def train_arm(
    spec: Model, config: Distill, *, base: Path, teacher: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]] | None,
    traces: Iterable[Trace], folder: Path, label: str, seed: int, replay: list[int] | None, is_main: bool, wait: Callable[[Path], None],
) -> dict[str, object]:  # fmt: skip
    """Trains one arm into `folder`, a transformers model folder (adapters, if any, are merged and also kept apart).

    Args:
        base: the weights to start from.
        teacher: opens the live teacher; None: cross-entropy on its text.
        traces: as this arm sees them.
        replay: phase lengths of the student's run, which every other arm repeats.
    """
    tokenizer = load_tokenizer(spec, base)
    data, counts = folder / "encoded.arrow", {}
    if is_main and not data.exists():
        weights = {"kl": 1.0, "ce": config.ce_weight} if teacher else {"kl": 0.0, "ce": 1.0}
        counts = write_encoded(encode_traces(traces, tokenizer, **weights), data, longest=config.sequence_tokens, label=label)
    wait(data)
    live = None
    if teacher:
        live, teacher_tokenizer = teacher()
        check_same_vocabulary(teacher_tokenizer, tokenizer)
    model = _trainable(spec, base, seed)
    trainer = Trainer(model, live, config, folder, temperature=config.temperature)
    notes = trainer.fit(EncodedFile(data), seed=seed, label=label, replay=replay)
    weights_by_name = trainer.weights()
    trainer.close()
    if is_main:
        whole = _trainable(spec, base, seed)
        whole.load_state_dict(weights_by_name)
        if spec.lora.rank:
            whole.save_pretrained(folder / "adapter", safe_serialization=True)
            whole = whole.merge_and_unload()
        save_model(whole, tokenizer, folder)
        data.unlink()
    return notes | counts


def _trainable(spec: Model, base: Path, seed: int) -> nn.Module:
    model = load_model(spec, base)
    return add_lora(model, spec.lora, seed=seed) if spec.lora.rank else model
