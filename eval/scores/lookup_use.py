"""Whether look-up is used well: when it is called, how much of the possible gain it brings, and
what the base is believed.

Four states of the base tell reading it from knowing by heart: FULL as it is, DELETED without the
entry, OFF not to be called, SWAPPED with another value in its place. What is right or declined in
each state is declared in eval/suites/catalog.py.
"""

from dataclasses import dataclass

import numpy as np

from eval.scores.answers.columns import Columns, pooled, select
from eval.scores.answers.sheet import Sheet
from eval.scores.intervals import (
    Entry,
    Interval,
    Seed,
    cluster_means,
    cluster_sums,
    entry,
    percentile_interval,
    resampled_totals,
)
from eval.scores.measured import Bootstrap, Numbers
from eval.scores.numbers import Rate, RateDifference
from eval.suites.catalog import CLOSED_BOOK, NO_LOOKUP_NEEDED, READING
from recipes.vocabulary import AnswerMode, BaseState, Outcome, Suite

# clusters and right or wrong of the answers in one state of the base
Answered = tuple[np.ndarray, np.ndarray]


def lookup_use(sheet: Sheet) -> Numbers:
    """Gives when the base is called, whether it is believed, and how much of the gain it brings.

    Args:
        sheet: answers of one contender.
    """
    full = sheet.free(BaseState.FULL)
    yield from _calls(sheet)
    for name, suites in (("reasoning", (Suite.REASONING,)), ("given", READING)):
        rows = select(full, suite=suites)
        yield f"{name}_with_tools.searched", Rate(rows.clusters_N, rows["searched"] > 0)
    swapped = sheet.free(BaseState.SWAPPED)
    swapped = swapped.at(swapped["swapped"])
    yield "kb_swapped.followed", Rate(swapped.clusters_N, swapped["follows"])
    yield (
        "retrieval_closure",
        Closure(
            _right(select(full, suite=CLOSED_BOOK)),
            _right(select(sheet.free(BaseState.OFF), suite=CLOSED_BOOK)),
            _right(select(sheet.free(), suite=Suite.OPEN_BOOK)),
        ),
    )


def _right(rows: Columns) -> Answered:
    return rows["cluster"], rows["outcome"] == Outcome.CORRECT


@dataclass(frozen=True, slots=True)
class Closure:
    """(accuracy with the base - without) / (accuracy with the text given - without); below 0 where
    the base misleads.

    Clusters of the same name are drawn together. Each of the three arms has two pseudo-clusters,
    one right and one wrong.
    """

    full: Answered  # with the base
    off: Answered  # without
    given: Answered  # with the text in the question

    def entry(self, name: str, bootstrap: Bootstrap) -> Entry | None:
        """Gives the ratio; None where the text given brings no certain gain: a share of a gain that
        may be none says nothing.
        """
        clusters_N = self.full[0]
        found = self.interval(bootstrap.resamples, bootstrap.stream(name))
        return entry(found, len(clusters_N), len(set(clusters_N))) if found else None

    def interval(self, resamples: int, seed: Seed) -> Interval | None:
        """Gives the ratio with the ends of its interval.

        Args:
            resamples: draws.
            seed: of the draws.
        """
        arms = (self.full, self.off, self.given)
        if not all(len(right_N) for _, right_N in arms):
            return None
        names_N = np.concatenate([clusters_N for clusters_N, _ in arms])
        arm_N = np.repeat(np.arange(3), [len(right_N) for _, right_N in arms])
        right_N = np.concatenate([right_N for _, right_N in arms])
        rows_CK = cluster_sums(
            names_N,
            *(
                column
                for arm in range(3)
                for column in (right_N * (arm_N == arm), (arm_N == arm).astype(float))
            ),
        )
        pseudo_PK = np.kron(np.eye(3), [[1.0, 1.0], [0.0, 1.0]])
        totals_RK = resampled_totals(rows_CK, resamples, np.random.default_rng(seed), pseudo_PK)
        full_R, off_R, given_R = (
            totals_RK[:, k] / np.maximum(totals_RK[:, k + 1], 1) for k in (0, 2, 4)
        )
        if percentile_interval(given_R - off_R).low <= 0:
            return None
        return percentile_interval(
            np.divide(
                full_R - off_R,
                given_R - off_R,
                out=np.full_like(full_R, np.nan),
                where=given_R > off_R,
            )
        )


def _calls(sheet: Sheet) -> Numbers:
    """How often a look-up is called where the contender does not know, and where it does or was
    told.
    """
    rows = _asked_with_base(sheet)
    known = _known(sheet)
    needless_N = np.isin(rows["suite"], NO_LOOKUP_NEEDED)
    state_N = np.array(
        [
            1.0 if needless else known.get(cluster, np.nan)
            for needless, cluster in zip(needless_N, rows["cluster"], strict=True)
        ],
        dtype=float,
    )
    called_N = rows["searched"] > 0
    needed, needless = (
        Rate(rows["cluster"][state_N == state], called_N[state_N == state]) for state in (0.0, 1.0)
    )
    yield "unknown_with_tools.searched", needed
    yield "known_with_tools.searched", needless
    yield "youden_j", RateDifference(needed, needless)


def _asked_with_base(sheet: Sheet) -> Columns:
    """Free answers for which calls were counted: with the base FULL, else, for questions never
    asked so, the main answers.
    """
    full, plain = sheet.free(BaseState.FULL), sheet.free()
    asked_N, asked_M = (pooled(rows, "suite", "question_id") for rows in (plain, full))
    plain = plain.at(~np.isin(asked_N, asked_M))
    both = full.followed_by(plain)
    return both.at(~np.isnan(both["searched"]) & (both["suite"] != Suite.UNANSWERABLE))


def _known(sheet: Sheet) -> dict[str, float]:
    """1 for each fact that most closed-book tries without a call got right, else 0; with the base
    OFF where that was asked.
    """
    closed = select(
        sheet.answers,
        suite=CLOSED_BOOK,
        mode=AnswerMode.FREE,
        budget=0,
        base=(BaseState.NONE, BaseState.OFF),
    )
    closed = closed.at((closed["base"] == BaseState.OFF) | ~(closed["searched"] > 0))
    off_N, clusters_N = closed["base"] == BaseState.OFF, closed.places("cluster")
    closed = closed.at(off_N | ~np.isin(clusters_N, clusters_N[off_N]))
    if not len(closed["suite"]):
        return {}
    share_C = cluster_means(closed["cluster"], closed["outcome"] == Outcome.CORRECT)
    return dict(zip(np.unique(closed["cluster"]), (share_C > 0.5).astype(float), strict=True))
