"""The students: one base, then an arm each, on the same traces, batches and steps; arms differ in
span actions only.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.traces import Trace
from distill.adapters import add_lora
from distill.data.encode import encode_traces, teaching
from distill.data.packing import EncodedFile, counts_of, write_encoded
from distill.loss.divergences import Divergence
from distill.loss.learner import Objective
from distill.models import build_model, check_pair, load_model, load_tokenizer, save_model
from distill.train.loop import OpenSource, Trainer
from distill.train.probe import Look, Prober
from recipes.schema import Distill, Model

if TYPE_CHECKING:
    from peft import PeftModel


def make_base(
    spec: Model, teacher_tokenizer: PreTrainedTokenizerBase | None, folder: Path, *, seed: int
) -> dict[str, Any]:
    """The student before training, saved: every arm starts from these weights.

    A student with a shape takes the teacher's tokenizer; one with a path brings its own.
    """
    if spec.shape is not None:
        assert teacher_tokenizer is not None
        tokenizer, model = (
            teacher_tokenizer,
            build_model(
                spec.shape, teacher_tokenizer, seed=seed, dtype=spec.dtype, attention=spec.attention
            ),
        )
    else:
        tokenizer, model = load_tokenizer(spec), load_model(spec)
    check_pair(model.config, tokenizer, "models.student")
    save_model(model, tokenizer, folder)
    return {"parameters": model.num_parameters(), "vocab_size": len(tokenizer)}


def encode_arm(
    spec: Model,
    config: Distill,
    base: Path,
    traces: Iterable[Trace],
    path: Path,
    *,
    label: str,
    is_main: bool,
    wait: Callable[[Path], None],
) -> dict[str, int]:
    """Writes the sequences that an arm learns from, unless they are there; every rank comes back
    when they are.

    Args:
        base: where the student's tokenizer lies.
        traces: as this arm sees them.
        path: of the file.

    Returns:
        what was written and what was left out, also where an earlier start wrote the file.
    """
    if is_main and not path.exists():
        left_out = Counter[str]()
        tokenizer = load_tokenizer(spec, base)
        encoded = encode_traces(traces, tokenizer, teaching(config), left_out=left_out)
        longest = config.sequence_tokens
        write_encoded(encoded, path, longest=longest, label=label, left_out=left_out)
    wait(path)
    return counts_of(path)


def objective(config: Distill, vocab_size: int | None) -> Objective:
    """What the students minimise; vocab_size: ids that teacher and student share."""
    kind = "forward_kl" if config.divergence == "none" else config.divergence
    return Objective(
        divergence=Divergence(kind, config.beta, config.temperature),
        vocab_size=vocab_size,
        backend=config.loss,
    )


def train_arm(
    spec: Model,
    config: Distill,
    *,
    base: Path,
    source: OpenSource | None,
    vocab_size: int | None,
    data: EncodedFile,
    folder: Path,
    label: str,
    seed: int,
    replay: list[int] | None,
    is_main: bool,
    look: Look | None,
    run: str,
) -> dict[str, Any]:
    """Trains one arm into `folder`, a transformers model folder (adapters, if any, are merged and
    also kept apart).

    Args:
        base: the weights to start from.
        source: opens the teacher's targets; None: cross-entropy on its text.
        vocab_size: ids that teacher and student share; None without a teacher.
        data: the sequences of this arm.
        replay: phase lengths of the student's run, which every other arm repeats.
        look: asks a model while it trains; None: nobody does.
        run: project and name for the trackers.
    """
    prober = Prober(config.probe, look, lambda: _trainable(spec, base, seed)) if look else None
    trainer = Trainer(
        _trainable(spec, base, seed),
        config,
        folder,
        objective=objective(config, vocab_size),
        source=source,
        prober=prober,
        run=run,
    )
    notes = trainer.fit(data, seed=seed, label=label, replay=replay)
    weights_by_name = trainer.weights()
    trainer.close()
    if is_main:
        trained = _trainable(spec, base, seed)
        trained.load_state_dict(weights_by_name)
        if isinstance(trained, PreTrainedModel):
            whole = trained
        else:
            trained.save_pretrained(str(folder / "adapter"), safe_serialization=True)
            whole = trained.merge_and_unload()
        save_model(whole, load_tokenizer(spec, base), folder)
    return notes


def _trainable(spec: Model, base: Path, seed: int) -> "PreTrainedModel | PeftModel":
    model = load_model(spec, base)
    return add_lora(model, spec.lora, seed=seed) if spec.lora.rank else model
