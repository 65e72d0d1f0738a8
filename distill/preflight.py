"""What can be refused before any weight is loaded: configs, tokenizers and the machine, one line a fault."""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerBase

from data_filters.traces import Span, Trace
from distill.divergences import Divergence
from distill.encode import Teaching, encode_traces
from distill.learner import Learner, Objective
from distill.machine import check_deepspeed, launched_zero_stage
from distill.models import check_lora_targets, check_pair, shared_vocabulary
from distill.packing import pack
from distill.targets import LiveTeacher
from recipes.errors import ModelError, TrainingError
from recipes.schema import Distill, Model, Training

Check = Callable[[], str]  # says in a few words what was found, or raises

FLASH = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface", "flash_attention_4": "flash_attn.cute"}
SAMPLE = (
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "<think>\n2 and 3 more: 5.\n</think>\n\nIt is 5."},
)


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, as far as configs and tokenizers tell.

    Args:
        distill: the section of the recipe.
        spec: models.student.
        student, tokenizer: its config and tokenizer.
        teacher, teacher_tokenizer: None where the divergence is none.
    """

    distill: Distill
    spec: Model
    student: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    teacher: PretrainedConfig | None = None
    teacher_tokenizer: PreTrainedTokenizerBase | None = None

    def checks(self) -> Iterator[tuple[str, Check]]:
        """Every check with its name, cheapest first."""
        yield "machine", lambda: check_machine(self.distill, self.spec, "distill")
        yield "lengths", lambda: check_length(self.distill.sequence_tokens, self.student, "distill", "the student")
        yield "student's ids", lambda: check_pair(self.student, self.tokenizer, "models.student")
        yield "chat template", lambda: check_template(self.tokenizer)
        if self.teacher is not None and self.teacher_tokenizer is not None:
            yield "vocabulary", self._vocabulary
            yield "special tokens", lambda: check_special_tokens(self.teacher_tokenizer, self.tokenizer)
            yield "teacher's length", lambda: check_length(self.distill.sequence_tokens, self.teacher, "distill", "the teacher")
        if self.spec.lora.rank:
            yield "LoRA targets", lambda: f"{len(check_lora_targets(self.skeleton, self.spec.lora))} kinds of modules"

    @cached_property
    def skeleton(self) -> nn.Module:
        """The student without memory for weights."""
        return skeleton(self.student)

    def _vocabulary(self) -> str:
        rows = tuple(int(config.get_text_config().vocab_size) for config in (self.teacher, self.student))
        shared = shared_vocabulary(self.teacher_tokenizer, self.tokenizer, rows)
        kept = self.distill.targets.tokens
        if self.distill.targets.kind == "top_k" and kept >= shared:
            raise ModelError(f"distill.targets.tokens {kept} leaves no tail in a vocabulary of {shared} ids; wanted fewer")
        return f"{shared} ids shared" + (f" (output matrices of {rows[0]} and {rows[1]} rows)" if rows[0] != rows[1] else "")


def skeleton(config: PretrainedConfig) -> nn.Module:
    """A causal LM on the meta device: names and shapes only."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def check_special_tokens(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str:
    """Refuses a student that would end its turns, or pad, with another token than its teacher.

    A base model often ends with <|endoftext|> what its instruct model ends with <|im_end|>; distilled from the one, generating with the
    other, it never stops.

    Raises:
        ModelError: as said, with the key to set.
    """
    for name in ("eos_token", "pad_token"):
        ours, theirs = getattr(student, name), getattr(teacher, name)
        if ours != theirs:
            raise ModelError(
                f"{name} is {theirs!r} for the teacher and {ours!r} for the student; set models.student.{name}: {theirs!r} "
                f"(or models.teacher.{name}), so that the student ends as its teacher does"
            )
    return f"end {student.eos_token!r}, pad {student.pad_token!r}"


