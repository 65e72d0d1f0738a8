"""The facts that were taken out, counted: what the student may look up later, and what it must not
remember.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.records.files import replacing
from data_filters.records.shards import write_shard
from data_filters.records.traces import Span

KNOWLEDGE_SCHEMA = pa.schema(
    [
        ("subject", pa.string()),
        ("relation", pa.string()),
        ("value", pa.string()),
        ("count", pa.int64()),
        ("trace_id", pa.string()),
        ("kind", pa.string()),
    ]
)
_IN_MEMORY = 200_000  # facts held before they are spilled to disk
_SHARD_ROWS = 100_000
Fact = tuple[str, str, str]


class KnowledgeLedger:
    """Counts (subject, relation, value) over traces in bounded memory: sorted runs go to disk and
    are merged at the end.

    The relation is the question that was asked, or the fact's own sentence with a blank; none where
    the fact was only a step on the way. A trace counts once for a fact, however often it states it.

    Args:
        folder: receives part-*.parquet, sorted by fact.
        in_memory: facts held before a run is written.
    """

    def __init__(self, folder: Path, in_memory: int = _IN_MEMORY) -> None:
        self.folder = folder
        self.in_memory = in_memory
        self._counts: dict[Fact, tuple[int, str, str]] = {}  # how often, first trace, kind there
        self._runs: list[Path] = []

    def add(self, spans: Iterable[Span], trace_id: str) -> None:
        """Records the facts of one trace, as `stated_facts` gives them."""
        facts = {(span.subject, span.relation, span.original): span.kind for span in spans}
        for fact, kind in sorted(facts.items()):
            count, first, kind = self._counts.get(fact, (0, trace_id, kind))
            self._counts[fact] = (count + 1, first, kind)
        if len(self._counts) >= self.in_memory:
            self._spill()

    def close(self) -> int:
        """Writes the merged shards, removes the runs; returns the number of facts."""
        runs = [_read_run(path) for path in self._runs] + [iter(sorted(self._rows()))]
        merged = _merge(runs)
        total = 0
        for part in range(1 << 30):
            rows = list(islice(merged, _SHARD_ROWS))
            if not rows and part:
                break
            write_shard(self.folder / f"part-{part:05d}.parquet", rows, KNOWLEDGE_SCHEMA)
            total += len(rows)
        for path in self._runs:
            path.unlink()
        return total

    def _rows(self) -> list[tuple[str, str, str, int, int, str, str]]:
        run = len(self._runs)
        return [
            (*fact, run, count, first, kind) for fact, (count, first, kind) in self._counts.items()
        ]

    def _spill(self) -> None:
        path = self.folder / f".run-{len(self._runs):05d}.jsonl"
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in sorted(self._rows()))
        self._runs.append(path)
        self._counts = {}


def _read_run(path: Path) -> Iterator[tuple[Any, ...]]:
    with path.open(encoding="utf-8") as lines:
        yield from (tuple(json.loads(line)) for line in lines)


def _merge(runs: list[Iterator[tuple[Any, ...]]]) -> Iterator[dict[str, Any]]:
    """One row a fact; the trace is the first that stated it."""
    for (subject, relation, value), rows in groupby(heapq.merge(*runs), key=lambda row: row[:3]):
        counted = list(rows)
        yield {
            "subject": subject,
            "relation": relation,
            "value": value,
            "count": sum(row[4] for row in counted),
            "trace_id": counted[0][5],
            "kind": counted[0][6],
        }
