"""What a distillation will take: parameters, memory of a rank, bytes of caches, FLOPs. Estimates
from configs alone.

Sources: Rajbhandari et al. 2020, arXiv:1910.02054 (states under ZeRO); Korthikanti et al. 2022,
arXiv:2205.05198 (34 bytes a token and width for the activations of a layer in 16 bit); 6 FLOPs a
parameter and token for training, 2 for reading (Kaplan et al. 2020, arXiv:2001.08361).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PretrainedConfig

from distill.checks.preflight import skeleton
from distill.loss.chunked_loss import CHUNK_BYTES
from distill.targets.compress import bytes_per_token
from recipes.schema import Distill, Lora, Model

GIB = 2**30
STAGES = (0, 1, 2, 3)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Size:
    """Parameters of a model: all, those that read a token (mixtures use a few experts), and those
    that train.
    """

    total: int
    active: int
    trained: int
    width: int
    layers: int
    vocab: int


@dataclass(frozen=True)
class Precision:
    """Bytes of a trained parameter: its weight, its gradient, and AdamW's two moments (with a
    float32 copy, where there is one).
    """

    name: str
    weight: int
    grad: int
    states: int


MIXED = Precision("bfloat16, float32 copy", 2, 2, 12)


def whole(dtype: str) -> Precision:
    """Weights, gradients and both moments in one dtype, as torch's AdamW keeps them."""
    return Precision(f"{dtype} alone", BYTES[dtype], BYTES[dtype], 2 * BYTES[dtype])


def size_of(config: PretrainedConfig, spec: Model, lora: Lora | None = None) -> Size:
    """Counted on the meta device."""
    model, text = skeleton(config, spec), config.get_text_config()
    total = model.num_parameters()
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    count = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None) or 1
    used = getattr(text, "num_experts_per_tok", None) or 1
    active = total - experts + experts * used // count
    trained = total
    if lora is not None and lora.rank:
        adapted = (
            module
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in lora.targets
        )
        trained = sum(
            lora.rank * (module.in_features + module.out_features)
            for module in adapted
            if hasattr(module, "in_features")
        )
    return Size(
        total, active, trained, text.hidden_size, text.num_hidden_layers, int(text.vocab_size)
    )


def states_gib(size: Size, stage: int, ranks: int, precision: Precision) -> float:
    """Weights, gradients and AdamW's states on one rank, GiB.

    Args:
        stage: of ZeRO; 0: all whole.
    """
    weights = size.total * precision.weight / (ranks if stage >= 3 else 1)
    grads = size.trained * precision.grad / (ranks if stage >= 2 else 1)
    states = size.trained * precision.states / (ranks if stage >= 1 else 1)
    return (weights + grads + states) / GIB


def activations_gib(size: Size, distill: Distill) -> float:
    """Of one micro-batch in 16 bit, with an attention kernel that keeps no scores; with
    checkpointing one layer and every layer's input.
    """
    tokens = distill.micro_batch_rows * distill.sequence_tokens
    layer = 34 * tokens * size.width
    if distill.activation_checkpointing:
        return (2 * tokens * size.width * size.layers + layer) / GIB
    return layer * size.layers / GIB


def loss_gib(size: Size, device: str) -> float:
    """The loss's buffers of logits and, where it trains, the float32 gradient of the output
    matrix.
    """
    buffers = 2 if device == "cuda" else 4
    gradient = 4 * size.vocab * size.width if size.trained == size.total else 0
    return (buffers * CHUNK_BYTES[device] + gradient) / GIB


def memory_rows(
    student: Size,
    teacher: Size | None,
    distill: Distill,
    teacher_dtype: str,
    precisions: Sequence[Precision],
    ranks: int,
    device: str,
) -> list[tuple[str, list[float]]]:
    """(what, GiB on a rank under each ZeRO stage): each precision's states, what comes beside them,
    and the sum for the first precision.

    A live teacher is whole on every rank, also where the recipe says sharded, except under ZeRO-3.
    """
    rows = [
        (f"states: {one.name}", [states_gib(student, stage, ranks, one) for stage in STAGES])
        for one in precisions
    ]
    beside = [
        (
            f"activations, {distill.micro_batch_rows} x {distill.sequence_tokens} tokens",
            [activations_gib(student, distill)] * len(STAGES),
        ),
        ("loss, buffers", [loss_gib(student, device)] * len(STAGES)),
    ]
    if teacher is not None and distill.targets.kind == "live":
        weights = teacher.total * BYTES[teacher_dtype] / GIB
        sharded = distill.targets.teacher == "sharded"
        shares = [weights / (ranks if sharded and stage == 3 else 1) for stage in STAGES]
        beside.append((f"live teacher, {distill.targets.teacher}", shares))
    total = [sum(gib) for gib in zip(rows[0][1], *(gib for _, gib in beside), strict=True)]
    return [*rows, *beside, (f"in all, {precisions[0].name}", total)]


def cache_rows(
    teacher: Size | None, distill: Distill, taught_tokens: float, dtype: str
) -> list[tuple[str, int, float]]:
    """(kind, bytes a taught token, GiB in all) of each way to keep a teacher's targets, and of
    keeping all logits.

    Args:
        teacher: None where its config is not known: then only what does not depend on it.
        dtype: of its hidden states.
    """
    kept = distill.targets.tokens_per_position
    each = {kind: bytes_per_token(kind, kept, 0, 0) for kind in ("sampled", "top_k")}
    if teacher is not None:
        each |= {
            "hidden": bytes_per_token("hidden", kept, teacher.width, BYTES[dtype]),
            "dense float16": 2 * teacher.vocab,
        }
    return [(kind, size, size * taught_tokens / GIB) for kind, size in each.items()]


def flops(student: Size, teacher: Size | None, tokens: float) -> tuple[float, float]:
    """Of training the student and of reading by the teacher, for this many tokens; recomputed
    activations are not counted.
    """
    return 6 * student.active * tokens, 2 * (teacher.active if teacher else 0) * tokens
