"""Who supplied a number: the prompt, a calculation of the text, common knowledge, or memory.

A number that a calculation makes is derived, whoever reads it; a number told of an entity that
neither prompt nor text accounts for is a fact, however near the numbers of the prompt are.
"""

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import islice

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import Reading
from data_filters.ground.binding import bound, chained, fits_question, repeated
from data_filters.ground.calendar_steps import follows
from data_filters.ground.clauses import Names, SpanContext
from data_filters.ground.memory import Key, Memory
from data_filters.text.arithmetic.evaluate import MAX_VALUE
from data_filters.text.arithmetic.reach import one_step, reaches, signed_sum, variants
from data_filters.text.arithmetic.working import Mark, Role, Working
from data_filters.text.dates import Date, find_dates
from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem
from data_filters.text.tokens import Value, is_year
from recipes.vocabulary import Grounding

Exempt = Callable[[CandidateSpan], Grounding]  # of a name
_ASKS_WHEN = re.compile(
    r"\b(?:[Ww]hen\s(?:did|do|does|was|were|is|are|will|has|had)|(?:[Ww]hat|[Ww]hich)\s(?:year|date|century|decade))\b"
)
_LETTER = re.compile(
    r"(?<!\w)[\"'\u2018\u201c]?([A-Za-z])[\"'\u2019\u201d]?\s*(?:\(|=|:|->|is)\s*\Z"
)
_DAYS = 31
_LETTERS = 26
_MARK_REACH = 24  # characters before the first figure of a span: "on the 4 of September"
_FEW_GIVEN = 4
_MOST_GIVEN = 16  # numbers of a prompt that a step may use without naming them
_NONE: Names = frozenset()


def nothing_exempt(name: CandidateSpan) -> Grounding:
    """Every name may be one of whom a fact is told."""
    return Grounding.UNGROUNDED


def _fits(value: Value) -> bool:
    return -MAX_VALUE < value < MAX_VALUE


