"""Whether look-up is used well: when it is called, how much of the possible gain it brings, and
what the base is believed.

Four states of the base tell reading it from knowing by heart: FULL as it is, DELETED without the
entry, OFF not to be called, SWAPPED with another value in its place.
"""

import numpy as np

from eval.scores.answer_table import Columns, keep, pooled, pooled_clusters, select
from eval.scores.intervals import (
    Entry,
    Interval,
    Seed,
    cluster_means,
    cluster_sums,
    entry,
    newcombe,
    percentile_interval,
    rate,
    rate_interval,
    resampled_totals,
)
from eval.scores.outcomes import Entries, share, stream
from eval.suites.names import NO_LOOKUP_NEEDED, READING, TOOLS_NEEDED
from recipes.vocabulary import AnswerMode, BaseState, Outcome, Suite

# clusters and right or wrong of the answers in one state of the base
Arm = tuple[np.ndarray, np.ndarray]


def lookup(sheet: Columns, main: Columns, bootstrap: int, seed: int) -> Entries:
    """Gives the arms of the base, retrieval closure and look-up calibration; what was not asked is
    absent.

    Args:
        sheet: all answers of one contender.
        main: its main answers.
        bootstrap: resamples of an interval.
        seed: of the resampling.
    """
    arms = {
        base: select(sheet, base=base, mode=AnswerMode.FREE, sample=0, budget=0)
        for base in (BaseState.FULL, BaseState.DELETED, BaseState.OFF, BaseState.SWAPPED)
    }
    return {
        "base_full": share(_with_answer(arms[BaseState.FULL]), Outcome.CORRECT),
        "base_deleted_abstains": share(_with_answer(arms[BaseState.DELETED]), Outcome.ABSTAINED),
        "base_off_leak": share(_with_answer(arms[BaseState.OFF]), Outcome.CORRECT),
        "base_off_abstains": share(_with_answer(arms[BaseState.OFF]), Outcome.ABSTAINED),
        "base_swapped_follows": _follows(arms[BaseState.SWAPPED]),
        "retrieval_closure": _closure(
            _with_answer(arms[BaseState.FULL]),
            _with_answer(arms[BaseState.OFF]),
            main,
            bootstrap,
            seed,
        ),
        **_calls(sheet, main),
        **_with_tools(arms),
    }


def _with_tools(arms: dict[str, Columns]) -> Entries:
    """Thought and reading with tools at hand, chains of look-ups, and sums that want a program."""
    full, off = arms[BaseState.FULL], arms[BaseState.OFF]
    told = {"reasoning": select(full, suite="reasoning"), "given": select(full, suite=READING)}
    found = {f"{name}_with_tools": share(rows, Outcome.CORRECT) for name, rows in told.items()}
    found |= {
        f"lookup_needless_{name}": rate(pooled_clusters(rows), rows["searched"] > 0)
        for name, rows in told.items()
    }
    hops, sums = ([select(rows, suite=suite) for rows in (full, off)] for suite in TOOLS_NEEDED)
    return found | {
        "multi_hop": share(hops[0], Outcome.CORRECT),
        "multi_hop_deleted_abstains": share(
            select(arms[BaseState.DELETED], suite=Suite.MULTI_HOP), Outcome.ABSTAINED
        ),
        "multi_hop_off_leak": share(hops[1], Outcome.CORRECT),
        "python_arithmetic": share(sums[0], Outcome.CORRECT),
        "python_off": share(sums[1], Outcome.CORRECT),
    }


def _with_answer(rows: Columns) -> Columns:
    """Questions of the closed book that have an answer; the open ones ask nothing of the base."""
    return keep(
        rows, ~np.isin(rows["suite"], (*NO_LOOKUP_NEEDED, *TOOLS_NEEDED, Suite.UNANSWERABLE))
    )


def _follows(rows: Columns) -> Entry | None:
    """Share of answers that give the value that was put in place of the true one."""
    told = keep(rows, rows["swapped"])
    return rate(pooled_clusters(told), told["follows"])


