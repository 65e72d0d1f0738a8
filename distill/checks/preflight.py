"""What can be refused before any weight is loaded: configs, tokenizers and the machine, one line a
fault.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from distill.checks.tokenizers_agree import check_same_tokens, check_special_tokens, check_template
from distill.models import check_lora_targets, check_pair, shared_vocabulary
from distill.train.accelerator import check_deepspeed, launched_zero_stage
from recipes.errors import ModelError, TrainingError
from recipes.schema import Distill, Model, Training

Check = Callable[[], str]  # says in a few words what was found, or raises

# distributions, not modules: a folder wandb/ in the working directory can be imported too
PACKAGES = {
    "trackio": ("trackio",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    **{
        f"flash_attention_{n}": (name, "kernels")
        for n, name in ((2, "flash-attn"), (3, "flash-attn-3"), (4, "flash-attn-4"))
    },
}
# layer types that look at a mask
ATTENTION = {"attention", "full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, as far as configs and tokenizers tell; what is None is not known
    and not checked.

    Args:
        distill: the section of the recipe.
        spec: models.student.
        student, tokenizer: its config and tokenizer.
        teacher, teacher_tokenizer: None also where the divergence is none.
        teacher_spec: models.teacher.
    """

    distill: Distill
    spec: Model
    student: PretrainedConfig | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    teacher: PretrainedConfig | None = None
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    teacher_spec: Model | None = None

    def checks(self) -> Iterator[tuple[str, Check]]:
        """Every check with its name, cheapest first."""
        yield from machine_checks(self.distill, self.spec, "distill")
        yield "taught roles", lambda: check_roles(self.distill)
        if self.tokenizer is not None and self.student is not None:
            yield (
                "student's ids",
                lambda: check_pair(self.student, self.tokenizer, "models.student"),
            )
        if self.teacher_tokenizer is not None and self.tokenizer is not None:
            if self.teacher is not None and self.student is not None:
                yield "vocabulary", self._vocabulary
            yield (
                "special tokens",
                lambda: check_special_tokens(self.teacher_tokenizer, self.tokenizer),
            )
        if self.tokenizer is not None:
            yield "chat template", lambda: check_template(self.tokenizer)
        if self.student is not None:
            yield (
                "lengths",
                lambda: check_length(
                    self.distill.sequence_tokens, self.student, "distill", "the student"
                ),
            )
            yield (
                "layers",
                lambda: check_layers(self.skeleton, self.spec, self.distill, "models.student"),
            )
            yield "plain weights", lambda: check_plain(self.student, self.spec)
        if self.teacher is not None:
            yield (
                "teacher's length",
                lambda: check_length(
                    self.distill.sequence_tokens, self.teacher, "distill", "the teacher"
                ),
            )
        if self.teacher is not None and self.teacher_spec is not None:
            yield "teacher's layers", self._teacher_layers
        if self.spec.lora.rank and self.student is not None:
            yield (
                "LoRA targets",
                lambda: (
                    f"{len(check_lora_targets(self.skeleton, self.spec.lora))} kinds of modules"
                ),
            )

    @property
    def complete(self) -> bool:
        """Whether both tokenizers are known, so that no check is left out."""
        return self.tokenizer is not None and (
            self.teacher is None or self.teacher_tokenizer is not None
        )

    @cached_property
    def skeleton(self) -> PreTrainedModel:
        """The student without memory for weights."""
        return skeleton(self.student, self.spec)

    def _vocabulary(self) -> str:
        rows = tuple(
            int(config.get_text_config().vocab_size) for config in (self.teacher, self.student)
        )
        shared = shared_vocabulary(self.teacher_tokenizer, self.tokenizer, rows)
        check_same_tokens(self.teacher_tokenizer, self.tokenizer)
        kept = self.distill.targets.tokens
        if self.distill.targets.kind == "top_k" and kept >= shared:
            raise ModelError(
                f"distill.targets.tokens {kept} leaves no tail in a vocabulary of {shared} ids; wanted fewer"
            )
        return f"{shared} ids shared" + (
            f" (output matrices of {rows[0]} and {rows[1]} rows)" if rows[0] != rows[1] else ""
        )

    def _teacher_layers(self) -> str:
        check_attention(self.teacher_spec, "models.teacher")
        return check_layers(
            skeleton(self.teacher, self.teacher_spec),
            self.teacher_spec,
            self.distill,
            "models.teacher",
        )


def teacher_checks(training: Training, spec: Model) -> Iterator[tuple[str, Check]]:
    """What can be refused before a teacher with a shape is trained."""
    yield from (
        (f"teacher: {name}", check) for name, check in machine_checks(training, spec, "teacher")
    )
    yield (
        "teacher: lengths",
        lambda: _fits(
            training.sequence_tokens, spec.shape.max_position_tokens, "teacher", "the teacher"
        ),
    )


def skeleton(config: PretrainedConfig, spec: Model | None = None) -> PreTrainedModel:
    """A causal LM on the meta device: names and shapes only.

    Raises:
        ModelError: no causal LM of transformers, or not with the attention that was asked for.
    """
    # check_attention looks at the others
    asked = spec.attention if spec and spec.attention in ("sdpa", "eager") else "eager"
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config,
                attn_implementation=asked,
                trust_remote_code=spec.trust_remote_code if spec else False,
            )
    except (ValueError, ImportError) as fault:
        where = f"model {spec.path or 'with a shape'}: " if spec else ""
        raise ModelError(f"{where}{str(fault).splitlines()[0]}") from fault


# --- configs
# ------------------------------------------------------------------------------------------------------------


