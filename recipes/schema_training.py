"""The knobs of a training: the loop, its curriculum and guards, a teacher's targets, probes."""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema_models import require


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of the curriculum: some families only, until the smoothed loss is low enough."""

    families: list[str]  # source names without their prefix, e.g. [follow, read]
    tools: bool = True  # conversations that offer tools too
    until_loss: float = 0.05  # nats a taught token, exponential mean over steps (decay 0.9)
    min_steps: int = 30
    max_steps: int = 400


@dataclass(frozen=True, kw_only=True)
class Guards:
    """When a training warns or stops by itself (a phase that was not learned too); a loss that is no number always stops it."""

    act: Literal["warn", "stop", "off"] = "warn"
    kl_spike: float = 8.0  # divergence of a step over its running mean (100 steps); above: a spike
    entropy_gap: float = 0.6  # (teacher - student) / teacher entropy at taught tokens, running mean, up to 1; above: silent collapse
    repetition: float = 0.3  # share of repeated 4-grams in probe answers beyond the teacher's, 0..1; above: degenerate text
    first_step: int = 200  # none of them looks earlier: an untrained student is far off in every way

    def __post_init__(self) -> None:
        require(self.kl_spike > 1, f"guards.kl_spike {self.kl_spike} is not above 1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training run: the same loop trains a teacher from scratch and distils a student."""

    steps: int = 800  # optimizer steps on the full mix, after the curriculum
    curriculum: list[Phase] = field(default_factory=list)
    batch_sequences: int = 80  # global batch, in sequences
    sequence_tokens: int = 96  # packed row length; longer traces are counted and left out
    micro_batch_rows: int = 64  # packed rows a rank computes at once
    packing: bool = True
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: matrices by Muon, the rest by AdamW
    learning_rate: float = 3e-3  # AdamW
    muon_learning_rate: float = 0.02
    weight_decay: float = 0.01
    adam_betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 50
    schedule: Literal["wsd", "cosine"] = "wsd"  # after the warm-up; wsd: stable at full rate, then linear decay; cosine: half a wave
    stable_fraction: float = 0.25  # wsd: share of `steps` at full rate before the decay, 0..1
    final_fraction: float = 0.02  # learning rate at the end, relative to the full rate
    clip_norm: float = 1.0  # global gradient norm, 0 = off
    activation_checkpointing: bool = False
    checkpoint_steps: int = 200  # a checkpoint every so many steps
    loss: Literal["chunked", "dense"] = "chunked"  # dense: plain autograd over all logits at once, for checking
    trackers: list[Literal["trackio", "tensorboard", "wandb"]] = field(default_factory=lambda: ["trackio"])  # beside metrics.jsonl
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps {self.steps} is below 1")
        require(self.batch_sequences >= 1, f"batch_sequences {self.batch_sequences} is below 1")
        require(0 <= self.stable_fraction <= 1, f"stable_fraction {self.stable_fraction} is outside 0..1")


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the teacher says about each taught token, and where that comes from."""

    kind: Literal["live", "sampled", "top_k", "hidden"] = "live"  # live: the teacher in memory; the others: caches under distill/targets
    tokens: int = 12  # sampled, top_k: vocabulary entries kept for each taught token
    path: str | None = None  # a cache made elsewhere (a folder distill/targets/ARM of another run, with {arm} for the arm's name)
    teacher: Literal["replicated", "sharded"] = "replicated"  # live: whole on every rank, or cut up over them (needs ZeRO-3)
    shard_sequences: int = 4096  # sequences in one cache file, the unit of resume

    def __post_init__(self) -> None:
        require(1 <= self.tokens <= 256, f"targets.tokens {self.tokens} is outside 1..256")
        require(self.path is None or self.kind != "live", "targets.path names a cache, so targets.kind is sampled, top_k or hidden")
        cached = self.kind != "live"
        require(not cached or self.teacher == "replicated", "targets.teacher: sharded is for targets.kind: live; a cache needs no teacher")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Looks at a student while it trains, on problems and facts of the select split only; the same rule for every arm."""

    every_steps: int = 0  # 0 = never
    items: int = 64  # reasoning problems, and as many recall questions
    keep: Literal["last", "best"] = "last"  # best: the latest probed weights that no other probe beats by a standard error
