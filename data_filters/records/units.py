"""A source of traces cut into units: small numbered pieces that are read, filtered and written each
on its own.

Whatever is cut the same way is numbered the same way, so a pass can be resumed, and shared out over
processes or machines, by number. Parquet with small row groups and JSON lines are read where they
lie; everything else is copied once, in pieces.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.adopt import adopted, fault_of, renamed
from data_filters.records.files import mend, replacing, short
from data_filters.records.rows import (
    Record,
    Row,
    is_lines,
    is_list,
    is_parquet,
    line_records,
    list_shards,
    opened,
    parquet_records,
    records_of,
)
from data_filters.records.traces import VERSION, VERSION_KEY, Trace, to_row
from recipes.errors import ShardError

UNIT_BYTES = 32 << 20  # of text in a unit, roughly; one record may be larger
WIDE = 4  # a row group of so many times a unit's rows is still one unit
SHOWN_CHARACTERS = 2000  # of a record that could not be read
_UNREADABLE = "\x00unreadable"  # key under which a copied record carries its fault


@dataclass(frozen=True, slots=True)
class Unit:
    """A range of row groups of a .parquet file, or of bytes of a .jsonl file; `row` is the number
    of its first row or line.
    """

    path: str
    first: int
    last: int
    row: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is no trace, and why."""

    where: str
    reason: str
    text: str

    def stub(self) -> Trace:
        """Something to put into dropped/."""
        messages = [{"role": "unreadable", "content": self.text[:SHOWN_CHARACTERS]}]
        return Trace(
            id=self.where[-80:],
            problem_id=self.where[-80:],
            source="unreadable",
            seed=0,
            messages=messages,
        )


def cut(source: str | Path | Iterable[Trace], staging: Path, rows: int) -> list[Unit]:
    """The units of a source, in its order.

    Args:
        source: what `rows_of` takes, or traces.
        staging: receives copies of what cannot be cut where it lies: hub data sets, huge row
            groups, lists, gzipped files, traces in memory.
        rows: traces in a unit, at most about WIDE times as many.

    Raises:
        ShardError: no such source, or a file of it is broken; the message names it.
    """
    if not isinstance(source, str | Path):
        made = (Record("", to_row(trace)) for trace in source)
        return _copied(made, staging, rows)
    path = Path(source).expanduser()
    if _is_plain_lines(path):
        return _cut_lines(path, rows)
    files = list_shards(path) if path.is_dir() else [path]
    if not all(is_parquet(file) and file.is_file() for file in files):
        return _copied(records_of(source), staging, rows)
    found = [_cut_parquet(file, rows) for file in files]
    if any(units is None for units in found):
        return _copied((row for file in files for row in _versioned(file)), staging, rows)
    return [unit for units in found for unit in units or ()]


def read_unit(
    unit: Unit,
    columns: Mapping[str, str] | None = None,
    ignored: Counter[str] | None = None,
) -> Iterator[Trace | Refused]:
    """The traces of a unit; a record that is none is refused by itself.

    Args:
        unit: to read.
        columns: names of a trace's columns to those of the data set.
        ignored: counts columns of our names that hold something else.

    Raises:
        ShardError: the file is broken; the message names it.
    """
    path = Path(unit.path)
    records = (
        line_records(path, unit.first, unit.last, unit.row)
        if is_lines(path)
        else _versioned(path, range(unit.first, unit.last), unit.row)
    )
    noted = Counter[str]() if ignored is None else ignored
    yield from (_admitted(record, columns or {}, noted) for record in records)


