"""The keys of evaluation: who is measured on what, with tools, on public tasks of
lm-evaluation-harness.
"""

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from recipes.schema.generate import Source
from recipes.schema.models import Model, require
from recipes.vocabulary import Contender

FILES = (".yaml", ".yml", ".jsonl", ".json", ".ndjson", ".gz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """One task of lm-evaluation-harness; needs the extra lm_eval."""

    # its name in lm-eval (a task or a group), a task's YAML file, or a JSONL, JSON or Parquet file
    # with question, answer (text; letter or number of a choice) and, if needed, choices
    task: str
    # as the task names it: acc, acc_norm, exact_match; "exact_match,flexible-extract" names the
    # filter too
    metric: str = "acc"
    axis: Literal["reasoning", "recall", "basics", "other"] = "other"  # what it measures
    num_fewshot: int | None = None  # examples in the prompt; null: the task's own number
    limit: int | None = None  # first items only (of each member of a group); null: all
    max_new_tokens: int | None = None  # of a generated answer; null: the task's own limit
    chat: bool = False  # ask through the chat template, with generate.system
    # text that ends a thought, e.g. </think>; only the text after it is judged
    think_end: str | None = None
    batch_sequences: int = 16

    def __post_init__(self) -> None:
        where = f"evaluate.harness task {self.task}"
        plain = re.fullmatch(r"[\w.+-]+", self.label) is not None
        require(
            plain,
            f"{where}: {self.label!r} is not a task; expected a name, or a path that ends in {', '.join(FILES)}",
        )
        require(
            self.num_fewshot is None or self.num_fewshot >= 0,
            f"{where}: num_fewshot {self.num_fewshot} is below 0",
        )
        require(
            self.limit is None or self.limit > 0,
            f"{where}: limit {self.limit} is not above 0; null takes all",
        )
        require(
            self.max_new_tokens is None or self.max_new_tokens > 0,
            f"{where}: max_new_tokens {self.max_new_tokens} is not above 0",
        )
        require(
            self.batch_sequences > 0,
            f"{where}: batch_sequences {self.batch_sequences} is not above 0",
        )

    @property
    def is_file(self) -> bool:
        """Whether the task is a file here and not a name there."""
        return PurePath(self.task).suffix in FILES

    @property
    def label(self) -> str:
        """The task's name on the scorecard: harness/LABEL."""
        return PurePath(self.task).stem if self.is_file else self.task


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Limits for a model that may call tools."""

    # contenders that are also asked with tools, e.g. [student]; on the planted world only
    contenders: list[str] = field(default_factory=list)
    num_snippets: int = 3  # passages in the result of a look-up
    max_calls: int = 4  # in one conversation; further calls are not run
    result_characters: int = 600  # of a result; longer ones are cut
    context_tokens: int = 1024  # of a conversation; it ends there
    seconds: float = 2.0  # of a program
    memory_mib: int = 64  # of a program

    def __post_init__(self) -> None:
        for name in (
            "num_snippets",
            "max_calls",
            "result_characters",
            "context_tokens",
            "memory_mib",
        ):
            require(
                getattr(self, name) >= 1, f"evaluate.tools.{name} {getattr(self, name)} is below 1"
            )
        require(self.seconds > 0, f"evaluate.tools.seconds {self.seconds} is not above 0")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Who is measured on what."""

    seed: int = 90_001  # of evaluation problems; differs from the training seed
    items: int = 600  # items in each suite, or fewer if a suite has fewer
    max_new_tokens: int = 56
    batch_sequences: int = 512
    # reasoning problems outside the planted world
    sources: list[Source] = field(default_factory=list)
    # closed-book questions outside the planted world
    recall_sources: list[Source] = field(default_factory=list)
    # common knowledge outside the planted world
    basics_sources: list[Source] = field(default_factory=list)
    # questions whose text holds the answer (open book), outside the planted world
    open_book_sources: list[Source] = field(default_factory=list)
    # sampled answers to each reasoning problem, beside the greedy one, for pass@k, coverage and
    # nines; 0 = none
    tries: int = 0
    tries_temperature: float = 1.0
    # token limits under which reasoning is also scored
    token_budgets: list[int] = field(default_factory=list)
    bootstrap: int = 2000  # resamples of a paired interval
    # folder that `python -m launch.ladder` wrote with the same questions; gives equivalent sizes
    ladder: str | None = None
    # on base and arms: is recall gone, or only hidden?
    attacks: list[Literal["four_bit", "relearn", "prompts"]] = field(default_factory=list)
    # relearn: share of the recall facts that is taught, chosen by hash, inside 0..1; the others are
    # asked
    relearn_fraction: float = 0.2
    relearn_steps: int = 100  # relearn: optimizer steps, all weights
    relearn_batch_sequences: int = 32  # relearn: facts a step
    # relearn: AdamW, decays to 0; about 1e-5 for a pretrained model
    relearn_learning_rate: float = 1e-3
    # further contenders, trained here or not: name -> path, or a section
    models: dict[str, Model] = field(default_factory=dict)
    tools: Tools = field(default_factory=Tools)  # questions with tools
    # public tasks, or your own, through lm-evaluation-harness
    harness: list[HarnessTask] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(
            len(set(self.attacks)) == len(self.attacks),
            f"evaluate.attacks names an attack twice: {self.attacks}",
        )
        require(
            0 < self.relearn_fraction < 1,
            f"evaluate.relearn_fraction {self.relearn_fraction} is not inside 0..1",
        )
        require(self.relearn_steps >= 1, f"evaluate.relearn_steps {self.relearn_steps} is below 1")
        require(
            self.relearn_batch_sequences >= 1,
            f"evaluate.relearn_batch_sequences {self.relearn_batch_sequences} is below 1",
        )
        require(
            self.relearn_learning_rate > 0,
            f"evaluate.relearn_learning_rate {self.relearn_learning_rate} is not above 0",
        )
        for name, model in self.models.items():
            key = f"evaluate.models.{name}"
            plain = re.fullmatch(r"[A-Za-z0-9_]+", name) is not None
            require(plain, f"{key}: {name!r} is not a word; expected letters, digits and _")
            require(
                name not in tuple(Contender),
                f"{key}: the name is taken; choose another than {', '.join(Contender)}",
            )
            require(
                model.path is not None, f"{key} has a shape; expected a path, a model that is there"
            )
            require(
                model.engine == "transformers",
                f"{key}.engine is {model.engine}; it is asked in memory, set it to transformers",
            )
        labels = [task.label for task in self.harness]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        require(
            not twice,
            f"evaluate.harness names {', '.join(twice)} twice; a task stands on the scorecard once",
        )
