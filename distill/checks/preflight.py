"""What can be refused before any weight is loaded: configs, tokenizers and the machine, one line a
fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from distill.adapters import check_lora_targets
from distill.checks.machine import PACKAGES, Check, check_attention, machine_checks
from distill.checks.tokenizers_agree import check_same_tokens, check_special_tokens, check_template
from distill.models import check_pair, end_ids, shared_vocabulary
from recipes.errors import ModelError, TrainingError
from recipes.schema import Distill, Model, Training

# layer types that look at a mask
ATTENTION = {"attention", "full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class ModelPair:
    """A student and its teacher, as far as configs and tokenizers tell; what is None is not known
    and not checked.

    Args:
        distill: the section of the recipe.
        spec: models.student.
        student, tokenizer: its config and tokenizer.
        teacher, teacher_tokenizer: None also where the divergence is none.
        teacher_spec: models.teacher.
        tools: whether conversations may call tools.
    """

    distill: Distill
    spec: Model
    student: PretrainedConfig | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    teacher: PretrainedConfig | None = None
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    teacher_spec: Model | None = None
    tools: bool = False

    def checks(self) -> Iterator[tuple[str, Check]]:
        """Every check with its name, cheapest first."""
        student, tokenizer = self.student, self.tokenizer
        longest = self.distill.sequence_tokens
        yield from machine_checks(self.distill, self.spec, "distill")
        yield "taught roles", partial(check_roles, self.distill)
        if tokenizer is not None and student is not None:
            yield "student's ids", partial(check_pair, student, tokenizer, "models.student")
        if self.teacher_tokenizer is not None and tokenizer is not None:
            if self.teacher is not None and student is not None:
                configs = (self.teacher, student)
                both = (self.teacher_tokenizer, tokenizer)
                yield "vocabulary", partial(_vocabulary, self.distill, configs, both)
            agree = partial(check_special_tokens, self.teacher_tokenizer, tokenizer)
            yield "special tokens", agree
        if tokenizer is not None:
            ends = end_ids(self.spec, tokenizer)
            template = partial(check_template, tokenizer, tools=self.tools, ends=ends)
            yield "chat template", template
        if student is not None:
            fits = partial(check_length, longest, student, "distill", "the student")
            yield "lengths", fits
            yield "layers", self._layers
            yield "plain weights", partial(check_plain, student, self.spec)
        if self.teacher is not None:
            fits = partial(check_length, longest, self.teacher, "distill", "the teacher")
            yield "teacher's length", fits
        if self.teacher is not None and self.teacher_spec is not None:
            layers = partial(_teacher_layers, self.teacher, self.teacher_spec, self.distill)
            yield "teacher's layers", layers
        if self.spec.lora.rank and student is not None:
            yield "LoRA targets", self._lora_targets

    @property
    def complete(self) -> bool:
        """Whether both tokenizers are known, so that no check is left out."""
        return self.tokenizer is not None and (
            self.teacher is None or self.teacher_tokenizer is not None
        )

    @cached_property
    def skeleton(self) -> PreTrainedModel:
        """The student without memory for weights; its config must be known."""
        assert self.student is not None
        return skeleton(self.student, self.spec)

    def _layers(self) -> str:
        return check_layers(self.skeleton, self.spec, self.distill, "models.student")

    def _lora_targets(self) -> str:
        return f"{len(check_lora_targets(self.skeleton, self.spec.lora))} kinds of modules"


def _vocabulary(
    distill: Distill,
    configs: tuple[PretrainedConfig, PretrainedConfig],
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
) -> str:
    """Of teacher and student, in this order."""
    first, second = (int(config.get_text_config().vocab_size) for config in configs)
    shared = shared_vocabulary(*tokenizers, (first, second))
    check_same_tokens(*tokenizers)
    kept = distill.targets.tokens_per_position
    if distill.targets.kind == "top_k" and kept >= shared:
        raise ModelError(
            f"distill.targets.tokens_per_position {kept} leaves no tail in a vocabulary of {shared} ids; expected fewer"
        )
    sizes = f" (output matrices of {first} and {second} rows)" if first != second else ""
    return f"{shared} ids shared{sizes}"


def _teacher_layers(config: PretrainedConfig, spec: Model, distill: Distill) -> str:
    check_attention(spec, "models.teacher")
    return check_layers(skeleton(config, spec), spec, distill, "models.teacher")


def teacher_checks(training: Training, spec: Model) -> Iterator[tuple[str, Check]]:
    """What can be refused before a teacher with a shape is trained."""
    yield from (
        (f"teacher: {name}", check) for name, check in machine_checks(training, spec, "teacher")
    )
    if spec.shape is not None:
        positions = spec.shape.max_position_tokens
        fits = partial(_fits, training.sequence_tokens, positions, "teacher", "the teacher")
        yield "teacher: lengths", fits


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


def check_layers(model: PreTrainedModel, spec: Model, distill: Distill, where: str) -> str:
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
            f"distill.role_weights {dict(distill.role_weights)} teach nothing; expected one above 0, e.g. {{assistant: 1.0}}"
        )
    return ", ".join(f"{role} {weight:g}" for role, weight in taught.items())
