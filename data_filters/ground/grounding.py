"""Grounding decisions: who supplied a value, the prompt (given, derived), common knowledge, or the
writer's memory.

The same "Oslo" is fine where the prompt gave it and a memorised fact where it did not; and a value
that the prompt gives about somebody else does not ground it: it must be given about the entity that
the text states it of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.ground.binding import bound, chained, fits_question, repeated
from data_filters.ground.clauses import Names, SpanContext, span_contexts
from data_filters.ground.memory import Decision, Key, Memory
from data_filters.ground.numbers import Exempt, NumberJudge, nothing_exempt
from data_filters.text.dates import Date
from data_filters.text.prompts import PromptFacts
from data_filters.text.tokens import Value
from recipes.vocabulary import Grounding, Kind

_VERBATIM = frozenset(
    ("scores", "foreign", "glued")
)  # detectors of what is no plain word or number


def decide(
    reading: Reading,
    spans: Sequence[CandidateSpan],
    small_numbers: int,
    memory: Memory,
    exempt: Exempt = nothing_exempt,
) -> list[Decision]:
    """Who supplied each span, with its subject.

    Args:
        reading: a message.
        spans: its spans, in order.
        small_numbers: whole numbers up to here are common, unless noted about a named entity; -1:
            none.
        memory: what earlier messages established; this message is added.
        exempt: a name to its grounding at second thoughts; one that is not ungrounded is nobody
            of whom a number could be told.
    """
    memory.at = {}
    numbers = NumberJudge(reading, small_numbers, memory, exempt)
    judge = _Judge(reading.prompt, memory, numbers)
    contexts = span_contexts(reading.sentences, spans)
    decided = {context.span.start: judge.decide(context) for context in contexts}
    # a span in the middle of a token has no context
    return [decided.get(one.start, Decision(Grounding.UNGROUNDED)) for one in spans]


@dataclass(slots=True)
class _Judge:
    prompt: PromptFacts
    memory: Memory
    numbers: NumberJudge

    def decide(self, context: SpanContext) -> Decision:
        span, first = context.span, context.tokens[0]
        words: tuple[str, ...] = ()
        if span.value is None and span.kind != Kind.QUANTITY:
            words = tuple([token.key for token in context.tokens if token.kind == Kind.WORD])
        value = span.value if span.value is not None else first.value if not words else None
        computed = False
        if span.detector in _VERBATIM:
            grounding = self._verbatim(context)
        elif span.date is not None:
            grounding = self._date(context, span.date)
        elif value is not None:
            grounding, computed = self.numbers.judge(context, value)
        elif words:
            numbers = [token.value for token in context.tokens if token.value is not None]
            key: Key = (words, None)
            grounding = self._words(context, frozenset(words), frozenset(numbers), key)
        else:  # a date such as 1957-05-12
            grounding = (
                Grounding.GIVEN if self.prompt.contains(first.text) else Grounding.UNGROUNDED
            )
        self.memory.learn((words, value), grounding)
        bare = value is not None and not self.numbers.belongs(context)
        return Decision(grounding, context.subject, computed, bound=not bare)

    def _verbatim(self, context: SpanContext) -> Grounding:
        """A score or an address is given where it stands in the prompt, or its words do."""
        tokens, prompt = context.tokens, self.prompt
        said = " ".join(token.text for token in tokens if token.kind != "operator")
        whole = prompt.contains("-".join(said.split())) or said.lower() in prompt.lowered
        return Grounding.GIVEN if whole else Grounding.UNGROUNDED

    def _date(self, context: SpanContext, date: Date) -> Grounding:
        """Given where its parts are, in whatever form; a decade or century also by a year in it. A
        year alone is a number.
        """
        if len(date.span) > 1 and any(year in self.prompt.numbers for year in date.span):
            return Grounding.GIVEN
        parts = date.numbers | date.figures
        if date.months or len(parts) > 1:
            key: Key = ((*sorted(date.months), Kind.DATE), sum(parts))
            grounding = self._words(context, date.months, frozenset(parts), key)
            if grounding is Grounding.UNGROUNDED and self.numbers.leads_to(context, date):
                grounding = Grounding.DERIVED
            if grounding is not Grounding.UNGROUNDED:
                self.memory.dates.append(date)
            return grounding
        return self.numbers.judge(context, next(iter(parts)))[0]

    # --- words

    def _words(
        self, context: SpanContext, words: Names, numbers: frozenset[Value], key: Key
    ) -> Grounding:
        stands = words <= self.prompt.words and numbers <= self.prompt.numbers
        if context.concluding and key in self.memory.known:
            return repeated(self.prompt, self.memory, words, numbers, key)
        if context.subjects:
            if bound(self.prompt, self.memory, context.subjects, words, numbers, key):
                return Grounding.GIVEN
            if chained(self.prompt, self.memory, context.subjects, key):
                return Grounding.DERIVED
            loose = context.in_list or not self.prompt.asked
            return Grounding.GIVEN if stands and loose else Grounding.UNGROUNDED
        if key in self.memory.known:
            return self.memory.known[key]
        return (
            Grounding.GIVEN
            if stands and fits_question(self.prompt, context, words, numbers)
            else Grounding.UNGROUNDED
        )
