"""What is known only when all units are done: who repeats whom, and the report of the stage."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from data_filters.dedup.duplicates import by_unit, find_repeats, ids_of, num_rows
from data_filters.dedup.exposure import merge_exposure
from data_filters.dedup.knowledge import KnowledgeLedger
from data_filters.filters.order import REPEATS, WAYS_OUT
from data_filters.passes.probe_answers import probe_totals
from data_filters.passes.scratch import Scratch
from data_filters.passes.write import read_summary
from data_filters.records.files import replacing
from data_filters.report.page import to_html
from data_filters.report.unit_summary import UnitSummary
from recipes.errors import ShardError
from recipes.schema.filter import Filter

# by what the filter of shapes found
_WAYS_OUT_OF_SHAPE = {
    "truncated": "raise generate.max_new_tokens, or name traces that were not cut off",
    "too long": "raise filter.max_characters",
    "control character": "take control characters out of the texts",
    "no assistant message": "name traces with an answer, or their columns in filter.trace_columns",
    "empty message": "name traces with an answer, or their columns in filter.trace_columns",
    "refused": "look at what the teacher's server says to these prompts",
    "degenerate": "look at the texts in filter/dropped; lower generate.temperature",
}


def mark_duplicates(scratch: Scratch, config: Filter, count: int) -> None:
    """Pass 2: notes the rows that repeat others or state a fact too often, each with the filter and
    the id of the first.

    Args:
        scratch: with the keys of all units.
        config: how often what may repeat.
        count: of units.
    """
    if scratch.merged.exists():
        return
    paths = [scratch.keys(number) for number in range(count)]
    dropped = [np.zeros(num_rows(path), bool) for path in paths]
    rows: list[dict[int, tuple[str, str]]] = [{} for _ in paths]
    for repeats in REPEATS:
        most = repeats.most(config)
        if not most:
            continue
        places, firsts = find_repeats(
            paths, repeats.name, most, dropped, among_problems=repeats.among_problems
        )
        ids = iter(ids_of(paths, firsts))
        for unit, found in by_unit(places):
            rows[unit] |= {row: (repeats.name, next(ids)) for row in found.tolist()}
    for number, found_rows in enumerate(rows):
        scratch.write_repeats(number, found_rows)
    with replacing(scratch.merged) as partial:
        partial.write_text("done")


def merge_report(
    scratch: Scratch, config: Filter, count: int, source: object, probes: Path | None = None
) -> dict[str, Any]:
    """Pass 4: writes the report, the facts that were taken out, and how often each is seen.

    Args:
        scratch: with the summaries of all units.
        config: how the run was told to filter.
        count: of units.
        source: of the traces, for a fault.
        probes: folder of what probes found; None: nobody was asked.

    Raises:
        ShardError: nothing was kept.
    """
    whole, knowledge = UnitSummary(), KnowledgeLedger(scratch.fresh("knowledge"))
    for number in range(count):
        summary, facts = read_summary(scratch.summary(number))
        whole.merge(summary)
        for trace_id, spans in facts:
            knowledge.add(spans, trace_id)
    report_only = config.mode == "report_only"
    if not whole.counts.kept and not report_only:
        raise ShardError(_nothing_kept(source, whole))
    report = whole.report()
    report["mode"] = "report_only" if report_only else "filter"
    ignored = Counter[str]()
    for number in range(count):
        ignored.update(scratch.ignored(number))
    report["ignored_columns"] = dict(sorted(ignored.items()))
    report["facts"] = knowledge.close()
    ledgers = [scratch.exposure(number) for number in range(count)]
    seen = merge_exposure(ledgers, scratch.fresh("exposure"), config.epochs)
    report["exposure"] = seen | {"cap": config.exposure_cap}
    report["probes"] = probe_totals(probes, count) if probes is not None else {}
    _write(scratch.out / "report.json", json.dumps(report, indent=2, sort_keys=True) + "\n")
    _write(scratch.out / "report.html", to_html(report))
    return report


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _nothing_kept(source: object, whole: UnitSummary) -> str:
    where = source if isinstance(source, str | Path) else "filter"
    read = sum(reasons.total() for reasons in whole.counts.dropped.values())
    if not read:
        return (
            f"{where}: got no trace, expected at least one; run the generate stage, or fix "
            "filter.traces"
        )
    by, count = whole.counts.harshest()
    reason = whole.counts.dropped[by].most_common(1)[0][0]
    advice = next((way for said, way in _WAYS_OUT_OF_SHAPE.items() if said in reason), WAYS_OUT[by])
    return f"{where}: none of {read} traces was kept, {by} dropped {count} of them ({reason}); {advice}"
