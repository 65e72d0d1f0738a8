"""Grounding decisions: who supplied a value, the prompt (given, derived), common knowledge, or the
writer's memory.

The same "Oslo" is fine where the prompt gave it and a memorised fact where it did not; and a value
that the prompt gives about somebody else does not ground it: it must be given about the entity that
the text states it of.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.ground.clauses import Names, SpanContext, span_contexts
from data_filters.ground.memory import Decision, Key, Memory
from data_filters.text.arithmetic import one_step, signed_sum, steps
from data_filters.text.curriculum import Curriculum
from data_filters.text.dates import Date
from data_filters.text.prompts import PromptFacts
from data_filters.text.stem import stem
from data_filters.text.tokens import Token, Value
from recipes.vocabulary import Grounding, Kind

_YEARS = range(1000, 2200)
_TIME_WORDS = frozenset(("when", "year", Kind.DATE, "century"))


def decide(
    reading: Reading, spans: Sequence[CandidateSpan], small_numbers: int, memory: Memory
) -> list[Decision]:
    """Who supplied each span, with its subject.

    Args:
        reading: a message.
        spans: its spans, in order.
        small_numbers: whole numbers up to here are common, unless noted about a named entity; -1:
            none.
        memory: what earlier messages established; this message is added.
    """
    memory.at = {}
    results = {
        step.result.start: step.operands
        for sentence in reading.sentences
        if len(sentence.numbers) > 2
        for step in steps(sentence.tokens)
    }
    judge = _Judge(reading.prompt, reading.curriculum, small_numbers, memory, results)
    contexts = span_contexts(reading.sentences, spans)
    decided = {context.span.start: judge.decide(context) for context in contexts}
    # a span in the middle of a token has no context
    return [decided.get(one.start, Decision(Grounding.UNGROUNDED)) for one in spans]


@dataclass(slots=True)
class _Judge:
    prompt: PromptFacts
    curriculum: Curriculum
    small_numbers: int
    memory: Memory
    results: dict[int, tuple[Token, ...]]  # start of a computed number -> what it was computed from

    def decide(self, context: SpanContext) -> Decision:
        span, first = context.span, context.tokens[0]
        words = tuple(
            token.key
            for token in context.tokens
            if token.kind == Kind.WORD and span.kind != Kind.QUANTITY and span.value is None
        )
        numbers = frozenset(token.value for token in context.tokens if token.value is not None)
        value = span.value if span.value is not None else first.value if not words else None
        computed = value is not None and first.start in self.results
        if computed:
            grounding = self._computed(first)
        elif span.date is not None:
            grounding = self._date(context, span.date)
        elif value is not None:
            grounding = self._number(context, value)
        elif words:
            grounding = self._words(context, frozenset(words), numbers, (words, None))
        else:  # a date such as 1957-05-12
            grounding = (
                Grounding.GIVEN if self.prompt.contains(first.text) else Grounding.UNGROUNDED
            )
        self.memory.learn((words, value), grounding)
        self.memory.at[span.start] = grounding
        bare = value is not None and not self._belongs(context)
        return Decision(grounding, context.subject, computed, bound=not bare)

    def _belongs(self, context: SpanContext) -> bool:
        """Whether a number is about a named entity: one before it in its sentence, or the one that
        the final answer is about.
        """
        return bool(context.everybody) or (context.concluding and bool(self.prompt.asked))

    def _date(self, context: SpanContext, date: Date) -> Grounding:
        """Given where its parts are, in whatever form; a decade or century also by a year in it. A
        year alone is a number.
        """
        if len(date.span) > 1 and any(year in self.prompt.numbers for year in date.span):
            return Grounding.GIVEN
        parts = date.numbers | date.figures
        if date.months or len(parts) > 1:
            key: Key = ((*sorted(date.months), Kind.DATE), sum(parts))
            return self._words(context, date.months, frozenset(parts), key)
        return self._number(context, next(iter(parts)))

    # --- words

    def _words(
        self, context: SpanContext, words: Names, numbers: frozenset[Value], key: Key
    ) -> Grounding:
        stands = words <= self.prompt.words and numbers <= self.prompt.numbers
        if context.concluding and key in self.memory.known:
            return self._repeat(words, numbers, key)
        if context.subjects:
            if self._bound(context.subjects, words, numbers, key):
                return Grounding.GIVEN
            if self._chained(context.subjects, key):
                return Grounding.DERIVED
            loose = context.in_list or not self.prompt.asked
            return Grounding.GIVEN if stands and loose else Grounding.UNGROUNDED
        if key in self.memory.known:
            return self.memory.known[key]
        return (
            Grounding.GIVEN
            if stands and self._fits_question(context, words, numbers)
            else Grounding.UNGROUNDED
        )

    def _bound(
        self, subjects: Sequence[Names], words: Names, numbers: frozenset[Value], key: Key
    ) -> bool:
        """Whether the prompt says it about one of the subjects; remembers about which."""
        for subject in subjects:
            if self.prompt.statements.binds(subject, words, numbers):
                self.memory.bind(key, subject)
                return True
        return False

    def _chained(self, subjects: Sequence[Names], key: Key) -> bool:
        """Ida Rome was given, and so is Mara Ida: then Mara Rome follows. Two established values
        may also be compared.
        """
        about = self.memory.about.get(key)
        if not about:
            return False
        return any(
            subject in self.memory.established or self.prompt.statements.links(subject, about)
            for subject in subjects
        )

    def _repeat(self, words: Names, numbers: frozenset[Value], key: Key) -> Grounding:
        """The final answer repeats what the reasoning found, unless it found it about somebody else
        than was asked.
        """
        known = self.memory.known[key]
        if (
            known == Grounding.GIVEN
            and self.prompt.asks_about_unknown
            and not self.prompt.statements.binds(self.prompt.asked, words, numbers)
        ):
            return Grounding.UNGROUNDED
        return known

    def _fits_question(self, context: SpanContext, words: Names, numbers: frozenset[Value]) -> bool:
        """A bare final answer is about the one who was asked for: where the prompt says nothing of
        them, nothing is given.
        """
        if context.concluding and self.prompt.asks_about_unknown:
            return self.prompt.statements.binds(self.prompt.asked, words, numbers)
        return True

    # --- numbers

    def _computed(self, result: Token) -> Grounding:
        tainted = any(
            self.memory.at.get(token.start) == Grounding.UNGROUNDED
            for token in self.results[result.start]
        )
        return Grounding.UNGROUNDED if tainted else Grounding.DERIVED

    def _number(self, context: SpanContext, value: Value) -> Grounding:
        key: Key = ((), value)
        if context.concluding and key in self.memory.known:
            return self._repeat(frozenset(), frozenset((value,)), key)
        subjects = () if context.counted else context.subjects
        subjects = context.everybody if context.computing else subjects
        if subjects:
            return self._stated(context, value, key, subjects)
        if key in self.memory.known:
            return self.memory.known[key]
        values = frozenset((value,))
        if value in self.prompt.numbers and self._fits_question(context, frozenset(), values):
            return Grounding.GIVEN
        if self._common(value):
            return Grounding.COMMON
        foreign = context.span.date is not None or self._foreign(context)
        if self.prompt.closed_world and not self._dates(value) and not foreign:
            return Grounding.DERIVED
        reproducible = self._reproducible(value, self._at_hand(context), foreign)
        return Grounding.DERIVED if reproducible else Grounding.UNGROUNDED

    def _foreign(self, context: SpanContext) -> bool:
        """Whether a quantity is in a unit or currency of which the prompt does not speak."""
        unit = context.span.unit
        if not unit and context.span.kind == Kind.QUANTITY and len(context.tokens) > 1:
            unit = context.tokens[-1].text
        words = {
            "percent" if word in ("%", "per", "cent") else stem(word)
            for word in unit.lower().split()
        }
        known = not unit or not self.prompt.words.isdisjoint(words)
        return not known and not self.prompt.contains(unit)

    def _stated(
        self, context: SpanContext, value: Value, key: Key, subjects: Sequence[Names]
    ) -> Grounding:
        """A number that is stated of somebody."""
        if self._bound(subjects, frozenset(), frozenset((value,)), key):
            return Grounding.GIVEN
        if self.memory.known.get(key) == Grounding.DERIVED or self._chained(subjects, key):
            return Grounding.DERIVED
        foreign = context.span.date is not None or self._foreign(context)
        if any(
            self._reproducible(value, self.prompt.statements.numbers_about(subject), foreign)
            for subject in subjects
        ):
            return Grounding.DERIVED
        return (
            Grounding.COMMON if not context.direct and self._common(value) else Grounding.UNGROUNDED
        )

    def _common(self, value: Value) -> bool:
        units = self.curriculum.constants.get(value)
        if units is not None and not self.prompt.words.isdisjoint(units):
            return True
        return isinstance(value, int) and abs(value) <= self.small_numbers

    def _at_hand(self, context: SpanContext) -> AbstractSet[Value]:
        """The numbers a bare number may be computed from: those of the one who was asked for, if no
        other sentence is about them.
        """
        if context.concluding and self.prompt.asks_about_unknown:
            return self.prompt.statements.numbers_about(self.prompt.asked)
        return self.prompt.numbers

    def _reproducible(
        self, value: Value, numbers: AbstractSet[Value], strictly: bool = False
    ) -> bool:
        """One arithmetic step from the numbers, their sum with signs, or an expression that stands
        in the prompt.

        A question about no named entity has nobody's secret for an answer: there small numbers,
        unit constants and numbers derived so far help too, except for a year that is asked for, for
        dates, and for units that the prompt does not know (`strictly`).
        """
        if value in self.prompt.reachable or one_step(value, numbers):
            return bool(numbers)
        if signed_sum(value, self.prompt.summands(numbers)):
            return True
        if strictly or not self.prompt.seeks or numbers <= {1} or self._dates(value):
            return False
        return one_step(value, numbers | self._tools(), twice=True)

    def _dates(self, value: Value) -> bool:
        """Whether this is the year that a prompt asks for."""
        return value in _YEARS and not self.prompt.words.isdisjoint(_TIME_WORDS)

    def _tools(self) -> set[Value]:
        constants = {
            value
            for value, units in self.curriculum.constants.items()
            if not self.prompt.words.isdisjoint(units)
        }
        return constants | self.memory.derived | set(range(1, self.small_numbers + 1))
