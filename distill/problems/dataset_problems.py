"""Problems of files and hub data sets: which columns hold the prompt, the reference and the
tests.
"""

import difflib
import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_filters.records.rows import rows_of
from recipes.errors import PipelineError, RecipeError
from recipes.schema import Source

ENTRY_POINT = "entry_point"  # column that names the function which `check(candidate)` is for
_CHECK = re.compile(r"^def check\(\w+(?::[^)]*)?\)", re.MULTILINE)
_CALLED = re.compile(r"^check\(", re.MULTILINE)
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """What a row asks; `number` counts the rows of its file from 0."""

    number: int
    prompt: str
    gold: str | None
    tests: str | None


def read_rows(source: Source, start: int, count: int) -> Iterator[FileRow]:
    """Rows `start` to `start + count`, in order; those without a prompt are left out, and their
    number is told once.

    Columns are named by the source; `messages.0.content` reaches into a column of lists or objects.

    Raises:
        RecipeError: a row lacks a column that the source names.
        ShardError: no such file or data set, or a file is damaged.
    """
    named = _columns(source)
    empty = 0
    try:
        rows = rows_of(
            str(source.path),
            start,
            subset=source.subset,
            split=source.split,
            columns=lambda present: _top_level(named, present),
        )
        for number, (where, row) in enumerate(itertools.islice(rows, count), start):
            prompt = _prompt(source, row, where).strip()
            if not prompt:
                empty += 1
                continue
            yield FileRow(
                number=number,
                prompt=prompt,
                gold=_text(source.answer, row, where),
                tests=_tests(source.tests, row, where),
            )
    except PipelineError as fault:
        raise type(fault)(f"source {source.name}: {fault}") from fault
    if empty:
        logging.getLogger(__name__).warning(
            "source %s: %d of %d rows have no prompt, left out", source.name, empty, count
        )


def _columns(source: Source) -> list[str]:
    asked = (
        [source.question]
        if source.prompt is None
        else [name for name in _FIELD.findall(source.prompt) if name]
    )
    return [*asked, *(name for name in (source.answer, source.tests) if name is not None)]


def _top_level(named: Sequence[str], present: Sequence[str]) -> list[str]:
    """The columns to read; all of them where one is missing, so that the fault can name what is
    there.
    """
    tops = [name if name in present else name.partition(".")[0] for name in named]
    tops += [ENTRY_POINT] * (ENTRY_POINT in present)
    return sorted(set(tops), key=tops.index) if set(tops) <= set(present) else list(present)


def _prompt(source: Source, row: Mapping[str, Any], where: str) -> str:
    """The column, or the template with its fields filled in; a row whose fields are all empty has
    no prompt.
    """
    if source.prompt is None:
        return _text(source.question, row, where) or ""
    texts: list[str] = []

    def fill(field: re.Match[str]) -> str:
        if field[1] is None:
            return field[0][0]
        texts.append(_text(field[1], row, where) or "")
        return texts[-1]

    filled = _FIELD.sub(fill, source.prompt)
    return filled if not texts or any(texts) else ""


def _text(column: str | None, row: Mapping[str, Any], where: str) -> str | None:
    """A column's text; None where it is null or blank, or where no column is named."""
    if column is None:
        return None
    value = _reached(column, row, where)
    text = "" if value is None else str(value)
    return text if text.strip() else None


def _tests(column: str | None, row: Mapping[str, Any], where: str) -> str | None:
    """A column of tests as one text: a list of assertions line by line, other lists and objects as
    JSON. Tests that check a candidate get the call that the row's entry_point names.
    """
    if column is None:
        return None
    value = _reached(column, row, where)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    elif isinstance(value, list | Mapping):
        value = json.dumps(value, default=str)
    text = "" if value is None else str(value)
    name = str(row.get(ENTRY_POINT) or "")
    if _CHECK.search(text) and not _CALLED.search(text) and name.replace(".", "").isidentifier():
        text += f"\n\ncheck({name})\n"
    return text if text.strip() else None


def _reached(column: str, row: Mapping[str, Any], where: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            raise RecipeError(
                f"{where}: no column {column!r}{_hint(column, row)}; it has {', '.join(map(str, row))}"
            )
    return value


def _hint(column: str, row: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(column, map(str, row), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
