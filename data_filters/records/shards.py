"""Parquet shards on disk: written by rename, read with faults that say which file to delete."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.adopt import trace_of
from data_filters.records.files import replacing, short
from data_filters.records.rows import parquet_records, rows_of
from data_filters.records.traces import Trace
from recipes.errors import ShardError


def write_shard(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """One Parquet file, complete or absent; the same rows give the same bytes.

    Raises:
        ShardError: the file cannot be written, or a row does not fit the schema.
    """
    with replacing(path) as partial:
        found = list(rows)
        try:
            table = pa.Table.from_pylist(found, schema=schema)
        except (pa.ArrowException, UnicodeError, OverflowError) as error:
            raise ShardError(
                f"{path}: a row cannot be stored ({short(error)}); fix or remove it at its source"
            ) from error
        pq.write_table(table, partial, compression="zstd")


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
    for record in parquet_records(Path(path)):
        if record.fault:
            raise ShardError(f"{record.where}: {record.fault}")
        yield record.row


def iter_traces(source: str | Path) -> Iterator[Trace]:
    """The traces of a folder of shards, of one .parquet or .jsonl file, or of a hub data set (its
    train split), one by one.

    Columns that a trace lacks are ignored and missing ones get defaults, so any data set of
    conversations will do. Rows that are none are left out, and their number is told.

    Args:
        source: what `rows_of` takes.

    Raises:
        ShardError: no such path, an unreadable file, or no row that is a trace.
    """
    left_out = found = 0
    why = ""
    for where, row in rows_of(source):
        try:
            trace = trace_of(row)
        except ValueError as error:
            left_out, why = left_out + 1, why or f"{where}: {error}"
            continue
        found += 1
        yield trace
    if left_out and not found:
        raise ShardError(why)
    if left_out:
        logging.getLogger(__name__).warning(
            "%s: %d of %d rows are no traces and left out, the first is %s",
            source,
            left_out,
            left_out + found,
            why,
        )
