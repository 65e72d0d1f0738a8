"""Equivalent sizes: how large a plain model of the ladder would be that reasons, or remembers, as a
contender does.

Reasoning is held against ACTIVE parameters, recall against TOTAL ones. The separation,
log2(reasoning-equivalent / recall-equivalent), is in octaves; the number to quote is its change
against the student before (or beside) distillation, since both are read off the same ruler. Neither
size is our idea: recall-equivalent size is that of Incompressible Knowledge Probes
(arXiv:2604.24827), capability-equivalent size that of the Densing law (arXiv:2412.04315). Nothing
is read off beyond the ladder's ends.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from data_filters.records.shards import iter_rows
from eval.scores.ability_line import Abilities, Ruler, abilities, straight_lines
from eval.scores.answer_table import Columns, main_answers, read_answers, select
from eval.scores.intervals import CONFIDENCE
from eval.scores.recall import GENERATED
from recipes.errors import ShardError

# what is measured -> the parameters that it is held against
AXES = {"reasoning": "active", "recall": "total"}
REFERENCES = ("base", "control")  # whose separation is taken off, the first that can be placed
Size = dict[str, Any]  # {"value", "low", "high", "censored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One model of a ladder; `total` and `active` are parameters, embeddings included."""

    name: str
    family: str
    total: int
    active: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """Models of known size and what they answered in our own harness."""

    rungs: Sequence[Rung]
    answers: Columns  # column contender holds the names of rungs

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Gives the ladder that python -m launch.ladder wrote.

        Raises:
            ShardError: no ladder there, or rungs without answers.
        """
        path = Path(folder) / "ladder.json"
        try:
            rungs = [Rung(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rungs"]]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise ShardError(
                f"{path}: no ladder can be read there ({fault}); write it with python -m launch.ladder RECIPE"
            ) from fault
        answers = read_answers(iter_rows(Path(folder) / "answers.parquet"))
        if absent := sorted({rung.name for rung in rungs} - set(answers["contender"])):
            raise ShardError(
                f"{folder}: rungs {absent} have no answers; delete the folder and run python -m launch.ladder again"
            )
        return cls(rungs, answers)


class Span(NamedTuple):
    """Draws of a log2 that are known (low = high) or known to lie beyond an end (low or high is
    infinite); the estimate comes first.
    """

    low_R: np.ndarray
    high_R: np.ndarray

    @classmethod
    def within(cls, octave_R: np.ndarray, ends: tuple[float, float]) -> Self:
        """Gives draws with everything outside the ladder known as outside and no more."""
        least, most = ends
        low_R = np.where(octave_R < least, -np.inf, np.minimum(octave_R, most))
        return cls(low_R, np.where(octave_R > most, np.inf, np.maximum(octave_R, least)))

    def minus(self, other: Self) -> Self:
        """Gives the difference, draw by draw."""
        return type(self)(self.low_R - other.high_R, self.high_R - other.low_R)

    def entry(self) -> Size:
        """Gives the estimate with its interval.

        Returns:
            censored None: all known. "below", "above": only that it is below or above `value`.
                "unknown": value is None.
            low or high None: the interval is open on that side.
        """
        tail = (1 - CONFIDENCE) / 2
        least, most = float(self.low_R[0]), float(self.high_R[0])
        below, above = np.isneginf(least), np.isposinf(most)
        value = None if below and above else most if below else least
        censored = "unknown" if value is None else "below" if below else "above" if above else None
        low, high = (
            float(np.quantile(r[1:], q, method="nearest"))
            for r, q in ((self.low_R, tail), (self.high_R, 1 - tail))
        )
        if value is not None:  # an interval holds its value
            low, high = min(low, value), max(high, value)
        return {"value": value, "low": _known(low), "high": _known(high), "censored": censored}


def _known(number: float) -> float | None:
    return number if np.isfinite(number) else None


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
            (Span.entry says what these mean);
        octaves: contender -> the same in octaves, with "change" against `reference` where there is
            one; reference; refused: axis -> why
        that axis cannot be measured with this ladder; ladder: rungs with their own scores (0..1,
        chance taken off), for the plot.

    Raises:
        ShardError: the contenders answered other questions than the ladder.
    """
    table = read_answers(answers)
    scales, refused = {}, {}
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
                _families(ladder),
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

    def position(self, name: str, *, alone: bool) -> Span:
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
        return Span.within(octave_R, self.ruler.ends)

    def sizes(self) -> dict[str, Size]:
        entries = {name: self.position(name, alone=True).entry() for name in self.column}
        return {
            name: {k: round(2.0**v) if isinstance(v, float) else v for k, v in entry.items()}
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
    octaves = {name: _rounded(span.entry()) for name, span in apart.items()}
    reference = next(
        (name for name in REFERENCES if name in octaves and octaves[name]["censored"] != "unknown"),
        None,
    )
    for name in names:
        if reference is not None and name != reference:
            octaves[name]["change"] = _rounded(paired[name].minus(paired[reference]).entry())
    return {"octaves": octaves, "reference": reference}


def _rounded(entry: Size) -> Size:
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in entry.items()
    }


def in_words(entry: Size, show: Callable[[float], str]) -> str:
    """Gives an entry as text, e.g. "1.2M [0.8M, -]", "below 0.1M [-, 0.1M]"; - is an open end, and
    nothing is said of what is not known.

    Args:
        show: of a number: parameters_text, or "{:+.1f}".format for octaves.
    """
    if entry["value"] is None:
        return "outside the ladder"
    low, high = ("-" if entry[end] is None else show(entry[end]) for end in ("low", "high"))
    return f"{entry['censored'] + ' ' if entry['censored'] else ''}{show(entry['value'])} [{low}, {high}]"


