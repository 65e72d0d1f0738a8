"""What each training arm sees of a kept trace; arms differ in the actions of spans only."""

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from data_filters.records.traces import Span, Trace
from data_filters.scrub.restore import by_place, restore, step_spans
from data_filters.scrub.scrub import Scrubber
from recipes.errors import RecipeError
from recipes.vocabulary import Action, Arm, Grounding, Kind

_WORD = re.compile(r"</?think>|(\w(?:[\w.,:'\u2019-]*\w)?)")


def arm_view(
    scrubber: Scrubber, trace: Trace, arm: str, seed: int, masked_fraction: float
) -> Trace:
    """What a training arm sees of a kept trace.

    Args:
        scrubber: finds the facts of scrub_only.
        trace: as the filter wrote it, possibly edited.
        arm: student (as it stands), control (the teacher's own text, nothing masked), scrub_only
            (its own text, ungrounded facts masked) or random_mask (its own text, words masked at
            random).
        seed: of random_mask; a trace is masked alike whatever stands around it.
        masked_fraction: chance of each assistant word in random_mask, 0..1; the filter's report has
            scrub_only's.

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
            for span in scrubber.spans(plain)
        ]
    elif arm == Arm.RANDOM_MASK:
        found = _random_spans(plain, random.Random(f"{seed}/{trace.id}"), masked_fraction)
    else:
        raise RecipeError(
            f"distill.arms: got {arm!r}, expected student, control, scrub_only or random_mask"
        )
    return replace(plain, spans=by_place(found + step_spans(plain)))


def word_ranges(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words and numbers of a text, tags and operators left out."""
    return [match.span(1) for match in _WORD.finditer(text) if match.group(1)]


def masked_words(messages: Sequence[Mapping[str, str]], spans: Sequence[Span]) -> tuple[int, int]:
    """(assistant words that ungrounded spans touch, all assistant words)."""
    ungrounded: defaultdict[int, list[Span]] = defaultdict(list)
    for span in spans:
        if span.grounding == Grounding.UNGROUNDED:
            ungrounded[span.message].append(span)
    hidden = total = 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        words = word_ranges(message["content"])
        total += len(words)
        hidden += sum(
            any(start < span.end and span.start < end for span in ungrounded[number])
            for start, end in words
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
