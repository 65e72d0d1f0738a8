"""What a model still knows by heart: closed-book recall, measured where it may refuse and where it
cannot.

Generated recall is the better of two elicitations (`free`, and `note`: the note before the answer
was begun for the model). A student that learned to say "I do not know" looks as if it had
forgotten, so it is also made to choose among the values of the relation. Choosing has luck in it:
the floor is the share of hits that the same choosing habits would earn on facts that nobody
trained, computed as an expectation (chosen value x frequency of that value among the trained facts)
to cut noise.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from eval.scores.answer_table import Columns
from eval.scores.intervals import (
    Entry,
    Interval,
    Seed,
    entry,
    newcombe,
    percentile_interval,
    rate_interval,
    resampled_totals,
    widest,
)
from recipes.vocabulary import AnswerMode, Outcome

GENERATED = (AnswerMode.FREE, AnswerMode.NOTE)
MODES = (*GENERATED, AnswerMode.CHOICE)

Pair = tuple[str, str]  # (relation, value)


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
        accuracy, answers = {}, {}
        for mode in MODES:
            asked_N = rows["mode"] == mode
            count_C = np.bincount(index_N[asked_N], minlength=len(clusters_C))
            right_C = np.bincount(
                index_N[asked_N],
                weights=rows["outcome"][asked_N] == Outcome.CORRECT,
                minlength=len(clusters_C),
            )
            accuracy[mode], answers[mode] = _ratio(right_C, count_C), count_C
        chosen: list[dict[str, float]] = [{} for _ in clusters_C]
        picked_N = rows["mode"] == AnswerMode.CHOICE
        for fact, value in zip(index_N[picked_N], rows["choice"][picked_N], strict=True):
            chosen[fact][value] = (
                chosen[fact].get(value, 0.0) + 1 / answers[AnswerMode.CHOICE][fact]
            )
        told = {name: rows[name][first_C] for name in ("relation", "gold", "exposure")}
        return cls(
            clusters_C=clusters_C,
            relation_C=told["relation"],
            gold_C=np.array([gold.strip() for gold in told["gold"]], dtype=object),
            exposure_C=told["exposure"],
            accuracy=accuracy,
            answers=answers,
            chosen=chosen,
        )

    def rates(self, mode: str) -> np.ndarray:
        """Gives the accuracy of each fact that was asked in this mode."""
        return self.accuracy[mode][~np.isnan(self.accuracy[mode])]

    def best_mode(self) -> str | None:
        """Gives the generated mode with the higher accuracy; None where nothing was generated."""
        asked = [mode for mode in GENERATED if self.rates(mode).size]
        return max(asked, key=lambda mode: self.rates(mode).mean(), default=None)

    def generated(self) -> Entry | None:
        """Gives the accuracy of the better elicitation with Wilson's interval."""
        mode = self.best_mode()
        if mode is None:
            return None
        return entry(
            rate_interval(self.rates(mode)), self.answers[mode].sum(), self.rates(mode).size
        )

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


class Parts(NamedTuple):
    """What recall is made of; each an array whose first element is the sample's own value and the
    rest are bootstrap draws.
    """

    generated: np.ndarray  # NaN: nothing generated
    never: np.ndarray  # generated accuracy on facts nobody trained
    choice: np.ndarray  # forced-choice accuracy
    floor: np.ndarray  # what the same choosing habits earn on facts nobody trained


