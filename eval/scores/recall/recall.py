"""What a model still knows by heart: closed-book recall, measured where it may refuse and where it
cannot.

Generated recall is the better of two elicitations (`free`, and `note`: the note before the answer
was begun for the model). A student that learned to say "I do not know" looks as if it had
forgotten, so it is also made to choose among the values of the relation. Choosing has luck in it:
the floor is the share of hits that the same choosing habits would earn on facts that nobody
trained, computed as an expectation (chosen value x frequency of that value among the trained facts)
to cut noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eval.scores.answers.columns import Columns
from eval.scores.intervals import (
    Entry,
    Interval,
    Seed,
    best_rate,
    entry,
    known_entry,
    larger_of,
    newcombe,
    percentile_interval,
)
from eval.scores.measured import Bootstrap, Curve, Entries, Numbers, measured, point
from eval.scores.numbers import UnpairedDifference
from eval.scores.recall.facts import EXPOSURE, GENERATED, MODES, Facts, closed_book
from eval.scores.recall.resampled import combine, resampled_parts
from eval.suites.catalog import TAUGHT_FACTS
from recipes.vocabulary import AnswerMode, Suite

# metrics of what was written, and the suites that they come from
WRITTEN = {
    "recall_generated": Suite.RECALL,
    "recall_never_trained": Suite.RECALL_NEVER_TRAINED,
}


class RecallScores(NamedTuple):
    """Recall of one contender."""

    metrics: Entries
    above_never: Entries  # the same metrics, less those of facts that nobody trained
    curves: dict[str, Curve]


def recall_scores(main: Columns, bootstrap: Bootstrap) -> RecallScores:
    """Gives every number of one contender that says what it knows by heart.

    Args:
        main: its main answers.
        bootstrap: how intervals are resampled.
    """
    facts = closed_book(main)
    never = facts.get(Suite.RECALL_NEVER_TRAINED)
    recalls: dict[str, Recall] = {}
    for name, asked in facts.items():
        # luck within a suite, or within a class of it, depends on the values there
        found = name != Suite.RECALL_NEVER_TRAINED and measure(
            asked, asked, never, resamples=bootstrap.resamples, seed=bootstrap.stream(name)
        )
        if found:
            recalls[name] = found
    metrics: Entries = {name: one.recall for name, one in recalls.items()}
    if found := recalls.get(Suite.RECALL):
        metrics |= {
            name: number
            for name, number in (
                ("forced_choice", found.choice),
                ("forced_choice_floor", found.floor),
            )
            if number
        }
    above = {
        str(suite): one.minus_never
        for suite, one in recalls.items()
        if suite in TAUGHT_FACTS and one.minus_never
    }
    return RecallScores(
        metrics | measured(_generated(facts), bootstrap),
        above | measured(_generated_minus_never(facts), bootstrap),
        _by_exposure(metrics),
    )


def _by_exposure(metrics: Entries) -> dict[str, Curve]:
    """Recall over how often a fact was shown; nothing where no fact was shown."""
    classes = {
        int(name.removeprefix(EXPOSURE)): found
        for name, found in metrics.items()
        if name.startswith(EXPOSURE)
    }
    points = [point(shown, classes[shown]) for shown in sorted(classes)]
    return {"recall_by_exposure": points} if points else {}


def _generated(facts: Mapping[str, Facts]) -> Numbers:
    """What was written, whatever was chosen."""
    for metric, suite in WRITTEN.items():
        yield metric, facts[suite].generated() if suite in facts else None


def _generated_minus_never(facts: Mapping[str, Facts]) -> Numbers:
    found, zero = (
        facts[suite].generated() if suite in facts else None for suite in WRITTEN.values()
    )
    if found and zero:
        difference = UnpairedDifference(found.rates_C, zero.rates_C, found.answers)
        yield "recall_generated", difference


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall of one suite (or one exposure class of it) with all that it rests on."""

    recall: Entry
    minus_never: Entry | None
    choice: Entry | None
    floor: Entry | None


def measure(
    suite: Facts, trained: Facts | None, never: Facts | None, *, resamples: int, seed: Seed
) -> Recall | None:
    """Gives recall of a suite; None where neither generated answers nor a usable forced choice
    exist.

    The interval is a cluster bootstrap of the whole expression: every suite is resampled, floor and
    never-trained level included, with two pseudo-facts each (right in all modes, wrong in all
    modes). Since the larger of two noisy numbers runs high, it is stretched to the larger of the
    two parts' own ends (Wilson's for the generated part, so that 0 of 500 reads the same here and
    there); the difference likewise, with Newcombe's ends for the generated part.

    Args:
        suite: the suite at hand.
        trained: the facts whose golds say how frequent a value is: suite `recall`, or `suite`
            itself for a part of it.
        never: suite `recall_never_trained`; None: no floor, so recall is the generated one alone.
        resamples: bootstrap draws.
        seed: same seed, same intervals.
    """
    parts = resampled_parts(suite, trained, never, resamples, np.random.default_rng(seed))
    recall_R, forced_R = combine(*parts), combine(np.full(1, np.nan), *parts[1:])
    if np.isnan(recall_R[0]):
        return None
    written = best_rate(map(suite.rates, GENERATED))
    interval = larger_of(recall_R, written, percentile_interval(forced_R))
    n, clusters = (
        max(int(count(suite.answers[mode])) for mode in MODES)
        for count in (np.sum, np.count_nonzero)
    )
    above = None
    if never is not None and not np.isnan(parts.never[0]):
        apart = newcombe(written, best_rate(map(never.rates, GENERATED)))
        ends = percentile_interval(forced_R - parts.never)
        both = larger_of(recall_R - parts.never, apart, ends)
        above = entry(Interval(both.value, max(both.low, -1.0), min(both.high, 1.0)), n, clusters)
    return Recall(
        recall=entry(interval, n, clusters),
        minus_never=above,
        choice=known_entry(best_rate([suite.rates(AnswerMode.CHOICE)]), *suite.chosen_counts()),
        floor=known_entry(percentile_interval(parts.floor), *never.chosen_counts())
        if never
        else None,
    )
