"""How effort and accuracy answer to what is asked: difficulty, token caps, and snippets that do not
matter.
"""

import numpy as np

from eval.scores.answer_table import Columns, keep, select
from eval.scores.calibration import Curve, point
from eval.scores.intervals import Entry, Interval, cluster_means, cluster_variance, entry
from eval.scores.outcomes import Entries, share
from eval.suites.names import SELF_CONTAINED
from recipes.vocabulary import AnswerMode, Outcome, Suite


def need_slope(main: Columns) -> Entry | None:
    """Gives by how much log(tokens) grows with one level of difficulty, over correct reasoning
    answers.

    Levels of different families do not compare, so the slope is within families, one for all. None
    with a single level or with fewer than three clusters.

    Args:
        main: main answers of one contender.

    Returns:
        Nats a level: 0.7 is twice the tokens for one level more.
    """
    rows = _graded_by_level(select(main, outcome=Outcome.CORRECT))
    rows = keep(rows, rows["completion_tokens"] > 0)
    return slope(
        rows["difficulty"], np.log(rows["completion_tokens"]), rows["family"], rows["cluster"]
    )


def slope(
    level_N: np.ndarray, log_N: np.ndarray, families_N: np.ndarray, clusters_N: np.ndarray
) -> Entry | None:
    """Gives the slope of `log_N` on `level_N` within families, with an interval that knows the
    clusters.

    Of width zero where the logarithm follows the level exactly.

    Source: White 1980; Liang and Zeger 1986 (the spread of a slope whose errors are unequal and
    clustered).
    """
    level_N, log_N = (_within(families_N, column) for column in (level_N, log_N))
    num_clusters, spread = len(set(clusters_N)), float(level_N @ level_N)
    if num_clusters < 3 or spread <= 1e-12:
        return None
    value = float(level_N @ log_N / spread)
    half = 1.96 * cluster_variance(level_N * (log_N - value * level_N) / spread, clusters_N) ** 0.5
    return entry(Interval(value, value - half, value + half), len(level_N), num_clusters)


def _graded_by_level(main: Columns) -> Columns:
    reasoning = select(main, suite=Suite.REASONING, mode=AnswerMode.FREE)
    return keep(reasoning, ~np.isnan(reasoning["difficulty"]))


def _within(families_N: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    """Values less the mean of their family."""
    _, index_N = np.unique(families_N, return_inverse=True)
    return (
        values_N
        - (np.bincount(index_N, weights=values_N) / np.maximum(np.bincount(index_N), 1))[index_N]
        if len(index_N)
        else values_N
    )


def under_budgets(sheet: Columns) -> Entries:
    """Gives accuracy_under_budget/CAP: reasoning when no more than CAP tokens may be written.

    Args:
        sheet: all answers of one contender; `budget` is the cap, 0 none.
    """
    capped = select(sheet, suite=Suite.REASONING, mode=AnswerMode.FREE, base="", sample=0)
    caps = sorted({int(cap) for cap in capped["budget"]} - {0})
    return {
        f"accuracy_under_budget/{cap}": share(select(capped, budget=cap), Outcome.CORRECT)
        for cap in caps
    }


def curves(sheet: Columns, main: Columns, entries: Entries) -> dict[str, Curve]:
    """Gives accuracy_by_difficulty, tokens_by_difficulty, accuracy_by_budget,
    accuracy_by_distractors and recall_by_exposure.

    Args:
        sheet: all answers of one contender.
        main: its main answers.
        entries: its metrics; two of the curves are metrics by their part.
    """
    by_level = _graded_by_level(main)
    levels = [
        (level, keep(by_level, by_level["difficulty"] == level))
        for level in np.unique(by_level["difficulty"])
    ]
    tokens = [(level, _tokens(select(rows, outcome=Outcome.CORRECT))) for level, rows in levels]
    return {
        "accuracy_by_difficulty": [
            point(level, share(rows, Outcome.CORRECT)) for level, rows in levels
        ],
        "tokens_by_difficulty": [point(level, found) for level, found in tokens if found],
        "accuracy_by_budget": _by_part(entries, "accuracy_under_budget/"),
        "accuracy_by_distractors": _by_distractors(sheet),
        "recall_by_exposure": _by_part(entries, "recall/exposure_"),
    }


def _tokens(right: Columns) -> Entry | None:
    """Mean completion tokens; None for a single cluster, which has no spread."""
    means_C = (
        cluster_means(right["cluster"], right["completion_tokens"])
        if len(right["cluster"])
        else np.zeros(0)
    )
    if len(means_C) < 2:
        return None
    value, half = float(means_C.mean()), 1.96 * float(means_C.std(ddof=1)) / len(means_C) ** 0.5
    return entry(
        Interval(value, max(value - half, 0.0), value + half), len(right["cluster"]), len(means_C)
    )


def _by_part(entries: Entries, group: str) -> Curve:
    parts = {
        int(name.removeprefix(group)): found
        for name, found in entries.items()
        if name.startswith(group) and found
    }
    return [point(x, parts[x]) for x in sorted(parts)]


def _by_distractors(sheet: Columns) -> Curve:
    """Accuracy by the number of distractors, over questions that were asked with more than one
    number of them.
    """
    rows = select(
        sheet,
        suite=(*SELF_CONTAINED, Suite.DISTRACTED),
        mode=AnswerMode.FREE,
        base="",
        budget=0,
        sample=0,
    )
    suites_N = rows["suite"]
    varied = tuple(
        suite
        for suite in sorted(set(suites_N))
        if len(set(rows["distractors"][suites_N == suite])) > 1
    )
    rows = select(rows, suite=varied)
    return [
        point(count, share(select(rows, distractors=int(count)), Outcome.CORRECT))
        for count in np.unique(rows["distractors"])
    ]
