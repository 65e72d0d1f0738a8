"""The parts that recall is made of, for the sample and for each draw of a bootstrap."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from eval.scores.intervals import resampled_totals
from eval.scores.recall.facts import MODES, Facts, ratio
from recipes.vocabulary import AnswerMode

Pair = tuple[str, str]  # (relation, value)


class RecallParts(NamedTuple):
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


class _Blocks(NamedTuple):
    """What each fact of a suite [C] adds to the totals that recall is made of."""

    modes_C6: np.ndarray
    others: list[np.ndarray]  # each [C, ...]

    def resampled(self, resamples: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Gives the totals of each block for the sample and for each draw, drawn together.

        Two pseudo-facts join the draws, one right in all modes that were asked and one wrong.
        """
        blocks = [self.modes_C6, *self.others]
        rows_CK = np.hstack(blocks)
        pseudo_PK = np.zeros((2, rows_CK.shape[1]))
        pseudo_PK[:, 1:6:2] = rows_CK[:, 1:6:2].any(axis=0)  # present wherever a fact was asked
        pseudo_PK[0, 0:6:2] = pseudo_PK[0, 1:6:2]  # the first is right there, the second wrong
        totals_RK = resampled_totals(rows_CK, resamples, rng, pseudo_PK)
        return np.split(totals_RK, np.cumsum([block.shape[1] for block in blocks])[:-1], axis=1)


def resampled_parts(
    suite: Facts,
    trained: Facts | None,
    never: Facts | None,
    resamples: int,
    rng: np.random.Generator,
) -> RecallParts:
    """Gives the parts of recall for the sample and for `resamples` draws; suites are drawn
    independently, columns of one together.

    Args:
        suite, trained, never: as eval.scores.recall.recall.measure has them.
        resamples: draws.
        rng: consumed.
    """
    relations = sorted(set(suite.relation_C))
    pairs = _chosen_pairs(never) if never else []
    counted = [_asked_relations(suite, relations)]
    frequency = [_frequency_columns(trained, relations, pairs)] if trained else []
    blocks = [_Blocks(_mode_columns(suite), counted + (frequency if trained is suite else []))]
    if trained is not None and trained is not suite:
        blocks.append(_Blocks(_mode_columns(trained), frequency))
    if never is not None:
        chosen = [_chosen_columns(never, pairs), _asked_relations(never, relations)]
        blocks.append(_Blocks(_mode_columns(never), chosen))
    drawn = [block.resampled(resamples, rng) for block in blocks]
    modes_R6, mix_RL = drawn[0][:2]
    absent_R = np.full(resamples + 1, np.nan)
    generated_R, choice_R = _generated(modes_R6), ratio(modes_R6[:, 4], modes_R6[:, 5])
    if never is None:
        return RecallParts(generated_R, absent_R, choice_R, absent_R)
    untrained_R6, chosen_RP, asked_RL = drawn[-1]
    floor_R = absent_R
    if trained is not None:
        gold_R = drawn[0 if trained is suite else 1][-1]
        floor_R = _expected_hits(mix_RL, chosen_RP, asked_RL, gold_R, relations, pairs)
    return RecallParts(generated_R, _generated(untrained_R6), choice_R, floor_R)


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
    floor_RL = np.where(known_RL, ratio(hits_RL, asked_RL * trained_RL), 0.0)
    return ratio((mix_RL * floor_RL).sum(axis=1), (mix_RL * known_RL).sum(axis=1))


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
    """Every (relation, value) that was chosen, sorted."""
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


def _one_hot(labels_C: np.ndarray, vocabulary: Sequence[Hashable]) -> np.ndarray:
    """[C, V] with a 1 at each label's place; a label outside the vocabulary gives a row of
    zeros.
    """
    place = {label: index for index, label in enumerate(vocabulary)}
    index_C = np.array([place.get(label, -1) for label in labels_C], dtype=np.int64)
    one_hot_CV = np.zeros((len(index_C), len(vocabulary)))
    one_hot_CV[np.flatnonzero(index_C >= 0), index_C[index_C >= 0]] = 1.0
    return one_hot_CV


def _generated(totals_RK: np.ndarray) -> np.ndarray:
    """[R]: the better of the two ways to ask for a written answer."""
    return np.fmax(ratio(totals_RK[:, 0], totals_RK[:, 1]), ratio(totals_RK[:, 2], totals_RK[:, 3]))
