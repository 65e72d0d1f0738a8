"""What is done with facts that nobody gave: abstain, mask, drop or keep; and the views of other training arms."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from data_filters.curriculum import Curriculum
from data_filters.facts import find_facts
from data_filters.grounding import Memory, decide
from data_filters.lookups import without_calls
from data_filters.told import read_prompt
from data_filters.traces import Span, Trace
from recipes.errors import RecipeError

_WORD = re.compile(r"</?think>|(\w(?:[\w.,:'\u2019-]*\w)?)")


@dataclass(frozen=True, kw_only=True)
class Scrubber:
    """Finds ungrounded facts in what an assistant wrote and acts on them.

    Args:
        detectors: any of numbers, names, answer.
        curriculum: the tools of thought that always stay.
        small_numbers: whole numbers up to here are tools of thought, -1: none.
        untold: abstain (the message becomes abstain_text; so also for lookup, until data_filters/mixture.py gives it calls), mask (text
            stays, facts carry no loss), drop (nothing here: the caller leaves the trace out) or keep (facts are recorded only).
        abstain_text: what the student says instead.
    """

    detectors: Sequence[str]
    curriculum: Curriculum
    small_numbers: int = 10
    untold: str = "abstain"
    abstain_text: str = "I do not know."

    def spans(self, trace: Trace) -> list[Span]:
        """All spans of the assistant's messages that may state a fact, with their grounding; action keep."""
        found: list[Span] = []
        memory, given = Memory(), []
        for number, message in enumerate(trace.messages):
            if message["role"] == "assistant":
                found += self._message_spans(number, message["content"], "\n".join(given), memory)
            else:
                given.append(message["content"])
        return found

    def _message_spans(self, number: int, text: str, prompt: str, memory: Memory) -> list[Span]:
        told = read_prompt(prompt, self.curriculum)
        found = find_facts(text, self.detectors, self.curriculum, prompt)
        decisions = decide(prompt, text, found, self.curriculum, self.small_numbers, memory)
        return [
            Span(
                message=number, start=one.start, end=one.end, kind="result" if decision.computed else one.kind,
                grounding=decision.grounding, original=text[one.start : one.end], subject=decision.subject or told.subject,
                relation=told.question, detector=one.detector,
            )
            for one, decision in zip(found, decisions, strict=True)
        ]  # fmt: skip

    def scrub(self, trace: Trace) -> Trace:
        """The trace with its spans recorded and `untold` applied to the messages that state an ungrounded fact."""
        return self.act(trace, self.spans(trace))

    def act(self, trace: Trace, spans: Sequence[Span]) -> Trace:
        """Like `scrub`, with spans that were found before."""
        guilty = {span.message for span in spans if span.grounding == "ungrounded"}
        spans = by_place([*spans, *_steps(trace)])
        if not guilty or self.untold in ("keep", "drop"):
            return replace(trace, spans=list(spans))
        if self.untold == "mask":
            return replace(trace, spans=[_masked(span) if span.grounding == "ungrounded" else span for span in spans])
        kept = [span for span in spans if span.message not in guilty]
        declined = [self._decline(trace, next(s for s in spans if s.message == n and s.grounding == "ungrounded")) for n in guilty]
        messages = [m | {"content": self.abstain_text} if n in guilty else m for n, m in enumerate(trace.messages)]
        return replace(trace, messages=messages, spans=by_place(kept + declined))

    def _decline(self, trace: Trace, fact: Span) -> Span:
        original = trace.messages[fact.message]["content"]
        return replace(fact, start=0, end=len(self.abstain_text), kind="message", action="abstain", original=original)

    def arm_view(self, trace: Trace, arm: str, seed: int, masked_fraction: float) -> Trace:
        """What another training arm sees of a kept trace; arms differ in span actions only.

        Args:
            trace: as the filter wrote it, possibly edited.
            arm: student (as it stands), control (the teacher's own text, nothing masked), scrub_only (its own text,
                ungrounded facts masked) or random_mask (its own text, words masked at random).
            seed: of random_mask; a trace is masked alike whatever stands around it.
            masked_fraction: chance of each assistant word in random_mask, 0..1; the filter's report has scrub_only's.

        Raises:
            RecipeError: no such arm.
        """
        if arm == "student":
            return trace
        plain = restore(trace)
        if arm == "control":
            return plain
        if arm == "scrub_only":
            found = [_masked(span) if span.grounding == "ungrounded" else span for span in self.spans(plain)]
            return replace(plain, spans=by_place(found + _steps(plain)))
        if arm == "random_mask":
            found = _random_spans(plain, random.Random(f"{seed}/{trace.id}"), masked_fraction)
            return replace(plain, spans=by_place(found + _steps(plain)))
        raise RecipeError(f"distill.arms: found {arm!r}, wanted student, control, scrub_only or random_mask")


def _steps(trace: Trace) -> list[Span]:
    """What a review said of the steps; it concerns thought, not facts, so every arm has it."""
    return [span for span in trace.spans if span.kind == "step"]


def by_place(spans: Iterable[Span]) -> list[Span]:
    """In the order of the text; a span stands before those that lie inside it, so that what they say of their tokens holds."""
    return sorted(spans, key=lambda span: (span.message, span.start, -span.end))


def restore(trace: Trace) -> Trace:
    """The trace with the teacher's own text and full weights; spans of edits that were undone are gone."""
    trace = without_calls(trace)
    messages, spans = [dict(message) for message in trace.messages], []
    shift = dict.fromkeys(range(len(messages)), 0)
    for span in sorted(trace.spans, key=lambda one: (one.message, one.start)):
        by = shift[span.message]
        if span.action in ("keep", "mask"):
            weight = span.weight if span.kind == "step" else 1.0
            spans.append(replace(span, start=span.start + by, end=span.end + by, action="keep", weight=weight))
        else:
            text = messages[span.message]["content"]
            messages[span.message]["content"] = text[: span.start + by] + span.original + text[span.end + by :]
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
        bad = [span for span in spans if span.message == number and span.grounding == "ungrounded"]
        total += len(words)
        hidden += sum(any(start < span.end and span.start < end for span in bad) for start, end in words) if bad else 0
    return hidden, total


def _masked(span: Span) -> Span:
    return replace(span, action="mask", weight=0.0)


def _random_spans(trace: Trace, rng: random.Random, chance: float) -> list[Span]:
    return [
        Span(message=number, start=start, end=end, kind="word", grounding="common", action="mask", weight=0.0,
             original=message["content"][start:end], detector="random")
        for number, message in enumerate(trace.messages) if message["role"] == "assistant"
        for start, end in word_ranges(message["content"]) if rng.random() < chance
    ]  # fmt: skip