def check_length(tokens: int, config: PretrainedConfig, section: str, who: str) -> str:
    """Refuses rows longer than a model's positions.

    Raises:
        ModelError: as said.
    """
    return _fits(
        tokens, getattr(config.get_text_config(), "max_position_embeddings", None), section, who
    )


def _fits(tokens: int, most: int | None, section: str, who: str) -> str:
    if most is not None and tokens > most:
        raise ModelError(
            f"{section}.sequence_tokens {tokens} is more than the {most} positions of {who}; lower it"
        )
    return f"{tokens} tokens a row, {who} has {most or 'unlimited'} positions"


def check_layers(model: nn.Module, spec: Model, distill: Distill, where: str) -> str:
    """Refuses architectures that the learner would read wrongly.

    A recurrent layer looks at no mask: what it carries would cross from one packed sequence into
    the next. Flash attention knows windows, not chunks.

    Args:
        model: without weights.
        where: names the model in the recipe.

    Raises:
        ModelError: as said.
    """
    text, name = model.config.get_text_config(), type(model).__name__
    if not isinstance(getattr(model, "lm_head", None), nn.Linear) or not isinstance(
        getattr(model, "model", None), nn.Module
    ):
        raise ModelError(
            f"{where}: {name} has no decoder `model` beside an output matrix `lm_head`; choose a family that has, e.g. Qwen3"
        )
    kinds = set(
        getattr(text, "layer_types", None)
        or getattr(text, "layers_block_type", None)
        or ["full_attention"]
    )
    chunk = getattr(text, "attention_chunk_size", None)
    if (
        chunk
        and "chunked_attention" in kinds
        and chunk < distill.sequence_tokens
        and spec.attention in PACKAGES
    ):
        raise ModelError(
            f"{where}: {name} has layers that see chunks of {chunk} tokens, which {spec.attention} does not keep for "
            f"distill.sequence_tokens {distill.sequence_tokens}; set {where}.attention: sdpa, or at most {chunk} tokens"
        )
    recurrent = sorted(kinds - ATTENTION)
    if recurrent and distill.packing:
        found = f"{', '.join(recurrent)} layers, which carry over from one packed sequence into the next"
        raise ModelError(f"{where}: {name} has {found}; set distill.packing: false")
    return f"{name}, {', '.join(sorted(kinds))}"


def check_plain(config: PretrainedConfig, spec: Model) -> str:
    """Refuses a student whose weights are quantised; those of a GGUF file are unpacked as they are
    loaded, also under ZeRO-3.

    Raises:
        ModelError: as said.
    """
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None and spec.gguf_file is None:
        method = (
            quantised.get("quant_method")
            if isinstance(quantised, dict)
            else getattr(quantised, "quant_method", "")
        )
        raise ModelError(
            f"models.student.path {spec.path} is quantised ({method}) and cannot be trained; name the plain weights instead"
        )
    return f"trained in {spec.dtype}"


# --- what is taught, and on what
# ----------------------------------------------------------------------------------------


def check_roles(distill: Distill) -> str:
    """Refuses weights under which no message teaches anything.

    Raises:
        TrainingError: as said.
    """
    taught = {role: weight for role, weight in distill.role_weights.items() if weight > 0}
    if not taught:
        raise TrainingError(
            f"distill.role_weights {dict(distill.role_weights)} teach nothing; wanted one above 0, e.g. {{assistant: 1.0}}"
        )
    return ", ".join(f"{role} {weight:g}" for role, weight in taught.items())


def machine_checks(training: Training, spec: Model, section: str) -> Iterator[tuple[str, Check]]:
    """What this launch must be able to do.

    Args:
        spec: of the model that is trained.
        section: distill or teacher.
    """
    yield "ZeRO", lambda: check_zero(training, section)
    yield (
        "attention",
        lambda: check_attention(
            spec, "models.teacher" if section == "teacher" else "models.student"
        ),
    )
    yield "trackers", lambda: check_trackers(training, section)


def check_zero(training: Training, section: str) -> str:
    """Refuses Muon under ZeRO, and a sharded teacher without ZeRO-3.

    Raises:
        TrainingError: as said.
    """
    stage = launched_zero_stage()
    found = "no DeepSpeed" if stage is None else f"ZeRO-{stage}"
    if stage is not None:
        check_deepspeed(training)
    if isinstance(training, Distill) and training.targets.teacher == "sharded" and stage != 3:
        raise TrainingError(
            f"{section}.targets.teacher: sharded needs ZeRO-3, this launch has {found}; use launch/accelerate/zero3_*.yaml"
        )
    return f"{found}, optimizer {training.optimizer}"


def check_trackers(training: Training, section: str) -> str:
    """Refuses trackers that are not installed; accelerate would leave them out without a word.

    Raises:
        TrainingError: as said.
    """
    missing = [name for name in training.trackers if not _installed(name)]
    if missing:
        raise TrainingError(
            f"{section}.trackers: {', '.join(missing)} is not installed; pip install it, or leave it out"
        )
    return ", ".join(training.trackers) or "none"


def check_attention(spec: Model, where: str) -> str:
    """Refuses a kernel that is not here.

    Raises:
        TrainingError: as said.
    """
    if spec.attention not in PACKAGES or (torch.cuda.is_available() and _installed(spec.attention)):
        return spec.attention
    why = (
        f"no package {PACKAGES[spec.attention][0]}"
        if torch.cuda.is_available()
        else "no CUDA device"
    )
    raise TrainingError(
        f"{where}.attention: {spec.attention} was asked for and there is {why}; install it, or set attention: sdpa"
    )


def _installed(name: str) -> bool:
    for package in PACKAGES[name]:
        try:
            return bool(version(package))
        except PackageNotFoundError:
            continue
    return False
