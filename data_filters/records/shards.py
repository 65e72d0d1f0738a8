"""Parquet shards on disk: written by rename, read with faults that say which file to delete."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.files import replacing, short
from data_filters.records.traces import Trace, from_row
from recipes.errors import ShardError
from recipes.vocabulary import Verdict

_READ_ROWS = 2048
_TEXTS = (
    "id",
    "problem_id",
    "source",
    "tools",
    "gold",
    "answer",
    "verdict",
    "teacher",
    "engine",
    "sampling",
)


def write_shard(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """One Parquet file, complete or absent; the same rows give the same bytes.

    Raises:
        ShardError: the file cannot be written.
    """
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial, compression="zstd")


def read_shard(path: Path) -> list[dict[str, Any]]:
    """All rows of one shard.

    Raises:
        ShardError: the file is missing, truncated or no Parquet.
    """
    return list(iter_rows(path))


def iter_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one shard, one by one.

    Raises:
        ShardError: as read_shard.
    """
    for batch in _parquet_batches(Path(path)):
        yield from batch.to_pylist()


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
            f"{folder}: {found}, wanted shards; run the stage that writes them, or mend the path"
        )
    return shards


def iter_traces(source: str | Path) -> Iterator[Trace]:
    """The traces of a folder of shards, of one .parquet or .jsonl file, or of a hub data set (its
    train split), one by one.

    Columns that a trace lacks are ignored and missing ones get defaults, so any data set with
    `messages` will do.

    Args:
        source: a path, or a hub data set id such as open-thoughts/OpenThoughts3-1.2M.

    Raises:
        ShardError: no such path, an unreadable file, or rows without messages.
    """
    for where, row in raw_rows(source):
        try:
            yield trace_of(row)
        except ValueError as error:
            raise ShardError(f"{where}: {error}") from error


def trace_of(row: dict[str, Any]) -> Trace:
    """The trace of a row of any data set with `messages`.

    Raises:
        ValueError: it is none; the message says what was found, what was wanted and what to do.
    """
    messages = row.get("messages")
    if not messages or not isinstance(messages, list) or not all(map(_is_message, messages)):
        found = (
            f"columns {', '.join(sorted(map(str, row)))}"
            if "messages" not in row
            else f"messages {str(messages)[:60]!r}"
        )
        raise ValueError(
            f"found {found}, wanted messages of role and content; convert the data or name another source"
        )
    try:
        return from_row(_adopt(row))
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"a column of a trace holds something else ({short(error)}); rename or remove it"
        ) from error


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and "role" in message
        and isinstance(message.get("content", 0), str | None)
    )


def _adopt(row: dict[str, Any]) -> dict[str, Any]:
    """The row with text where a trace has text: foreign data sets hold numbers, lists and broken
    characters.
    """
    texts = {
        name: json.dumps(row[name], default=str)
        for name in _TEXTS
        if not isinstance(row.get(name), str | None)
    }
    messages = [
        message | {"content": _clean(message["content"] or "")} for message in row["messages"]
    ]
    for message in messages:
        if not isinstance(message.get("tool_calls"), str | None):
            message["tool_calls"] = json.dumps(message["tool_calls"], default=str)
    adopted = row | texts | {"messages": messages}
    return adopted if row.get("verdict") in tuple(Verdict) else adopted | {"verdict": None}


def _clean(text: str) -> str:
    """Half of a surrogate pair cannot be stored."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def raw_rows(source: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, row), for every kind of source."""
    path = Path(source)
    if path.is_dir():
        for shard in list_shards(path):
            yield from _parquet_rows(shard)
    elif path.suffix == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix in (".jsonl", ".json"):
        yield from _json_rows(path)
    elif _is_hub_id(str(source)):
        yield from _hub_rows(str(source))
    else:
        raise ShardError(
            f"{source}: no such folder, wanted shards, a .parquet or .jsonl file, or a hub data set id; mend the path"
        )


def _is_hub_id(source: str) -> bool:
    """NAME or OWNER/NAME; whatever starts like a path is one."""
    return (
        not source.startswith((".", "/", "~"))
        and source.count("/") <= 1
        and not source.endswith("/")
        and " " not in source
    )


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for batch in _parquet_batches(path):
        yield from ((str(path), row) for row in batch.to_pylist())


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    if not path.is_file():
        raise ShardError(f"{path}: no such file; run the stage that writes it, or mend the path")
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(_READ_ROWS)
    except (pa.ArrowException, OSError) as error:
        message = f"{path}: no readable Parquet ({short(error)}); delete this file and run again, then its stage writes it anew"
        raise ShardError(message) from error


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a {type(row).__name__}, wanted an object")
                yield f"{path}:{number}", row
    except FileNotFoundError as error:
        raise ShardError(f"{path}: no such file; mend the path") from error
    except (OSError, ValueError) as error:
        raise ShardError(
            f"{path}: no readable JSON lines ({short(error)}); mend or rewrite the file"
        ) from error


def _hub_rows(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from datasets import load_dataset  # heavy, and only this kind of source needs it

    try:
        rows = load_dataset(name, split="train", streaming=True)
    # the library raises many kinds, all of which mean: not there, not allowed, no network
    except Exception as error:
        message = f"{name}: neither a local path nor a data set that the hub gives ({short(error)}); mend the name or the network"
        raise ShardError(message) from error
    for row in rows:
        yield f"data set {name}", dict(row)
