"""How often each fact would be seen in training: a ledger that is written by unit and merged, and
the keys of its cap.

Data sets are deduplicated by document; facts are not. Sixteen attempts at a question, three
wordings and four epochs show one fact 192 times. A fact is counted here once a trace, whoever gave
it: the prompt or the writer's memory.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.dedup.minhash import hash64
from data_filters.records.files import reading, replacing
from data_filters.records.shards import write_shard
from data_filters.records.traces import Span
from recipes.vocabulary import Grounding, Kind

EXPOSURE_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("subject", "relation", "value")]
    + [("stated", pa.int64()), ("left", pa.int64()), ("seen", pa.float64())]
)
Fact = tuple[str, str, str]  # subject, value, relation: wordings of one fact stand together
_FAN_IN = 64  # files merged at once
_SHARD_ROWS = 100_000
_HIGHEST = 20
BUCKETS = ((1, "1"), (4, "2-4"), (16, "5-16"), (64, "17-64"), (float("inf"), "65+"))


def facts_of(spans: Iterable[Span]) -> dict[Fact, bool]:
    """The facts that a trace states of somebody, each with whether the prompt gave it.

    The relation is the question that was asked. What arithmetic made is no fact of its own.
    """
    told = [
        s
        for s in spans
        if s.subject
        and s.kind != Kind.RESULT
        and s.grounding in (Grounding.GIVEN, Grounding.UNGROUNDED)
        and s.original != s.subject
    ]
    facts: dict[Fact, bool] = {}
    for span in told:
        fact = (span.subject, span.original, span.relation)
        facts[fact] = facts.get(fact, True) and span.grounding == Grounding.GIVEN
    return facts


def fact_keys(facts: Iterable[Fact]) -> list[int]:
    """64 bits of each (subject, value), whatever the wording of the question."""
    return sorted({hash64(f"{subject.lower()}\x1f{value.lower()}") for subject, value, _ in facts})


class ExposureLedger:
    """Counts of a unit: how many traces stated a fact, and how many still do as they go out."""

    def __init__(self) -> None:
        self.stated: Counter[Fact] = Counter()
        self.left: Counter[Fact] = Counter()

    def add(self, stated: Iterable[Fact], left: Iterable[Fact]) -> None:
        """Counts the facts of one trace, and those that are left in it."""
        self.stated.update(set(stated))
        self.left.update(set(left))

    def save(self, path: Path) -> None:
        """Writes one fact a line, sorted, for `merge_exposure`."""
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as lines:
            lines.writelines(
                json.dumps([*fact, count, self.left[fact]]) + "\n"
                for fact, count in sorted(self.stated.items())
            )


def merge_exposure(paths: Sequence[Path], folder: Path, epochs: float) -> dict[str, Any]:
    """Writes the whole ledger to folder/part-*.parquet; gives its summary. Memory does not grow
    with the number of facts.

    Args:
        paths: what `ExposureLedger.save` wrote.
        folder: also takes intermediate files.
        epochs: how often a training will see each trace.
    """
    paths = list(paths)
    made: list[Path] = []
    while len(paths) > _FAN_IN:
        merged = folder / f".merged-{len(made):05d}.jsonl"
        with replacing(merged) as partial, partial.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in _summed(paths[:_FAN_IN]))
        paths, made = [*paths[_FAN_IN:], merged], [*made, merged]
    summary = _Summary(epochs)
    rows = (summary.add(row) for row in _summed(paths))
    for part in range(1 << 30):
        held = list(islice(rows, _SHARD_ROWS))
        if not held and part:
            break
        write_shard(folder / f"part-{part:05d}.parquet", held, EXPOSURE_SCHEMA)
    for path in made:
        path.unlink()
    return summary.report()


def _summed(paths: Sequence[Path]) -> Iterator[list[Any]]:
    for fact, rows in groupby(heapq.merge(*map(_read, paths)), key=lambda row: row[:3]):
        counts = [row[3:] for row in rows]
        yield [*fact, sum(stated for stated, _ in counts), sum(left for _, left in counts)]


def _read(path: Path) -> Iterator[list[Any]]:
    with reading(path), path.open(encoding="utf-8") as lines:
        for line in lines:
            subject, value, relation, stated, left = json.loads(line)
            yield [str(subject), str(value), str(relation), int(stated), int(left)]


class _Summary:
    """Of facts in order; the wordings of one fact come in a row."""

    def __init__(self, epochs: float) -> None:
        self.epochs = epochs
        self.buckets: dict[str, Counter[str]] = {"stated": Counter(), "left": Counter()}
        self.highest: list[tuple[int, str, str]] = []
        self.fact: tuple[str, str] = ("", "")
        self.counts = [0, 0]

    def add(self, row: Sequence[Any]) -> dict[str, Any]:
        subject, value, relation, stated, left = row
        if (subject, value) != self.fact:
            self._close()
            self.fact, self.counts = (subject, value), [0, 0]
        self.counts = [self.counts[0] + stated, self.counts[1] + left]
        return {
            "subject": subject,
            "relation": relation,
            "value": value,
            "stated": stated,
            "left": left,
            "seen": left * self.epochs,
        }

    def _close(self) -> None:
        for name, count in zip(("stated", "left"), self.counts, strict=True):
            if count:
                self.buckets[name][
                    next(label for most, label in BUCKETS if count * self.epochs <= most)
                ] += 1
        if self.counts[1]:
            self.highest = heapq.nlargest(_HIGHEST, [*self.highest, (self.counts[1], *self.fact)])

    def report(self) -> dict[str, Any]:
        """Facts by how often a training would see them (samples x rollouts x epochs), before and
        after, and those seen most.
        """
        self._close()
        self.fact, self.counts = ("", ""), [0, 0]
        highest = [
            {"subject": s, "value": v, "seen": count * self.epochs} for count, s, v in self.highest
        ]
        labels = [label for _, label in BUCKETS]
        counted = {
            name: {label: found[label] for label in labels if found[label]}
            for name, found in self.buckets.items()
        }
        return {
            "epochs": self.epochs,
            "facts": {n: found.total() for n, found in self.buckets.items()},
            "seen": counted,
            "highest": highest,
        }
