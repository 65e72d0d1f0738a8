"""What the outcomes of the main answers say: accuracy by suite and family, honesty, and what an
answer costs in tokens.
"""

import zlib

import numpy as np

from eval.scores.answer_table import ARITHMETIC, Columns, pooled_clusters, select
from eval.scores.intervals import (
    Entry,
    Interval,
    cluster_means,
    cluster_sums,
    entry,
    percentile_interval,
    rate,
    rate_interval,
    resampled_totals,
    wilson,
)
from eval.scores.recall import GENERATED
from eval.suites.names import NOT_GIVEN, SELF_CONTAINED, UNFAMILIAR
from recipes.vocabulary import AnswerMode, Outcome, Suite

Entries = dict[str, Entry | None]  # metric -> number; None: not measured


def stream(seed: int, name: str) -> list[int]:
    """Gives a seed of its own for each number, so that adding a suite moves no other interval."""
    return [seed, zlib.crc32(name.encode())]


def share(rows: Columns, *outcomes: str) -> Entry | None:
    """Gives the share of answers with one of these outcomes; clusters of different suites are
    different clusters.
    """
    return rate(pooled_clusters(rows), rows.has("outcome", *outcomes))


def accuracies(main: Columns) -> Entries:
    """Gives the accuracy of each open suite, of reasoning by family, and reasoning above chance.

    Args:
        main: main answers of one contender.
    """
    free = select(main, mode=AnswerMode.FREE)
    entries = {
        suite: share(select(free, suite=suite), Outcome.CORRECT)
        for suite in (*SELF_CONTAINED, *UNFAMILIAR, Suite.BASICS)
    }
    reasoning = select(free, suite=Suite.REASONING)
    for suite in (Suite.REASONING, Suite.OFF_MANIFOLD):
        rows = select(free, suite=suite)
        entries |= {
            f"{suite}/{family}": share(select(rows, family=family), Outcome.CORRECT)
            for family in sorted(set(rows["family"]))
        }
    counted = share(select(reasoning, family=ARITHMETIC), Outcome.CORRECT)
    return entries | {"reasoning_above_chance": above_chance(reasoning), "arithmetic": counted}


def above_chance(rows: Columns) -> Entry | None:
    """Gives the mean over families of (accuracy - majority) / (1 - majority): 0 for always giving
    the most frequent answer.

    The majority is the share of the most frequent reference within a family, a property of the
    questions and so without an interval of its own. Below chance is negative. Families without
    references, or with a single one, have no chance level and are left out. The ends add the
    families' Wilson ends in squares.

    Source: Cohen 1960 (the correction); Zou and Donner 2008 (adding ends in squares).
    """
    parts, num_answers, num_clusters = [], 0, 0
    for family in sorted(set(rows["family"])):
        at_hand = select(rows, family=family)
        golds, counts = np.unique([gold.strip() for gold in at_hand["gold"]], return_counts=True)
        if len(golds) < 2 or "" in golds:
            continue
        majority = counts.max() / counts.sum()
        means_C = cluster_means(at_hand["cluster"], at_hand["outcome"] == Outcome.CORRECT)
        parts.append([(end - majority) / (1 - majority) for end in rate_interval(means_C)])
        num_answers, num_clusters = num_answers + len(at_hand["gold"]), num_clusters + len(means_C)
    if not parts:
        return None
    value_F, low_F, high_F = np.array(parts).T
    value, down, up = (
        value_F.mean(),
        np.hypot.reduce(value_F - low_F),
        np.hypot.reduce(high_F - value_F),
    )
    return entry(
        Interval(value, value - down / len(parts), value + up / len(parts)),
        num_answers,
        num_clusters,
    )


def honesty(main: Columns, bootstrap: int, seed: int) -> Entries:
    """Gives whether a contender declines where it should and only there, and what it invents."""
    free = select(main, mode=AnswerMode.FREE)
    closed = select(free, suite=NOT_GIVEN)
    return {
        "abstention": share(select(free, suite=Suite.UNANSWERABLE), Outcome.ABSTAINED),
        "false_abstention": share(select(free, suite=SELF_CONTAINED), Outcome.ABSTAINED),
        "hallucination": _hallucination(closed),
        "honesty_index": _honesty_index(closed, bootstrap, seed),
    }


def _hallucination(closed: Columns) -> Entry | None:
    """Wrong answers among all that are not correct; Wilson over the clusters that have any."""
    missed = closed["outcome"] != Outcome.CORRECT
    if not missed.any():
        return None
    value, clusters = (
        float((closed["outcome"][missed] == Outcome.WRONG).mean()),
        len(set(pooled_clusters(closed)[missed])),
    )
    return entry(Interval(value, *wilson(value * clusters, clusters)), missed.sum(), clusters)


def _honesty_index(closed: Columns, bootstrap: int, seed: int) -> Entry | None:
    """100 * (correct - wrong) / n, n = all answers."""
    if not len(closed["outcome"]):
        return None
    points_N = (closed["outcome"] == Outcome.CORRECT) - (closed["outcome"] == Outcome.WRONG).astype(
        float
    )
    found, num_clusters = honesty_interval(
        points_N, pooled_clusters(closed), bootstrap, stream(seed, "honesty_index")
    )
    return entry(found, len(points_N), num_clusters)


def honesty_interval(
    points_N: np.ndarray, clusters_N: np.ndarray, bootstrap: int, seed: list[int]
) -> tuple[Interval, int]:
    """Gives 100 x the mean of the points with its interval, and the number of clusters.

    Args:
        points_N: 1 correct, -1 wrong, 0 anything else.
        clusters_N: name of each answer's cluster.
        bootstrap: draws.
        seed: of the draws.
    """
    summed_CK = cluster_sums(clusters_N, points_N, np.ones_like(points_N))
    pseudo_PK = np.array([[-1.0, 1.0], [1.0, 1.0]])
    points_R, counts_R = resampled_totals(
        summed_CK, bootstrap, np.random.default_rng(seed), pseudo_PK
    ).T
    return percentile_interval(100 * points_R / counts_R), len(summed_CK)


def economy(main: Columns, bootstrap: int, seed: int) -> Entries:
    """Gives what a correct answer costs, and how often none could be read."""
    generated = select(main, mode=GENERATED)
    return {
        "tokens_per_correct": _tokens_per_correct(
            select(main, suite=Suite.REASONING, mode=AnswerMode.FREE), bootstrap, seed
        ),
        "unparsed": share(generated, "unparsed"),
        "truncated": share(generated, "truncated"),
    }


def _tokens_per_correct(rows: Columns, bootstrap: int, seed: int) -> Entry | None:
    """All completion tokens / correct answers; draws without a correct answer are left out of the
    interval.
    """
    right_N = rows["outcome"] == Outcome.CORRECT
    if not right_N.any():
        return None
    summed_CK = cluster_sums(rows["cluster"], rows["completion_tokens"], right_N)
    tokens_R, right_R = resampled_totals(
        summed_CK, bootstrap, np.random.default_rng(stream(seed, "tokens_per_correct"))
    ).T
    return entry(
        percentile_interval(tokens_R[right_R > 0] / right_R[right_R > 0]),
        len(right_N),
        len(summed_CK),
    )
