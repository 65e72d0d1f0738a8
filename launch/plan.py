"""What a distillation will take: parameters, memory of a rank, bytes of caches, FLOPs. Estimates from configs alone.

Sources: Rajbhandari et al. 2020, arXiv:1910.02054 (states under ZeRO); Korthikanti et al. 2022, arXiv:2205.05198 (34 bytes a token
and width for the activations of a layer in 16 bit); 6 FLOPs a parameter and token for training, 2 for reading (Kaplan et al. 2020,
arXiv:2001.08361).
"""

from dataclasses import dataclass

from transformers import PretrainedConfig

from distill.losses import CHUNK_BYTES
from distill.preflight import skeleton
from distill.sketch import bytes_per_token
from recipes.schema import Distill, Lora

GIB = 2**30


@dataclass(frozen=True)
class Size:
    """Parameters of a model: all, those that read a token (mixtures use a few experts), and those that train."""

    total: int
    active: int
    trained: int
    width: int
    layers: int
    vocab: int


def size_of(config: PretrainedConfig, lora: Lora | None = None) -> Size:
    """Counted on the meta device."""
    model, text = skeleton(config), config.get_text_config()
    total = model.num_parameters()
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    count = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None) or 1
    used = getattr(text, "num_experts_per_tok", None) or 1
    active = total - experts + experts * used // count
    trained = total
    if lora is not None and lora.rank:
        adapted = (module for name, module in model.named_modules() if name.rpartition(".")[2] in lora.targets)
        trained = sum(lora.rank * (module.in_features + module.out_features) for module in adapted)
    return Size(total, active, trained, text.hidden_size, text.num_hidden_layers, int(text.vocab_size))


def states_gib(size: Size, stage: int | None, ranks: int, *, half: bool) -> float:
    """Weights, gradients and AdamW's states on one rank, GiB.

    Args:
        stage: of ZeRO; None or 0: all whole.
        half: bfloat16 weights and gradients beside a float32 copy; else float32.
    """
    weights, grads, states = (2, 2, 12) if half else (4, 4, 8)
    stage = stage or 0
    frozen = (size.total - size.trained) * weights
    trained = size.trained * (
        weights / (ranks if stage >= 3 else 1) + grads / (ranks if stage >= 2 else 1) + states / (ranks if stage >= 1 else 1)
    )
    return (frozen / (ranks if stage >= 3 else 1) + trained) / GIB


def activations_gib(size: Size, distill: Distill) -> float:
    """Of one micro-batch in 16 bit, with an attention kernel that keeps no scores; with checkpointing one layer and every layer's input."""
    tokens = distill.micro_batch_rows * distill.sequence_tokens
    layer = 34 * tokens * size.width
    if distill.activation_checkpointing:
        return (2 * tokens * size.width * size.layers + layer) / GIB
    return layer * size.layers / GIB


def loss_gib(size: Size, device: str) -> float:
    """The loss's buffers of logits and the float32 gradient of the output matrix."""
    buffers = 2 if device == "cuda" else 4
    return (buffers * CHUNK_BYTES[device] + 4 * size.vocab * size.width) / GIB


def cache_rows(teacher: Size, distill: Distill, taught_tokens: int) -> list[tuple[str, int, float]]:
    """(kind, bytes a taught token, GiB in all) of each way to keep a teacher's targets, and of keeping all logits."""
    kept = distill.targets.tokens
    each = {kind: bytes_per_token(kind, kept, teacher.width, 2) for kind in ("sampled", "top_k", "hidden")}
    each["dense float16"] = 2 * teacher.vocab
    return [(kind, size, size * taught_tokens / GIB) for kind, size in each.items()]


def flops(student: Size, teacher: Size | None, tokens: int, *, checkpointing: bool) -> tuple[float, float]:
    """Of training the student and of reading by the teacher, for this many tokens."""
    return (8 if checkpointing else 6) * student.active * tokens, 2 * (teacher.active if teacher else 0) * tokens
