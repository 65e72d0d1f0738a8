"""The keys of generation: where problems come from, how the teacher is asked, what is asked
again.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.models import require
from recipes.vocabulary import ToolName


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of problems and its share of the prompts."""

    name: str  # planted/FAMILY, reasoning_gym/DATASET, or any label for a file or hub data set
    weight: float = 1.0  # relative share of the prompts
    path: str | None = None  # JSONL or Parquet file, or hub data set id
    subset: str | None = None  # hub data set only: its configuration, e.g. main
    split: str = "train"  # hub data set only
    question: str = "question"  # column that holds the prompt
    # text with {column} in it, instead of question: "Explain step by step: {text}"
    prompt: str | None = None
    answer: str | None = None  # column that holds the reference answer; null: there is none
    tests: str | None = None  # column that holds Python assertions for a program
    # auto: chosen by source; reasoning_gym has its own scorers
    verifier: Literal["auto", "answer", "choice", "math", "program", "none"] = "auto"
    level: int | None = None  # reasoning_gym only: step of the data set's curriculum, 0 = easiest
    # reasoning_gym only: the data set's own settings
    options: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"source {self.name}: weight {self.weight} is below 0")
        ours = self.path is None
        require(
            not (self.tests and self.verifier not in ("auto", "program")),
            f"source {self.name}: tests want verifier program",
        )
        require(
            self.verifier != "program" or self.tests is not None,
            f"source {self.name}: verifier program needs tests, a column",
        )
        require(
            self.level is None or self.name.startswith("reasoning_gym/"),
            f"source {self.name}: level is for reasoning_gym sources",
        )
        require(
            self.level is None or self.level >= 0,
            f"source {self.name}: level {self.level} is below 0",
        )
        require(
            not (ours and self.prompt),
            f"source {self.name}: prompt is for files and hub data sets, it has no path",
        )


@dataclass(frozen=True, kw_only=True)
class Review:
    """Sends an attempt back to the teacher with its verdict; the teacher marks the steps and rewrites."""

    # lucky: a correct attempt at a problem whose other attempts are mostly wrong
    of: Literal["none", "wrong", "lucky", "both"] = "none"
    rounds: int = 1  # reviews of one attempt at most
    lucky_rate: float = 0.34  # up to this solve rate a correct attempt counts as lucky
    unsound_weight: float = 0.0  # loss weight of steps that the teacher marked unsound, 0..1

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"generate.review.rounds {self.rounds} is below 1")
        require(
            0 <= self.unsound_weight <= 1,
            f"generate.review.unsound_weight {self.unsound_weight} is outside 0..1",
        )


@dataclass(frozen=True, kw_only=True)
class Generate:
    """The teacher writes traces for prompts."""

    sources: list[Source] = field(default_factory=list)
    count: int = 20_000  # prompts
    # first round; an unsolved problem is asked again, up to max_samples
    samples_per_problem: int = 1
    max_samples: int = 0  # of one problem; 0 = samples_per_problem
    wanted_correct: int = 1  # correct samples after which a problem is not asked again
    temperature: float = 0.7  # 0 = greedy
    top_p: float = 1.0  # 0..1
    max_new_tokens: int = 56
    # limit on the tokens of a thought; then it is ended and the answer is asked for; 0 = none
    thinking_tokens: int = 0
    stop: list[str] = field(default_factory=list)  # texts that end a completion
    batch_sequences: int = 512
    shard_problems: int = 2048  # prompts in one file, the unit of resume
    system: str | None = None  # system prompt
    # ways to ask, with {prompt} in them, used in turn; traces keep the plain prompt
    styles: list[str] = field(default_factory=list)
    personas: list[str] = field(default_factory=list)  # further system prompts, used in turn
    review: Review = field(default_factory=Review)
    # tools that the teacher may call; it must have learned how
    tools: list[ToolName] = field(default_factory=list)
    knowledge_base: str | None = None  # passages that lookup searches: a folder, .parquet or .jsonl

    def __post_init__(self) -> None:
        require(
            ToolName.LOOKUP not in self.tools or self.knowledge_base is not None,
            "generate.tools: lookup needs generate.knowledge_base, passages to look up",
        )
        require(
            not (self.tools and self.thinking_tokens),
            "generate.tools and generate.thinking_tokens exclude each other",
        )
        require(self.temperature >= 0, f"generate.temperature {self.temperature} is below 0")
        require(0 < self.top_p <= 1, f"generate.top_p {self.top_p} is outside (0, 1]")
        most, least = self.max_samples, self.samples_per_problem
        require(
            most == 0 or most >= least,
            f"generate.max_samples {most} is below samples_per_problem {least}",
        )
        cap = self.thinking_tokens
        require(
            0 <= cap < self.max_new_tokens,
            f"generate.thinking_tokens {cap} leaves nothing of max_new_tokens {self.max_new_tokens}",
        )
        require(
            "" not in self.stop, "generate.stop has an empty text, which would end every answer"
        )
        bare = [style for style in self.styles if "{prompt}" not in style]
        require(not bare, f"generate.styles: {bare[:1]} has no {{prompt}} in it")
