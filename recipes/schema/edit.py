"""The keys of the stage edit: what is taken out of weights, how it is searched, and the training
after it.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.generate import Source
from recipes.schema.models import require
from recipes.vocabulary import Arm, Contender, Suite


@dataclass(frozen=True, kw_only=True)
class Heal:
    """A short training after the edit, on traces without facts: edits damage arithmetic first."""

    steps: int = 60  # optimizer steps; 0 = none
    # muon: matrices by Muon, the rest by AdamW; after a deep cut it needs fewer steps
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 3e-4  # AdamW, decays to 0
    muon_learning_rate: float = 0.02  # decays to 0
    batch_sequences: int = 80
    # unchanged: traces that no filter changed; scrubbed: all, as a student sees them, so that it
    # keeps abstaining
    traces: Literal["unchanged", "scrubbed"] = "unchanged"
    # source names without their prefix, e.g. [sums, story]; empty: all of these traces
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
    """Removes memory from weights by their curvature. The search uses the select split; a delta
    undoes the edit.
    """

    # which model of distill/ is edited
    arm: Literal[Contender.BASE, Arm.STUDENT, Arm.CONTROL, Arm.SCRUB_ONLY, Arm.RANDOM_MASK] = (
        Arm.STUDENT
    )
    # linear layers; experts: all stacks
    projections: list[str] = field(default_factory=lambda: ["gate_proj", "up_proj", "down_proj"])
    # layers that may be edited, counted from 0; empty: all
    layers: list[int] = field(default_factory=list)
    calibration_sequences: int = 3000  # kept traces on which the curvature is measured
    # unchanged: traces that no filter changed; as_taught: all, as the arm was taught them
    calibration: Literal["unchanged", "as_taught"] = "unchanged"
    # a plain text file (or package:NAME/FILE); its first half is calibration text too, the second
    # is held out
    calibration_text: str | None = None
    # sampled: the true Fisher; gold: the traces' own tokens
    labels: Literal["sampled", "gold"] = "sampled"
    # temperature of the probabilities that labels are drawn from; above 1, confident predictions
    # add curvature too
    label_temperature: float = 1.0
    # memory for factors while they are collected; less memory means more passes
    factors_gib: float = 4.0
    ranking: Literal["kfac", "kfac_energy"] = "kfac"  # pairs by mu lambda, or by mu lambda C^2
    # methods to compare with, by the same search at equal size
    controls: list[Literal["svd", "random", "pca"]] = field(
        default_factory=lambda: ["svd", "random", "pca"]
    )
    # fractions of the curvature to remove, 1 - rho
    removed_curvature_fractions: list[float] = field(
        default_factory=lambda: [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    )
    max_combined_layers: int = 3  # layers that the greedy search may combine
    # of the search, shared by the ranking and its controls; a stopped search resumes
    search_seconds: float = 900.0
    items: int = 200  # questions in each suite, from the select split
    # closed-book questions for the search; the scorecard asks others
    recall_sources: list[Source] = field(default_factory=list)
    # open-book questions for the search, outside the planted world
    open_book_sources: list[Source] = field(default_factory=list)
    # suites that must be kept
    keep_suites: list[str] = field(
        default_factory=lambda: [Suite.REASONING, Suite.OPEN_BOOK, Suite.COUNTERFACTUAL]
    )
    # keep_most: the point that keeps most, among those that recall little enough; recall_least: the
    # other way round
    rule: Literal["keep_most", "recall_least"] = "keep_most"
    recall_at_most: float = 0.1  # limit of keep_most, 0..1; also the target of the greedy search
    # limit of recall_least: share of each suite's value before the edit, 0..1
    keep_at_least: float = 0.97
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
