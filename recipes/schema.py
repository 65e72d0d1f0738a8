"""Every knob of a run: one frozen dataclass a stage, units and ranges in the trailing comments.

Rules inside a section stand in its `__post_init__`; rules between sections in `Recipe.__post_init__`, so that
a recipe that cannot work is refused before any model is loaded.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.errors import RecipeError

STAGES = ("teacher", "generate", "filter", "distill", "evaluate", "publish")
ARMS = ("student", "control", "scrub_only", "random_mask")

Stage = Literal["teacher", "generate", "filter", "distill", "evaluate", "publish"]
Arm = Literal["student", "control", "scrub_only", "random_mask"]


def require(holds: bool, message: str) -> None:
    """Raises RecipeError(message) unless `holds`; a message names the keys and the values found."""
    if not holds:
        raise RecipeError(message)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a model that is built from scratch, with the Qwen3 layout."""

    family: Literal["qwen3", "qwen3_moe"] = "qwen3"
    hidden_size: int = 128  # width of the residual stream
    num_layers: int = 3
    num_heads: int = 4
    num_kv_heads: int = 4
    head_size: int = 32
    intermediate_size: int = 256  # width of the MLP; of each expert in a mixture
    num_experts: int = 8  # qwen3_moe only
    experts_per_token: int = 2  # qwen3_moe only
    tie_embeddings: bool = True
    rope_theta: float = 10_000.0
    max_position_tokens: int = 256

    def __post_init__(self) -> None:
        require(self.num_heads % self.num_kv_heads == 0, f"num_heads {self.num_heads} is no multiple of num_kv_heads {self.num_kv_heads}")
        used, there = self.experts_per_token, self.num_experts
        require(1 <= used <= there, f"experts_per_token {used} is outside 1..num_experts {there}")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters through peft; rank 0 trains the whole model."""

    rank: int = 0  # 0 = off
    alpha: float = 32.0
    dropout: float = 0.0  # 0..1
    targets: list[str] = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])

    def __post_init__(self) -> None:
        require(self.rank >= 0, f"lora.rank {self.rank} is below 0")


@dataclass(frozen=True, kw_only=True)
class Model:
    """Where a model comes from: `path`, or a `shape` to build (the teacher: to train) from scratch."""

    path: str | None = None  # hub id, local folder, or package:NAME (a folder inside an installed Python package)
    revision: str | None = None  # hub revision
    gguf_file: str | None = None  # a GGUF file inside path
    shape: Shape | None = None  # build instead of load
    lora: Lora = field(default_factory=Lora)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4"] = "sdpa"
    trust_remote_code: bool = False
    engine: Literal["transformers", "endpoint"] = "transformers"  # endpoint: an OpenAI-compatible server
    base_urls: list[str] = field(default_factory=list)  # endpoint only, e.g. http://host:8000/v1

    def __post_init__(self) -> None:
        require((self.path is None) != (self.shape is None), "a model has either a path or a shape, not both and not neither")
        require(self.engine != "endpoint" or bool(self.base_urls), "engine endpoint wants base_urls, e.g. [http://localhost:8000/v1]")


@dataclass(frozen=True, kw_only=True)
class Models:
    """Who teaches and who learns."""

    teacher: Model
    student: Model


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The planted world: fictional people whose facts are known exactly."""

    seed: int = 1
    people: int = 130  # their facts are trained and may occur in traces
    teacher_only: int = 75  # their facts are trained, but no generation prompt asks for them
    strangers: int = 75  # never trained: the zero control
    exposures: list[int] = field(default_factory=lambda: [1, 4, 16, 64])  # relative training frequency of a fact class (Zipf)
    exposure_shares: list[float] = field(default_factory=lambda: [0.8, 0.15, 0.04, 0.01])  # share of the facts in each class, sums to 1

    def __post_init__(self) -> None:
        require(len(self.exposures) == len(self.exposure_shares), "planted.exposures and planted.exposure_shares differ in length")
        require(abs(sum(self.exposure_shares) - 1) < 1e-6, f"planted.exposure_shares sum to {sum(self.exposure_shares)}, not 1")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of problems and its share of the prompts."""

    name: str  # planted/FAMILY, reasoning_gym/DATASET, or any label for a file or hub data set
    weight: float = 1.0  # relative share of the prompts
    path: str | None = None  # JSONL or Parquet file, or hub data set id
    subset: str | None = None  # hub data set only: its configuration, e.g. main
    split: str = "train"  # hub data set only
    question: str = "question"  # column that holds the prompt
    answer: str | None = None  # column that holds the reference, null: unknown
    options: dict[str, int] = field(default_factory=dict)  # reasoning_gym only: the data set's own settings

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"source {self.name}: weight {self.weight} is below 0")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of the curriculum: some families only, until the smoothed loss is low enough."""

    families: list[str]  # source names without their prefix, e.g. [follow, read]
    until_loss: float = 0.05  # nats a taught token, exponential mean over steps (decay 0.9)
    min_steps: int = 30
    max_steps: int = 400


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
    stable_fraction: float = 0.25  # share of `steps` at full rate before the linear decay, 0..1
    final_fraction: float = 0.02  # learning rate at the end, relative to the full rate
    clip_norm: float = 1.0  # global gradient norm, 0 = off
    activation_checkpointing: bool = False
    checkpoint_steps: int = 200  # a checkpoint every so many steps

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps {self.steps} is below 1")
        require(self.batch_sequences >= 1, f"batch_sequences {self.batch_sequences} is below 1")
        require(0 <= self.stable_fraction <= 1, f"stable_fraction {self.stable_fraction} is outside 0..1")


