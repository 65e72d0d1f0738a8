"""Equivalent sizes: how large a plain model of the ladder would be that reasons, or remembers, as a
contender does.

Reasoning is held against ACTIVE parameters, recall against TOTAL ones. The separation,
log2(reasoning-equivalent / recall-equivalent), is in octaves; the number to quote is its change
against the student before (or beside) distillation, since both are read off the same ruler. Neither
size is our idea: recall-equivalent size is that of Incompressible Knowledge Probes
(arXiv:2604.24827), capability-equivalent size that of the Densing law (arXiv:2412.04315). Nothing
is read off beyond the ladder's ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from eval.scores.answers.columns import Columns, select
from eval.scores.answers.read import read_answers
from eval.scores.intervals import CONFIDENCE
from eval.scores.sizes.abilities import Abilities, abilities
from eval.scores.sizes.ability_line import Ruler, straight_lines
from eval.scores.sizes.ladder import AXES, Ladder, answers_matrix, families_of, rung_rows
from eval.scores.sizes.size_interval import Size, SizeInterval, each_end
from recipes.errors import ShardError
from recipes.vocabulary import Contender

# whose separation is taken off, the first that can be placed
REFERENCES = (Contender.BASE, Contender.CONTROL)


def equivalent_sizes(
    answers: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    ladder: Ladder,
    *,
    contenders: Sequence[str],
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Gives card["sizes"]: where contenders stand on both curves of a ladder, and how far apart.

    A position's interval holds the items (bootstrap over clusters) and the ladder's own error for a
    family that it has not seen. A change of separation holds the items, drawn in pairs, and the
    slope; what a family has over another cancels.

    Args:
        answers: of the contenders, as build_scorecard takes them, to the same questions as the
            ladder's.
        ladder: the ruler's models.
        contenders: who is measured.
        bootstrap: draws of an interval.
        seed: same seed, same intervals.

    Returns:
        reasoning, recall: contender -> size in parameters {"value", "low", "high", "censored"}
            (Size says what these mean);
        octaves: contender -> the same in octaves, with "change" against `reference` where there is
            one; reference; refused: axis -> why
        that axis cannot be measured with this ladder; ladder: rungs with their own scores (0..1,
        chance taken off), for the plot.

    Raises:
        ShardError: the contenders answered other questions than the ladder.
    """
    table = read_answers(answers)
    scales: dict[str, _Scale] = {}
    refused: dict[str, str] = {}
    for axis in AXES:
        try:
            scales[axis] = _Scale.measure(
                axis, table, ladder, contenders, bootstrap, [seed, len(axis)]
            )
        except NoRuler as fault:
            refused[axis] = str(fault)
    found: dict[str, Any] = {axis: scales[axis].sizes() if axis in scales else {} for axis in AXES}
    found |= {"octaves": {}, "reference": None, "refused": refused, "ladder": rung_rows(ladder)}
    if len(scales) == len(AXES):
        found |= _octaves(scales["reasoning"], scales["recall"])
    return found


class NoRuler(ShardError):
    """The ladder cannot measure this; one line says why."""


class _Scale(NamedTuple):
    """One axis: its ruler, and who was placed on it with which column of the draws."""

    ruler: Ruler
    found: Abilities
    column: dict[str, int]
    seed: list[int]

    @classmethod
    def measure(
        cls,
        axis: str,
        table: Columns,
        ladder: Ladder,
        contenders: Sequence[str],
        bootstrap: int,
        seed: list[int],
    ) -> Self:
        rows = {name: select(table, contender=name) for name in contenders}
        found, placed = _abilities(axis, ladder, rows, bootstrap, seed)
        log2_K = np.log2([getattr(rung, AXES[axis]) for rung in ladder.rungs])
        try:
            ruler = Ruler.fit(
                found,
                log2_K,
                families_of(ladder),
                what=f"{axis} ({AXES[axis]} parameters)",
                seed=[*seed, 1],
            )
        except ShardError as fault:
            raise NoRuler(str(fault)) from fault
        return cls(
            ruler,
            found,
            {name: len(ladder.rungs) + index for index, name in enumerate(placed)},
            seed,
        )

    def position(self, name: str, *, alone: bool) -> SizeInterval:
        """log2(size); alone: with the ladder's error for an unseen family, which cancels between
        contenders that share theirs.
        """
        line = self.ruler.line if alone else self.ruler.loose
        octave_R = line.octave_of(self.found.draws_RM[:, self.column[name]])
        if alone:
            rng = np.random.default_rng([*self.seed, self.column[name]])
            octave_R[1:] += self.ruler.off_octaves * rng.standard_t(
                self.ruler.groups, len(octave_R) - 1
            )
        return SizeInterval.within(octave_R, self.ruler.ends)

    def sizes(self) -> dict[str, Size]:
        entries = {name: self.position(name, alone=True).entry() for name in self.column}
        return {
            name: each_end(entry, lambda octave: round(2.0**octave))
            for name, entry in entries.items()
        }


def _octaves(reasoning: _Scale, recall: _Scale) -> dict[str, Any]:
    """Separations, and their changes against the first reference that can be placed."""
    names = [name for name in reasoning.column if name in recall.column]
    apart, paired = (
        {
            name: reasoning.position(name, alone=alone).minus(recall.position(name, alone=alone))
            for name in names
        }
        for alone in (True, False)
    )
    octaves = {name: _in_octaves(span) for name, span in apart.items()}
    reference = next(
        (name for name in REFERENCES if name in octaves and octaves[name]["censored"] != "unknown"),
        None,
    )
    for name in names:
        if reference is not None and name != reference:
            octaves[name]["change"] = _in_octaves(paired[name].minus(paired[reference]))
    return {"octaves": octaves, "reference": reference}


def _in_octaves(span: SizeInterval) -> Size:
    return each_end(span.entry(), lambda octave: round(octave, 3))


def slopes(ladder: Ladder, *, bootstrap: int = 2000, seed: int = 0) -> dict[str, dict[str, float]]:
    """Gives what a doubling of TOTAL parameters adds to reasoning and to recall, in logits of a
    right answer to the average item.

    The interval holds the items and the scatter of the models about their line (Student's t: with
    few models it is wide).

    Raises:
        ShardError: too few models, or sizes that do not differ.
    """
    made: dict[str, dict[str, float]] = {}
    for axis in AXES:
        found, _ = _abilities(axis, ladder, {}, bootstrap, [seed, len(axis)])
        log2_K = np.log2([rung.total for rung in ladder.rungs])
        slope_R = straight_lines(
            found, log2_K, families_of(ladder), what=axis, seed=[seed, len(axis), 1]
        )[1].slope_R
        low, high = np.quantile(slope_R[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        made[axis] = {"value": float(slope_R[0]), "low": float(low), "high": float(high)}
    return made


def _abilities(
    axis: str, ladder: Ladder, rows: dict[str, Columns], bootstrap: int, seed: list[int]
) -> tuple[Abilities, list[str]]:
    right_IM, floor_I, clusters_I, placed = answers_matrix(axis, ladder, rows)
    if not right_IM.size or np.isnan(right_IM).all(axis=0).any():
        raise NoRuler(
            f"equivalent sizes: the ladder was not asked for {axis}; run python -m launch.ladder "
            "on a recipe that measures it"
        )
    return abilities(right_IM, floor_I, clusters_I, resamples=bootstrap, seed=seed), placed
