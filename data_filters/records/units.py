"""A source of traces cut into units: small numbered pieces that are read, filtered and written each
on its own.

Whatever is cut the same way is numbered the same way, so a pass can be resumed, and shared out over
processes or machines, by number. Parquet with small row groups and JSON lines are read where they
lie; everything else is copied once, in pieces.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_filters.records.files import replacing, short
from data_filters.records.shards import list_shards, raw_rows, trace_of
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
        source: what `iter_traces` takes, or traces.
        staging: receives copies of what cannot be cut where it lies: hub data sets, huge row
            groups, traces in memory.
        rows: traces in a unit, at most about WIDE times as many.

    Raises:
        ShardError: no such source, or a file of it is broken; the message names it.
    """
    if not isinstance(source, str | Path):
        return _copied((to_row(trace) for trace in source), staging, rows)
    path = Path(source)
    files = list_shards(path) if path.is_dir() else [path]
    if path.suffix in (".jsonl", ".json") and path.is_file():
        return _cut_lines(path, rows)
    if all(file.suffix == ".parquet" and file.is_file() for file in files):
        found = [_cut_parquet(file, rows) for file in files]
        if all(units is not None for units in found):
            return [unit for units in found if units is not None for unit in units]
        return _copied(
            (row for file in files for _, row in _parquet_rows(str(file))), staging, rows
        )
    return _copied((row for _, row in raw_rows(source)), staging, rows)


def read_unit(unit: Unit) -> Iterator[Trace | Refused]:
    """The traces of a unit; a record that is none is refused by itself.

    Raises:
        ShardError: the file is broken; the message names it.
    """
    lines = unit.path.endswith((".jsonl", ".json"))
    rows = (
        _lines(unit) if lines else _parquet_rows(unit.path, range(unit.first, unit.last), unit.row)
    )
    for where, row in rows:
        yield _admit(where, row)


def _admit(where: str, row: dict[str, Any]) -> Trace | Refused:
    reason = row.get(_UNREADABLE)
    if reason:
        return Refused(where, str(reason), str(row.get("text", "")))
    version = row.get(VERSION_KEY)
    if version is not None and str(version) != str(VERSION):
        return Refused(
            where,
            f"another schema version: {VERSION_KEY} {str(version)[:20]}, wanted {VERSION}",
            _shown(row),
        )
    try:
        trace = trace_of(row)
    except ValueError as error:
        return Refused(where, f"no trace: {error}", _shown(row))
    outside = next(
        (span for span in trace.spans if not _fits(span.message, span.start, span.end, trace)), None
    )
    if outside is not None:
        place = f"{outside.start}..{outside.end} in message {outside.message}"
        return Refused(where, f"a span past the end of its message: {place}", _shown(row))
    return trace


def _fits(message: int, start: int, end: int, trace: Trace) -> bool:
    return 0 <= message < len(trace.messages) and 0 <= start <= end <= len(
        trace.messages[message]["content"]
    )


def _shown(row: dict[str, Any]) -> str:
    return json.dumps(row, default=str)[:SHOWN_CHARACTERS]


# --- Parquet
# ------------------------------------------------------------------------------------------------------------


def _cut_parquet(path: Path, rows: int) -> list[Unit] | None:
    """Consecutive row groups of up to `rows` rows; None where one is too large to be held."""
    try:
        with pq.ParquetFile(path) as file:
            sizes = [
                (g.num_rows, g.total_byte_size)
                for g in map(file.metadata.row_group, range(file.metadata.num_row_groups))
            ]
    except (pa.ArrowException, OSError) as error:
        raise ShardError(_broken(path, error)) from error
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


def _parquet_rows(
    path: str, groups: Iterable[int] | None = None, row: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            version = (file.schema_arrow.metadata or {}).get(VERSION_KEY.encode())
            extra = {VERSION_KEY: version.decode()} if version else {}
            chosen = {} if groups is None else {"row_groups": list(groups)}
            for batch in file.iter_batches(256, **chosen):
                for found in _dicts(batch):
                    yield f"{path}:{row}", extra | found
                    row += 1
    except (pa.ArrowException, OSError) as error:
        raise ShardError(_broken(path, error)) from error


def _dicts(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a batch; Parquet does not promise that its texts are UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            one = batch.slice(number, 1)
            try:
                yield from one.to_pylist()
            except UnicodeDecodeError as error:
                yield {
                    _UNREADABLE: f"invalid UTF-8: {short(error)}",
                    "text": error.object.decode(errors="replace"),
                }


# --- JSON lines
# ---------------------------------------------------------------------------------------------------------


def _cut_lines(path: Path, rows: int) -> list[Unit]:
    units: list[Unit] = []
    first = begun = place = number = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                place += len(line)
                if number - begun >= rows or place - first >= UNIT_BYTES:
                    units.append(Unit(str(path), first, place, begun))
                    first, begun = place, number
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be read ({short(error)}); mend the file or its rights"
        ) from error
    return [*units, Unit(str(path), first, place, begun)] if place > first else units


def _lines(unit: Unit) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with open(unit.path, "rb") as file:
            file.seek(unit.first)
            data = file.read(unit.last - unit.first)
    except OSError as error:
        raise ShardError(
            f"{unit.path}: cannot be read ({short(error)}); mend the file or its rights"
        ) from error
    for number, line in enumerate(data.split(b"\n"), start=unit.row + 1):
        if line.strip():
            yield f"{unit.path}:{number}", _line(line, f"{unit.path}:{number}")


def _line(line: bytes, where: str) -> dict[str, Any]:
    """The object of a line. A line that is no JSON is a broken file; one whose text is not UTF-8 is
    a broken record.
    """
    fault = None
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        fault, text = f"invalid UTF-8: {short(error)}", line.decode(errors="replace")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShardError(
            f"{where}: no readable JSON lines ({short(error)}); mend or rewrite the file"
        ) from error
    if fault or not isinstance(row, dict):
        return {
            _UNREADABLE: fault or f"no trace: a {type(row).__name__}, wanted an object",
            "text": text,
        }
    return row


# --- copies
# -------------------------------------------------------------------------------------------------------------


def _copied(rows: Iterable[dict[str, Any]], staging: Path, size: int) -> list[Unit]:
    """Rows copied into files of one unit each."""
    units: list[Unit] = []
    held: list[str] = []
    held_bytes = total = 0

    def write() -> None:
        path = staging / f"copied-{len(units):05d}.jsonl"
        with replacing(path) as partial:
            partial.write_text("".join(held), encoding="ascii")
        units.append(Unit(str(path), 0, os.path.getsize(path), total - len(held)))

    for row in rows:
        held.append(json.dumps(row, default=str) + "\n")
        held_bytes, total = held_bytes + len(held[-1]), total + 1
        if len(held) >= size or held_bytes >= UNIT_BYTES:
            write()
            held, held_bytes = [], 0
    if held:
        write()
    return units


def _broken(path: object, error: Exception) -> str:
    return f"{path}: no readable Parquet ({short(error)}); delete this file and run again, then its stage writes it anew"
