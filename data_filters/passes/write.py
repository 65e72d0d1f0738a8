"""Pass 3 of the filter stage: what becomes of each trace, now that all were examined."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_filters.dedup.exposure import ExposureLedger, Fact, facts_of
from data_filters.filters.examined import Examined, Reason
from data_filters.filters.order import BEFORE_VERDICT, Known, first_reason
from data_filters.filters.settings import FilterContext
from data_filters.lookup.stated_facts import stated_facts
from data_filters.passes.canaries import plant
from data_filters.passes.examine import Judged, read_examined
from data_filters.passes.scratch import Scratch
from data_filters.records.files import reading, replacing
from data_filters.records.shards import write_shard
from data_filters.records.traces import (
    DROPPED_SCHEMA,
    SCHEMA,
    Span,
    Trace,
    span_of_values,
    span_values,
    to_row,
)
from data_filters.report.unit_summary import UnitSummary
from data_filters.scrub.restore import is_acted_on
from data_filters.text.tokens import uncollected
from data_filters.verify.checks import check_of
from data_filters.verify.verifiers import Verifiers, says_the_same
from recipes.vocabulary import Action, Grounding, Kind, Verdict

Facts = list[tuple[str, list[Span]]]  # trace id, spans that were taken out of it


@uncollected()
def write_unit(folder: Path, number: int) -> int:
    """Writes kept, dropped, the exposures and the summary of a unit; gives the number of traces."""
    scratch = Scratch(folder)
    job = scratch.job()
    repeats, recall = scratch.repeats(number), job.probe_answers(number)
    with Verifiers() as verifiers:
        unit = _Unit(job.context, verifiers)
        for row, judged in enumerate(read_examined(scratch.examined(number))):
            one = judged.one
            one.repeats = dict([repeats[row]]) if row in repeats else {}
            one.recall = recall.get(one.trace.id, {})
            unit.add(judged)
    part = f"part-{number:05d}.parquet"
    write_shard(job.out / "kept" / part, unit.kept, SCHEMA)
    write_shard(job.out / "dropped" / part, unit.dropped, DROPPED_SCHEMA)
    unit.exposure.save(scratch.exposure(number))
    unit.save_summary(scratch.summary(number))
    return len(unit.kept) + len(unit.dropped)


def read_summary(path: Path) -> tuple[UnitSummary, Facts]:
    """What `write_unit` counted in a unit, and the facts that it took out.

    Raises:
        ShardError: the file is not as it was written.
    """
    with reading(path):
        summary, facts = json.loads(path.read_text(encoding="ascii"))
        spans = [(str(name), [span_of_values(values) for values in taken]) for name, taken in facts]
        return UnitSummary.from_json(summary), spans


class _Unit:
    """The rows of a unit as they go out, and what is counted on the way."""

    def __init__(self, context: FilterContext, verifiers: Verifiers) -> None:
        self.context, self.verifiers = context, verifiers
        self.report_only = context.config.mode == "report_only"
        self.summary, self.exposure = UnitSummary(), ExposureLedger()
        self.kept: list[dict[str, Any]] = []
        self.dropped: list[dict[str, Any]] = []
        self.facts: Facts = []

    def add(self, judged: Judged) -> None:
        """Takes one trace to where it belongs."""
        one = judged.one
        reason = first_reason(one, self.context, Known.CORPUS)
        if reason and reason.by != "scrub":
            trace = one.trace
            self._count_dropped(one, reason)
            if reason.by == "verify" and trace.verdict == Verdict.WRONG:
                trace = replace(trace, gold=judged.reference.gold)  # for whoever reads dropped/
        else:
            trace = self._scrubbed(judged, reason)
            self._take_facts(one)
        if reason and (reason.by == "read" or not self.report_only):
            self.dropped.append(to_row(trace, dropped_by=reason.by, reason=reason.text))
        else:
            self.kept.append(to_row(trace))

    def save_summary(self, path: Path) -> None:
        """Writes what was counted."""
        self.summary.close()
        facts = [(name, [span_values(span) for span in taken]) for name, taken in self.facts]
        with replacing(path) as partial:
            partial.write_text(json.dumps([self.summary.to_json(), facts]), encoding="ascii")

    def _count_dropped(self, one: Examined, reason: Reason) -> None:
        if reason.by not in BEFORE_VERDICT:
            self.summary.before.add(one.trace.replies(), one.question.words)
        self.summary.counts.add(one.trace, reason, ())

    def _scrubbed(self, judged: Judged, reason: Reason | None) -> Trace:
        """The trace as it goes out; everything about it is counted on the way."""
        one, summary, scrubber = judged.one, self.summary, self.context.scrubber
        trace, spans = one.trace, list(one.spans)
        summary.before.add(trace.replies(), one.question.words)
        judge = self._judge(judged)
        done = trace if is_acted_on(trace) else scrubber.act(trace, spans)
        undone = False
        # an answer that nobody judged is no reference: an edit of it breaks nothing that is known
        # to be right
        if trace.verdict == Verdict.CORRECT:
            done, undone = scrubber.verified(replace(trace, spans=spans), done, judge)
        summary.counts.add(done, reason, spans)
        summary.damage.add(
            trace,
            done,
            reference=judged.reference.gold,
            judge=judge,
            undone=undone,
            dropped=reason is not None,
        )
        stated, left = _facts(spans, done)
        self.exposure.add(stated, () if reason else left)
        if not reason:
            summary.after.add(done.replies(), one.question.words)
            if summary.counts.kept <= self.context.config.num_canaries:
                summary.canaries.update(plant(trace, scrubber.spans))
        return replace(trace, spans=spans) if self.report_only else done

    def _judge(self, judged: Judged) -> Callable[[str], Verdict]:
        """Says of a text what its problem's own verifier says; where there is none, whether it
        gives the answer that the trace gave.
        """
        trace, check = judged.one.trace, judged.reference.check()
        if check.kind == "none":
            check = check_of(trace.answer)
        last = trace.last_reply() or ""

        def judge(text: str) -> Verdict:
            if trace.verdict == Verdict.CORRECT and says_the_same(text, last):
                return Verdict.CORRECT
            return self.verifiers.judge([(text, check)])[0].verdict

        return judge

    def _take_facts(self, one: Examined) -> None:
        taken = [
            span
            for span in one.spans
            if span.grounding == Grounding.UNGROUNDED
            and self.context.scrubber.action(span) != Action.KEEP
        ]
        if facts := stated_facts(one.trace, taken):
            self.facts.append((one.trace.id, facts))


def _facts(spans: Sequence[Span], done: Trace) -> tuple[dict[Fact, bool], dict[Fact, bool]]:
    """(facts that a trace stated, facts that are left in it as it goes out).

    A fact is left where the prompt gave it and its text stays, or where nobody acted on it.
    """
    acted = {
        span.message: span.action
        for span in done.spans
        if span.action not in (Action.KEEP, Action.ABSTAIN) and span.kind != Kind.STEP
    }
    # what is said after a declined message carries no loss
    declined = [span.message for span in done.spans if span.action == Action.ABSTAIN]
    end = min(declined, default=len(done.messages))
    standing = (span for span in spans if span.message < end)
    left = (
        span for span in standing if span.grounding == Grounding.GIVEN or span.message not in acted
    )
    return facts_of(spans), facts_of(left)
