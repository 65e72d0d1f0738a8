"""Rows of JSONL and Parquet files and hub data sets, from any row on, in constant memory."""

import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from recipes.errors import RecipeError, ShardError

Row = dict[str, Any]
_BATCH_ROWS = 256
_LINES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")


def rows_from(
    path: str,
    start: int,
    *,
    subset: str | None,
    split: str,
    columns: Callable[[Sequence[str]], list[str]],
) -> Iterator[tuple[str, Row]]:
    """(where it stands, row) of rows `start`, `start + 1`, ...; what comes before is passed over
    without being parsed.

    Args:
        path: a .jsonl, .json (also .gz) or .parquet file; else a folder that `datasets` reads, or a
            hub data set id.
        start: the first row, from 0; blank lines are no rows.
        subset, split: of a folder or hub data set.
        columns: which of a Parquet file's top-level columns to read.

    Raises:
        RecipeError: no such file, data set, subset or split.
        ShardError: a file is damaged, or holds something else than rows.
    """
    file = Path(path).expanduser()
    name = file.name.lower()
    lines, parquet = name.endswith(_LINES), name.endswith(".parquet")
    if not (lines or parquet or file.is_file()):
        return _of_hub(path, start, subset, split)
    if not (lines or parquet):
        raise RecipeError(
            f"{path} is of an unknown kind; wanted a .jsonl, .json or .parquet file, a folder or a hub data set id"
        )
    if not file.is_file():
        raise RecipeError(f"no file at {path}")
    if subset is not None:
        raise RecipeError(f"subset {subset!r} is for hub data sets, {path} is a file")
    return _of_parquet(file, start, columns) if parquet else _of_lines(file, start)


def _of_lines(file: Path, start: int) -> Iterator[tuple[str, Row]]:
    with _opened(file) as stream:
        first = next((line for line in stream if line.strip()), b"")
        stream.seek(0)
        if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
            yield from _of_list(file, stream.read(), start)
            return
        filled = ((number, line) for number, line in enumerate(stream, 1) if not line.isspace())
        for number, line in itertools.islice(filled, start, None):
            row = _parsed(line.rstrip(), f"{file}:{number}", many_lines=False)
            if not isinstance(row, dict):
                raise ShardError(
                    f'{file}:{number}: wanted an object, as {{"question": "..."}}, found {type(row).__name__}'
                )
            yield f"{file}:{number}", row


def _of_list(file: Path, text: bytes, start: int) -> Iterator[tuple[str, Row]]:
    """A JSON file that is one list is read whole."""
    rows = _parsed(text, str(file), many_lines=True)
    for number, row in enumerate(rows[start:], start + 1):
        if not isinstance(row, dict):
            raise ShardError(
                f"{file}: item {number} of the list is no object but {type(row).__name__}"
            )
        yield f"{file}, item {number}", row


def _parsed(text: bytes, where: str, *, many_lines: bool) -> Any:
    """The value of a text; a fault is named with its place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as fault:
        place = f"{where}:{fault.lineno}" if many_lines else where
        raise ShardError(
            f"{place}: no JSON ({fault.msg.removesuffix(' at')}, column {fault.colno}); mend or remove the line"
        ) from fault
    except UnicodeDecodeError as fault:
        raise ShardError(
            f"{where}: no UTF-8 text ({fault.reason} at byte {fault.start}); write the file as UTF-8"
        ) from fault


def _opened(file: Path) -> IO[bytes]:
    try:
        return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]
    except OSError as fault:
        raise ShardError(f"{file}: cannot be read ({fault.strerror or fault})") from fault


def _of_parquet(
    file: Path, start: int, columns: Callable[[Sequence[str]], list[str]]
) -> Iterator[tuple[str, Row]]:
    """Row groups before the first row are not read at all, nor are columns that nobody wants."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            group, number = 0, 0
            while (
                group < table.num_row_groups
                and number + table.metadata.row_group(group).num_rows <= start
            ):
                number += table.metadata.row_group(group).num_rows
                group += 1
            wanted = columns(table.schema_arrow.names)
            for batch in table.iter_batches(
                _BATCH_ROWS, row_groups=range(group, table.num_row_groups), columns=wanted
            ):
                skip = min(max(start - number, 0), batch.num_rows)
                for offset, row in enumerate(batch.slice(skip).to_pylist(), number + skip):
                    yield f"{file}, row {offset}", row
                number += batch.num_rows
    except (pa.ArrowException, OSError) as fault:
        raise ShardError(f"{file}: cannot be read as Parquet ({_line(fault)})") from fault


def _of_hub(path: str, start: int, subset: str | None, split: str) -> Iterator[tuple[str, Row]]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    named = f"{path}{f', subset {subset}' if subset else ''}, split {split}"
    number = start
    try:
        for row in load_dataset(path, subset, split=split, streaming=True).skip(start):
            yield f"{named}, row {number}", dict(row)
            number += 1
    except (OSError, ValueError, RuntimeError, DatasetsError) as fault:
        raise RecipeError(f"{named}: {_line(fault)}") from fault


def _line(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:300] or type(fault).__name__
