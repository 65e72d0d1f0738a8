"""The keys of a training: the loop, its curriculum and watchdog, a teacher's targets, probes."""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.generate import Source
from recipes.schema.models import require
from recipes.vocabulary import Arm


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of the curriculum: some families only, until the smoothed loss is low enough."""

    families: list[str]  # source names without their prefix, e.g. [follow, read]
    tools: bool = True  # conversations that offer tools too
    until_loss: float = 0.05  # nats a taught token, exponential mean over steps (decay 0.9)
    min_steps: int = 30
    max_steps: int = 400


@dataclass(frozen=True, kw_only=True)
class WatchdogLimits:
    """When a training warns or stops by itself, also if a phase was not learned. A loss that is not
    finite always stops it.
    """

    action: Literal["warn", "stop", "off"] = "warn"  # what is done about one of these
    # divergence of a step over its running mean (100 steps); above: a spike
    kl_spike_ratio: float = 8.0
    # (teacher - student) / teacher entropy at taught tokens, running mean, up to 1; above: silent
    # collapse
    entropy_gap_fraction: float = 0.6
    # share of repeated 6-grams in probe answers beyond the teacher's, 0..1; above: degenerate text
    repetition_fraction: float = 0.3
    # no guard acts before this step: an untrained student is far off in every way
    first_step: int = 200

    def __post_init__(self) -> None:
        require(
            self.kl_spike_ratio > 1, f"watchdog.kl_spike_ratio {self.kl_spike_ratio} is not above 1"
        )


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
    weight_decay: float = 0.01  # of matrices; norms, biases and embeddings do not decay
    adam_betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 50
    # after the warm-up; wsd: stable at full rate, then linear decay; cosine: half a wave
    schedule: Literal["wsd", "cosine"] = "wsd"
    stable_fraction: float = 0.25  # wsd: share of `steps` at full rate before the decay, 0..1
    final_fraction: float = 0.02  # learning rate at the end, relative to the full rate
    clip_norm: float = 1.0  # global gradient norm, 0 = off
    activation_checkpointing: bool = False
    checkpoint_steps: int = 200  # steps between checkpoints
    # dense: plain autograd over all logits at once, for checking
    loss: Literal["chunked", "dense"] = "chunked"
    # further logs beside metrics.jsonl
    trackers: list[Literal["trackio", "tensorboard", "wandb"]] = field(default_factory=list)
    watchdog: WatchdogLimits = field(default_factory=WatchdogLimits)

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps {self.steps} is below 1")
        require(self.batch_sequences >= 1, f"batch_sequences {self.batch_sequences} is below 1")
        require(
            0 <= self.stable_fraction <= 1,
            f"stable_fraction {self.stable_fraction} is outside 0..1",
        )


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the teacher says about each taught token, and how it is stored."""

    # live: the teacher in memory; the others: caches under distill/targets
    kind: Literal["live", "sampled", "top_k", "hidden"] = "live"
    tokens_per_position: int = 12  # sampled, top_k: vocabulary entries kept for each taught token
    # a cache made elsewhere (a folder distill/targets/ARM of another run, with {arm} for the arm's
    # name)
    path: str | None = None
    # live: the whole teacher on every rank, or sharded over ranks (needs ZeRO-3)
    teacher: Literal["replicated", "sharded"] = "replicated"
    shard_sequences: int = 4096  # sequences in one cache file, the unit of resume

    def __post_init__(self) -> None:
        require(
            1 <= self.tokens_per_position <= 256,
            f"targets.tokens_per_position {self.tokens_per_position} is outside 1..256",
        )
        require(
            self.path is None or self.kind != "live",
            "targets.path names a cache, so targets.kind is sampled, top_k or hidden",
        )
        cached = self.kind != "live"
        require(
            not cached or self.teacher == "replicated",
            "targets.teacher: sharded is for targets.kind: live; a cache needs no teacher",
        )


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Tests a student while it trains, on the select split only, by the same rule for every arm."""

    every_steps: int = 0  # 0 = never
    items: int = 64  # reasoning problems, and as many recall questions
    # best: the latest probed weights that no other probe beats by more than a standard error
    keep: Literal["last", "best"] = "last"


@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """How a teacher with a `shape` is trained; unused when models.teacher.path is set."""

    sources: list[Source] = field(default_factory=list)  # what it learns
    count: int = 60_000  # training sequences drawn from the sources
    vocab_size: int = 1200  # upper bound for its byte-level BPE tokenizer
    # adds the tokens of tool calls to its tokenizer; half of its conversations offer tools that are
    # not needed
    tools: bool = False


@dataclass(frozen=True, kw_only=True)
class Distill(Training):
    """The students: same traces, same batches, same steps; arms differ in span actions only."""

    traces: str | None = None  # read traces from here instead of filter/kept
    arms: list[Arm] = field(default_factory=lambda: [Arm.STUDENT, Arm.CONTROL])
    # none: cross-entropy on the text, needs no teacher
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "none"] = "forward_kl"
    beta: float = 0.5  # jsd: the teacher's share of the mixture, inside 0..1
    # weight of cross-entropy beside the divergence, 0..; with divergence none it is 1
    ce_weight: float = 0.0
    temperature: float = 1.0  # of teacher and student in the divergence, above 0; no T^2 factor
    targets: Targets = field(default_factory=Targets)
    # what a masked fact teaches: nothing, or a flat distribution
    masked_action: Literal["drop", "soften"] = "drop"
    soften_fraction: float = 1.0  # masked: soften: 0 = the teacher's distribution .. 1 = flat
    # of system, user, assistant; 0 and above
    role_weights: dict[str, float] = field(default_factory=lambda: {"assistant": 1.0})
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, f"distill.temperature {self.temperature} is not above 0")
        require(
            0 < self.beta < 1,
            f"distill.beta {self.beta} is outside 0..1 (0 would be forward_kl, 1 reverse_kl)",
        )
        require(
            0 <= self.soften_fraction <= 1,
            f"distill.soften_fraction {self.soften_fraction} is outside 0..1",
        )
        require(bool(self.arms) and self.arms[0] == Arm.STUDENT, "distill.arms starts with student")
        require(
            len(set(self.arms)) == len(self.arms), f"distill.arms names an arm twice: {self.arms}"
        )
        roles = set(self.role_weights) - {"system", "user", "assistant"}
        require(
            not roles,
            f"distill.role_weights names {', '.join(sorted(roles))}; expected system, user, assistant (never tool)",
        )
        negative = [role for role, weight in self.role_weights.items() if weight < 0]
        require(not negative, f"distill.role_weights: {', '.join(negative)} is below 0")
        sampled = self.targets.kind == "sampled"
        require(
            not sampled or self.divergence in ("forward_kl", "none"),
            f"distill.targets.kind sampled serves divergence forward_kl only, got {self.divergence}; use hidden or top_k targets",
        )
