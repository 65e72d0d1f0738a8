"""Answer rows read into columns: what every row must say, and what it may say."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np

from data_filters.records.files import short
from eval.ask.text_features import text_features
from eval.scores.answers.columns import Columns, changes, select
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
# whole numbers; absent is 0
WHOLE = (
    "exposure",
    "completion_tokens",
    "sample",
    "distractors",
    "budget",
    "answer_digest",
    "template_digest",
)
# numbers; absent is NaN, since 0 would say something
MEASURED = ("confidence", "difficulty", "searched")
FLAGS = ("follows", "swapped")
OPTIONAL = (*MEASURED, "sample", "distractors", "base", "budget", "swapped_gold")
# in place of text, see eval/ask/text_features.py
FEATURES = ("choice", "answer_digest", "template_digest", "follows")
BATCH_ROWS = 4096
KEY = ("contender", "suite", "mode", "question_id", "sample", "base", "budget", "distractors")


def read_answers(answers: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Columns:
    """Gives answers as columns sorted by contender, suite, mode and question, then by try, base,
    budget and distractors.

    Rows are taken in one by one and their texts left behind, so answers may come straight from
    disk: what stays is about 50 bytes a row, and each distinct name once. Columns of OPTIONAL may
    be absent, and their cells null: then what needs them is not measured. Columns
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
    features = [text_features(row) for row in rows]
    columns = {
        name: [row.get(name) for row in rows]
        for name in (*COLUMNS, *OPTIONAL)
        if name not in ("text", "swapped_gold")
    }
    columns |= {name: [one[name] for one in features] for name in FEATURES} | {
        "swapped": [bool(row.get("swapped_gold")) for row in rows]
    }
    return {name: _narrow(_column(name, cells, seen)) for name, cells in columns.items()}


def _column(name: str, cells: list[Any], seen: dict[str, int]) -> np.ndarray:
    try:
        return _cells(name, cells, seen)
    except (TypeError, ValueError, OverflowError) as fault:
        raise ShardError(
            f"evaluate/answers: column {name} holds what it cannot hold ({short(fault)}); delete "
            "the folder and evaluate again"
        ) from fault


def _cells(name: str, cells: list[Any], seen: dict[str, int]) -> np.ndarray:
    if name in MEASURED:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
    if name in FLAGS:
        return np.array(cells, dtype=bool)
    if name in WHOLE:
        return np.array([cell or 0 for cell in cells], dtype=np.int64)
    if strange := [cell for cell in cells if not isinstance(cell, str | None)]:
        raise TypeError(f"{strange[0]!r} is not a text")
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
    if (same_N := ~changes(sheet, *KEY)).any():
        twice = [sheet[name][np.flatnonzero(same_N)[0]] for name in KEY]
        other = [f"{name} {value}" for name, value in zip(KEY[4:], twice[4:], strict=True) if value]
        raise ShardError(
            f"evaluate/answers: {'/'.join([*twice[:4], *other])} was answered twice; delete the "
            "folder and evaluate again"
        )
    return sheet


def _refuse_unknown(cells: dict[str, list[np.ndarray]], texts: dict[str, np.ndarray]) -> None:
    for name, allowed in (("outcome", Outcome), ("base", BaseState)):
        if unknown := sorted(set(texts[name]) - set(allowed)):
            raise ShardError(
                f"evaluate/answers: {name}s {unknown} are none of {list(allowed)}; delete the "
                "folder and evaluate again"
            )
    for part_N in cells["confidence"]:
        if (strange := part_N[(part_N < 0) | (part_N > 1)]).size:
            raise ShardError(
                f"evaluate/answers: confidence {strange[0]:g} is not within 0..1; delete the "
                "folder and evaluate again"
            )
