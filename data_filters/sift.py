"""The filter stage: verify, leave out repetitions and contact, scrub; every trace ends in kept/ or, with a reason, in dropped/."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.degenerate import degenerate
from data_filters.duplicates import Seen, fingerprint
from data_filters.knowledge import Ledger
from data_filters.overlap import Contact
from data_filters.scrub import Scrubber
from data_filters.select import select
from data_filters.shards import iter_traces, replacing, write_shard
from data_filters.tally import Tally
from data_filters.traces import DROPPED_SCHEMA, SCHEMA, Span, Trace, to_row
from data_filters.verify import final_answer, verify
from recipes.errors import ShardError

_PROGRESS_TRACES = 256
_LOOSEN = {
    "shape": "raise generate.max_new_tokens",
    "verify": "look at the answers in filter/dropped, or set filter.keep_unknown: true",
    "select": "widen filter.solve_rate",
    "duplicates": "set filter.duplicates: false, or ask for more problems",
    "overlap": "raise filter.overlap_words, or set filter.overlap: false",
    "scrub": "set filter.untold: abstain or mask",
}


def sift(
    source: str | Path | Iterable[Trace], out: Path, scrubber: Scrubber, *, keep_unknown: bool, duplicates: bool, contact: Contact | None,
    solve_rate: Sequence[float] = (0.0, 1.0), shortest: int = 0, shard_rows: int = 2048, progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Writes out/kept, out/dropped, out/knowledge and out/report.json; returns the report.

    Verification alone sees reference answers; every later filter gets the trace without. What an earlier, unfinished
    run left in these folders is removed first.

    Args:
        source: what `iter_traces` takes, or traces.
        out: the stage's folder.
        scrubber: finds and treats ungrounded facts.
        keep_unknown: keep traces whose answer nobody could judge.
        duplicates: drop exact repetitions.
        contact: index of the held-out problems, None: no such check.
        solve_rate, shortest: as data_filters.select.
        shard_rows: traces in one file.
        progress: called with the number of traces done since the last call.

    Raises:
        ShardError: a shard cannot be read or written, or nothing was kept.
    """
    _clear(out)
    traces = iter_traces(source) if isinstance(source, str | Path) else source
    tally, ledger = Tally(), Ledger(out / "knowledge")
    kept = _Shards(out / "kept", SCHEMA, shard_rows)
    dropped = _Shards(out / "dropped", DROPPED_SCHEMA, shard_rows)
    seen = Seen() if duplicates else None
    done = 0
    chosen = select((_verified(trace, keep_unknown) for trace in traces), solve_rate, shortest)
    for done, (trace, fault) in enumerate(chosen, start=1):
        trace, fault, spans = (trace, fault, []) if fault else _sift_one(trace, scrubber, seen, contact)
        tally.add(trace, fault, spans)
        if fault:
            dropped.add(to_row(trace, dropped_by=fault[0], reason=fault[1]))
        else:
            kept.add(to_row(trace))
        if scrubber.untold != "keep" and (not fault or fault[0] == "scrub"):
            ledger.add(spans, trace.id)
        if done % _PROGRESS_TRACES == 0:
            progress(_PROGRESS_TRACES)
    progress(done % _PROGRESS_TRACES)
    if not tally.kept:
        raise ShardError(_nothing_kept(source, done, tally))
    dropped.close(always=True)
    kept.close()
    report = tally.report() | {"facts": ledger.close()}
    with replacing(out / "report.json") as partial:
        partial.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return report


def _sift_one(
    trace: Trace, scrubber: Scrubber, seen: Seen | None, contact: Contact | None
) -> tuple[Trace, tuple[str, str] | None, list[Span]]:
    """(verified trace as it goes out, (filter, reason) if it is dropped, spans that scrubbing found)."""
    if seen is not None and not seen.add(fingerprint(trace)):
        return trace, ("duplicates", "said before, word for word"), []
    passage = _contact(trace, contact)
    if passage is not None:
        return trace, ("overlap", f"stands in a held-out problem: {passage}"), []
    spans = scrubber.spans(trace)
    trace = scrubber.act(trace, spans)
    untold = [span for span in spans if span.grounding == "ungrounded"]
    if untold and scrubber.untold == "drop":
        return trace, ("scrub", f"states what nobody gave: {untold[0].original}"), spans
    return trace, None, spans


def _verified(trace: Trace, keep_unknown: bool) -> tuple[Trace, tuple[str, str] | None]:
    """The trace with its verdict and without its reference; a verdict that its author's verifier gave stands."""
    last = next((m["content"] for m in reversed(trace.messages) if m["role"] == "assistant"), None)
    if last is None:
        return replace(trace, gold=None), ("shape", "no assistant message")
    if trace.finish_reason == "refused":
        return replace(trace, gold=None), ("shape", "refused: the teacher's server did not take the prompt")
    if trace.finish_reason == "length":
        return replace(trace, gold=None), ("shape", "truncated: finish_reason is length")
    repeats = degenerate(last)
    if repeats is not None:
        return replace(trace, gold=None), ("shape", f"degenerate: {repeats}")
    verdict, answer = verify(last, trace.gold) if trace.verdict == "unknown" else (trace.verdict, trace.answer or final_answer(last))
    judged = replace(trace, gold=None, verdict=verdict, answer=answer)
    if verdict == "wrong":
        reason = "no final answer" if answer is None else "the answer differs from the reference"
        return replace(judged, gold=trace.gold), ("verify", reason)
    if verdict == "unknown" and not keep_unknown:
        return judged, ("verify", "no reference and keep_unknown is false")
    return judged, None


def _contact(trace: Trace, contact: Contact | None) -> str | None:
    """The passage that a user's message, or all that was given, shares with the held-out texts."""
    if contact is None:
        return None
    asked = [m["content"] for m in trace.messages if m["role"] == "user"]
    return next((passage for text in asked if (passage := contact.match(text)) is not None), None)


class _Shards:
    """Rows gathered into numbered Parquet files."""

    def __init__(self, folder: Path, schema: pa.Schema, size: int) -> None:
        self.folder, self.schema, self.size = folder, schema, size
        self.rows: list[dict[str, Any]] = []
        self.written = 0

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) >= self.size:
            self._write()

    def close(self, always: bool = False) -> None:
        """Writes the rest; with `always` there is at least one file."""
        if self.rows or (always and not self.written):
            self._write()

    def _write(self) -> None:
        write_shard(self.folder / f"part-{self.written:05d}.parquet", self.rows, self.schema)
        self.rows, self.written = [], self.written + 1


def _clear(out: Path) -> None:
    try:
        for name in ("kept", "dropped", "knowledge"):
            if (out / name).exists():
                shutil.rmtree(out / name)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
    except OSError as error:
        raise ShardError(f"{out}: an unfinished filter stage cannot be removed ({error}); delete it by hand and run again") from error


def _nothing_kept(source: object, done: int, tally: Tally) -> str:
    where = source if isinstance(source, str | Path) else "filter"
    if not done:
        return f"{where}: found no trace, wanted at least one; run the generate stage, or mend filter.traces"
    by, count = tally.harshest()
    return f"{where}: none of {done} traces was kept, {by} dropped {count} of them; {_LOOSEN[by]}"