def _closure(full: Columns, off: Columns, main: Columns, bootstrap: int, seed: int) -> Entry | None:
    arms = [
        (rows["cluster"], rows["outcome"] == Outcome.CORRECT)
        for rows in (full, off, select(main, suite=Suite.OPEN_BOOK, mode=AnswerMode.FREE))
    ]
    found = closure(*arms, bootstrap, stream(seed, "retrieval_closure"))
    return entry(found, len(full["suite"]), len(set(full["cluster"]))) if found else None


def closure(full: Arm, off: Arm, given: Arm, bootstrap: int, seed: Seed) -> Interval | None:
    """Gives (accuracy with the base - without) / (accuracy with the text given - without); below 0
    where the base misleads.

    Absent where the text given brings no certain gain: a share of a gain that may be none says
    nothing.

    Args:
        full: clusters and right or wrong of the answers with the base.
        off: the same without; clusters of the same name are drawn together. Each of the three has
            two pseudo-clusters, one right and one wrong.
        given: the same with the text in the question.
        bootstrap: draws.
        seed: of the draws.
    """
    arms = (full, off, given)
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
    totals_RK = resampled_totals(rows_CK, bootstrap, np.random.default_rng(seed), pseudo_PK)
    full_R, off_R, given_R = (
        totals_RK[:, k] / np.maximum(totals_RK[:, k + 1], 1) for k in (0, 2, 4)
    )
    if percentile_interval(given_R - off_R).low <= 0:
        return None
    return percentile_interval(
        np.divide(
            full_R - off_R, given_R - off_R, out=np.full_like(full_R, np.nan), where=given_R > off_R
        )
    )


def _calls(sheet: Columns, main: Columns) -> Entries:
    """How often a look-up is called where the contender does not know, and where it does or was
    told.
    """
    rows = _asked_with_base(sheet, main)
    known = _known(sheet)
    told_N = np.isin(rows["suite"], NO_LOOKUP_NEEDED)
    state_N = np.array(
        [
            1.0 if told else known.get(c, np.nan)
            for told, c in zip(told_N, rows["cluster"], strict=True)
        ],
        dtype=float,
    )
    called_N = rows["searched"] > 0
    needed, needless = (
        (rows["cluster"][state_N == state], called_N[state_N == state]) for state in (0.0, 1.0)
    )
    entries: Entries = {
        "lookup_need": rate(*needed),
        "lookup_needless": rate(*needless),
        "youden_j": None,
    }
    if len(needed[0]) and len(needless[0]):
        first, second = (rate_interval(cluster_means(*group)) for group in (needed, needless))
        num_clusters = len(set(needed[0])) + len(set(needless[0]))
        entries["youden_j"] = entry(
            newcombe(first, second), len(needed[0]) + len(needless[0]), num_clusters
        )
    return entries


def _asked_with_base(sheet: Columns, main: Columns) -> Columns:
    """Free answers for which calls were counted: with the base FULL, else, for questions never
    asked so, the main answers.
    """
    full = select(sheet, base=BaseState.FULL, mode=AnswerMode.FREE, sample=0, budget=0)
    plain = select(main, mode=AnswerMode.FREE)
    plain = keep(plain, ~np.isin(*(pooled(rows, "suite", "question_id") for rows in (plain, full))))
    both = full.followed_by(plain)
    return keep(both, ~np.isnan(both["searched"]) & (both["suite"] != Suite.UNANSWERABLE))


def _known(sheet: Columns) -> dict[str, float]:
    """1 for each fact that most closed-book tries without a call got right, else 0; with the base
    OFF where that was asked.
    """
    closed = _with_answer(select(sheet, mode=AnswerMode.FREE, budget=0, base=("", BaseState.OFF)))
    closed = keep(closed, (closed["base"] == BaseState.OFF) | ~(closed["searched"] > 0))
    off_N, clusters_N = closed["base"] == BaseState.OFF, closed.places("cluster")
    closed = keep(closed, off_N | ~np.isin(clusters_N, clusters_N[off_N]))
    if not len(closed["suite"]):
        return {}
    share_C = cluster_means(closed["cluster"], closed["outcome"] == Outcome.CORRECT)
    return dict(zip(np.unique(closed["cluster"]), (share_C > 0.5).astype(float), strict=True))
