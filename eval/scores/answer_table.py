"""The answers as columns: what every row must say, what it may say, and which rows are the
contender's main answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np

from eval.ask.text_features import gist
from recipes.errors import ShardError
from recipes.vocabulary import BaseState, Outcome

COLUMNS = (
    "contender",
    "suite",
    "family",
    "question_id",
    "cluster",
    "relation",
    "exposure",
    "mode",
    "outcome",
    "completion_tokens",
    "gold",
    "text",
)
# whole numbers; not told is 0
WHOLE = ("exposure", "completion_tokens", "sample", "distractors", "budget", "said", "shape")
# numbers; not told is NaN, since 0 would say something
MEASURED = ("confidence", "difficulty", "searched")
FLAGS = ("follows", "swapped")
OPTIONAL = (*MEASURED, "sample", "distractors", "base", "budget", "swapped_gold")
GIST = ("choice", "said", "shape", "follows")  # in place of text, see eval/ask/text_features.py
WIDE = {"i": np.int64, "f": np.float64, "b": np.bool_}
BATCH_ROWS = 4096
KEY = ("contender", "suite", "mode", "question_id", "sample", "base", "budget", "distractors")

# families of reasoning
ARITHMETIC = (
    "sums",
    "story",
    "age",
    "chain_sum",
    "basic_arithmetic",
    "leg_counting",
    "simple_equations",
)


class Columns(Mapping[str, np.ndarray]):
    """Answers, one array a column, all of the same length; a selection has row numbers of its own
    and shares everything else.

    A text is held once, and in its rows its place among all texts of the column in sorted order; a
    number has the narrowest type that holds it. A column is text, or 64 bits wide, when it is asked
    for; until then it lies in parts as it was read, since one array of all would double the memory
    while it is made.
    """

    def __init__(
        self, cells: dict[str, list[np.ndarray]], texts: dict[str, np.ndarray], rows_N: np.ndarray
    ) -> None:
        self._cells, self._texts, self._rows_N = cells, texts, rows_N

    def __getitem__(self, name: str) -> np.ndarray:
        column_N = self.places(name)
        return (
            self._texts[name][column_N]
            if name in self._texts
            else column_N.astype(WIDE[column_N.dtype.kind])
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def kinds(self, name: str) -> int:
        """Gives how many texts a column of texts can hold."""
        return len(self._texts[name])

    def places(self, name: str) -> np.ndarray:
        """Gives what stands for the cells of a column: equal, and in the same order, where these
        are.
        """
        return np.concatenate(self._cells[name])[self._rows_N]

    def has(self, name: str, *values: str | int) -> np.ndarray:
        """Gives where a column holds any of the values."""
        if name in self._texts:
            return np.isin(self._texts[name], values)[self.places(name)]
        return np.isin(self.places(name), values)

    def at(self, chosen_N: np.ndarray) -> "Columns":
        """Gives the rows where `chosen_N` is true, or in the order of its indices."""
        return Columns(self._cells, self._texts, self._rows_N[chosen_N])

    def followed_by(self, other: "Columns") -> "Columns":
        """Gives the rows of two selections from the same answers, one behind the other."""
        return Columns(self._cells, self._texts, np.concatenate([self._rows_N, other._rows_N]))


def read_answers(answers: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Columns:
    """Gives answers as columns sorted by contender, suite, mode and question, then by try, base,
    budget and distractors.

    Rows are taken in one by one and their texts left behind, so answers may come straight from
    disk: what stays is about 50 bytes a row, and each distinct name once. Columns of OPTIONAL may
    be absent, and their cells null: then nobody told, and what needs them is not measured. Columns
    that were read already are given back.

    Raises:
        ShardError: a column is missing, an outcome or a base is unknown, a confidence is no
            probability, or a question was answered twice in the same way.
    """
    if isinstance(answers, Columns):
        return answers
    if isinstance(answers, Mapping):
        answers = _as_rows(answers)
    seen: dict[str, int] = {}
    batches = [_batch([], seen), *(_batch(batch, seen) for batch in _batches(iter(answers)))]
    cells = {name: [batch.pop(name) for batch in batches] for name in list(batches[0])}
    texts = _in_order(cells, seen)
    _refuse_unknown(cells, texts)
    table = Columns(cells, texts, np.arange(sum(map(len, cells["suite"])), dtype=np.int32))
    # in turn: sorting needs much memory
    sheets = (_sorted(select(table, contender=name)) for name in texts["contender"])
    return reduce(Columns.followed_by, sheets, table.at(np.zeros(0, dtype=np.int32)))


def _as_rows(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    _refuse_missing(columns)
    return (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _batch(rows: list[Mapping[str, Any]], seen: dict[str, int]) -> dict[str, np.ndarray]:
    """Columns of a few rows, narrow; instead of a text the number it got in `seen`, where the new
    ones are added.
    """
    _refuse_missing(set(rows[0] if rows else COLUMNS).intersection(*rows))
    gists = [gist(row) for row in rows]
    columns = {
        name: [row.get(name) for row in rows]
        for name in (*COLUMNS, *OPTIONAL)
        if name not in ("text", "swapped_gold")
    }
    columns |= {name: [one[name] for one in gists] for name in GIST} | {
        "swapped": [bool(row.get("swapped_gold")) for row in rows]
    }
    return {name: _narrow(_column(name, cells, seen)) for name, cells in columns.items()}


def _column(name: str, cells: list[Any], seen: dict[str, int]) -> np.ndarray:
    if name in MEASURED:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
    if name in FLAGS:
        return np.array(cells, dtype=bool)
    if name in WHOLE:
        return np.array([cell or 0 for cell in cells], dtype=np.int64)
    return np.array([seen.setdefault(cell or "", len(seen)) for cell in cells], dtype=np.int64)


def _narrow(column_N: np.ndarray) -> np.ndarray:
    """The same numbers in the narrowest type that holds each of them exactly."""
    for kind in {"i": (np.int8, np.int16, np.int32), "f": (np.float16, np.float32)}.get(
        column_N.dtype.kind, ()
    ):
        with np.errstate(over="ignore"):
            narrow_N = column_N.astype(kind)
        if np.array_equal(narrow_N, column_N, equal_nan=True):
            return narrow_N
    return column_N


def _in_order(cells: dict[str, list[np.ndarray]], seen: dict[str, int]) -> dict[str, np.ndarray]:
    """The texts of each column of texts in sorted order; its cells become places among them.
    Empties `seen`.
    """
    texts_V = np.array(list(seen), dtype=object)
    seen.clear()
    order_V = np.argsort(texts_V)
    texts = {}
    for name in sorted(set(cells) - {*WHOLE, *MEASURED, *FLAGS}):
        held_V = np.zeros(len(texts_V), dtype=bool)
        for part_N in cells[name]:
            held_V[part_N] = True
        texts[name] = texts_V[order_V[held_V[order_V]]]
        place_V = np.empty(len(texts_V), dtype=np.int64)
        place_V[order_V] = np.cumsum(held_V[order_V]) - 1
        place_V = _narrow(place_V)
        cells[name] = [place_V[part_N] for part_N in cells[name]]
    return texts


def _refuse_missing(known: Iterable[str]) -> None:
    if missing := [name for name in COLUMNS if name not in known]:
        raise ShardError(
            f"evaluate/answers: columns {missing} are missing; delete the folder and evaluate again"
        )


def _sorted(sheet: Columns) -> Columns:
    """The answers of one contender by KEY, which must be different in every row."""
    sheet = sheet.at(np.lexsort([sheet.places(name) for name in KEY[::-1]]))
    if (same_N := ~_changes(sheet, *KEY)).any():
        twice = [sheet[name][np.flatnonzero(same_N)[0]] for name in KEY]
        told = [f"{name} {value}" for name, value in zip(KEY[4:], twice[4:], strict=True) if value]
        raise ShardError(
            f"evaluate/answers: {'/'.join([*twice[:4], *told])} was answered twice; delete the folder and evaluate again"
        )
    return sheet


def _changes(rows: Columns, *names: str) -> np.ndarray:
    """Where a row differs from the one before it in any of the columns; true for the first."""
    changes_N = np.zeros(len(rows.places("suite")), dtype=bool)
    changes_N[:1] = True
    for name in names:
        places_N = rows.places(name)
        changes_N[1:] |= places_N[1:] != places_N[:-1]
    return changes_N


def _refuse_unknown(cells: dict[str, list[np.ndarray]], texts: dict[str, np.ndarray]) -> None:
    for name, allowed in (("outcome", Outcome), ("base", BaseState)):
        if unknown := sorted(set(texts[name]) - set(allowed)):
            raise ShardError(
                f"evaluate/answers: {name}s {unknown} are none of {list(allowed)}; delete the folder and evaluate again"
            )
    for told in cells["confidence"]:
        if (strange := told[(told < 0) | (told > 1)]).size:
            raise ShardError(
                f"evaluate/answers: confidence {strange[0]:g} is not within 0..1; delete the folder and evaluate again"
            )


def select(columns: Columns, **wanted: str | int | tuple[str, ...]) -> Columns:
    """Gives the rows whose columns equal the wanted values; a tuple means any of them."""
    keep_N = np.ones(len(columns.places("suite")), dtype=bool)
    for name, value in wanted.items():
        keep_N &= columns.has(name, *(value if isinstance(value, tuple) else (value,)))
    return columns.at(keep_N)


def keep(columns: Columns, keep_N: np.ndarray) -> Columns:
    """Gives the rows where `keep_N` is true, or in the order of its indices."""
    return columns.at(keep_N)


def main_answers(sheet: Columns) -> Columns:
    """Gives one answer a question and mode: the first try, without base or token cap, with the
    fewest distractors it was asked with.

    Args:
        sheet: answers of one contender, in the order of read_answers: by distractors within a
            question, so the first has the fewest.
    """
    plain = select(sheet, sample=0, base="", budget=0)
    return plain.at(_changes(plain, "suite", "mode", "question_id"))


def pooled(rows: Columns, *names: str) -> np.ndarray:
    """Gives numbers that are equal where all these columns are, in their order; for rows of the
    same answers.
    """
    label_N = np.zeros(len(rows.places("suite")), dtype=np.int64)
    for name in names:
        label_N = label_N * rows.kinds(name) + rows.places(name)
    return label_N


def pooled_clusters(rows: Columns) -> np.ndarray:
    """Gives clusters that stay apart where suites are pooled: clusters of different suites are
    different clusters.
    """
    return pooled(rows, "suite", "cluster")