class NumberJudge:
    """Serves one message.

    Args:
        reading: the message.
        small_numbers: whole numbers up to here are common, -1: none.
        memory: of the conversation.
        exempt: names that are nobody.
    """

    def __init__(
        self, reading: Reading, small_numbers: int, memory: Memory, exempt: Exempt
    ) -> None:
        self._reading, self._prompt = reading, reading.prompt
        self._small, self._memory, self._exempt = small_numbers, memory, exempt
        self._working = Working(reading.text)
        self._at: dict[int, Grounding] = {}  # of the numbers of this message, by their marks
        self._strange: dict[int, bool] = {}  # whether a sentence is about somebody unheard of
        given = islice(filter(_fits, self._prompt.numbers), _MOST_GIVEN)
        self._given = [float(value) for value in given]

    def judge(self, context: SpanContext, value: Value) -> tuple[Grounding, bool]:
        """(grounding, whether a written calculation makes it)."""
        mark = self._mark(context.span)
        computed = mark is not None and mark.role is Role.RESULT
        if computed and mark is not None:
            tainted = any(self._at.get(start) == Grounding.UNGROUNDED for start in mark.operands)
            grounding = Grounding.UNGROUNDED if tainted else Grounding.DERIVED
        else:
            grounding = self._stated_or_bare(context, value, mark)
        if mark is not None:
            self._at[mark.item.start] = grounding
        if grounding is Grounding.UNGROUNDED and self.belongs(context):
            self._memory.recalled.add(value)
        return grounding, computed

    def belongs(self, context: SpanContext) -> bool:
        """Whether a number is about a named entity: one of its sentence, or the one that the final
        answer is about.
        """
        return (
            bool(context.everybody)
            or self._is_strange(context)
            or (context.concluding and bool(self._prompt.asked))
        )

    def leads_to(self, context: SpanContext, date: Date) -> bool:
        """Whether a date is a named length from one of the prompt or from one that was reached."""
        mark = self._mark(context.span)
        if mark is None or self._is_strange(context):
            return False
        years = {number for number in date.numbers if number > _DAYS}
        words, numbers = self._prompt.words, self._prompt.numbers
        spoken_of = bool(date.months) and date.months <= words and years <= numbers
        if spoken_of and self._prompt.works_out and date.months.isdisjoint(self._dated_months):
            return True  # a day of a month that the problem is about, without a date in it
        return follows(date, [*self._dates, *self._memory.dates], {1.0, 7.0, *self._named(mark)})

    @cached_property
    def _dated_months(self) -> Names:
        return frozenset().union(*(date.months for date in self._dates))

    @cached_property
    def _dates(self) -> list[Date]:
        """The first dates of the prompt."""
        found = (date for message in self._prompt.messages for date in find_dates(message))
        return list(islice(found, _MOST_GIVEN))

    def _mark(self, span: CandidateSpan) -> Mark | None:
        marks = self._working.marks
        if span.start in marks:
            return marks[span.start]
        places = range(span.start + 1, min(span.end, span.start + _MARK_REACH))
        return next((marks[place] for place in places if place in marks), None)

    def _stated_or_bare(self, context: SpanContext, value: Value, mark: Mark | None) -> Grounding:
        if self._is_strange(context):
            return self._of_a_stranger(context, value, mark)
        grounding = self._number(context, value, mark)
        if grounding is Grounding.UNGROUNDED and self._works(value, mark, context):
            return Grounding.DERIVED
        return grounding

    # --- entities that the prompt does not know

    def _is_strange(self, context: SpanContext) -> bool:
        """Whether the sentence is about an entity that is neither in the prompt nor exempt."""
        if not context.names:
            return False
        known = self._strange.get(context.sentence)
        if known is None:
            known = any(map(self._is_stranger, context.names))
            self._strange[context.sentence] = known
        return known

    def _is_stranger(self, name: CandidateSpan) -> bool:
        """Whether a name is no word of the prompt, no ordinary words ("Labour: $800") and not
        exempt.
        """
        said = self._reading.text[name.start : name.end]
        keys = [stem(word) for word in said.replace("-", " ").split()]
        whole = [stem(word) for word in said.split()]
        words = self._prompt.words
        given = any(self._prompt.given_form(key) in words for key in (*whole, *keys))
        if given or all(map(is_ordinary, keys)):
            return False
        return self._exempt(name) is Grounding.UNGROUNDED

    def _of_a_stranger(self, context: SpanContext, value: Value, mark: Mark | None) -> Grounding:
        """Only what the text worked out or works with, or small numbers at some distance, are no
        facts.
        """
        memory, calculates = self._memory, mark is not None and mark.role is not Role.STATED
        apart = bool(context.everybody) and not context.subjects  # in another clause
        if value in memory.derived and value not in memory.recalled and (calculates or apart):
            return Grounding.DERIVED
        works = self._prompt.works_out and calculates
        if works and value in self._prompt.numbers:
            return Grounding.GIVEN
        if (works or not context.direct) and self._common(context, value):
            return Grounding.COMMON
        return Grounding.UNGROUNDED

    # --- calculations

    def _works(self, value: Value, mark: Mark | None, context: SpanContext) -> bool:
        """Whether a prompt by which something is to be worked out leads to the number: it was
        worked out before, it is an operand, or one step from the numbers that its sentence names,
        the two sentences before, or the prompt.
        """
        prompt, memory = self._prompt, self._memory
        if mark is None or self._is_rank(mark, value):
            return mark is not None
        if not prompt.works_out or self._asked_for(value):
            return False
        if value in memory.recalled or not _fits(value):
            return False
        line = self._working.lines[mark.line]
        if value in memory.derived or mark.role is not Role.STATED or line.supposes:
            return True
        item = mark.item
        named = self._named(mark)
        if item.key == "clock":
            return self._is_clock_reading(float(value), named)
        target = item.value if item.percent else float(value)
        digits = item.digits if item.percent or item.value == target else 0
        return reaches(target, digits, named, memory.recent, self._factors)

    def _named(self, mark: Mark) -> list[float]:
        """The numbers that a step may use: those of the prompt, of its sentence and the two before,
        and what the calculations there come to.
        """
        named: list[float] = list(self._given)
        for line in self._working.near(mark.line):
            named += line.made
            for other in line.numbers:
                if (
                    other.start != mark.item.start
                    and self._at.get(other.start) != Grounding.UNGROUNDED
                ):
                    named += variants(other)
        return named

    def _is_clock_reading(self, value: float, named: list[float]) -> bool:
        """A ratio of two known numbers ("12:18"), or a time of day a known number of minutes or
        hours from another one, or at a quarter of an hour.
        """
        hours, minutes = divmod(value, 60)
        known, derived = {*named, 0.0, 15.0, 30.0, 45.0}, self._memory.derived
        told = hours in known or hours in derived or hours <= max(self._small, 0) + 2
        if told and (minutes in known or minutes in derived):
            return True
        return reaches(value, 0, named, [60 * number for number in named if number < 48], (60.0,))

    def _is_rank(self, mark: Mark, value: Value) -> bool:
        """Whether a number counts a letter of the alphabet: "k" (11)."""
        if not 0 < value <= _LETTERS:
            return False
        before = self._reading.text[max(0, mark.item.start - 16) : mark.item.start]
        letter = _LETTER.search(before)
        return letter is not None and ord(letter[1].lower()) - ord("a") + 1 == value

    @cached_property
    def _factors(self) -> list[float]:
        return [
            float(value)
            for value, units in self._reading.curriculum.constants.items()
            if not self._prompt.words.isdisjoint(units)
        ]

    # --- numbers that the prompt may give

    def _number(self, context: SpanContext, value: Value, mark: Mark | None) -> Grounding:
        prompt, memory = self._prompt, self._memory
        key: Key = ((), value)
        values = frozenset((value,))
        if context.concluding and key in memory.known:
            return repeated(prompt, memory, _NONE, values, key)
        subjects: Sequence[Names] = () if context.counted else context.subjects
        if mark is not None and mark.role is not Role.STATED:
            subjects = context.everybody
        if subjects:
            return self._stated(context, value, key, subjects)
        known = memory.known.get(key)
        if known is not None and (known is not Grounding.UNGROUNDED or value in memory.recalled):
            return known
        if value in prompt.numbers and fits_question(prompt, context, _NONE, values):
            return Grounding.GIVEN
        if self._common(context, value):
            return Grounding.COMMON
        reproducible = self._reproducible(value, self._at_hand(context))
        return Grounding.DERIVED if reproducible else Grounding.UNGROUNDED

    def _stated(
        self, context: SpanContext, value: Value, key: Key, subjects: Sequence[Names]
    ) -> Grounding:
        """A number that is stated of somebody."""
        prompt, memory = self._prompt, self._memory
        if bound(prompt, memory, subjects, _NONE, frozenset((value,)), key):
            return Grounding.GIVEN
        if memory.known.get(key) == Grounding.DERIVED or chained(prompt, memory, subjects, key):
            return Grounding.DERIVED
        if any(
            self._reproducible(value, prompt.statements.numbers_about(subject))
            for subject in subjects
        ):
            return Grounding.DERIVED
        return (
            Grounding.COMMON
            if not context.direct and self._common(context, value)
            else Grounding.UNGROUNDED
        )

    def _common(self, context: SpanContext, value: Value) -> bool:
        if isinstance(value, int) and abs(value) <= self._small:
            return True
        prompt, curriculum = self._prompt, self._reading.curriculum
        if not prompt.words.isdisjoint(curriculum.constants.get(value, _NONE)):
            return True
        words = curriculum.worked.get(value)
        if words is None or not prompt.works_out:
            return False
        sentence = self._reading.sentences[context.sentence]
        return not prompt.words.isdisjoint(words) or any(
            token.key in words for token in sentence.words
        )

    def _at_hand(self, context: SpanContext) -> AbstractSet[Value]:
        """The numbers a bare number may be computed from: those of the one who was asked for, if no
        other sentence is about them.
        """
        if context.concluding and self._prompt.asks_about_unknown:
            return self._prompt.statements.numbers_about(self._prompt.asked)
        return self._prompt.numbers

    def _reproducible(self, value: Value, numbers: AbstractSet[Value]) -> bool:
        """One arithmetic step from the numbers, their sum with signs, or an expression that stands
        in the prompt. A page of numbers reaches any year, so a year that is asked for is not reached
        from many.
        """
        foreign = value not in self._prompt.numbers
        if foreign and self._asked_for(value) and len(numbers) > _FEW_GIVEN:
            return False
        if value in self._prompt.reachable or one_step(value, numbers):
            return bool(numbers)
        return signed_sum(value, self._prompt.summands(numbers))

    def _asked_for(self, value: Value) -> bool:
        """Whether this may be the year that a prompt asks for."""
        return is_year(value) and _ASKS_WHEN.search(self._prompt.question.text) is not None
