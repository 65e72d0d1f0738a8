"""Pass 1 of the filter stage: what can be said of a trace by itself."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from data_filters.dedup.decontamination import Contact
from data_filters.dedup.duplicates import KINDS, Keys, fingerprint, question_keys
from data_filters.dedup.exposure import fact_keys, facts_of
from data_filters.dedup.minhash import hash64
from data_filters.passes.filters import Stack
from data_filters.passes.probe_answers import Said, read_asked
from data_filters.passes.runner import load_job
from data_filters.passes.scratch import Workplace
from data_filters.passes.select import select
from data_filters.passes.shape import misshapen
from data_filters.records.files import replacing
from data_filters.records.traces import SPAN_NAMES, Span, Trace, from_row, span_of, to_row
from data_filters.records.units import Refused, read_unit
from data_filters.scrub.scrub import is_acted_on
from data_filters.text.curriculum import Curriculum
from data_filters.text.stem import stem
from data_filters.text.tokens import uncollected
from data_filters.verify.answers import final_answer, verify
from recipes.vocabulary import Action, Grounding, Verdict

Fault = tuple[str, str]  # filter, reason
_VALUES = attrgetter(*SPAN_NAMES)


@dataclass(slots=True)
class Looked:
    """A trace after the first pass: with its verdict and without its reference, which only the
    damage meter sees again.
    """

    trace: Trace
    gold: str | None
    fault: Fault | None = None
    late: Fault | None = None  # counts only where no merge finds an earlier reason
    spans: Sequence[Span] = ()

    def line(self) -> str:
        """For a file of JSON lines; what another data set put into a message is kept as text."""
        spans = [_VALUES(span) for span in self.spans]
        return (
            json.dumps([to_row(self.trace), self.gold, self.fault, self.late, spans], default=str)
            + "\n"
        )

    @classmethod
    def of_line(cls, line: str) -> "Looked":
        row, gold, fault, late, spans = json.loads(line)
        found = [span_of(dict(zip(SPAN_NAMES, values, strict=True))) for values in spans]
        return cls(from_row(row), gold, _fault(fault), _fault(late), found)


@uncollected()
def look(folder: Path, number: int) -> int:
    """Writes what the first pass found of a unit, and its keys; gives the number of traces."""
    job = load_job(folder)
    work = Workplace(job.out, "")
    asked = read_asked(job.asked, number)
    seen = examine(read_unit(job.units[number]), job.stack, asked)
    _keys(seen, job.stack).save(work.keys(number))
    with replacing(work.looked(number)) as partial, partial.open("w", encoding="ascii") as lines:
        lines.writelines(one.line() for one in seen)
    return len(seen)


def looked(path: Path) -> Iterator[Looked]:
    """What `look` wrote, in its order."""
    with path.open(encoding="ascii") as lines:
        yield from map(Looked.of_line, lines)


def _fault(said: Sequence[Any] | None) -> Fault | None:
    return None if said is None else (said[0], said[1])


def examine(records: Iterable[Trace | Refused], stack: Stack, asked: Said) -> list[Looked]:
    """Shape, verdict, choice among attempts; then, for what is still there, contact, probes and
    spans.

    Args:
        asked: by trace id, what each probe says: True: recall, False: thought, None: it could not
            be asked.
    """
    references: dict[int, str | None] = {}
    seen: list[Looked] = []
    for trace, fault in select(
        _judged(records, stack, references), stack.solve_rate, stack.shortest
    ):
        skipped = fault is not None and fault[0] in stack.skip and _speaks(trace)
        seen.append(Looked(trace, references.pop(id(trace), None), None if skipped else fault))
    standing = [one for one in seen if one.fault is None]
    for one, spans in zip(
        standing, stack.scrubber.spans_of([one.trace for one in standing]), strict=True
    ):
        # what was scrubbed before keeps the teacher's own words
        one.spans = one.trace.spans if is_acted_on(one.trace) else spans
        one.late = _contact(one.trace, stack.contact) or _recalled(
            asked.get(one.trace.id, {}), stack
        )
    return seen


def _judged(
    records: Iterable[Trace | Refused], stack: Stack, references: dict[int, str | None]
) -> Iterator[tuple[Trace, Fault | None]]:
    for record in records:
        if isinstance(record, Refused):
            yield record.stub(), ("read", record.reason)
            continue
        trace, fault = verified(record, stack)
        references[id(trace)] = record.gold
        yield trace, fault


def verified(trace: Trace, stack: Stack) -> tuple[Trace, Fault | None]:
    """The trace with its verdict and without its reference; a verdict that its author's verifier
    gave stands.
    """
    shape = misshapen(trace, stack.longest_characters)
    if shape is not None:
        return replace(trace, gold=None), ("shape", shape)
    last = next(m["content"] for m in reversed(trace.messages) if m["role"] == "assistant")
    # what was scrubbed no longer says what was judged
    judged_before = trace.verdict != Verdict.UNKNOWN or is_acted_on(trace)
    verdict, answer = (
        (trace.verdict, trace.answer or final_answer(last))
        if judged_before
        else verify(last, trace.gold)
    )
    judged = replace(trace, gold=None, verdict=verdict, answer=answer)
    if verdict == Verdict.WRONG:
        reason = "no final answer" if answer is None else "the answer differs from the reference"
        return replace(judged, gold=trace.gold), ("verify", reason)
    if verdict == Verdict.UNKNOWN and not stack.keep_unknown:
        return judged, ("verify", "no reference and keep_unknown is false")
    return judged, None


def _speaks(trace: Trace) -> bool:
    return any(message["role"] == "assistant" for message in trace.messages)


def _contact(trace: Trace, contact: Contact | None) -> Fault | None:
    """The passage that a user's message shares with the held-out texts."""
    if contact is None:
        return None
    asked = (m["content"] for m in trace.messages if m["role"] == "user")
    passage = next(
        (passage for text in asked if (passage := contact.match(text)) is not None), None
    )
    return passage and ("overlap", f"stands in a held-out problem: {passage}")


def _recalled(said: Mapping[str, bool | None], stack: Stack) -> Fault | None:
    names = [name for name, action in stack.probes.items() if action == "drop" and said.get(name)]
    return ("probes", f"recall, says {names[0]}") if names else None


def _keys(seen: Sequence[Looked], stack: Stack) -> Keys:
    """Keys of every trace that is still there; of kinds that nobody asks for there are none."""
    found: dict[str, list[tuple[int, np.ndarray]]] = {kind: [] for kind in KINDS}
    curriculum = stack.scrubber.curriculum
    for row, one in enumerate(seen):
        if one.fault is not None:
            continue
        found["same"].append((row, np.array([fingerprint(one.trace)], np.uint64)))
        if stack.near_duplicates or stack.per_skeleton:
            near, alike = question_keys(one.trace, lambda word: knows(curriculum, word))
            found["near"].append((row, near))
            if stack.per_skeleton:
                found["skeleton"].append((row, alike))
        if stack.exposure_cap:
            stays = [
                s
                for s in one.spans
                if s.grounding == Grounding.GIVEN or stack.scrubber.action(s) == Action.KEEP
            ]
            left = facts_of(stays)
            found["fact"].append((row, np.array(fact_keys(left), np.uint64)))
    ids = [one.trace.id for one in seen]
    return Keys.gather(
        ids, [hash64(f"{one.trace.source}\x1f{one.trace.problem_id}") for one in seen], found
    )


def knows(curriculum: Curriculum, word: str) -> bool:
    """Whether a capitalised word is an ordinary one."""
    return curriculum.knows(stem(word))
