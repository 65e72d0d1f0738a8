"""What is done with ungrounded facts, span by span or message by message."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.detect import detect
from data_filters.detect.entity_kinds import is_year, kind_of
from data_filters.detect.gazetteer import Gazetteer, load_gazetteer
from data_filters.detect.reading import Detector, Reader, Reading, TextModel, read_ahead
from data_filters.ground.exemptions import Exemptions
from data_filters.ground.grounding import decide
from data_filters.ground.memory import Decision, Memory
from data_filters.ground.own_symbols import PromptLetters
from data_filters.records.traces import Span, Trace
from data_filters.scrub.actions import EDITS, edit
from data_filters.scrub.declines import (
    NUMBERS,
    calls_tool,
    declined_messages,
    worked_answers,
)
from data_filters.scrub.questions import PromptSize, asked
from data_filters.scrub.recalled_answers import recalled_spans
from data_filters.scrub.restore import by_place, is_acted_on, restore, step_spans
from data_filters.scrub.surrogates import Surrogates
from data_filters.scrub.tool_results import given_by_tools
from data_filters.text.curriculum import Curriculum
from data_filters.text.tokens import uncollected
from recipes.vocabulary import Action, Grounding, Kind, Verdict


@dataclass(frozen=True, kw_only=True)
class Scrubber:
    """Finds ungrounded facts in what an assistant wrote and acts on them.

    Args:
        detectors: any of numbers, names, answer.
        curriculum: the tools of thought that always stay.
        small_numbers: whole numbers up to here are tools of thought, -1: none.
        ungrounded_action: abstain (a message whose answer is recalled becomes abstain_text, elsewhere facts
            are masked; so also for lookup, until lookup/augment.py gives it calls), mask (text stays, facts carry no loss), hide (a
            placeholder), rename (a fictional name), generalise ("some place"), drop (nothing here:
            the caller leaves the trace out) or keep (facts are recorded only).
        by_kind: actions for kinds of spans, where they differ from `ungrounded_action`.
        abstain_text: what the student says instead.
        gazetteer: known names; None: the places that ship with the room.
        models: further detectors, such as spaCy; they are given many texts at once.
        keep_commonness: names whose words all have at least this Zipf frequency are common
            knowledge; None: no name is.
        seed, variant: of surrogates; another variant has other names.
    """

    detectors: Sequence[str]
    curriculum: Curriculum
    small_numbers: int = 10
    ungrounded_action: Action = Action.ABSTAIN
    by_kind: Mapping[str, Action] = field(default_factory=dict)
    abstain_text: str = "I do not know."
    gazetteer: Gazetteer | None = None
    models: Sequence[TextModel] = ()
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
        """Like `spans`, for many: models read many texts at once, and attempts at one problem that
        stand together share the reading of its prompt.
        """
        models: list[Detector] = []
        if self.models:
            messages = [message for trace in traces for message in trace.messages]
            texts = [m["content"] for m in messages if m["role"] == "assistant"]
            models = [read_ahead(model, texts) for model in self.models]
        reader = Reader(self.curriculum, self.gazetteer or load_gazetteer())
        return [self._trace_spans(trace, reader, models) for trace in traces]

    def _trace_spans(self, trace: Trace, reader: Reader, models: Sequence[Detector]) -> list[Span]:
        memory, letters, size = Memory(), PromptLetters(), PromptSize()
        spans: list[Span] = []
        for reading in reader.read(trace.messages):
            found = detect(reading, self.detectors, models)
            exemptions = Exemptions(reading, letters, self.keep_commonness)
            decisions = decide(reading, found, self.small_numbers, memory, exemptions.grounding)
            said = _apart(
                _span(reading, one, decision, exemptions)
                for one, decision in zip(found, decisions, strict=True)
            )
            said = given_by_tools(trace.messages, reading.message, said)
            spans += self._with_recalled(reading, said, size)
        return spans

    def _with_recalled(self, reading: Reading, spans: list[Span], size: PromptSize) -> list[Span]:
        """The spans of a message; what its answer recalls is ungrounded wherever it stands."""
        if "answer" not in self.detectors or not reading.supported:
            return spans
        question = asked(reading.prompt, size)
        if question.worked:
            return spans
        recalled = recalled_spans(reading, spans, question.recall)
        places = {place for span in recalled for place in range(span.start, span.end)}
        others = [span for span in spans if places.isdisjoint(range(span.start, span.end))]
        return by_place([*others, *recalled])

    def scrub(self, trace: Trace) -> Trace:
        """The trace with its spans recorded and `ungrounded_action` applied to the messages that state an
        ungrounded fact; what was scrubbed before stays.
        """
        return trace if is_acted_on(trace) else self.act(trace, self.spans(trace))

    def act(self, trace: Trace, spans: Sequence[Span]) -> Trace:
        """Like `scrub`, with spans that were found before.

        Where the answer of a message is recalled, the message declines, and what the assistant says
        after it carries no loss.
        """
        facts = [
            span
            for span in spans
            if span.grounding == Grounding.UNGROUNDED
            and self.action(span) not in (Action.KEEP, Action.DROP)
        ]
        steps = step_spans(trace)
        if not facts:
            return replace(trace, spans=by_place([*spans, *steps]))
        declining = declined_messages(trace, facts, self.action, self.curriculum)
        end = min(declining, default=len(trace.messages))  # from here on nothing is as it was
        kept = [span for span in spans if span.message < end]
        edited = replace(trace, spans=kept)
        if any(span.message < end for span in facts):
            edited = self._edited(trace, kept, bool(steps))
        messages = [
            message | {"content": self.abstain_text} if number in declining else message
            for number, message in enumerate(edited.messages)
        ]
        declined = [self._decline(trace, fact) for fact in declining.values()]
        silent = _without_loss(trace, end + 1)
        steps = [span for span in steps if span.message < end]
        every = [*edited.spans, *declined, *silent, *steps]
        return replace(trace, messages=messages, spans=by_place(every))

    def action(self, span: Span) -> Action:
        """What the recipe does with an ungrounded span of this kind."""
        wanted = self.by_kind.get(span.kind, self.ungrounded_action)
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
        action_of = self._inside(trace, spans, only_masks)
        return edit(trace, spans, action_of, surrogates)

    def _inside(
        self, trace: Trace, spans: Sequence[Span], only_masks: bool
    ) -> Callable[[Span], Action]:
        """What happens to a fact whose message stays: an edit may not break a tool call, nor what
        reasoning made of given numbers.
        """
        facts = [span for span in spans if span.grounding == Grounding.UNGROUNDED]
        calling = {span.message for span in facts if calls_tool(trace.messages, span.message)}
        edited = [span for span in facts if self.action(span) in EDITS]
        worked = worked_answers(trace, edited, self.curriculum)

        def action_of(span: Span) -> Action:
            action = self.action(span)
            if action in (Action.KEEP, Action.DROP):
                return Action.KEEP
            made = span.message in worked and (
                span.kind in NUMBERS
                or any(span.start < end and start < span.end for start, end in worked[span.message])
            )
            stays = only_masks or made or not span.bound or span.message in calling
            return Action.MASK if stays or action == Action.ABSTAIN else action

        return action_of

    def verified(
        self, before: Trace, after: Trace, judge: Callable[[str], str]
    ) -> tuple[Trace, bool]:
        """(the trace, whether something was undone): where the text was right and its new form is
        not, facts are masked and the text stays.

        A message that declines what was recalled is meant to give another answer, so it stays.

        Args:
            before: as the teacher wrote it, its spans found.
            after: the same, acted on.
            judge: text of the last assistant message to a verdict.
        """
        acted = (*EDITS, Action.ABSTAIN)
        if not any(span.action in acted for span in after.spans):
            return after, False
        place = max(
            n for n, message in enumerate(before.messages) if message["role"] == "assistant"
        )
        old, new = before.messages[place]["content"], after.messages[place]["content"]
        if old == new or judge(old) != Verdict.CORRECT or judge(new) == Verdict.CORRECT:
            return after, False
        if any(span.action == Action.ABSTAIN for span in after.spans):
            right = replace(before, verdict=Verdict.CORRECT)
            again = self.act(right, [span for span in before.spans if span.kind != Kind.STEP])
            if again.messages == after.messages:
                return after, False
            return self.verified(right, replace(again, verdict=before.verdict), judge)[0], True
        masks = replace(self, ungrounded_action=Action.MASK, by_kind={})
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


def _without_loss(trace: Trace, start: int) -> list[Span]:
    """A span over each message of the assistant from number `start` on: what it builds on is gone."""
    return [
        Span(
            message=number,
            start=0,
            end=len(message["content"]),
            kind=Kind.MESSAGE,
            grounding=Grounding.DERIVED,
            action=Action.MASK,
            weight=0.0,
            original=message["content"],
            detector="declined before",
        )
        for number, message in enumerate(trace.messages)
        if number >= start and message["role"] == "assistant" and message["content"]
    ]


def _apart(spans: Iterable[Span]) -> list[Span]:
    """The spans of a message without overlap: "1" and "2" of a sign for 1/2 are one letter of it;
    of two the ungrounded one stays.
    """
    kept: list[Span] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.grounding == Grounding.UNGROUNDED:
            kept[-1] = span
    return kept


def _span(
    reading: Reading, found: CandidateSpan, decision: Decision, exemptions: Exemptions
) -> Span:
    """The record of a span: with its last grounding, and for a name its kind."""
    kind, grounding = found.kind, decision.grounding
    if grounding == Grounding.UNGROUNDED:
        grounding = exemptions.grounding(found)
        if kind == Kind.NAME and grounding == Grounding.UNGROUNDED:
            kind = kind_of(reading.text, found.start, found.end, reading.gazetteer)
        if kind == Kind.NUMBER and is_year(reading.text, found.start, found.end):
            kind = Kind.DATE
    question = reading.prompt.question
    start, end = reading.origin(found.start, found.end)
    return Span(
        message=reading.message,
        start=start,
        end=end,
        kind=Kind.RESULT if decision.computed else kind,
        grounding=grounding,
        original=reading.original[start:end],
        subject=decision.subject or question.subject,
        relation=question.text,
        detector=found.detector,
        bound=decision.bound,
    )