def combine(
    generated: np.ndarray, never: np.ndarray, choice: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """Gives recall = max(generated, rescaled forced choice), where guessing lands at the
    never-trained level.

    A part that is NaN drops out; a floor of 1 (only one value to choose) says nothing and drops out
    too.
    """
    floor = np.where(np.asarray(floor) < 1, floor, np.nan)
    above = np.maximum(-1.0, (choice - floor) / (1 - floor))
    return np.fmax(generated, np.maximum(0.0, never + above * (1 - never)))


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
    samples = combine(*parts)
    if np.isnan(samples[0]):
        return None
    forced = percentile_interval(combine(np.nan, *parts[1:]))
    ends = np.fmax(_wilson_of(suite, *GENERATED), forced)
    interval = widest(percentile_interval(samples), Interval(*map(float, ends)))
    n, clusters = (
        max(count(suite.answers[mode]) for mode in MODES) for count in (np.sum, np.count_nonzero)
    )
    return Recall(
        recall=entry(interval, n, clusters),
        minus_never=_minus_never(suite, never, parts, n, clusters),
        choice=_counted(_wilson_of(suite, AnswerMode.CHOICE), suite),
        floor=_counted(percentile_interval(parts.floor), never) if never else None,
    )


def _counted(interval: Interval, facts: Facts) -> Entry | None:
    """A number about forced choices as an entry; None where it could not be computed."""
    answers_C = facts.answers[AnswerMode.CHOICE]
    return (
        None
        if np.isnan(interval.value)
        else entry(interval, answers_C.sum(), np.count_nonzero(answers_C))
    )


def _minus_never(
    suite: Facts, never: Facts | None, parts: Parts, n: int, clusters: int
) -> Entry | None:
    samples = combine(*parts) - parts.never
    if np.isnan(samples[0]) or never is None:
        return None
    forced = percentile_interval(combine(np.nan, *parts[1:]) - parts.never)
    ends = np.fmax(newcombe(_wilson_of(suite, *GENERATED), _wilson_of(never, *GENERATED)), forced)
    both = widest(percentile_interval(samples), Interval(*map(float, ends)))
    return entry(Interval(both.value, max(both.low, -1.0), min(both.high, 1.0)), n, clusters)


def _wilson_of(suite: Facts, *modes: str) -> Interval:
    """The best mode's rate and Wilson ends; NaN where no such mode was asked."""
    asked = [rate_interval(suite.rates(mode)) for mode in modes if suite.rates(mode).size]
    return max(asked, default=Interval(np.nan, np.nan, np.nan))


def resampled_parts(
    suite: Facts,
    trained: Facts | None,
    never: Facts | None,
    resamples: int,
    rng: np.random.Generator,
) -> Parts:
    """Gives the parts of recall for the sample and for `resamples` draws; suites are drawn
    independently, columns of one together.
    """
    relations = sorted(set(suite.relation_C))
    pairs = _chosen_pairs(never) if never else []
    of_trained = [_frequency_columns(trained, relations, pairs)] if trained else []
    if trained is suite:
        modes_RK, mix_RL, *frequency = _draw(
            suite, [_asked_relations(suite, relations), *of_trained], resamples, rng
        )
    else:
        modes_RK, mix_RL = _draw(suite, [_asked_relations(suite, relations)], resamples, rng)
        _, *frequency = _draw(trained, of_trained, resamples, rng) if trained else (None,)
    generated, choice, absent = (
        _generated(modes_RK),
        _ratio(modes_RK[:, 4], modes_RK[:, 5]),
        np.full(resamples + 1, np.nan),
    )
    if never is None:
        return Parts(generated, absent, choice, absent)
    untrained_RK, chosen_RP, asked_RL = _draw(
        never, [_chosen_columns(never, pairs), _asked_relations(never, relations)], resamples, rng
    )
    floor = (
        _expected_hits(mix_RL, chosen_RP, asked_RL, frequency[0], relations, pairs)
        if frequency
        else absent
    )
    return Parts(generated, _generated(untrained_RK), choice, floor)


def _expected_hits(
    mix_RL: np.ndarray,
    chosen_RP: np.ndarray,
    asked_RL: np.ndarray,
    frequency: np.ndarray,
    relations: list[str],
    pairs: list[Pair],
) -> np.ndarray:
    """Sum over relations of their share in the suite x sum over values of P(chosen) x P(true among
    the trained facts).
    """
    trained_RL, gold_RP = frequency[:, : len(relations)], frequency[:, len(relations) :]
    belongs_PL = _one_hot(np.array([relation for relation, _ in pairs], dtype=object), relations)
    hits_RL = (chosen_RP * gold_RP) @ belongs_PL
    known_RL = (asked_RL > 0) & (trained_RL > 0)
    floor_RL = np.where(known_RL, _ratio(hits_RL, asked_RL * trained_RL), 0.0)
    return _ratio((mix_RL * floor_RL).sum(axis=1), (mix_RL * known_RL).sum(axis=1))


def _draw(
    facts: Facts, blocks: list[np.ndarray], resamples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Totals of the mode columns and of further blocks [C, ...], drawn together; pseudo-facts have
    modes and nothing else.
    """
    columns = [_mode_columns(facts), *blocks]
    rows_CK = np.hstack(columns)
    pseudo_PK = np.zeros((2, rows_CK.shape[1]))
    pseudo_PK[:, 1:6:2] = rows_CK[:, 1:6:2].any(axis=0)  # present wherever a fact was asked
    pseudo_PK[0, 0:6:2] = pseudo_PK[0, 1:6:2]  # the first is right there, the second wrong
    totals_RK = resampled_totals(rows_CK, resamples, rng, pseudo_PK)
    return np.split(totals_RK, np.cumsum([block.shape[1] for block in columns])[:-1], axis=1)


def _mode_columns(facts: Facts) -> np.ndarray:
    """[C, 6]: rate and presence in free, note, choice; a fact not asked in a mode adds nothing
    there.
    """
    return np.column_stack(
        [
            column
            for mode in MODES
            for column in (np.nan_to_num(facts.accuracy[mode]), facts.answers[mode] > 0)
        ]
    )


def _asked_relations(facts: Facts, relations: list[str]) -> np.ndarray:
    """[C, L]: the relation of each fact that has a forced choice."""
    return _one_hot(facts.relation_C, relations) * (facts.answers[AnswerMode.CHOICE] > 0)[:, None]


def _frequency_columns(trained: Facts, relations: list[str], pairs: list[Pair]) -> np.ndarray:
    """[C, L + P]: the relation of each trained fact, then its (relation, value)."""
    golds_C = np.fromiter(
        zip(trained.relation_C, trained.gold_C, strict=True),
        dtype=object,
        count=len(trained.gold_C),
    )
    return np.hstack([_one_hot(trained.relation_C, relations), _one_hot(golds_C, pairs)])


def _chosen_pairs(never: Facts) -> list[Pair]:
    return sorted(
        {
            (relation, value)
            for relation, chosen in zip(never.relation_C, never.chosen, strict=True)
            for value in chosen
        }
    )


def _chosen_columns(never: Facts, pairs: list[Pair]) -> np.ndarray:
    """[C, P]: share of each fact's forced choices that fell on each (relation, value)."""
    place = {pair: index for index, pair in enumerate(pairs)}
    chosen_CP = np.zeros((len(never.chosen), len(pairs)))
    for fact, (relation, chosen) in enumerate(zip(never.relation_C, never.chosen, strict=True)):
        for value, share in chosen.items():
            chosen_CP[fact, place[relation, value]] = share
    return chosen_CP


def _one_hot(labels_C: np.ndarray, vocabulary: list) -> np.ndarray:
    """[C, V] with a 1 at each label's place; a label outside the vocabulary gives a row of
    zeros.
    """
    place = {label: index for index, label in enumerate(vocabulary)}
    index_C = np.array([place.get(label, -1) for label in labels_C], dtype=np.int64)
    one_hot_CV = np.zeros((len(index_C), len(vocabulary)))
    one_hot_CV[np.flatnonzero(index_C >= 0), index_C[index_C >= 0]] = 1.0
    return one_hot_CV


def _generated(totals_RK: np.ndarray) -> np.ndarray:
    return np.fmax(
        _ratio(totals_RK[:, 0], totals_RK[:, 1]), _ratio(totals_RK[:, 2], totals_RK[:, 3])
    )


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
