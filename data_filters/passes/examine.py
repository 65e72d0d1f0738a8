"""Pass 1 of the filter stage: what can be said of the traces of a unit by themselves."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from data_filters.dedup.duplicates import Keys
from data_filters.dedup.minhash import hash64
from data_filters.dedup.skeletons import Skeleton, skeleton
from data_filters.filters.attempts import compare_attempts
from data_filters.filters.examined import Examined, Reason
from data_filters.filters.order import REPEATS, Known, first_reason
from data_filters.filters.settings import FilterContext
from data_filters.passes.probe_answers import read_recalled
from data_filters.passes.scratch import Job, Scratch
from data_filters.recall.passages import overlaid, passages
from data_filters.records.files import reading, replacing
from data_filters.records.traces import Span, Trace, from_row, span_of_values, span_values, to_row
from data_filters.records.units import Refused, read_unit
from data_filters.scrub.restore import is_acted_on
from data_filters.text.tokens import uncollected
from data_filters.verify.answers import final_answer
from data_filters.verify.checks import Check, check_of_note
from data_filters.verify.verifiers import Verifiers
from recipes.vocabulary import Verdict


class Reference(NamedTuple):
    """What verification alone sees of a trace: its columns gold and check."""

    gold: str | None
    note: str | None

    def check(self) -> Check:
        """How an answer is judged."""
        return check_of_note(self.gold, self.note)


class Judged(NamedTuple):
    """A trace after pass 1, and its reference, which only the damage meter sees again."""

    one: Examined
    reference: Reference

    def line(self) -> str:
        """For a file of JSON lines; what another data set put into a message is kept as text."""
        one = self.one
        spans = [span_values(span) for span in one.spans]
        known = [to_row(one.trace), self.reference, one.reason, one.question.words, spans]
        return json.dumps(known, default=str) + "\n"

    @classmethod
    def of_line(cls, line: str) -> "Judged":
        """What `line` gave, as far as pass 3 needs it."""
        row, reference, reason, words, spans = json.loads(line)
        one = Examined(
            from_row(row),
            question=Skeleton(tuple(words), ()),
            reason=reason and Reason(*reason),
            spans=[span_of_values(values) for values in spans],
        )
        return cls(one, Reference(*reference))


@uncollected()
def examine_unit(folder: Path, number: int) -> int:
    """Writes what pass 1 finds of a unit, and its keys; gives the number of traces."""
    scratch = Scratch(folder)
    job = scratch.job()
    ignored = Counter[str]()
    with Verifiers() as verifiers:
        records = read_unit(job.units[number], job.context.config.trace_columns, ignored)
        found = examine(records, job.context, verifiers)
    scratch.write_ignored(number, ignored)
    add_recalled(found, job, number)
    unit_keys([one for one, _ in found], job.context).save(scratch.keys(number))
    with (
        replacing(scratch.examined(number)) as partial,
        partial.open("w", encoding="ascii") as lines,
    ):
        lines.writelines(judged.line() for judged in found)
    return len(found)


def read_examined(path: Path) -> Iterator[Judged]:
    """What `examine_unit` wrote, in its order.

    Raises:
        ShardError: the file is not as it was written.
    """
    with reading(path), path.open(encoding="ascii") as lines:
        yield from map(Judged.of_line, lines)


def examine(
    records: Iterable[Trace | Refused], context: FilterContext, verifiers: Verifiers
) -> list[Judged]:
    """Shape, verdict and the choice among attempts; then, for what still stands, what it states.

    Args:
        records: of one unit; attempts at one problem follow one another.
        context: the filters.
        verifiers: judge the answers of all of them at once.
    """
    found: list[Judged] = []
    judged = _judged([_hidden(record, context) for record in records], context, verifiers)
    for _, group in itertools.groupby(judged, key=_problem):
        attempts = list(group)
        compare_attempts([one for one, _ in attempts])
        for one, _ in attempts:
            one.reason = first_reason(one, context, Known.ATTEMPTS)
        found += attempts
    standing = [one for one, _ in found if one.reason is None]
    spans = context.scrubber.spans_of([one.trace for one in standing])
    for one, stated in zip(standing, spans, strict=True):
        # what was scrubbed before keeps the teacher's own words
        one.spans = one.trace.spans if is_acted_on(one.trace) else stated
    return found


def add_recalled(found: Iterable[Judged], job: Job, number: int) -> None:
    """Adds what probes name, and passages of known texts, to what the traces of a unit state."""
    config = job.context.config
    named = read_recalled(job.probes, number, config.probes)
    for one, _ in found:
        if one.reason is not None or is_acted_on(one.trace):
            continue
        wider = _with_words(one.trace, named.get(one.trace.id, []))
        if job.known is not None:
            wider = overlaid(wider, passages(one.trace, job.known, config.passage_words))
        if wider:
            one.spans = overlaid(one.spans, wider)


def _with_words(trace: Trace, spans: Iterable[Span]) -> list[Span]:
    """Spans with what stands there; of those that touch, the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.message, one.start, -one.end)):
        if not kept or kept[-1].message != span.message or kept[-1].end <= span.start:
            text = trace.messages[span.message]["content"][span.start : span.end]
            kept.append(replace(span, original=text))
    return kept


def _problem(judged: Judged) -> tuple[str, str]:
    return judged.one.trace.source, judged.one.trace.problem_id


def _hidden(record: Trace | Refused, context: FilterContext) -> Judged:
    """The record without its reference, as far as its text alone says of it."""
    if isinstance(record, Refused):
        one, reference = Examined(record.stub(), unreadable=record.reason), Reference(None, None)
    else:
        one = Examined(replace(record, gold=None, check=None))
        reference = Reference(record.gold, record.check)
    one.reason = first_reason(one, context, Known.TEXT)
    if one.reason is None:
        one.question = skeleton(one.trace.asked(), context.knows)
    return Judged(one, reference)


def _judged(found: list[Judged], context: FilterContext, verifiers: Verifiers) -> list[Judged]:
    """The same, those that still stand with their verdicts."""
    standing = [judged for judged in found if judged.one.reason is None]
    for one, _ in standing:
        one.trace = replace(one.trace, answer=one.trace.answer or _final_answer(one.trace))
    # a verdict of its author's verifier stands; what was scrubbed no longer says what was judged
    asked = [
        (one, (one.trace.last_reply() or "", reference.check()))
        for one, reference in standing
        if one.trace.verdict == Verdict.UNKNOWN and not is_acted_on(one.trace)
    ]
    said = verifiers.judge([case for _, case in asked])
    for (one, _), judgement in zip(asked, said, strict=True):
        one.trace = replace(one.trace, verdict=judgement.verdict, answer=judgement.answer)
    for one, _ in standing:
        one.reason = first_reason(one, context, Known.VERDICT)
    return found


def _final_answer(trace: Trace) -> str | None:
    return final_answer(trace.last_reply() or "")


def unit_keys(examined: list[Examined], context: FilterContext) -> Keys:
    """Keys of every trace that still stands, for the filters of repetitions that are on."""
    wanted = [repeats for repeats in REPEATS if repeats.most(context.config)]
    standing = [(row, one) for row, one in enumerate(examined) if one.reason is None]
    found = {
        repeats.name: [(row, repeats.keys(one, context)) for row, one in standing]
        for repeats in wanted
    }
    traces = [one.trace for one in examined]
    owners = [hash64(f"{trace.source}\x1f{trace.problem_id}") for trace in traces]
    return Keys.gather([trace.id for trace in traces], owners, found)
