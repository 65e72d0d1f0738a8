"""Files of questions with answers, and with choices where they have some, as a public task wants
them: one column of choices, the right one by its place.
"""

from typing import Any

from data_filters.records.rows import rows_of
from data_filters.verify.reading.references import final_reference
from distill.problems.columns import CHOICES, answer_of, choices_of, text_of
from recipes.errors import RecipeError


def task_rows(path: str) -> list[dict[str, Any]]:
    """Rows of question and answer; of question, choices and the place of the answer among them
    where the first row has choices.

    The answer to a choice is its text in every row, or else its key in every row: a letter, a
    number from 0 (from 1 where the largest key says so), a label.

    Args:
        path: what `rows_of` takes.

    Raises:
        RecipeError: a row has no question or no answer, or one that is none of its choices.
        ShardError: the file cannot be read.
    """
    rows = list(rows_of(path))
    if not rows:
        raise RecipeError(f"{path} holds no row; expected question and answer")
    first = rows[0][1]
    if missing := [name for name in ("question", "answer") if name not in first]:
        raise RecipeError(
            f"{path}: no {' and no '.join(missing)} in its rows, found {', '.join(first)}; rename "
            "them"
        )
    column = next((name for name in CHOICES if first.get(name)), None)
    asked = [text_of(row.get("question"), "question", where) for where, row in rows]
    empty = [
        where
        for (where, row), text in zip(rows, asked, strict=True)
        if not text.strip() or row.get("answer") in (None, "")
    ]
    if empty:
        raise RecipeError(
            f"{empty[0]}: no question or no answer, as in {len(empty)} of {len(rows)} rows; take "
            "them out"
        )
    if column is None:
        return [
            {"question": text, "answer": _answer(row, where)}
            for (where, row), text in zip(rows, asked, strict=True)
        ]
    found = [_choices(row, column, where) for where, row in rows]
    places = _places([row["answer"] for _, row in rows], found, [where for where, _ in rows])
    return [
        {"question": text, "choices": texts, "answer": place}
        for text, (texts, _), place in zip(asked, found, places, strict=True)
    ]


def _answer(row: dict[str, Any], where: str) -> str:
    gold = answer_of(row["answer"], "answer", {}, where).gold
    if gold is None:
        raise RecipeError(f"{where}: no answer; take the row out")
    return final_reference(gold)


def _choices(row: dict[str, Any], column: str, where: str) -> tuple[list[str], list[str]]:
    found = choices_of(row.get(column))
    if found is None:
        raise RecipeError(
            f"{where}: {column} {ascii(row.get(column))[:60]}, expected a list of texts, or text "
            "and label"
        )
    return found


def _places(
    answers: list[Any], choices: list[tuple[list[str], list[str]]], wheres: list[str]
) -> list[int]:
    """The place of each answer, read in one way for all of them."""
    said = [str(answer).strip() for answer in answers]
    whole = any(isinstance(answer, int) for answer in answers)
    if not whole and all(text in texts for text, (texts, _) in zip(said, choices, strict=True)):
        return [texts.index(text) for text, (texts, _) in zip(said, choices, strict=True)]
    keys = [text.strip("().").strip() for text in said]
    from_one = _counts_from_one(keys, choices)
    places = []
    for key, (texts, labels), where in zip(keys, choices, wheres, strict=True):
        if key in labels:
            places.append(labels.index(key))
        elif key.upper() in labels:
            places.append(labels.index(key.upper()))
        elif key.isdigit() and 0 <= int(key) - from_one < len(texts):
            places.append(int(key) - from_one)
        else:
            raise RecipeError(
                f"{where}: the answer {key!r} is neither one of the choices nor the key of one; "
                "expected its text, its letter or its number"
            )
    return places


def _counts_from_one(keys: list[str], choices: list[tuple[list[str], list[str]]]) -> bool:
    numbers = [int(key) if key.isdigit() else -1 for key in keys]
    reach = any(n == len(texts) for n, (texts, _) in zip(numbers, choices, strict=True))
    return reach and 0 not in numbers
