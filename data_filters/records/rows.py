"""Rows of every kind of source, one by one: Parquet files and folders of them, JSON lines, JSON
lists (both may be gzipped), hub data sets.

A record that is no row costs itself alone: it comes with its fault, and the reader decides. A file
that cannot be read at all ends the reading, in one line.
"""

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.files import mend, short
from recipes.errors import RecipeError, ShardError

Row = dict[str, Any]
Columns = Callable[[Sequence[str]], list[str]]  # the columns of a file -> those to read
BATCH_ROWS = 256
LINES = (".jsonl", ".ndjson", ".json")
GZIPPED = tuple(f"{name}.gz" for name in LINES)
_BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One row, or why what stands there is none."""

    where: str  # FILE:NUMBER, a line from 1, a Parquet row from 0
    row: Row
    fault: str = ""  # empty: it is a row
    text: str = ""  # of what is no row


def rows_of(
    source: str | Path,
    start: int = 0,
    *,
    subset: str | None = None,
    split: str | None = None,
    columns: Columns | None = None,
) -> Iterator[tuple[str, Row]]:
    """(where it stands, row) of rows `start`, `start + 1`, ... of a source.

    Args:
        source: a .parquet, .jsonl, .ndjson or .json file (the last three also .gz), a folder, or a
            hub data set id such as open-thoughts/OpenThoughts3-1.2M.
        start: the first row, from 0; blank lines are no rows. What comes before is not parsed.
        subset: of a hub data set or folder; None: it has none.
        split: of a hub data set or folder. None: all Parquet files of a folder, the train split of
            a hub data set.
        columns: which of a Parquet file's top-level columns to read; None reads all.

    Raises:
        ShardError: no such source, a file is damaged, or a record is no row.
        RecipeError: a subset of a file.
    """
    for record in records_of(source, start, subset=subset, split=split, columns=columns):
        if record.fault:
            raise ShardError(f"{record.where}: {record.fault}; fix or remove it")
        yield record.where, record.row


def records_of(
    source: str | Path,
    start: int = 0,
    *,
    subset: str | None = None,
    split: str | None = None,
    columns: Columns | None = None,
) -> Iterator[Record]:
    """Like `rows_of`, but a record that is no row comes with its fault."""
    path = Path(source).expanduser()
    if path.is_dir() and split is None and subset is None:
        return itertools.islice(_folder_records(path, columns), start, None)
    if not (is_lines(path) or is_parquet(path) or path.is_file()):
        if not is_hub_id(str(source)):
            raise ShardError(f"{source}: no such file or folder; fix the path")
        return _hub_records(str(source), start, subset, split or "train")
    if not (is_lines(path) or is_parquet(path)):
        raise ShardError(
            f"{path}: unknown kind of file; expected .parquet, .jsonl or .json, a folder or a hub "
            "data set id"
        )
    if not path.is_file():
        raise ShardError(f"{path}: no such file; run the stage that writes it, or fix the path")
    if subset is not None:
        raise RecipeError(f"subset {subset!r} is for hub data sets, {path} is a file")
    if is_parquet(path):
        return parquet_records(path, start=start, columns=columns)
    return _file_records(path, start)


def is_lines(path: Path) -> bool:
    """Whether a file of this name holds JSON."""
    return path.name.lower().endswith(LINES + GZIPPED)


def is_parquet(path: Path) -> bool:
    """Whether a file of this name holds Parquet."""
    return path.name.lower().endswith(".parquet")


def is_hub_id(source: str) -> bool:
    """NAME or OWNER/NAME, or a folder; whatever else starts like a path is one."""
    if Path(source).is_dir():
        return True
    begins = source.startswith((".", "/", "~"))
    return not (begins or source.count("/") > 1 or source.endswith("/") or " " in source)


def list_shards(folder: Path) -> list[Path]:
    """The *.parquet files of a folder, sorted by name.

    Raises:
        ShardError: there is none.
    """
    shards = sorted(
        path for path in Path(folder).glob("*.parquet") if not path.name.startswith(".")
    )
    if not shards:
        found = "no *.parquet file" if Path(folder).is_dir() else "no such folder"
        raise ShardError(
            f"{folder}: {found}, expected shards; run the stage that writes them, or fix the path"
        )
    return shards


def _folder_records(folder: Path, columns: Columns | None) -> Iterator[Record]:
    for shard in list_shards(folder):
        yield from parquet_records(shard, columns=columns)


# --- JSON


def line_records(path: Path, first: int, last: int, row: int) -> Iterator[Record]:
    """The records of a range of a plain file of JSON lines.

    Args:
        path: of the file.
        first, last: bytes, from..to.
        row: lines before the range.
    """
    with opened(path) as stream:
        stream.seek(first)
        data = stream.read(last - first)
    yield from _parsed_lines(path, data.split(b"\n"), row)


def _file_records(path: Path, start: int) -> Iterator[Record]:
    with opened(path) as stream:
        if is_list(stream):
            yield from itertools.islice(_list_records(path, stream.read()), start, None)
        else:
            yield from _parsed_lines(path, stream, start=start)


def is_list(stream: IO[bytes]) -> bool:
    """Whether a JSON file is one list: it begins with one that does not end on its first line, or
    nothing follows. The stream is left at its start.
    """
    filled = (line for line in stream if line.strip())
    first = next(filled, b"").removeprefix(_BOM)
    found = first.lstrip().startswith(b"[") and (_is_cut_off(first) or next(filled, None) is None)
    stream.seek(0)
    return found


def _is_cut_off(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def _parsed_lines(
    path: Path, lines: Iterable[bytes], before: int = 0, start: int = 0
) -> Iterator[Record]:
    """The records of lines; those before `start` are passed over unparsed."""
    filled = ((n, line) for n, line in enumerate(lines, before + 1) if line.strip())
    for number, line in itertools.islice(filled, start, None):
        yield parse_line(line.rstrip().removeprefix(_BOM), f"{path}:{number}")


def _list_records(path: Path, data: bytes) -> Iterator[Record]:
    """A file that is one list is read whole."""
    try:
        items = json.loads(data.removeprefix(_BOM))
    except json.JSONDecodeError as error:
        raise ShardError(_no_json(f"{path}:{error.lineno}", error)) from error
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path}: no JSON that can be read ({short(error)}); fix it") from error
    for number, item in enumerate(items, start=1):
        yield _record(f"{path}, item {number}", item, json.dumps(item))


def parse_line(line: bytes, where: str) -> Record:
    """The object of a line of JSON.

    A line that is no JSON means a broken file. One that JSON allows but nobody can use is a broken
    record: another value than an object, numbers of thousands of digits, text that is not UTF-8.

    Raises:
        ShardError: no JSON.
    """
    text, fault = line.decode(errors="replace"), ""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        fault = f"invalid UTF-8: {short(error)}"
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ShardError(_no_json(where, error)) from error
    except (ValueError, RecursionError) as error:
        return Record(where, {}, fault or f"JSON that cannot be read: {short(error)}", text)
    return Record(where, {}, fault, text) if fault else _record(where, row, text)


def _record(where: str, row: Any, text: str) -> Record:
    if isinstance(row, dict):
        return Record(where, row)
    return Record(
        where, {}, f"no object: expected one such as {{...}}, got {type(row).__name__}", text
    )


def _no_json(where: str, error: json.JSONDecodeError) -> str:
    said = error.msg.removesuffix(" at")
    return f"{where}: no JSON ({said}, column {error.colno}); fix or remove the line"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unzipped.

    Raises:
        ShardError: it cannot be opened, read or unzipped.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast(IO[bytes], stream)
    except ShardError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise ShardError(
            f"{path}: cannot be read ({short(error)}); fix the file or its rights"
        ) from error


# --- Parquet


def parquet_records(
    path: Path,
    groups: Sequence[int] | None = None,
    row: int = 0,
    *,
    start: int = 0,
    columns: Columns | None = None,
) -> Iterator[Record]:
    """The records of a Parquet file.

    Args:
        path: of the file.
        groups: row groups to read; None: all.
        row: rows before the first group.
        start: rows of these groups that are passed over; whole groups are not read at all.
        columns: as for `rows_of`; None reads all.

    Raises:
        ShardError: missing, truncated, or no Parquet.
    """
    if not path.is_file():
        raise ShardError(f"{path}: no such file; run the stage that writes it, or fix the path")
    try:
        with pq.ParquetFile(path) as file:
            chosen = list(range(file.num_row_groups) if groups is None else groups)
            while chosen and start >= file.metadata.row_group(chosen[0]).num_rows:
                skipped = file.metadata.row_group(chosen.pop(0)).num_rows
                start, row = start - skipped, row + skipped
            wanted = None if columns is None else columns(file.schema_arrow.names)
            for batch in file.iter_batches(BATCH_ROWS, row_groups=chosen, columns=wanted):
                skipped = min(start, batch.num_rows)
                start, row = start - skipped, row + skipped
                yield from _batch_records(batch.slice(skipped), path, row)
                row += batch.num_rows - skipped
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: no readable Parquet ({short(error)}); {mend(path)}") from error


def _batch_records(batch: pa.RecordBatch, path: Path, row: int) -> Iterator[Record]:
    """Parquet does not promise that its texts are UTF-8, nor that Python has its times."""
    try:
        found = batch.to_pylist()
    except (ValueError, OverflowError):
        if batch.num_rows > 1:
            for number in range(batch.num_rows):
                yield from _batch_records(batch.slice(number, 1), path, row + number)
            return
        yield _refused(batch, f"{path}:{row}")
        return
    for number, one in enumerate(found, start=row):
        yield Record(f"{path}:{number}", one)


def _refused(batch: pa.RecordBatch, where: str) -> Record:
    try:
        batch.to_pylist()
    except UnicodeDecodeError as error:
        text = bytes(error.object).decode(errors="replace")
        return Record(where, {}, f"invalid UTF-8: {short(error)}", text)
    except (ValueError, OverflowError) as error:
        return Record(where, {}, f"a value that Python does not have: {short(error)}")
    raise AssertionError(where)


# --- hub data sets


class _Stream:
    """A data set of the hub that is read on: opened once, not once for each block of its rows."""

    def __init__(self, named: tuple[str, str | None, str], start: int) -> None:
        from datasets import load_dataset  # heavy, and only this kind of source needs it

        name, subset, split = named
        self.place = start  # of the next row
        self.rows: Iterator[Any] = iter(
            load_dataset(name, subset, split=split, streaming=True).skip(start)
        )


_streams: dict[tuple[str, str | None, str], _Stream] = {}  # those that nobody reads just now


def _hub_records(name: str, start: int, subset: str | None, split: str) -> Iterator[Record]:
    key = (name, subset, split)
    named = f"{name}{f', subset {subset}' if subset else ''}, split {split}"
    stream = _streams.pop(key, None)
    try:
        if stream is None or stream.place > start:
            stream = _Stream(key, start)
        for row in stream.rows:
            stream.place += 1
            if stream.place > start:
                yield Record(f"{named}, row {stream.place - 1}", dict(row))
        stream = None  # it is at its end
    # the library raises many kinds, all of which mean: not there, not allowed, no network
    except Exception as error:
        stream = None
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ShardError(
            f"{named}: neither a local path nor a data set that can be read ({said}); fix the name "
            "or the network"
        ) from error
    finally:
        if stream is not None:
            _streams[key] = stream
