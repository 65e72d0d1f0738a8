"""Problems of files and hub data sets: which columns hold the prompt, the reference and the
tests.
"""

import difflib
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_filters.records.rows import rows_of
from data_filters.verify.reading.references import final_reference, is_readable
from distill.problems.columns import COMPANIONS, Answer, answer_of, tests_of, text_of
from recipes.errors import PipelineError, RecipeError
from recipes.schema import Source

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """What a row asks; `number` counts the rows of its file from 0."""

    number: int
    prompt: str
    gold: str | None  # its final answer, without the working
    tests: str | None
    others: tuple[str, ...] = ()  # further references, each as good as gold


def read_rows(source: Source, start: int, count: int) -> Iterator[FileRow]:
    """Rows `start` to `start + count`, in order; those without a prompt are left out. Their number
    is told once, and that of rows whose reference is a text without a final answer, which have none.

    Columns are named by the source; `messages.0.content` reaches into a column of lists or objects.

    Raises:
        RecipeError: a row lacks a column that the source names.
        ShardError: no such file or data set, or a file is damaged.
    """
    named = _columns(source)
    empty = unread = 0
    try:
        rows = rows_of(
            str(source.path),
            start,
            subset=source.subset,
            split=source.split,
            columns=lambda present: _top_level(named, present),
        )
        for number, (where, row) in enumerate(itertools.islice(rows, count), start):
            answer = _answer(source, row, where)
            prompt = _prompt(source, row, where, answer).strip()
            if not prompt:
                empty += 1
                continue
            golds = [final_reference(gold) for gold in (answer.gold, *answer.others) if gold]
            readable = [gold for gold in golds if is_readable(gold)]
            unread += bool(golds) and not readable
            yield FileRow(
                number=number,
                prompt=prompt,
                gold=readable[0] if readable else None,
                tests=None if source.tests is None else _tests(source.tests, row, where),
                others=tuple(readable[1:]),
            )
    except PipelineError as fault:
        raise type(fault)(f"source {source.name}: {fault}") from fault
    if unread:
        logging.getLogger(__name__).warning(
            "source %s: %d of %d rows have a reference in column %s in which no final answer is "
            "marked, their answers stay unjudged; name a column that holds the answer",
            source.name,
            unread,
            count,
            source.answer,
        )
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
    tops += [name for name in COMPANIONS if name in present]
    return sorted(set(tops), key=tops.index) if set(tops) <= set(present) else list(present)


def _prompt(source: Source, row: Mapping[str, Any], where: str, answer: Answer) -> str:
    """The column, with the choices where the answer is one of them and the column does not show
    them; or the template with its fields filled in. A row whose fields are all empty has none.
    """
    if source.prompt is None:
        text = text_of(_reached(source.question, row, where), source.question, where)
        options = [line[3:] for line in answer.options.splitlines()]
        shown = all(option in text for option in options)
        return text if shown or not text.strip() else f"{text.rstrip()}\n{answer.options}"
    texts: list[str] = []

    def fill(field: re.Match[str]) -> str:
        if field[1] is None:
            return field[0][0]
        texts.append(text_of(_reached(field[1], row, where), field[1], where).strip())
        return texts[-1]

    filled = _FIELD.sub(fill, source.prompt)
    return filled if not texts or any(texts) else ""


def _answer(source: Source, row: Mapping[str, Any], where: str) -> Answer:
    """The reference; without choices where a template decides what is shown."""
    if source.answer is None:
        return Answer(None)
    return answer_of(_reached(source.answer, row, where), source.answer, row, where)


def _tests(column: str, row: Mapping[str, Any], where: str) -> str | None:
    return tests_of(_reached(column, row, where), row)


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
