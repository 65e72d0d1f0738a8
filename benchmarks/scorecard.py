"""How often the scorecard's 95 % intervals hold the truth, and what pairing buys.

    python -m benchmarks.scorecard                        10,000 simulated evaluations of 500
    questions for each kind of interval python -m benchmarks.scorecard --repetitions 500      a
    quick look

Two contenders answer questions of a common difficulty (latent correlation 0.7). The truth of each
number follows from the way the answers are drawn, not from another estimate. An interval that keeps
its word holds it in 94 to 96 of 100 evaluations.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from eval.scores.calibration import CalibrationError, Claims, auroc, risk
from eval.scores.effort import slope
from eval.scores.intervals import Entry, Interval, newcombe, rate, rate_interval
from eval.scores.lookup_use import Closure
from eval.scores.measured import Bootstrap, Number
from eval.scores.outcomes import honesty_index
from eval.scores.paired_intervals import paired_bootstrap, unpaired_bootstrap
from eval.scores.pass_at_k import pass_at
from eval.scores.recall.facts import Facts
from eval.scores.recall.recall import measure

# of the latent skills of two contenders on one question, and of two phrasings of one
CORRELATION = 0.7
FIRST, SECOND = 0.65, 0.6  # accuracies whose difference is looked for
PHRASINGS = 3  # questions a cluster, where there are clusters
# of each interval; the scorecard's default is 2000, which moves an end by less than a hundredth of
# the width
RESAMPLES = 1000
# of the simulated facts: values a relation, share known but refused, share guessed outright
VALUES, KNOWN, LUCKY = 4, 0.3, 0.05
ROUNDED = 1e-6  # the scorecard rounds to six decimals
# near 0 and 1 a count of few hits cannot cover evenly; shown, and not part of coverage_95
EDGE = " (edge)"
NORMAL = NormalDist()

Row = dict[str, float | str]

Ends = tuple[float, float]
# (generator, questions, repetition) -> an interval for each name
Draw = Callable[[np.random.Generator, int, int], list[Ends]]


class Kind(NamedTuple):
    """Intervals that are drawn together: the true value of each, and how to draw them."""

    truths: dict[str, float]
    draw: Draw


def contenders(
    rng: np.random.Generator, items: int, *rates: float, phrasings: int = 1
) -> np.ndarray:
    """Gives right or wrong for each contender and question, [contenders, items]; questions of a
    cluster share their difficulty.
    """
    num_clusters = items // phrasings
    shared_C = rng.standard_normal(num_clusters)
    own_KN = rng.standard_normal((len(rates), num_clusters * phrasings))
    skill_KN = CORRELATION**0.5 * np.repeat(shared_C, phrasings) + (1 - CORRELATION) ** 0.5 * own_KN
    return skill_KN < np.array([[NORMAL.inv_cdf(chance)] for chance in rates])


def ends(*found: Number | Entry | Interval | None) -> list[Ends]:
    """Gives the ends of each number; nowhere where it is absent."""
    return [_ends(one) for one in found]


def _ends(one: Number | Entry | Interval | None) -> Ends:
    if isinstance(one, Interval):
        return one.low, one.high
    counted = not (one is None or isinstance(one, dict))
    entry = one.entry("", Bootstrap(RESAMPLES, 0)) if counted else one
    return (np.nan, np.nan) if entry is None else (entry["low"], entry["high"])


def single(items: int) -> list[Kind]:
    """Gives the kinds that are rates or means of one contender."""
    alone_N, clusters_N = np.arange(items), np.repeat(np.arange(items // PHRASINGS), PHRASINGS)
    plain = [
        Kind(
            {f"rate of {chance:g}{EDGE}": chance},
            lambda rng, n, _, p=chance: ends(rate(alone_N, rng.random(n) < p)),
        )
        for chance in (0.02, 0.98)
    ]

    def anywhere(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
        """A rate between 0.1 and 0.9; told as its distance from the truth, which differs each
        time.
        """
        chance = 0.1 + 0.8 * rng.random()
        ((low, high),) = ends(rate(alone_N, rng.random(n) < chance))
        return [(low - chance, high - chance)]

    def clustered(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
        return ends(rate(clusters_N, contenders(rng, n, SECOND, phrasings=PHRASINGS)[0]))

    def honesty(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        points_N = rng.choice([1.0, -1.0, 0.0], size=n, p=[0.4, 0.35, 0.25])
        drawn = Bootstrap(RESAMPLES, number)
        return ends(honesty_index(points_N, alone_N).entry("honesty_index", drawn))

    def four_tries(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
        # the chance of solving a problem is uniform
        right_Q = (rng.random((8, n)) < rng.random(n)).sum(axis=0)
        return ends(rate(alone_N, pass_at(4, right_Q, np.full(n, 8)), 8 * n))

    return [
        *plain,
        Kind({"rate of 0.1 .. 0.9": 0.0}, anywhere),
        Kind({"clustered rate": SECOND}, clustered),
        Kind({"honesty index": 5.0}, honesty),
        Kind({"pass_at_k/4": 0.8}, four_tries),  # 1 - integral of (1 - p)^4
    ]


def differences(items: int) -> list[Kind]:
    """Gives the kinds that compare."""
    clusters_N = np.repeat(np.arange(items // PHRASINGS), PHRASINGS)

    def paired(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        return ends(
            paired_bootstrap(*contenders(rng, n, FIRST, SECOND), resamples=RESAMPLES, seed=number)
        )

    def paired_clusters(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        both = contenders(rng, n, FIRST, SECOND, phrasings=PHRASINGS)
        return ends(paired_bootstrap(*both, clusters_N, resamples=RESAMPLES, seed=number))

    def unpaired(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        return ends(
            unpaired_bootstrap(
                rng.random(n) < FIRST, rng.random(n) < SECOND, resamples=RESAMPLES, seed=number
            )
        )

    def youden(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
        need, needless = (rate_interval(rng.random(n // 2) < chance) for chance in (0.8, 0.1))
        return ends(newcombe(need, needless))

    def share_of_gain(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        off_N, full_N = contenders(rng, n, 0.2, 0.7)
        arms = (
            (np.arange(n), full_N),
            (np.arange(n), off_N),
            (np.arange(n, 2 * n), rng.random(n) < 0.9),
        )
        return ends(Closure(*arms).interval(RESAMPLES, number))

    return [
        Kind({"paired bootstrap": FIRST - SECOND}, paired),
        Kind({"paired bootstrap, clusters": FIRST - SECOND}, paired_clusters),
        Kind({"unpaired bootstrap": FIRST - SECOND}, unpaired),
        Kind({"youden_j": 0.7}, youden),
        Kind({"retrieval_closure": (0.7 - 0.2) / (0.9 - 0.2)}, share_of_gain),
    ]


def confidences(items: int) -> list[Kind]:
    """Gives the kinds about confidence: one that is right in three quarters of what it claims, and
    one that is as good as its word.
    """
    return [
        _claims(0.75, ("auroc", "risk_at_80", "ece")),
        _claims(1.0, ("auroc, calibrated", "risk_at_80, calibrated", f"ece of 0{EDGE}")),
        Kind({"need_slope": 0.5}, _slope),
    ]


def _claims(kept: float, names: tuple[str, str, str]) -> Kind:
    """Confidence uniform in 0.05..0.95, right with `kept` of it."""
    claimed_G = 0.05 + 0.9 * (np.arange(100_000) + 0.5) / 100_000
    right_G = kept * claimed_G
    wrong_below_G = np.cumsum(1 - right_G) - (1 - right_G) / 2
    truths = (
        float(right_G @ wrong_below_G / right_G.sum() / (1 - right_G).sum()),
        float(1 - right_G[20_000:].mean()),
        float((1 - kept) * claimed_G.mean()),
    )

    def drawn(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
        confidence_N = 0.05 + 0.9 * rng.random(n)
        found = Claims(
            confidence_N, (rng.random(n) < kept * confidence_N).astype(float), np.arange(n)
        )
        return ends(auroc(found), risk(found, 0.8), CalibrationError(found))

    return Kind(dict(zip(names, truths, strict=True)), drawn)


def _slope(rng: np.random.Generator, n: int, _: int) -> list[Ends]:
    level_N = rng.integers(0, 5, n)
    # harder problems differ more
    log_N = 3 + 0.5 * level_N + rng.standard_normal(n) * (0.3 + 0.1 * level_N)
    return ends(slope(level_N, log_N, np.zeros(n), np.arange(n)))


def recalls(items: int) -> list[Kind]:
    """Gives recall and its distance from never-trained facts, of a student that knows a share and
    refuses to say so.
    """

    def draw(rng: np.random.Generator, n: int, number: int) -> list[Ends]:
        trained, never = (_facts(rng, count, known) for count, known in ((n, KNOWN), (n // 2, 0.0)))
        found = measure(trained, trained, never, resamples=RESAMPLES, seed=number)
        return ends(found.recall, found.minus_never)

    apart = KNOWN * (1 - LUCKY)  # of the facts that luck does not give anyway
    return [Kind({"recall": LUCKY + apart, "recall minus never": apart}, draw)]


def _facts(rng: np.random.Generator, count: int, known: float) -> Facts:
    """Facts of one relation: forced choice is right where known and chance elsewhere, a generated
    answer is right by luck only.
    """
    gold_C, guess_C = rng.integers(0, VALUES, (2, count))
    chosen_C = np.where(rng.random(count) < known, gold_C, guess_C)
    hits = {"free": rng.random(count) < LUCKY, "choice": chosen_C == gold_C}
    nothing = np.full(count, np.nan)
    return Facts(
        clusters_C=np.arange(count),
        relation_C=np.full(count, "home", dtype=object),
        gold_C=gold_C.astype(str).astype(object),
        exposure_C=np.ones(count, dtype=int),
        accuracy={
            mode: hits[mode].astype(float) if mode in hits else nothing
            for mode in ("free", "note", "choice")
        },
        answers={mode: np.full(count, int(mode in hits)) for mode in ("free", "note", "choice")},
        chosen=[{str(value): 1.0} for value in chosen_C],
    )


def coverage(kind: Kind, items: int, repetitions: int, seed: int) -> list[Row]:
    """Gives how often intervals hold the truth, lie wholly above and below it, and how wide they
    are.
    """
    rng, began = np.random.default_rng([seed, *"".join(kind.truths).encode()]), time.perf_counter()
    ends_RK2 = np.array([kind.draw(rng, items, number) for number in range(repetitions)])
    seconds = time.perf_counter() - began
    rows = []
    for place, (name, truth) in enumerate(kind.truths.items()):
        low_R, high_R = ends_RK2[~np.isnan(ends_RK2[:, place]).any(axis=1), place].T
        above, below = (
            float((low_R > truth + ROUNDED).mean()),
            float((high_R < truth - ROUNDED).mean()),
        )
        rows.append(
            {
                "interval": name,
                "truth": round(truth, 6),
                "covered": round(1 - above - below, 6),
                "above": above,
                "below": below,
                "width": round(float((high_R - low_R).mean()), 6),
                "absent": 1 - len(low_R) / repetitions,
                "seconds": round(seconds, 1),
            }
        )
    return rows


def powers(items: int, repetitions: int, seed: int) -> dict[str, float]:
    """Gives how often the better of two contenders is seen to be better, with and without pairing
    the same questions.
    """
    rng = np.random.default_rng([seed, 1])
    seen = {"paired": 0, "unpaired": 0}
    for number in range(repetitions):
        both = contenders(rng, items, FIRST, SECOND)
        seen["paired"] += paired_bootstrap(*both, resamples=RESAMPLES, seed=number).low > 0
        seen["unpaired"] += unpaired_bootstrap(*both, resamples=RESAMPLES, seed=number).low > 0
    return {f"{name}_power": count / repetitions for name, count in seen.items()}


def measured(items: int, repetitions: int, seed: int, only: str = "") -> dict[str, object]:
    """Gives the row of each kind, the coverage that is farthest from 95 %, and the powers."""
    began = time.perf_counter()
    rows: list[Row] = []
    for kind in (
        kind for group in (single, differences, confidences, recalls) for kind in group(items)
    ):
        if any(only in name for name in kind.truths):
            rows += coverage(kind, items, repetitions, seed)
    inner = [row["covered"] for row in rows if EDGE not in row["interval"]]
    worst = max(inner, key=lambda covered: abs(covered - 0.95), default=None)
    return {
        "coverage_95": worst,
        **powers(items, repetitions, seed),
        "seconds": round(time.perf_counter() - began, 1),
        "items": items,
        "repetitions": repetitions,
        "rows": rows,
    }


def _line(row: Row) -> str:
    numbers = " ".join(
        f"{row[name]:>9.4f}" for name in ("truth", "covered", "above", "below", "width")
    )
    return f"{row['interval']:<28} {numbers} {row['seconds']:>8.1f}"


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--repetitions",
        type=int,
        default=10_000,
        help="simulated evaluations for each kind of interval",
    )
    made.add_argument("--items", type=int, default=500, help="questions of one evaluation")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--only", default="", help="kinds whose name holds this")
    given = made.parse_args()
    found = measured(given.items, given.repetitions, given.seed, given.only)
    print(
        f"{'interval':<28} {'truth':>9} {'covered':>9} {'above':>9} {'below':>9} {'width':>9} {'seconds':>8}"
    )
    for row in found["rows"]:
        print(_line(row))
    print(
        f"seen at {SECOND:.0%} against {FIRST:.0%}: paired {found['paired_power']:.3f}, unpaired {found['unpaired_power']:.3f}"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
