"""Pass 3 of the filter stage: what becomes of each trace, now that all were looked at."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_filters.dedup.exposure import Ledger, facts_of
from data_filters.dedup.skeletons import skeleton
from data_filters.passes.canaries import plant
from data_filters.passes.examine import Fault, Looked, knows, looked
from data_filters.passes.filters import ORDER, Stack
from data_filters.passes.runner import load_job
from data_filters.passes.scratch import Workplace
from data_filters.records.files import replacing
from data_filters.records.shards import write_shard
from data_filters.records.traces import DROPPED_SCHEMA, SCHEMA, Span, Trace, to_row
from data_filters.report.unit_summary import Sketch
from data_filters.scrub.scrub import is_acted_on
from data_filters.text.tokens import uncollected
from data_filters.verify.answers import verify
from recipes.vocabulary import Action, Grounding, Kind, Verdict

Strike = tuple[str, str]  # filter, id of the first of its kind
_SAID = {
    "duplicates": "said before, word for word: {}",
    "near_duplicates": "asks nearly the same of the same values: {}",
    "skeleton": "one too many that ask nearly the same: {}",
    "exposure": "states a fact that is seen often enough: {}",
}


@uncollected()
def settle(folder: Path, number: int) -> int:
    """Writes kept, dropped, the ledger and the sketch of a unit; gives the number of traces."""
    job = load_job(folder)
    work = Workplace(job.out, "")
    strikes = work.struck_rows(number)
    sketch, ledger, facts = Sketch(), Ledger(), []
    kept, dropped = [], []
    for row, one in enumerate(looked(work.looked(number))):
        fault = fate(one, strikes.get(row))
        trace, fault = _out(one, fault, job.stack, sketch, ledger)
        if fault and (fault[0] == "read" or not job.stack.report_only):
            dropped.append(to_row(trace, dropped_by=fault[0], reason=fault[1]))
        else:
            kept.append(to_row(trace))
        if not fault or fault[0] == "scrub":
            taken = [
                span
                for span in one.spans
                if span.grounding == Grounding.UNGROUNDED
                and job.stack.scrubber.action(span) != Action.KEEP
            ]
            facts += [(trace.id, taken)] if taken else []
    sketch.before.close()
    sketch.after.close()
    write_shard(job.out / "kept" / f"part-{number:05d}.parquet", kept, SCHEMA)
    write_shard(job.out / "dropped" / f"part-{number:05d}.parquet", dropped, DROPPED_SCHEMA)
    ledger.save(work.ledger(number))
    with replacing(work.settled(number)) as partial:
        partial.write_bytes(pickle.dumps((sketch, facts)))
    return len(kept) + len(dropped)


def fate(one: Looked, strike: Strike | None) -> Fault | None:
    """The first filter, in their order, that drops the trace, and why."""
    if one.fault:
        return one.fault
    found = [one.late] if one.late else []
    if strike:
        found.append((strike[0], _SAID[strike[0]].format(strike[1])))
    return min(found, key=lambda fault: ORDER.index(fault[0]), default=None)


def _out(
    one: Looked, fault: Fault | None, stack: Stack, sketch: Sketch, ledger: Ledger
) -> tuple[Trace, Fault | None]:
    """The trace as it goes out; everything about it is counted on the way."""
    trace, spans = one.trace, list(one.spans)
    if fault and fault[0] in ("read", "shape"):
        sketch.tally.add(trace, fault, ())
        return trace, fault
    words = skeleton(
        "\n".join(m["content"] for m in trace.messages if m["role"] == "user"),
        lambda w: knows(stack.scrubber.curriculum, w),
    ).words
    sketch.before.add(_said(trace), words)
    if fault:
        sketch.tally.add(trace, fault, ())
        return trace, fault
    reference = one.gold if one.gold is not None else trace.answer
    done = trace if is_acted_on(trace) else stack.scrubber.act(trace, spans)
    undone = False
    # an answer that nobody judged is no reference: an edit of it breaks nothing that is known to be
    # right
    if trace.verdict == Verdict.CORRECT:
        done, undone = stack.scrubber.verified(
            replace(trace, spans=spans), done, lambda text: verify(text, reference)[0]
        )
    untold = stack.scrubber.drops(spans)
    if untold is not None:
        fault = ("scrub", f"states what nobody gave: {untold.original}")
    sketch.tally.add(done, fault, spans)
    sketch.add_damage(trace, done, reference, undone)
    _count_facts(spans, done, fault, ledger)
    if not fault:
        sketch.after.add(_said(done), words)
        if sketch.tally.kept <= stack.canaries:
            sketch.canaries.update(plant(trace, stack.scrubber.spans))
    return (replace(trace, spans=spans) if stack.report_only else done), fault


def _count_facts(spans: Sequence[Span], done: Trace, fault: Fault | None, ledger: Ledger) -> None:
    """A fact is left where its trace goes out with it: given ones in a text that stays, and those
    that nobody acted on.
    """
    stated = facts_of(spans)
    acted = {
        span.message: span.action
        for span in done.spans
        if span.action not in (Action.KEEP, Action.ABSTAIN) and span.kind != Kind.STEP
    }
    declined = {span.message for span in done.spans if span.action == Action.ABSTAIN}
    standing = (span for span in spans if span.message not in declined)
    left = facts_of(
        span for span in standing if span.grounding == Grounding.GIVEN or span.message not in acted
    )
    ledger.add(stated, () if fault else left)


def _said(trace: Trace) -> str:
    return "\n".join(m["content"] for m in trace.messages if m["role"] == "assistant")
