"""The answers as columns: what every row must say, what it may say, and which rows are the contender's main answers."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from eval.gist import gist
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
GIST = {"choice": object, "said": np.int64, "shape": np.int64, "follows": bool}  # in place of text, see eval/gist.py
BATCH_ROWS = 4096
KEY = ("contender", "suite", "mode", "question_id", "sample", "base", "budget", "distractors")
BASES = ("", "FULL", "DELETED", "OFF", "SWAPPED")  # states of the knowledge base; "": there is none

OPEN_SUITES = ("reasoning", "open_book", "counterfactual")  # all that is needed stands in the question
ARITHMETIC = ("sums", "story", "age", "chain_sum", "basic_arithmetic", "leg_counting", "simple_equations")  # families of reasoning
UNSEEN_SUITES = ("off_manifold", "distracted")  # likewise, but longer, by made-up rules, or among what does not matter
CLOSED_SUITES = ("recall", "recall_never_trained", "recall_teacher_only", "untold")  # it does not


def read_answers(answers: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Columns:
    """Gives answers as columns sorted by contender, suite, mode and question, then by try, base, budget and distractors.

    Rows are taken in one by one and their texts left behind, so answers may come straight from disk: what stays is about 200
    bytes a row, and each distinct name once. Columns of OPTIONAL may be absent, and their cells null: then nobody told, and
    what needs them is not measured. Columns that were read already are given back.

    Raises:
        ShardError: a column is missing, an outcome or a base is unknown, a confidence is no probability, or a question was
            answered twice in the same way.
    """
    if isinstance(answers, Mapping):
        if set(GIST) <= set(answers):
            return dict(answers)
        answers = _as_rows(answers)
    shared: dict[str, str] = {}
    batches = [_batch([], shared), *(_batch(batch, shared) for batch in _batches(iter(answers)))]
    columns = {name: np.concatenate([batch.pop(name) for batch in batches]) for name in list(batches[0])}
    _refuse_unknown(columns)
    return _sorted(columns)


def _as_rows(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    _refuse_missing(columns)
    return (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _batch(rows: list[Mapping[str, Any]], shared: dict[str, str]) -> Columns:
    """Columns of a few rows; text stays as Python objects, since a fixed-width array is as wide as the longest, each distinct one once."""
    _refuse_missing(set(rows[0] if rows else COLUMNS).intersection(*rows))
    plain = [name for name in (*COLUMNS, *OPTIONAL) if name not in ("text", "swapped_gold")]
    columns = {name: _column(name, [row.get(name) for row in rows], shared) for name in plain}
    gists = [gist(row) for row in rows]
    for name, kind in GIST.items():
        cells = [one[name] for one in gists]
        columns[name] = np.array([shared.setdefault(cell, cell) for cell in cells] if kind is object else cells, dtype=kind)
    columns["swapped"] = np.array([bool(row.get("swapped_gold")) for row in rows], dtype=bool)
    return columns


def _column(name: str, cells: list[Any], shared: dict[str, str]) -> np.ndarray:
    if name in MEASURED:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
    if name in WHOLE:
        return np.array([cell or 0 for cell in cells], dtype=np.int64)
    return np.array([shared.setdefault(cell or "", cell or "") for cell in cells], dtype=object)


def _refuse_missing(known: Iterable[str]) -> None:
    if missing := [name for name in COLUMNS if name not in known]:
        raise ShardError(f"evaluate/answers: columns {missing} are missing; delete the folder and evaluate again")


def _sorted(columns: Columns) -> Columns:
    """By KEY, which must be different in every row."""
    codes = [np.unique(columns[name], return_inverse=True)[1] for name in KEY]
    order_N = np.lexsort(codes[::-1])
    same_N = np.logical_and.reduce([code[order_N][1:] == code[order_N][:-1] for code in codes])
    if same_N.any():
        twice = [columns[name][order_N[np.flatnonzero(same_N)[0]]] for name in KEY]
        told = [f"{name} {value}" for name, value in zip(KEY[4:], twice[4:], strict=True) if value]
        raise ShardError(f"evaluate/answers: {'/'.join([*twice[:4], *told])} was answered twice; delete the folder and evaluate again")
    return {name: columns.pop(name)[order_N] for name in list(columns)}


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
