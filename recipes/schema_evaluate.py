"""The knobs of evaluation tasks that lm-evaluation-harness runs."""

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from recipes.schema_edit import EDITED
from recipes.schema_models import require

FILES = (".yaml", ".yml", ".jsonl")
CONTENDERS = ("teacher", "base", "student", "control", "scrub_only", "random_mask", *EDITED, "never_trained")  # names that are taken


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """One task of lm-evaluation-harness; needs the extra lm_eval."""

    task: str  # its name there (a task or a group), a task's YAML file, or a JSONL file of question, answer and maybe choices
    metric: str = "acc"  # as the task calls it: acc, acc_norm, exact_match; "exact_match,flexible-extract" names the filter too
    axis: Literal["reasoning", "recall", "basics", "other"] = "other"  # what it measures
    num_fewshot: int | None = None  # examples in the prompt; null: as the task says
    limit: int | None = None  # first items only (of each member of a group); null: all
    max_new_tokens: int | None = None  # of a written answer; null: as the task says
    chat: bool = False  # ask through the chat template, with generate.system
    think_end: str | None = None  # text that ends a thought, e.g. </think>: only what follows it is judged
    batch_sequences: int = 16

    def __post_init__(self) -> None:
        where = f"evaluate.harness task {self.task}"
        plain = re.fullmatch(r"[\w.+-]+", self.label) is not None
        require(plain, f"{where}: {self.label!r} is no task; wanted a name, or a path that ends in {', '.join(FILES)}")
        require(self.num_fewshot is None or self.num_fewshot >= 0, f"{where}: num_fewshot {self.num_fewshot} is below 0")
        require(self.limit is None or self.limit > 0, f"{where}: limit {self.limit} is not above 0; null takes all")
        require(self.max_new_tokens is None or self.max_new_tokens > 0, f"{where}: max_new_tokens {self.max_new_tokens} is not above 0")
        require(self.batch_sequences > 0, f"{where}: batch_sequences {self.batch_sequences} is not above 0")

    @property
    def is_file(self) -> bool:
        """Whether the task is a file here and not a name there."""
        return PurePath(self.task).suffix in FILES

    @property
    def label(self) -> str:
        """The task's name on the scorecard: harness/LABEL."""
        return PurePath(self.task).stem if self.is_file else self.task