@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """How a teacher with a `shape` is trained; unused when models.teacher.path is set."""

    sources: list[Source] = field(default_factory=list)  # what it learns
    count: int = 60_000  # training sequences drawn from the sources
    vocab_size: int = 1200  # upper bound for its byte-level BPE tokenizer


@dataclass(frozen=True, kw_only=True)
class Generate:
    """The teacher writes traces for prompts."""

    sources: list[Source] = field(default_factory=list)
    count: int = 20_000  # prompts
    samples_per_problem: int = 1
    temperature: float = 0.7  # 0 = greedy
    top_p: float = 1.0  # 0..1
    max_new_tokens: int = 56
    batch_sequences: int = 512
    shard_problems: int = 2048  # prompts in one file, the unit of resume
    system: str | None = None  # system prompt

    def __post_init__(self) -> None:
        require(self.temperature >= 0, f"generate.temperature {self.temperature} is below 0")
        require(0 < self.top_p <= 1, f"generate.top_p {self.top_p} is outside (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is worth teaching, and what is done with facts that nobody gave."""

    traces: str | None = None  # take traces from here (folder, file or hub data set) instead of generate/
    keep_unknown: bool = True  # keep traces whose answer no verifier could judge
    detectors: list[Literal["numbers", "names", "answer"]] = field(default_factory=lambda: ["numbers", "names", "answer"])
    curriculum_file: str | None = None  # tools of thought that always stay; null: data_filters/minimum_curriculum.txt
    small_numbers: int = 10  # whole numbers up to here count as tools of thought, -1 = none
    untold: Literal["abstain", "mask", "drop", "keep"] = "abstain"  # what to do with a trace that states an ungrounded fact
    abstain_text: str = "I do not know."
    duplicates: bool = True  # drop exact repetitions of prompt and answer
    overlap: bool = True  # drop prompts that also stand in the evaluation problems
    overlap_words: int = 13  # length of the n-gram that counts as contact; shorter prompts are compared whole


@dataclass(frozen=True, kw_only=True)
class Distill(Training):
    """The students: same traces, same batches, same steps; arms differ in span actions only."""

    traces: str | None = None  # take traces from here instead of filter/kept
    arms: list[Arm] = field(default_factory=lambda: ["student", "control"])
    divergence: Literal["forward_kl", "none"] = "forward_kl"  # none: cross-entropy on the teacher's text, needs no teacher in memory
    ce_weight: float = 0.0  # weight of cross-entropy beside the divergence, 0..; with divergence none it is 1
    temperature: float = 1.0  # of teacher and student in the divergence, above 0; no T^2 factor

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, f"distill.temperature {self.temperature} is not above 0")
        require(bool(self.arms) and self.arms[0] == "student", "distill.arms starts with student")
        require(len(set(self.arms)) == len(self.arms), f"distill.arms names an arm twice: {self.arms}")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Who is measured, on what."""

    seed: int = 90_001  # of evaluation problems; differs from the training seed
    items: int = 600  # items a suite, where the suite can make as many
    max_new_tokens: int = 56
    batch_sequences: int = 512
    sources: list[Source] = field(default_factory=list)  # reasoning problems outside the planted world
    recall_sources: list[Source] = field(default_factory=list)  # closed-book questions outside the planted world
    basics_sources: list[Source] = field(default_factory=list)  # common knowledge outside the planted world
    open_book_sources: list[Source] = field(default_factory=list)  # questions whose text holds the answer, outside the planted world
    bootstrap: int = 2000  # resamples of a paired interval


@dataclass(frozen=True, kw_only=True)
class Publish:
    """What goes out: a hub-ready folder, pushed only if `repo` says where."""

    student: str = "student"  # the arm that goes out
    repo: str | None = None  # hub repository; null: write the folder, push nothing
    private: bool = True
    license: str = "apache-2.0"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run."""

    name: str  # the run folder is RUNS/NAME
    runs: str = "runs"
    seed: int = 1
    stages: list[Stage] = field(default_factory=lambda: list(STAGES))  # which to run, always in street order
    models: Models
    planted: Planted = field(default_factory=Planted)
    teacher: Teacher = field(default_factory=Teacher)
    generate: Generate = field(default_factory=Generate)
    filter: Filter = field(default_factory=Filter)
    distill: Distill = field(default_factory=Distill)
    evaluate: Evaluate = field(default_factory=Evaluate)
    publish: Publish = field(default_factory=Publish)

    def __post_init__(self) -> None:
        seeds = (self.seed, self.evaluate.seed)
        require(seeds[0] != seeds[1], f"evaluate.seed {seeds[1]} is also the training seed; evaluation problems must be fresh")
        longest = self.generate.max_new_tokens
        room = self.distill.sequence_tokens
        require(room > longest, f"distill.sequence_tokens {room} does not hold generate.max_new_tokens {longest} and a prompt")
        live = self.distill.divergence != "none"
        require(
            not (live and self.models.teacher.engine == "endpoint"),
            f"distill.divergence {self.distill.divergence} wants a teacher in memory, models.teacher.engine is endpoint; "
            "set distill.divergence: none",
        )
        goes_out, arms = self.publish.student, self.distill.arms
        require(goes_out in arms, f"publish.student {goes_out!r} is none of distill.arms {arms}")
        taught = self.models.teacher.path is not None or bool(self.teacher.sources)
        require(taught, "models.teacher has a shape, so teacher.sources must say what it learns")
