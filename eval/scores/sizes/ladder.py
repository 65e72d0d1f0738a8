"""A ladder: models of known size, and what they answered to the same questions."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from data_filters.records.shards import iter_rows
from eval.scores.answers.columns import Columns, select
from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import main_answers
from eval.scores.recall.facts import GENERATED
from recipes.errors import ShardError
from recipes.vocabulary import AnswerMode, Outcome, Suite

# what is measured -> the parameters that it is held against
AXES: dict[str, str] = {Suite.REASONING: "active", Suite.RECALL: "total"}


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
                f"{path}: no ladder can be read there ({fault}); write it with python -m "
                "launch.ladder RECIPE"
            ) from fault
        answers = read_answers(iter_rows(Path(folder) / "answers.parquet"))
        if absent := sorted({rung.name for rung in rungs} - set(answers["contender"])):
            raise ShardError(
                f"{folder}: rungs {absent} have no answers; delete the folder and run python -m "
                "launch.ladder again"
            )
        return cls(rungs, answers)


def rung_rows(ladder: Ladder) -> list[dict[str, Any]]:
    """Gives the rungs with the shares that they got right, 0..1; for forced choices with the luck
    of guessing taken off.
    """
    rows = [asdict(rung) for rung in ladder.rungs]
    for axis in AXES:
        right_IK, floor_I, _, _ = answers_matrix(axis, ladder, {})
        for row, right_I in zip(rows, right_IK.T, strict=True):
            asked_I = ~np.isnan(right_I)
            floor = float(floor_I[asked_I].mean()) if asked_I.any() else 0.0
            row[axis] = (
                round((float(right_I[asked_I].mean()) - floor) / (1 - floor), 6)
                if asked_I.any()
                else None
            )
    return rows


def families_of(ladder: Ladder) -> np.ndarray:
    """Gives the family of each rung, [rungs]."""
    return np.array([rung.family for rung in ladder.rungs], dtype=object)


def answers_matrix(
    axis: str, ladder: Ladder, rows: dict[str, Columns]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Gives what rungs and contenders answered to the ladder's questions.

    Args:
        axis: reasoning or recall.
        ladder: its rungs come first.
        rows: contender -> its answers.

    Returns:
        right or wrong [items, rungs + contenders], NaN where not asked; the share of right answers
        of a guesser [items]; the cluster [items]; the contenders that were asked.

    Raises:
        ShardError: a contender answered other questions than the ladder.
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
        columns = (
            sheet[column]
            for column in ("question_id", "gold", "choice", "cluster", "relation", "outcome")
        )
        for key, true, chosen, fact, kind, outcome in zip(*columns, strict=True):
            if (at := place.get(key)) is None:
                continue
            gold[at] = gold[at] if gold[at] is not None else true
            if gold[at] != true:
                raise ShardError(
                    f"equivalent sizes: {name} answered other questions than the ladder "
                    f"({key}: {true!r}, there {gold[at]!r}); planted, evaluate.seed and "
                    "evaluate.items must be as in the ladder's recipe"
                )
            cluster[at], relation[at] = fact, kind
            values.setdefault(kind, set()).update((true.strip(), chosen or true.strip()))
            right[name][at] = outcome == Outcome.CORRECT
    choice = any((sheet["mode"] == AnswerMode.CHOICE).any() for sheet in sheets.values())
    floor_I = np.array([1 / len(values[r]) if choice else 0.0 for r in relation])
    placed = [name for name in rows if not np.isnan(right[name]).all()]
    right_columns = [right[name] for name in sheets if name not in rows or name in placed]
    return np.column_stack(right_columns), floor_I, cluster, placed


def _sheets(axis: str, everybody: dict[str, Columns]) -> dict[str, Columns]:
    """The answers that count. Recall: forced choices where everybody was given them, since nobody
    can refuse them; else the better mode.
    """
    asked = {name: main_answers(select(rows, suite=axis)) for name, rows in everybody.items()}
    if axis == Suite.REASONING:
        return {name: select(rows, mode=AnswerMode.FREE) for name, rows in asked.items()}
    chosen = {name: select(rows, mode=AnswerMode.CHOICE) for name, rows in asked.items()}
    if all(len(chosen[name]["mode"]) for name, rows in asked.items() if len(rows["mode"])):
        return chosen
    return {
        name: max((select(rows, mode=m) for m in GENERATED), key=_share_right)
        for name, rows in asked.items()
    }


def _share_right(rows: Columns) -> float:
    return float((rows["outcome"] == Outcome.CORRECT).mean()) if len(rows["mode"]) else -1.0
