"""What is done with facts that nobody gave, span by span or message by message; and the views of
other training arms.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

from data_filters.detect.candidates import Detector, Found
from data_filters.detect.detect import find_facts
from data_filters.detect.entity_kinds import is_year, kind_of
from data_filters.detect.gazetteer import Gazetteer, load_gazetteer
from data_filters.ground.exemptions import Excuses
from data_filters.ground.grounding import Memory, decide
from data_filters.records.tool_calls import without_calls
from data_filters.records.traces import Span, Trace
from data_filters.scrub.actions import EDITS, edit
from data_filters.scrub.surrogates import Surrogates
from data_filters.text.curriculum import Curriculum
from data_filters.text.prompts import read_prompt
from data_filters.text.tokens import uncollected
from recipes.errors import RecipeError
from recipes.vocabulary import Action, Arm, Grounding, Kind, Verdict

_WORD = re.compile(r"</?think>|(\w(?:[\w.,:'\u2019-]*\w)?)")


@dataclass(frozen=True, kw_only=True)
class Scrubber:
    """Finds ungrounded facts in what an assistant wrote and acts on them.

    Args:
        detectors: any of numbers, names, answer.
        curriculum: the tools of thought that always stay.
        small_numbers: whole numbers up to here are tools of thought, -1: none.
        untold: abstain (the message becomes abstain_text; so also for lookup, until
            lookup/augment.py gives it calls), mask (text stays, facts carry no loss), hide (a
            placeholder), rename (a fictional name), generalise ("some place"), drop (nothing here:
            the caller leaves the trace out) or keep (facts are recorded only).
        by_kind: actions for kinds of spans, where they differ from `untold`.
        abstain_text: what the student says instead.
        gazetteer: known names; None: the places that ship with the room.
        models: further detectors, such as spaCy.
        keep_commonness: names whose words all have at least this Zipf frequency are common
            knowledge; None: no name is.
        seed, variant: of surrogates; another variant has other names.
    """

    detectors: Sequence[str]
    curriculum: Curriculum
    small_numbers: int = 10
    untold: str = Action.ABSTAIN
    by_kind: Mapping[str, str] = field(default_factory=dict)
    abstain_text: str = "I do not know."
    gazetteer: Gazetteer | None = None
    models: Sequence[Detector] = ()
    keep_commonness: float | None = None
    seed: int = 0
    variant: int = 0

    def spans(self, trace: Trace) -> list[Span]:
        """All spans of the assistant's messages that may state a fact, with their grounding; action
        keep.
        """
        return self.spans_of([trace])[0]

    @uncollected()
    def spans_of(self, traces: Sequence[Trace]) -> list[list[Span]]:
        """Like `spans`, for many: models read many texts at once."""
        texts = (
            [m["content"] for trace in traces for m in trace.messages if m["role"] == "assistant"]
            if self.models
            else []
        )
        read = [model(texts) for model in self.models]
        more = (
            iter(
                [[one for found in by_text for one in found] for by_text in zip(*read, strict=True)]
            )
            if self.models
            else repeat([])
        )
        return [self._trace_spans(trace, more) for trace in traces]

    def _trace_spans(self, trace: Trace, more: Iterator[list[Found]]) -> list[Span]:
        found: list[Span] = []
        memory, given = Memory(), []
        for number, message in enumerate(trace.messages):
            if message["role"] == "assistant":
                found += self._message_spans(
                    number, message["content"], "\n".join(given), memory, next(more)
                )
            else:
                given.append(message["content"])
        return found

    def _message_spans(
        self, number: int, text: str, prompt: str, memory: Memory, more: list[Found]
    ) -> list[Span]:
        told = read_prompt(prompt, self.curriculum)
        gazetteer = self.gazetteer or load_gazetteer()
        found = find_facts(text, self.detectors, self.curriculum, prompt, gazetteer, more)
        decisions = decide(prompt, text, found, self.curriculum, self.small_numbers, memory)
        excused = Excuses(prompt, text, told, self.keep_commonness)
        spans = []
        for one, decision in zip(found, decisions, strict=True):
            said, kind, grounding = text[one.start : one.end], one.kind, decision.grounding
            if grounding == Grounding.UNGROUNDED:
                grounding = excused.grounding(said, kind)
                kind = (
                    kind_of(text, one.start, one.end, gazetteer)
                    if kind == Kind.NAME and grounding == Grounding.UNGROUNDED
                    else kind
                )
                kind = (
                    Kind.DATE if kind == Kind.NUMBER and is_year(text, one.start, one.end) else kind
                )
            spans.append(
                Span(
                    message=number,
                    start=one.start,
                    end=one.end,
                    kind=Kind.RESULT if decision.computed else kind,
                    grounding=grounding,
                    original=said,
                    subject=decision.subject or told.subject,
                    relation=told.question,
                    detector=one.detector,
                )
            )
        return spans

    def scrub(self, trace: Trace) -> Trace:
        """The trace with its spans recorded and `untold` applied to the messages that state an
        ungrounded fact; what was scrubbed before stays."""
        return trace if is_acted_on(trace) else self.act(trace, self.spans(trace))

    def act(self, trace: Trace, spans: Sequence[Span]) -> Trace:
        """Like `scrub`, with spans that were found before."""
        acts = [
            span
            for span in spans
            if span.grounding == Grounding.UNGROUNDED
            and self.action(span) not in (Action.KEEP, Action.DROP)
        ]
        guilty = {span.message for span in acts if self.action(span) == Action.ABSTAIN}
        steps = _steps(trace)
        if not acts:
            return replace(trace, spans=by_place([*spans, *steps]))
        kept = [span for span in spans if span.message not in guilty]
        edited = (
            self._edited(trace, kept, bool(steps))
            if len(acts) > sum(span.message in guilty for span in acts)
            else replace(trace, spans=kept)
        )
        declined = [self._decline(trace, next(s for s in acts if s.message == n)) for n in guilty]
        messages = [
            m | {"content": self.abstain_text} if n in guilty else m
            for n, m in enumerate(edited.messages)
        ]
        steps = [span for span in steps if span.message not in guilty]
        return replace(trace, messages=messages, spans=by_place([*edited.spans, *declined, *steps]))

    def action(self, span: Span) -> str:
        """What the recipe does with an ungrounded span of this kind."""
        wanted = self.by_kind.get(span.kind, self.untold)
        return Action.ABSTAIN if wanted == Action.LOOKUP else wanted

    def drops(self, spans: Iterable[Span]) -> Span | None:
        """The first ungrounded span for which the whole trace goes."""
        return next(
            (
                span
                for span in spans
                if span.grounding == Grounding.UNGROUNDED and self.action(span) == Action.DROP
            ),
            None,
        )

    def _edited(self, trace: Trace, spans: Sequence[Span], only_masks: bool) -> Trace:
        """Where a review marked steps the text must stay as it is."""
        words = (
            {token.lower() for message in trace.messages for token in message["content"].split()}
            if not only_masks
            else set()
        )
        surrogates = Surrogates(
            f"{self.seed}/{trace.id}/{self.variant}",
            self.gazetteer or load_gazetteer(),
            words.__contains__,
        )
        return edit(
            trace, spans, (lambda span: Action.MASK) if only_masks else self.action, surrogates
        )

    def verified(
        self, before: Trace, after: Trace, judge: Callable[[str], str]
    ) -> tuple[Trace, bool]:
        """(the trace, whether an edit was undone): where the text was right and its edited form is
        not, facts are masked and the text stays.

        A message that declines is meant to give another answer, so it is never undone.

        Args:
            before: as the teacher wrote it, its spans found.
            after: the same, acted on.
            judge: text of the last assistant message to a verdict.
        """
        if not any(span.action in EDITS for span in after.spans) or any(
            span.action == Action.ABSTAIN for span in after.spans
        ):
            return after, False
        place = max(
            n for n, message in enumerate(before.messages) if message["role"] == "assistant"
        )
        old, new = before.messages[place]["content"], after.messages[place]["content"]
        if old == new or judge(old) != Verdict.CORRECT or judge(new) == Verdict.CORRECT:
            return after, False
        masks = replace(self, untold=Action.MASK, by_kind={})
        plain = restore(after)
        return masks.act(plain, [span for span in plain.spans if span.kind != Kind.STEP]), True

    def _decline(self, trace: Trace, fact: Span) -> Span:
        original = trace.messages[fact.message]["content"]
        return replace(
            fact,
            start=0,
            end=len(self.abstain_text),
            kind=Kind.MESSAGE,
            action=Action.ABSTAIN,
            original=original,
        )

    def arm_view(self, trace: Trace, arm: str, seed: int, masked_fraction: float) -> Trace:
        """What another training arm sees of a kept trace; arms differ in span actions only.

        Args:
            trace: as the filter wrote it, possibly edited.
            arm: student (as it stands), control (the teacher's own text, nothing masked),
                scrub_only (its own text, ungrounded facts masked) or random_mask (its own text,
                words masked at random).
            seed: of random_mask; a trace is masked alike whatever stands around it.
            masked_fraction: chance of each assistant word in random_mask, 0..1; the filter's report
                has scrub_only's.

        Raises:
            RecipeError: no such arm.
        """
        if arm == Arm.STUDENT:
            return trace
        plain = restore(trace)
        if arm == Arm.CONTROL:
            return plain
        if arm == Arm.SCRUB_ONLY:
            found = [
                _masked(span) if span.grounding == Grounding.UNGROUNDED else span
                for span in self.spans(plain)
            ]
            return replace(plain, spans=by_place(found + _steps(plain)))
        if arm == Arm.RANDOM_MASK:
            found = _random_spans(plain, random.Random(f"{seed}/{trace.id}"), masked_fraction)
            return replace(plain, spans=by_place(found + _steps(plain)))
        raise RecipeError(
            f"distill.arms: found {arm!r}, wanted student, control, scrub_only or random_mask"
        )


def is_acted_on(trace: Trace) -> bool:
    """Whether some span of the trace was masked or edited."""
    return any(span.action != Action.KEEP for span in trace.spans)


def _steps(trace: Trace) -> list[Span]:
    """What a review said of the steps; it concerns thought, not facts, so every arm has it."""
    return [span for span in trace.spans if span.kind == Kind.STEP]


def by_place(spans: Iterable[Span]) -> list[Span]:
    """In the order of the text; a span stands before those that lie inside it, so that what they
    say of their tokens holds.
    """
    return sorted(spans, key=lambda span: (span.message, span.start, -span.end))


def restore(trace: Trace) -> Trace:
    """The trace with the teacher's own text and full weights; spans of edits that were undone are
    gone.
    """
    trace = without_calls(trace)
    messages, spans = [dict(message) for message in trace.messages], []
    shift = dict.fromkeys(range(len(messages)), 0)
    for span in sorted(trace.spans, key=lambda one: (one.message, one.start)):
        by = shift[span.message]
        if span.action in (Action.KEEP, Action.MASK):
            weight = span.weight if span.kind == Kind.STEP else 1.0
            spans.append(
                replace(
                    span,
                    start=span.start + by,
                    end=span.end + by,
                    action=Action.KEEP,
                    weight=weight,
                )
            )
        else:
            text = messages[span.message]["content"]
            messages[span.message]["content"] = (
                text[: span.start + by] + span.original + text[span.end + by :]
            )
            shift[span.message] += len(span.original) - (span.end - span.start)
    return replace(trace, messages=messages, spans=spans)


def word_ranges(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words and numbers of a text, tags and operators left out."""
    return [match.span(1) for match in _WORD.finditer(text) if match.group(1)]


def masked_words(messages: Sequence[dict[str, str]], spans: Sequence[Span]) -> tuple[int, int]:
    """(assistant words that ungrounded spans touch, all assistant words)."""
    hidden = total = 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        words = word_ranges(message["content"])
        bad = [
            span
            for span in spans
            if span.message == number and span.grounding == Grounding.UNGROUNDED
        ]
        total += len(words)
        hidden += (
            sum(any(start < span.end and span.start < end for span in bad) for start, end in words)
            if bad
            else 0
        )
    return hidden, total


def _masked(span: Span) -> Span:
    return replace(span, action=Action.MASK, weight=0.0)


def _random_spans(trace: Trace, rng: random.Random, chance: float) -> list[Span]:
    return [
        Span(
            message=number,
            start=start,
            end=end,
            kind=Kind.WORD,
            grounding=Grounding.COMMON,
            action=Action.MASK,
            weight=0.0,
            original=message["content"][start:end],
            detector="random",
        )
        for number, message in enumerate(trace.messages)
        if message["role"] == "assistant"
        for start, end in word_ranges(message["content"])
        if rng.random() < chance
    ]
