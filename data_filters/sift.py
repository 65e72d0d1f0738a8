"""The filter stage: what is worth teaching. Every trace ends in kept/ or, with a reason, in
dropped/.

Method. The source is cut into units. (1) A first pass over units reads each trace, judges its shape
and its answer, finds its spans and writes its keys. (2) The keys of all units are merged: who
repeats whom, which facts would be seen too often. (3) A second pass over units drops what was
struck, takes ungrounded facts out of the rest and writes kept/ and dropped/. (4) What the units
counted is merged into the report, the facts into knowledge/ and exposure/. Passes 1 and 3 are pure
functions of a unit and run in any number of processes; merges hold sketches, never traces. Killed
at any moment, a run goes on behind its last whole unit, to the same bytes.
"""

import json
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_filters.dedup.duplicates import beyond, by_unit, names_of
from data_filters.dedup.exposure import merge_ledgers
from data_filters.dedup.knowledge import Ledger
from data_filters.passes.examine import look
from data_filters.passes.filters import Stack
from data_filters.passes.runner import run_pass, save_job
from data_filters.passes.scratch import Workplace
from data_filters.passes.write import settle
from data_filters.records.files import replacing
from data_filters.records.traces import Trace
from data_filters.records.units import Unit
from data_filters.report.page import to_html
from data_filters.report.unit_summary import Sketch
from recipes.errors import ShardError

_LOOSEN = {
    "read": "wanted messages of role and content; convert the data or name another source",
    "shape": "raise generate.max_new_tokens, or look at the reasons in filter/dropped",
    "verify": "look at the answers in filter/dropped, or set filter.keep_unknown: true",
    "select": "widen filter.solve_rate",
    "duplicates": "set filter.duplicates: false, or ask for more problems",
    "near_duplicates": "set filter.near_duplicates: false, or ask for more problems",
    "skeleton": "raise filter.per_skeleton, or set it to 0",
    "overlap": "raise filter.overlap_words, or set filter.overlap: false",
    "probes": "set the probes of filter.probes to report",
    "exposure": "raise filter.exposure_cap, or set it to 0",
    "scrub": "set filter.untold: abstain or mask",
}


@dataclass(frozen=True, slots=True)
class Job:
    """What the passes need of a run."""

    stack: Stack
    units: list[Unit]
    out: Path
    asked: Path | None


def sift(
    source: str | Path | Iterable[Trace],
    out: Path,
    stack: Stack,
    *,
    processes: int = 1,
    shard_rows: int = 2048,
    asked: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
    settled: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes out/kept, out/dropped, out/knowledge, out/exposure, out/report.json and report.html;
    returns the report.

    Verification alone sees reference answers; every later filter gets the trace without. The number
    of processes changes no byte. A run of other settings, or of another source, that left something
    in these folders is removed first.

    Args:
        source: what `iter_traces` takes, or traces.
        out: the stage's folder.
        stack: the filters.
        processes: that work at units side by side.
        shard_rows: traces in one unit, and in one file, about.
        asked: folder of what probes found, a file a unit; None: nobody was asked.
        progress: called with the number of traces that the first pass read since the last call.
        settled: the same of the pass that writes kept/ and dropped/.

    Raises:
        ShardError: a shard cannot be read or written, or nothing was kept.
    """
    work = Workplace(out, stack.digest())
    units = work.units(source, shard_rows)
    save_job(work.folder, Job(stack, units, out, asked))
    numbers = range(len(units))
    run_pass(
        look, work.folder, [n for n in numbers if not work.looked(n).exists()], processes, progress
    )
    if not work.struck.exists():
        _strike(work, stack, len(units))
    run_pass(
        settle,
        work.folder,
        [n for n in numbers if not work.settled(n).exists()],
        processes,
        settled,
    )
    report = _merge(work, stack, len(units), source)
    work.close()
    return report


def _strike(work: Workplace, stack: Stack, count: int) -> None:
    """Pass 2: rows that repeat others or state a fact too often, each with the filter and the name
    of the first.
    """
    paths = [work.keys(number) for number in range(count)]
    struck = []
    for path in paths:
        with np.load(path) as unit:
            struck.append(np.zeros(len(unit["owner"]), bool))
    steps: list[tuple[str, str, int, bool]] = []
    if stack.duplicates:
        steps.append(("duplicates", "same", 1, False))
    if stack.near_duplicates:
        steps.append(("near_duplicates", "near", 1, True))
    if stack.per_skeleton:
        steps.append(("skeleton", "skeleton", stack.per_skeleton, False))
    if stack.exposure_cap:
        steps.append(("exposure", "fact", max(1, int(stack.exposure_cap / stack.epochs)), False))
    for number in range(count):
        work.strike(number, {})
    for name, kind, most, among_problems in steps:
        places, firsts = beyond(paths, kind, most, struck, among_problems=among_problems)
        names = iter(names_of(paths, firsts))
        for unit, rows in by_unit(places):
            work.strike(
                unit,
                work.struck_rows(unit) | {row: (name, str(next(names))) for row in rows.tolist()},
            )
    with replacing(work.struck) as partial:
        partial.write_text("done")


def _merge(work: Workplace, stack: Stack, count: int, source: object) -> dict[str, Any]:
    """Pass 4: the report, the knowledge that was taken out, and the ledger of exposures."""
    out, whole, knowledge = work.out, Sketch(), Ledger(work.fresh("knowledge"))
    for number in range(count):
        sketch, facts = pickle.loads(work.settled(number).read_bytes())
        whole.merge(sketch)
        for trace_id, spans in facts:
            knowledge.add(spans, trace_id)
    if not whole.tally.kept and not stack.report_only:
        raise ShardError(_nothing_kept(source, whole))
    report = whole.report() | {
        "mode": "report_only" if stack.report_only else "filter",
        "facts": knowledge.close(),
    }
    ledgers = [work.ledger(number) for number in range(count)]
    report["exposure"] = merge_ledgers(ledgers, work.fresh("exposure"), stack.epochs) | {
        "cap": stack.exposure_cap
    }
    for name, text in (
        ("report.json", json.dumps(report, indent=2, sort_keys=True) + "\n"),
        ("report.html", to_html(report)),
    ):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return report


def _nothing_kept(source: object, whole: Sketch) -> str:
    where = source if isinstance(source, str | Path) else "filter"
    read = sum(reasons.total() for reasons in whole.tally.dropped.values())
    if not read:
        return f"{where}: found no trace, wanted at least one; run the generate stage, or mend filter.traces"
    by, count = whole.tally.harshest()
    reason = whole.tally.dropped[by].most_common(1)[0][0]
    return f"{where}: none of {read} traces was kept, {by} dropped {count} of them ({reason}); {_LOOSEN[by]}"
