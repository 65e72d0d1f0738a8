"""The ask pass: what a model says to probes, as columns beside the traces, a file a unit; later
passes only read them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.passes.probes import Ask, Knows, closed_book, premise, renames
from data_filters.records.shards import read_shard, write_shard
from data_filters.records.traces import Trace
from recipes.vocabulary import FinishReason, Verdict

PROBES = ("closed_book", "premise", "rename", "surprise")
SPOKEN = PROBES[:3]
PROBE_ANSWERS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        *((name, pa.bool_()) for name in PROBES),
        ("surprise_nats", pa.float32()),
        *((f"{name}_said", pa.string()) for name in SPOKEN),
    ]
)
ProbeAnswers = dict[str, dict[str, bool | None]]  # by trace id, by probe
# conversations, what is begun for each -> texts
Speak = Callable[[Sequence[list[dict[str, str]]], Sequence[str]], Sequence[str]]
# largest gap of a word, teacher minus reference, nats
Measure = Callable[[Sequence[Trace]], Sequence[float | None]]


def ask_about(
    traces: Sequence[Trace],
    path: Path,
    names: Sequence[str],
    speak: Speak,
    knows: Knows,
    measure: Measure | None,
    surprise_nats: float,
) -> None:
    """Writes what the model says of the traces of one unit.

    Args:
        traces: of the unit; those that were cut off or answered wrongly are not asked about.
        path: of the unit's file.
        names: the probes that are on.
        speak: the model that wrote the traces, greedy.
        knows: whether a capitalised word is an ordinary one.
        measure: of the probe "surprise"; None: it is off.
        surprise_nats: from where a gap says recall.
    """
    asked = [
        trace
        for trace in traces
        if trace.finish_reason == FinishReason.STOP and trace.verdict != Verdict.WRONG
    ]
    rows: list[dict[str, Any]] = [{"id": trace.id} for trace in asked]
    questions: dict[str, Callable[[], list[Ask | None]]] = {
        "closed_book": lambda: [closed_book(trace) for trace in asked],
        "premise": lambda: [premise(trace) for trace in asked],
        "rename": lambda: renames(asked, knows),
    }
    for name in (name for name in names if name in questions):
        asks = questions[name]()
        there = [(row, ask) for row, ask in zip(rows, asks, strict=True) if ask is not None]
        texts = speak([ask.conversation for _, ask in there], [ask.prefix for _, ask in there])
        for (row, ask), text in zip(there, texts, strict=True):
            row |= {name: ask.recalls(text), f"{name}_said": text}
    if measure is not None:
        for row, gap in zip(rows, measure(asked), strict=True):
            row |= {"surprise_nats": gap, "surprise": None if gap is None else gap >= surprise_nats}
    write_shard(path, rows, PROBE_ANSWERS_SCHEMA)


def probe_answers_path(folder: Path, number: int) -> Path:
    """Where the answers about the traces of a unit stand."""
    return folder / f"asked-{number:05d}.parquet"


def read_probe_answers(folder: Path | None, number: int) -> ProbeAnswers:
    """By trace id, what each probe says of it: True: recall, False: thought, None: it could not be
    asked.

    Raises:
        ShardError: the unit was not asked about.
    """
    if folder is None:
        return {}
    return {
        row["id"]: {name: row[name] for name in PROBES}
        for row in read_shard(probe_answers_path(folder, number))
    }