def check_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Refuses a chat template that changes messages or drops thoughts, and one that does not end a turn.

    Raises:
        ModelError: as said.
    """
    trace = Trace(id="sample", problem_id="", source="", seed=0, messages=[dict(message) for message in SAMPLE])
    (encoded,) = encode_traces([trace], tokenizer, Teaching())
    if not encoded.kl.any():
        raise ModelError("the chat template renders no token of the assistant; choose another tokenizer")
    end = int(encoded.ids[encoded.kl.nonzero()[0][-1]])
    if tokenizer.eos_token_id != end:
        raise ModelError(
            f"the chat template ends a turn with {tokenizer.decode([end])!r}, eos_token is {tokenizer.eos_token!r}: the student would "
            "learn to write the one and stop at the other; set models.student.eos_token"
        )
    return f"verbatim with thoughts, {int((encoded.kl > 0).sum())} of {len(encoded.ids)} tokens of a sample are taught"


def check_length(tokens: int, config: PretrainedConfig, section: str, who: str) -> str:
    """Refuses rows longer than a model's positions.

    Raises:
        ModelError: as said.
    """
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is not None and tokens > most:
        raise ModelError(f"{section}.sequence_tokens {tokens} is more than the {most} positions of {who}; lower it")
    return f"{tokens} tokens a row, {who} has {most or 'unlimited'} positions"


def check_machine(training: Training, spec: Model, section: str) -> str:
    """Refuses what this launch cannot do: ZeRO and Muon, a sharded teacher without ZeRO-3, kernels and trackers that are not there.

    Raises:
        TrainingError: as said.
    """
    stage = launched_zero_stage()
    if stage is not None:
        check_deepspeed(training)
    if isinstance(training, Distill) and training.targets.teacher == "sharded" and stage != 3:
        found = "no DeepSpeed" if stage is None else f"ZeRO-{stage}"
        raise TrainingError(f"{section}.targets.teacher: sharded needs ZeRO-3, this launch has {found}; use launch/accelerate/zero3_*.yaml")
    if spec.attention in FLASH:
        package = FLASH[spec.attention]
        if not torch.cuda.is_available() or not _installed(package):
            why = f"no package {package}" if torch.cuda.is_available() else "no CUDA device"
            raise TrainingError(f"attention: {spec.attention} was asked for and there is {why}; install it, or set attention: sdpa")
    missing = [name for name in training.trackers if not _installed(name)]
    if missing:
        raise TrainingError(f"{section}.trackers: {', '.join(missing)} is not installed; pip install it, or leave it out")
    zero = "no DeepSpeed" if stage is None else f"ZeRO-{stage}"
    return f"{zero}, {spec.attention} attention, trackers {', '.join(training.trackers) or 'none'}"


def check_first_step(student: PretrainedConfig, teacher: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, distill: Distill) -> str:
    """One step on shrunken, freshly built copies of both architectures: the gradient is there, and a masked text has none.

    Raises:
        ModelError: the teacher's signal does not reach the student, or reaches it through a mask.
    """
    talk = [dict(message) for message in SAMPLE]
    mask = Span(message=1, start=0, end=len(talk[1]["content"]), kind="sample", grounding="ungrounded", action="mask")
    plain = Trace(id="sample", problem_id="", source="", seed=0, messages=talk)
    encoded = list(encode_traces([plain, replace(plain, spans=[mask])], tokenizer, Teaching()))
    encoded[1] = replace(encoded[1], kl=encoded[1].kl * (encoded[1].ids != tokenizer.eos_token_id))  # the end of a turn is never masked
    lines_up = pack(encoded[:1], len(encoded[0].ids))
    taught_BT = lines_up.taught()
    following = [int(i) for i in encoded[0].ids[1:][encoded[0].kl[1:] > 0]]
    if lines_up.labels_BT[taught_BT].tolist() != following:
        raise ModelError("taught positions do not predict the token that follows them; this is a bug, please report it")
    models = [shrunken(config, seed) for seed, config in enumerate((student, teacher))]
    vocab_size = min(int(model.config.get_text_config().vocab_size) for model in models)
    kind = "forward_kl" if distill.divergence == "none" else distill.divergence
    learner = Learner(models[0], Objective(divergence=Divergence(kind, distill.beta, distill.temperature), vocab_size=vocab_size))
    lengths = []
    for sequence in encoded:
        batch = pack([sequence], len(sequence.ids))
        with LiveTeacher(models[1], torch.device("cpu"), vocab_size).reading(batch) as signal:
            loss, _, _ = learner(batch, signal)
        learner.zero_grad()
        loss.backward()
        lengths.append(sum(float(p.grad.norm()) ** 2 for p in learner.parameters() if p.grad is not None) ** 0.5)
    if not lengths[0] > 0 or lengths[1] > 0:
        found = f"a gradient of length {lengths[0]:.3g}, and {lengths[1]:.3g} where all is masked"
        raise ModelError(f"a first step has {found}; wanted more than 0, and 0: look at distill.divergence and role_weights")
    return f"gradient {lengths[0]:.3g} on {len(following)} taught tokens, 0 where all is masked"


def shrunken(config: PretrainedConfig, seed: int) -> nn.Module:
    """The same architecture with two narrow layers and the whole vocabulary, freshly built."""
    small = copy.deepcopy(config)
    sizes = {
        "num_hidden_layers": min(2, small.num_hidden_layers), "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "moe_intermediate_size": 32, "num_experts": 4, "num_local_experts": 4,
        "num_experts_per_tok": 2, "max_window_layers": 2,
    }  # fmt: skip
    for name, value in sizes.items():
        if getattr(small, name, None) is not None:
            setattr(small, name, value)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:2]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(small, attn_implementation="sdpa", dtype=torch.float32)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a submodule of a package that is not there
        return False
