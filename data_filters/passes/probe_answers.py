"""The ask pass: what a model says to probes, as columns beside the traces, a file a unit; later
passes only read them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.passes.probes import Ask, Knows, closed_book, premise, renames
from data_filters.recall.audit import Audited
from data_filters.recall.recite import Recited
from data_filters.records.shards import read_shard, write_shard
from data_filters.records.traces import Span, Trace
from data_filters.text.tokens import split_sentences
from recipes.schema.filter import PROBES, Probes
from recipes.vocabulary import FinishReason, Grounding, Kind, Verdict

SPOKEN = PROBES[:3]
_PLACE = ("message", "start", "end")
_COUNTS = (
    *(f"audit_{name}" for name in ("tokens", "quotes", "unmatched", "refused")),
    *(f"recite_{name}" for name in ("tokens", "runs")),
)
PROBE_ANSWERS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        *((name, pa.bool_()) for name in PROBES),
        ("surprise_nats", pa.float32()),
        *((f"{name}_said", pa.string()) for name in SPOKEN),
        *((name, pa.int64()) for name in _COUNTS),
        ("recite_share", pa.float32()),
        ("spans", pa.list_(pa.struct([("by", pa.string()), *((n, pa.int32()) for n in _PLACE)]))),
    ]
)
ProbeAnswers = dict[str, dict[str, bool | None]]  # by trace id, by probe
# conversations, what is begun for each -> texts
Speak = Callable[[Sequence[list[dict[str, str]]], Sequence[str]], Sequence[str]]
# of a trace's last message: (first character, the one behind the last, gap) of each token, teacher
# minus reference, nats; None: it has no question
Gaps = Sequence[tuple[int, int, float]]
Measure = Callable[[Sequence[Trace]], Sequence[Gaps | None]]
# of these traces, by id: what other probes found, as columns and places
Further = Callable[[Sequence[Trace]], Mapping[str, Mapping[str, Audited | Recited]]]


def ask_about(
    traces: Sequence[Trace],
    path: Path,
    names: Sequence[str],
    speak: Speak,
    knows: Knows,
    measure: Measure | None,
    surprise_nats: float,
    further: Further = lambda _: {},
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
        further: audit and recitation, by name of the probe.
    """
    asked = [
        trace
        for trace in traces
        if trace.finish_reason == FinishReason.STOP and trace.verdict != Verdict.WRONG
    ]
    rows: list[dict[str, Any]] = [{"id": trace.id, "spans": []} for trace in asked]
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
        for row, trace, gaps in zip(rows, asked, measure(asked), strict=True):
            row |= _surprise(row, trace, gaps, surprise_nats)
    for by, found in further(asked).items():
        for row in rows:
            if row["id"] in found:
                one = found[row["id"]]
                row |= one.columns()
                row["spans"] += _placed(by, one.places)
    write_shard(path, rows, PROBE_ANSWERS_SCHEMA)


def _surprise(row: dict[str, Any], trace: Trace, gaps: Gaps | None, nats: float) -> dict[str, Any]:
    """The largest gap of a word, and the sentences with a word of a large one."""
    if not gaps:
        return {}
    last = len(trace.messages) - 1
    high = [(start, end) for start, end, gap in gaps if gap >= nats]
    sentences = split_sentences(trace.messages[last]["content"])
    bounds = [(s.tokens[0].start, s.tokens[-1].end) for s in sentences]
    named = [
        (last, first, after)
        for first, after in bounds
        if any(start < after and first < end for start, end in high)
    ]
    most = max(gap for *_, gap in gaps)
    spans = [*row["spans"], *_placed("surprise", named)]
    return {"surprise_nats": most, "surprise": bool(high), "spans": spans}


def _placed(by: str, places: Iterable[Sequence[int]]) -> list[dict[str, Any]]:
    return [{"by": by, **dict(zip(_PLACE, place, strict=True))} for place in places]


def read_recalled(folder: Path | None, number: int, modes: Probes) -> dict[str, list[Span]]:
    """By trace id, spans of what probes name that are to be scrubbed.

    Args:
        folder: of the answers; None: nobody was asked.
        number: of the unit.
        modes: a probe names spans where its mode is scrub.
    """
    if folder is None:
        return {}
    return {
        row["id"]: [
            _span(place) for place in row["spans"] if getattr(modes, place["by"]) == "scrub"
        ]
        for row in read_shard(probe_answers_path(folder, number))
    }


def _span(place: Mapping[str, Any]) -> Span:
    kind = Kind.PASSAGE if place["by"] == "recite" else Kind.STATEMENT
    where = {name: place[name] for name in _PLACE}
    return Span(**where, kind=kind, grounding=Grounding.UNGROUNDED, detector=place["by"])


def probe_totals(folder: Path, units: int) -> dict[str, int]:
    """What audit and recitation took and found, over all units; empty where neither was on."""
    rows = (row for n in range(units) for row in read_shard(probe_answers_path(folder, n)))
    totals: Counter[str] = Counter()
    for row in rows:
        totals.update({name: row[name] for name in _COUNTS if row[name] is not None})
        for name in ("audit", "recite"):
            totals[f"{name}_traces"] += row[name] is not None
            totals[f"{name}_named"] += sum(span["by"] == name for span in row["spans"])
    return {name: count for name, count in totals.items() if totals[f"{name.split('_')[0]}_traces"]}


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
