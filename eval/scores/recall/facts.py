"""The facts of a closed-book suite as one contender answered them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.numbers import ClusterRate
from eval.suites.catalog import CLOSED_BOOK
from recipes.vocabulary import AnswerMode, Outcome, Suite

GENERATED = (AnswerMode.FREE, AnswerMode.NOTE)
MODES = (*GENERATED, AnswerMode.CHOICE)

EXPOSURE = f"{Suite.RECALL}/exposure_"  # and how often a fact was shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One closed-book suite as one contender answered it: one row a fact (a cluster), in sorted
    order.
    """

    clusters_C: np.ndarray
    relation_C: np.ndarray
    gold_C: np.ndarray
    exposure_C: np.ndarray
    accuracy: dict[str, np.ndarray]  # mode -> [C], mean over phrasings; NaN: not asked in this mode
    answers: dict[str, np.ndarray]  # mode -> [C], number of answers
    chosen: list[dict[str, float]]  # C times {value: share of the forced choices that fell on it}

    @classmethod
    def read(cls, rows: Columns) -> Self:
        """Gives the facts behind the answers of one contender to one suite, all modes together."""
        clusters_C, first_C, index_N = np.unique(
            rows["cluster"], return_index=True, return_inverse=True
        )
        accuracy: dict[str, np.ndarray] = {}
        answers: dict[str, np.ndarray] = {}
        for mode in MODES:
            asked_N = rows["mode"] == mode
            count_C = np.bincount(index_N[asked_N], minlength=len(clusters_C))
            right_C = np.bincount(
                index_N[asked_N],
                weights=rows["outcome"][asked_N] == Outcome.CORRECT,
                minlength=len(clusters_C),
            )
            accuracy[mode], answers[mode] = ratio(right_C, count_C), count_C
        chosen: list[dict[str, float]] = [{} for _ in clusters_C]
        picked_N = rows["mode"] == AnswerMode.CHOICE
        for fact, value in zip(index_N[picked_N], rows["choice"][picked_N], strict=True):
            chosen[fact][value] = (
                chosen[fact].get(value, 0.0) + 1 / answers[AnswerMode.CHOICE][fact]
            )
        return cls(
            clusters_C=clusters_C,
            relation_C=rows["relation"][first_C],
            gold_C=np.array([gold.strip() for gold in rows["gold"][first_C]], dtype=object),
            exposure_C=rows["exposure"][first_C],
            accuracy=accuracy,
            answers=answers,
            chosen=chosen,
        )

    @classmethod
    def of_suite(cls, rows: Columns, suite: str) -> Self | None:
        """Gives the facts of a suite; None where it was not asked."""
        asked = select(rows, suite=suite)
        return cls.read(asked) if len(asked["suite"]) else None

    def rates(self, mode: str) -> np.ndarray:
        """Gives the accuracy of each fact that was asked in this mode."""
        return self.accuracy[mode][~np.isnan(self.accuracy[mode])]

    def best_mode(self) -> str | None:
        """Gives the generated mode with the higher accuracy; None where nothing was generated."""
        asked = [mode for mode in GENERATED if self.rates(mode).size]
        return max(asked, key=lambda mode: self.rates(mode).mean(), default=None)

    def generated(self) -> ClusterRate | None:
        """Gives the accuracy of the better elicitation; None where nothing was generated."""
        mode = self.best_mode()
        return ClusterRate(self.rates(mode), int(self.answers[mode].sum())) if mode else None

    def chosen_counts(self) -> tuple[int, int]:
        """Gives the number of forced choices, and of facts that had any."""
        answers_C = self.answers[AnswerMode.CHOICE]
        return int(answers_C.sum()), int(np.count_nonzero(answers_C))

    def by_exposure(self) -> dict[int, Self]:
        """Gives the facts of each exposure class."""
        return {
            int(exposure): self._only(self.exposure_C == exposure)
            for exposure in np.unique(self.exposure_C)
        }

    def _only(self, keep_C: np.ndarray) -> Self:
        return replace(
            self,
            **{
                name: getattr(self, name)[keep_C]
                for name in ("clusters_C", "relation_C", "gold_C", "exposure_C")
            },
            accuracy={mode: rates[keep_C] for mode, rates in self.accuracy.items()},
            answers={mode: counts[keep_C] for mode, counts in self.answers.items()},
            chosen=[chosen for chosen, keep in zip(self.chosen, keep_C, strict=True) if keep],
        )


def closed_book(main: Columns) -> dict[str, Facts]:
    """Gives the facts of each closed-book suite that was asked, and of each class of suite recall
    by how often a fact was shown, as recall/exposure_N.

    Args:
        main: main answers of one contender.
    """
    asked = {suite: Facts.of_suite(main, suite) for suite in CLOSED_BOOK}
    facts = {str(suite): found for suite, found in asked.items() if found}
    if trained := facts.get(Suite.RECALL):
        facts |= {f"{EXPOSURE}{shown}": some for shown, some in trained.by_exposure().items()}
    return facts


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Gives the elementwise quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
