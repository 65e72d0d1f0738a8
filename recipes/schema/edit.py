"""The knobs of the stage edit: what is taken out of weights, how it is searched, and the training
after it.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.generate import Source
from recipes.schema.models import require
from recipes.vocabulary import Arm, Contender, Suite


@dataclass(frozen=True, kw_only=True)
class Heal:
    """A short training behind the edit, on traces without their facts: arithmetic is what edits
    hurt.
    """

    steps: int = 60  # optimizer steps; 0 = none
    # muon: matrices by Muon, the rest by AdamW; behind a deep cut it learns in fewer steps
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 3e-4  # AdamW, falls to 0
    muon_learning_rate: float = 0.02  # falls to 0
    batch_sequences: int = 80
    # those no filter changed, or all as a student sees them: it keeps declining
    traces: Literal["unchanged", "scrubbed"] = "unchanged"
    # sources without their prefix, e.g. [sums, story]; empty: all of these traces
    families: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(self.steps >= 0, f"edit.heal.steps {self.steps} is below 0")
        require(
            self.learning_rate > 0, f"edit.heal.learning_rate {self.learning_rate} is not above 0"
        )
        require(
            self.muon_learning_rate > 0,
            f"edit.heal.muon_learning_rate {self.muon_learning_rate} is not above 0",
        )
        require(
            self.batch_sequences >= 1,
            f"edit.heal.batch_sequences {self.batch_sequences} is below 1",
        )


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Memory taken out of weights by their curvature: searched on the select split, and kept as a
    delta that brings it back.
    """

    # which model of distill/ is edited
    arm: Literal[Contender.BASE, Arm.STUDENT, Arm.CONTROL, Arm.SCRUB_ONLY, Arm.RANDOM_MASK] = (
        Arm.STUDENT
    )
    # linear layers; experts: all stacks
    projections: list[str] = field(default_factory=lambda: ["gate_proj", "up_proj", "down_proj"])
    layers: list[int] = field(default_factory=list)  # that may be edited, from 0; empty: all
    calibration_sequences: int = 3000  # kept traces that the curvature is measured on
    # which: those no filter changed, or all as the arm was taught them
    calibration: Literal["unchanged", "as_taught"] = "unchanged"
    # a plain text file (or package:NAME/FILE) whose first half is read too; the second is held out
    calibration_text: str | None = None
    # sampled: the true Fisher; gold: the traces' own tokens
    labels: Literal["sampled", "gold"] = "sampled"
    # of the probabilities that labels are drawn from; above 1 what a model is sure of bends the
    # loss too
    label_temperature: float = 1.0
    # sums that are held at once while factors are collected; less: more passes
    factors_gib: float = 4.0
    ranking: Literal["kfac", "kfac_energy"] = "kfac"  # pairs by mu lambda, or by mu lambda C^2
    # searched alike, equal size
    controls: list[Literal["svd", "random", "pca"]] = field(
        default_factory=lambda: ["svd", "random", "pca"]
    )
    # 1 - rho: curvature taken out
    removed_curvature_fractions: list[float] = field(
        default_factory=lambda: [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    )
    max_combined_layers: int = 3  # layers that a greedy combination may join
    # of the search, shared out over the ranking and its controls; it goes on after a stop
    search_seconds: float = 900.0
    items: int = 200  # questions a suite, of the select split
    # facts that the search asks, the scorecard others
    recall_sources: list[Source] = field(default_factory=list)
    # readings that the search asks outside the planted world
    open_book_sources: list[Source] = field(default_factory=list)
    # suites that are to stay
    keep_suites: list[str] = field(
        default_factory=lambda: [Suite.REASONING, Suite.OPEN_BOOK, Suite.COUNTERFACTUAL]
    )
    # keep_most: of what recalls little enough; recall_least: of what keeps enough
    rule: Literal["keep_most", "recall_least"] = "keep_most"
    recall_at_most: float = 0.1  # keep_most: 0..1, and what the greedy combination works toward
    keep_at_least: float = 0.97  # recall_least: share of each suite's value before, 0..1
    heal: Heal = field(default_factory=Heal)

    def __post_init__(self) -> None:
        require(bool(self.projections), "edit.projections is empty")
        require(
            bool(self.removed_curvature_fractions),
            "edit.removed_curvature_fractions is empty; name some fractions of curvature to take out, e.g. [1e-4, 1e-3, 1e-2]",
        )
        outside = [value for value in self.removed_curvature_fractions if not 0 <= value < 1]
        require(
            not outside,
            f"edit.removed_curvature_fractions: {', '.join(map(str, outside))} is outside 0..1",
        )
        negative = [layer for layer in self.layers if layer < 0]
        require(
            not negative, f"edit.layers: {', '.join(map(str, negative))}; layers are counted from 0"
        )
        require(
            self.calibration_sequences >= 1,
            f"edit.calibration_sequences {self.calibration_sequences} is below 1",
        )
        require(
            self.label_temperature > 0,
            f"edit.label_temperature {self.label_temperature} is not above 0",
        )
        require(
            self.factors_gib > 0 and self.search_seconds > 0,
            "edit.factors_gib and edit.search_seconds are above 0",
        )
        require(
            self.max_combined_layers >= 1,
            f"edit.max_combined_layers {self.max_combined_layers} is below 1",
        )
        require(self.items >= 1, f"edit.items {self.items} is below 1")
        require(
            bool(self.keep_suites),
            "edit.keep_suites is empty; name the suites that are to stay, e.g. [reasoning]",
        )
        require(
            0 <= self.recall_at_most <= 1,
            f"edit.recall_at_most {self.recall_at_most} is outside 0..1",
        )
        require(
            0 <= self.keep_at_least <= 1, f"edit.keep_at_least {self.keep_at_least} is outside 0..1"
        )