def parameters_text(count: float) -> str:
    """Gives a number of parameters in two digits, e.g. 950k, 1.2M, 27B."""
    power = min(3, max(0, int(np.log10(max(count, 1)) // 3)))
    number = count / 1000**power
    return f"{number:.{1 if number < 9.95 else 0}f}" + ("", "k", "M", "B")[power]


def slopes(ladder: Ladder, *, bootstrap: int = 2000, seed: int = 0) -> dict[str, dict[str, float]]:
    """Gives what a doubling of TOTAL parameters adds to reasoning and to recall, in logits of a
    right answer to the average item.

    The interval holds the items and the scatter of the models about their line (Student's t: with
    few models it is wide).

    Raises:
        ShardError: too few models, or sizes that do not differ.
    """
    made = {}
    for axis in AXES:
        found, _ = _abilities(axis, ladder, {}, bootstrap, [seed, len(axis)])
        log2_K = np.log2([rung.total for rung in ladder.rungs])
        slope_R = straight_lines(
            found, log2_K, _families(ladder), what=axis, seed=[seed, len(axis), 1]
        )[1].slope_R
        low, high = np.quantile(slope_R[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        made[axis] = {"value": float(slope_R[0]), "low": float(low), "high": float(high)}
    return made


def rung_rows(ladder: Ladder) -> list[dict[str, Any]]:
    """Gives the rungs with the shares that they got right, 0..1; for forced choices with the luck
    of guessing taken off.
    """
    rows = [asdict(rung) for rung in ladder.rungs]
    for axis in AXES:
        right_IK, floor_I, _, _ = _matrix(axis, ladder, {})
        for row, right_I in zip(rows, right_IK.T, strict=True):
            asked_I = ~np.isnan(right_I)
            floor = float(floor_I[asked_I].mean()) if asked_I.any() else 0.0
            row[axis] = (
                round((float(right_I[asked_I].mean()) - floor) / (1 - floor), 6)
                if asked_I.any()
                else None
            )
    return rows


def _families(ladder: Ladder) -> np.ndarray:
    return np.array([rung.family for rung in ladder.rungs], dtype=object)


def _abilities(
    axis: str, ladder: Ladder, rows: dict[str, Columns], bootstrap: int, seed: list[int]
) -> tuple[Abilities, list[str]]:
    right_IM, floor_I, clusters_I, placed = _matrix(axis, ladder, rows)
    if not right_IM.size or np.isnan(right_IM).all(axis=0).any():
        raise NoRuler(
            f"equivalent sizes: the ladder was not asked for {axis}; run python -m launch.ladder on a recipe that measures it"
        )
    return abilities(right_IM, floor_I, clusters_I, resamples=bootstrap, seed=seed), placed


def _matrix(
    axis: str, ladder: Ladder, rows: dict[str, Columns]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Right answers [items, rungs + contenders], NaN where not asked; guess floors; clusters; the
    contenders that were asked.
    """
    everybody = {
        f"rung/{rung.name}": select(ladder.answers, contender=rung.name) for rung in ladder.rungs
    } | rows
    sheets = _sheets(axis, everybody)
    items = sorted(
        {key for name, sheet in sheets.items() if name not in rows for key in sheet["question_id"]}
    )
    place = {key: index for index, key in enumerate(items)}
    gold, cluster, relation = (np.full(len(items), None, dtype=object) for _ in range(3))
    values: dict[str, set[str]] = {}
    right = {}
    for name, sheet in sheets.items():
        right[name] = np.full(len(items), np.nan)
        told = (
            sheet[column]
            for column in ("question_id", "gold", "choice", "cluster", "relation", "outcome")
        )
        for key, true, chosen, fact, kind, outcome in zip(*told, strict=True):
            if (at := place.get(key)) is None:
                continue
            gold[at] = gold[at] if gold[at] is not None else true
            if gold[at] != true:
                raise ShardError(
                    f"equivalent sizes: {name} answered other questions than the ladder ({key}: {true!r}, "
                    f"there {gold[at]!r}); planted, evaluate.seed and evaluate.items must be as in the ladder's recipe"
                )
            cluster[at], relation[at] = fact, kind
            values.setdefault(kind, set()).update((true.strip(), chosen or true.strip()))
            right[name][at] = outcome == "correct"
    choice = any((sheet["mode"] == "choice").any() for sheet in sheets.values())
    floor_I = np.array([1 / len(values[r]) if choice else 0.0 for r in relation])
    placed = [name for name in rows if not np.isnan(right[name]).all()]
    columns = [right[name] for name in sheets if name not in rows or name in placed]
    return np.column_stack(columns), floor_I, cluster, placed


def _sheets(axis: str, everybody: dict[str, Columns]) -> dict[str, Columns]:
    """The answers that count. Recall: forced choices where everybody was given them, since nobody
    can refuse them; else the better mode.
    """
    asked = {name: main_answers(select(rows, suite=axis)) for name, rows in everybody.items()}
    if axis == "reasoning":
        return {name: select(rows, mode="free") for name, rows in asked.items()}
    chosen = {name: select(rows, mode="choice") for name, rows in asked.items()}
    if all(len(chosen[name]["mode"]) for name, rows in asked.items() if len(rows["mode"])):
        return chosen
    return {
        name: max((select(rows, mode=m) for m in GENERATED), key=_share_right)
        for name, rows in asked.items()
    }


def _share_right(rows: Columns) -> float:
    return float((rows["outcome"] == "correct").mean()) if len(rows["mode"]) else -1.0
