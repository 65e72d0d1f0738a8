"""The filter stage: what is worth teaching. Every trace ends in kept/ or, with a reason, in
dropped/.

Method. The source is cut into units. (1) A first pass over units reads each trace, judges its shape
and its answer, finds what it states and writes its keys. (2) The keys of all units are merged: who
repeats whom, which facts would be seen too often. (3) A second pass over units drops what the
filters name, takes ungrounded facts out of the rest and writes kept/ and dropped/. (4) What the
units counted is merged into the report, the facts into knowledge/ and exposure/. Passes 1 and 3 are
pure functions of a unit and run in any number of processes; merges hold counts, never traces.
Killed at any moment, a run goes on behind its last whole unit, to the same bytes.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from data_filters.filters.settings import FilterSettings
from data_filters.passes.examine import examine_unit
from data_filters.passes.merge import mark_duplicates, merge_report
from data_filters.passes.runner import run_pass
from data_filters.passes.scratch import Scratch
from data_filters.passes.write import write_unit
from data_filters.records.traces import Trace


def sift(
    source: str | Path | Iterable[Trace],
    out: Path,
    settings: FilterSettings,
    *,
    processes: int = 1,
    shard_rows: int = 2048,
    probe_answers: Path | None = None,
    examined: Callable[[int], None] = lambda _: None,
    written: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes out/kept, out/dropped, out/knowledge, out/exposure, out/report.json and report.html;
    returns the report.

    Verification alone sees reference answers; every later filter gets the trace without. The number
    of processes changes no byte. A run of other settings, or of another source, that left something
    in these folders is removed first.

    Args:
        source: what `iter_traces` takes, or traces.
        out: the stage's folder.
        settings: of the filters.
        processes: that work at units side by side, 1 and above.
        shard_rows: traces in one unit, and in one file, about.
        probe_answers: folder of what probes found, a file a unit; None: nobody was asked.
        examined: called with the number of traces that pass 1 read since the last call.
        written: the same of the pass that writes kept/ and dropped/.

    Raises:
        ShardError: a shard cannot be read or written, or nothing was kept.
    """
    scratch = Scratch.of_stage(out)
    units = scratch.units(source, shard_rows, settings.digest())
    scratch.index_known_texts(settings.config.known_texts)
    scratch.write_job(settings, units, probe_answers)
    numbers = range(len(units))
    todo = [number for number in numbers if not scratch.examined(number).exists()]
    run_pass(examine_unit, scratch.folder, todo, processes, examined)
    mark_duplicates(scratch, settings.config, len(units))
    todo = [number for number in numbers if not scratch.summary(number).exists()]
    run_pass(write_unit, scratch.folder, todo, processes, written)
    report = merge_report(scratch, settings.config, len(units), source, probe_answers)
    scratch.close()
    return report
