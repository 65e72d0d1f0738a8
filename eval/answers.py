"""The answers as columns: what every row must say, what it may say, and which rows are the contender's main answers."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from recipes.errors import ShardError

Columns = dict[str, np.ndarray]  # answers, one array a column, all of the same length

OUTCOMES = ("correct", "wrong", "abstained", "unparsed", "truncated")
COLUMNS = (
    "contender", "suite", "family", "question_id", "cluster", "relation", "exposure", "mode",
    "outcome", "completion_tokens", "gold", "text",
)  # fmt: skip
WHOLE = {"exposure", "completion_tokens", "sample", "distractors", "budget"}  # whole numbers; not told is 0
MEASURED = ("confidence", "difficulty", "searched")  # numbers; not told is NaN, since 0 would say something
OPTIONAL = (*MEASURED, "sample", "distractors", "base", "budget", "swapped_gold")
KEY = ("contender", "suite", "mode", "question_id", "sample", "base", "budget", "distractors")
BASES = ("", "FULL", "DELETED", "OFF", "SWAPPED")  # states of the knowledge base; "": there is none

OPEN_SUITES = ("reasoning", "open_book", "counterfactual")  # all that is needed stands in the question
ARITHMETIC = ("sums", "story", "age", "chain_sum", "basic_arithmetic", "leg_counting", "simple_equations")  # families of reasoning
UNSEEN_SUITES = ("off_manifold", "distracted")  # likewise, but longer, by made-up rules, or among what does not matter
CLOSED_SUITES = ("recall", "recall_never_trained", "recall_teacher_only", "untold")  # it does not


def read_answers(answers: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Columns:
    """Gives answers as columns sorted by contender, suite, mode and question, then by try, base, budget and distractors.

    Columns of OPTIONAL may be absent, and their cells null: then nobody told, and what needs them is not measured.

    Raises:
        ShardError: a column is missing, an outcome or a base is unknown, a confidence is no probability, or a question was
            answered twice in the same way.
    """
    rows = answers if isinstance(answers, Mapping) else list(answers)
    known = set(rows) if isinstance(rows, Mapping) else set(rows[0] if rows else COLUMNS).intersection(*rows)
    if missing := [name for name in COLUMNS if name not in known]:
        raise ShardError(f"evaluate/answers: columns {missing} are missing; delete the folder and evaluate again")
    columns = {name: _column(name, _cells(rows, name)) for name in (*COLUMNS, *OPTIONAL)}
    _refuse_unknown(columns)
    keys = list(zip(*(columns[name].tolist() for name in KEY), strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if twice := next((keys[a] for a, b in pairwise(order) if keys[a] == keys[b]), None):
        told = [f"{name} {value}" for name, value in zip(KEY[4:], twice[4:], strict=True) if value]
        raise ShardError(f"evaluate/answers: {'/'.join([*twice[:4], *told])} was answered twice; delete the folder and evaluate again")
    return {name: column[order] for name, column in columns.items()}


def _cells(rows: Mapping[str, Any] | list[Mapping[str, Any]], name: str) -> list[Any]:
    if not isinstance(rows, Mapping):
        return [row.get(name) for row in rows]
    return list(rows[name]) if name in rows else [None] * len(rows["suite"])


def _column(name: str, cells: list[Any]) -> np.ndarray:
    """Text stays as Python objects, since a fixed-width array is as wide as the longest answer; no text is empty text."""
    if name in MEASURED:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
    if name in WHOLE:
        return np.array([cell or 0 for cell in cells], dtype=np.int64)
    return np.array([cell or "" for cell in cells], dtype=object)


def _refuse_unknown(columns: Columns) -> None:
    for name, allowed in (("outcome", OUTCOMES), ("base", BASES)):
        if unknown := sorted(set(columns[name]) - set(allowed)):
            raise ShardError(f"evaluate/answers: {name}s {unknown} are none of {list(allowed)}; delete the folder and evaluate again")
    told = columns["confidence"][~np.isnan(columns["confidence"])]
    if (strange := told[(told < 0) | (told > 1)]).size:
        raise ShardError(f"evaluate/answers: confidence {strange[0]:g} is not within 0..1; delete the folder and evaluate again")


def select(columns: Columns, **wanted: str | int | tuple[str, ...]) -> Columns:
    """Gives the rows whose columns equal the wanted values; a tuple means any of them."""
    keep_N = np.ones(len(columns["suite"]), dtype=bool)
    for name, value in wanted.items():
        keep_N &= np.isin(columns[name], value) if isinstance(value, tuple) else columns[name] == value
    return keep(columns, keep_N)


def keep(columns: Columns, keep_N: np.ndarray) -> Columns:
    """Gives the rows where `keep_N` is true, or in the order of its indices."""
    return {name: column[keep_N] for name, column in columns.items()}


def main_answers(sheet: Columns) -> Columns:
    """Gives one answer a question and mode: the first try, without base or token cap, with the fewest distractors it was asked with.

    Args:
        sheet: answers of one contender, in the order of read_answers.
    """
    plain = select(sheet, sample=0, base="", budget=0)
    return _first_of_each(plain, "suite", "mode", "question_id")


def _first_of_each(rows: Columns, *names: str) -> Columns:
    """Rows come sorted by distractors within a question, so the first has the fewest."""
    keys = list(zip(*(rows[name] for name in names), strict=True))
    return keep(rows, np.array([n for n, key in enumerate(keys) if n == 0 or key != keys[n - 1]], dtype=np.int64))


def pooled_clusters(rows: Columns) -> np.ndarray:
    """Gives cluster names that stay apart where suites are pooled: clusters of different suites are different clusters."""
    return rows["suite"] + "\x1f" + rows["cluster"]