def _admitted(record: Record, columns: Mapping[str, str], ignored: Counter[str]) -> Trace | Refused:
    where, row, fault, text = record
    if not fault and _UNREADABLE in row:
        fault, text = str(row[_UNREADABLE]), str(row.get("text", ""))
    if fault:
        return Refused(where, fault, text)
    version = row.get(VERSION_KEY)
    if version is not None and str(version) != str(VERSION):
        said = f"{VERSION_KEY} {str(version)[:20]}, expected {VERSION}"
        return Refused(where, f"another schema version: {said}", _shown(row))
    try:
        trace, passed = adopted(renamed(row, columns))
        ignored.update(set(passed))
    except ValueError as error:
        return Refused(where, f"no trace: {error}", _shown(row))
    wrong = fault_of(trace)
    return Refused(where, wrong, _shown(row)) if wrong else trace


def _shown(row: Row) -> str:
    try:
        return json.dumps(row, default=str)[:SHOWN_CHARACTERS]
    except (ValueError, RecursionError):
        return ", ".join(map(str, row))[:SHOWN_CHARACTERS]


# --- Parquet


def _cut_parquet(path: Path, rows: int) -> list[Unit] | None:
    """Consecutive row groups of up to `rows` rows; None where one is too large to be held."""
    metadata = _metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    if any(size > WIDE * UNIT_BYTES or count > WIDE * rows for count, size in sizes):
        return None
    units: list[Unit] = []
    first = begun = held = held_bytes = 0
    for number, (count, size) in enumerate(sizes):
        if number > first and (held + count > rows or held_bytes + size > UNIT_BYTES):
            units.append(Unit(str(path), first, number, begun))
            first, begun, held, held_bytes = number, begun + held, 0, 0
        held, held_bytes = held + count, held_bytes + size
    return [*units, Unit(str(path), first, len(sizes), begun)] if sizes else units


def _versioned(path: Path, groups: Sequence[int] | None = None, row: int = 0) -> Iterator[Record]:
    """The records of a Parquet file, each with the version of the schema that the file names."""
    version = (_metadata(path).metadata or {}).get(VERSION_KEY.encode())
    extra = {VERSION_KEY: version.decode(errors="replace")} if version else {}
    for record in parquet_records(path, groups, row):
        yield record._replace(row=extra | record.row)


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: no readable Parquet ({short(error)}); {mend(path)}") from error


# --- JSON lines


def _is_plain_lines(path: Path) -> bool:
    """Whether a file can be cut by bytes: JSON lines, neither gzipped nor one list."""
    if not (is_lines(path) and path.is_file() and path.suffix != ".gz"):
        return False
    with opened(path) as stream:
        return not is_list(stream)


def _cut_lines(path: Path, rows: int) -> list[Unit]:
    units: list[Unit] = []
    first = begun = place = 0
    with opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            place += len(line)
            if number - begun >= rows or place - first >= UNIT_BYTES:
                units.append(Unit(str(path), first, place, begun))
                first, begun = place, number
    return [*units, Unit(str(path), first, place, begun)] if place > first else units


# --- copies


def _copied(records: Iterable[Record], staging: Path, size: int) -> list[Unit]:
    """Records copied into files of one unit each."""
    units: list[Unit] = []
    held: list[str] = []
    held_bytes = total = 0

    def write() -> None:
        path = staging / f"copied-{len(units):05d}.jsonl"
        with replacing(path) as partial:
            partial.write_text("".join(held), encoding="ascii")
        units.append(Unit(str(path), 0, os.path.getsize(path), total - len(held)))

    for record in records:
        held.append(_copy(record))
        held_bytes, total = held_bytes + len(held[-1]), total + 1
        if len(held) >= size or held_bytes >= UNIT_BYTES:
            write()
            held, held_bytes = [], 0
    if held:
        write()
    return units


def _copy(record: Record) -> str:
    fault, text = record.fault, record.text[:SHOWN_CHARACTERS]
    if not fault:
        try:
            return json.dumps(record.row, default=str) + "\n"
        except (ValueError, TypeError, RecursionError) as error:
            fault, text = f"a value that JSON does not have: {short(error)}", ""
    return json.dumps({_UNREADABLE: fault, "text": text}) + "\n"
