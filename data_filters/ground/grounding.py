"""Grounding decisions: who supplied a value, the prompt (given, derived), common knowledge, or the
writer's memory.

The same "Oslo" is fine where the prompt gave it and a memorised fact where it did not; and a value
that the prompt gives about somebody else does not ground it: it must be given about the entity that
the text states it of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from data_filters.detect.candidates import Found
from data_filters.ground.clauses import Names, Place, places
from data_filters.text.arithmetic import one_step, signed_sum, steps
from data_filters.text.curriculum import Curriculum
from data_filters.text.dates import Date
from data_filters.text.prompts import Told, read_prompt
from data_filters.text.stem import stem
from data_filters.text.tokens import Token, Value, read
from recipes.vocabulary import Grounding, Kind

_YEARS = range(1000, 2200)
_TIME_WORDS = frozenset(("when", "year", "date", "century"))
Key = tuple[tuple[str, ...], Value | None]


class Decision(NamedTuple):
    """What was decided of a span; `subject` is the entity before it, `computed` says that
    arithmetic in the text made it.
    """

    grounding: str
    subject: str = ""
    computed: bool = False


@dataclass(slots=True)
class Memory:
    """What a text has established so far; one Memory serves the assistant messages of a
    conversation in turn.
    """

    known: dict[Key, str] = field(default_factory=dict)  # the last grounding of a value
    # entities that a given value was bound to
    about: dict[Key, Names] = field(default_factory=dict)
    # grounding of the span that starts here, in this message
    at: dict[int, str] = field(default_factory=dict)


def ground(
    trace_prompt: str, text: str, found: Sequence[Found], curriculum: Curriculum, small_numbers: int
) -> list[str]:
    """One of given, derived, common, ungrounded for every span that `find_facts` returned for this
    text.

    Args:
        trace_prompt: all that was given before the text.
        text: one assistant message.
        found: its spans, in order.
        curriculum: the tools of thought.
        small_numbers: whole numbers up to here are common, unless noted about a named entity; -1:
            none.
    """
    return [
        decision.grounding
        for decision in decide(trace_prompt, text, found, curriculum, small_numbers, Memory())
    ]


def decide(
    trace_prompt: str,
    text: str,
    found: Sequence[Found],
    curriculum: Curriculum,
    small_numbers: int,
    memory: Memory,
) -> list[Decision]:
    """Like `ground`, with the subject of each span; `memory` carries what earlier messages
    established and is updated.
    """
    memory.at = {}
    sentences = read(text)
    results = {
        step.result.start: step.operands
        for sentence in sentences
        if len(sentence.numbers) > 2
        for step in steps(sentence.tokens)
    }
    judge = _Judge(
        read_prompt(trace_prompt, curriculum), curriculum, small_numbers, memory, results
    )
    placed = {place.found.start: judge.decide(place) for place in places(sentences, found)}
    # a span in the middle of a token has no place
    return [placed.get(one.start, Decision(Grounding.UNGROUNDED, "", False)) for one in found]


@dataclass(slots=True)
class _Judge:
    told: Told
    curriculum: Curriculum
    small_numbers: int
    memory: Memory
    results: dict[int, tuple[Token, ...]]  # start of a computed number -> what it was computed from

    def decide(self, place: Place) -> Decision:
        found, first = place.found, place.tokens[0]
        words = tuple(
            token.key
            for token in place.tokens
            if token.kind == "word" and found.kind != Kind.QUANTITY and found.value is None
        )
        numbers = frozenset(token.value for token in place.tokens if token.value is not None)
        value = found.value if found.value is not None else first.value if not words else None
        computed = value is not None and first.start in self.results
        if computed:
            grounding = self._computed(first)
        elif found.date is not None:
            grounding = self._date(place, found.date)
        elif value is not None:
            grounding = self._number(place, value)
        elif words:
            grounding = self._words(place, frozenset(words), numbers, (words, None))
        else:  # a date such as 1957-05-12
            grounding = Grounding.GIVEN if first.text in self.told.text else Grounding.UNGROUNDED
        self.memory.known[words, value] = self.memory.at[found.start] = grounding
        return Decision(grounding, place.subject, computed)

    def _date(self, place: Place, date: Date) -> str:
        """Given where its parts are, in whatever form; a decade or century also by a year in it. A
        year alone is a number.
        """
        if len(date.span) > 1 and any(value in date.span for value in self.told.number_set):
            return Grounding.GIVEN
        parts = date.numbers | date.figures
        if date.months or len(parts) > 1:
            return self._words(
                place, date.months, frozenset(parts), ((*sorted(date.months), "date"), sum(parts))
            )
        return self._number(place, next(iter(parts)))

    # --- words
    # ---------------------------------------------------------------------------------------------------

    def _words(self, place: Place, words: Names, numbers: frozenset[Value], key: Key) -> str:
        told = words <= self.told.words and numbers <= self.told.number_set
        if place.concluding and key in self.memory.known:
            return self._repeat(words, numbers, key)
        if place.subjects:
            if self._bound(place.subjects, words, numbers, key):
                return Grounding.GIVEN
            if self._chained(place.subjects, key):
                return Grounding.DERIVED
            return (
                Grounding.GIVEN
                if told and (place.in_list or not self.told.asked)
                else Grounding.UNGROUNDED
            )
        if key in self.memory.known:
            return self.memory.known[key]
        return (
            Grounding.GIVEN
            if told and self._fits_question(place, words, numbers)
            else Grounding.UNGROUNDED
        )

    def _bound(
        self, subjects: Sequence[Names], words: Names, numbers: frozenset[Value], key: Key
    ) -> bool:
        """Whether the prompt says it about one of the subjects; remembers about which."""
        for subject in subjects:
            if self.told.binds(subject, words, numbers):
                self.memory.about[key] = self.memory.about.get(key, frozenset()) | subject
                return True
        return False

    def _chained(self, subjects: Sequence[Names], key: Key) -> bool:
        """Ida Rome was given, and so is Mara Ida: then Mara Rome follows. Two established values
        may also be compared.
        """
        about = self.memory.about.get(key)
        if not about:
            return False
        established = {frozenset(names) for names, _ in self.memory.about}
        return any(
            subject in established or self.told.links(subject, about) for subject in subjects
        )

    def _repeat(self, words: Names, numbers: frozenset[Value], key: Key) -> str:
        """The final answer repeats what the reasoning found, unless it found it about somebody else
        than was asked.
        """
        known = self.memory.known[key]
        if (
            known == Grounding.GIVEN
            and self.told.untold
            and not self.told.binds(self.told.asked, words, numbers)
        ):
            return Grounding.UNGROUNDED
        return known

    def _fits_question(self, place: Place, words: Names, numbers: frozenset[Value]) -> bool:
        """A bare final answer is about the one who was asked for: nothing told of them means
        nothing given.
        """
        return not (place.concluding and self.told.untold) or self.told.binds(
            self.told.asked, words, numbers
        )

    # --- numbers
    # -------------------------------------------------------------------------------------------------

    def _computed(self, result: Token) -> str:
        tainted = any(
            self.memory.at.get(token.start) == Grounding.UNGROUNDED
            for token in self.results[result.start]
        )
        return Grounding.UNGROUNDED if tainted else Grounding.DERIVED

    def _number(self, place: Place, value: Value) -> str:
        key: Key = ((), value)
        if place.concluding and key in self.memory.known:
            return self._repeat(frozenset(), frozenset((value,)), key)
        subjects = place.everybody if place.computing else () if place.counted else place.subjects
        if subjects:
            return self._stated(place, value, key, subjects)
        if key in self.memory.known:
            return self.memory.known[key]
        if value in self.told.number_set and self._fits_question(
            place, frozenset(), frozenset((value,))
        ):
            return Grounding.GIVEN
        if self._common(value):
            return Grounding.COMMON
        foreign = place.found.date is not None or self._foreign(place)
        computable = self.told.closed_world and not self._dates(value) and not foreign
        return (
            Grounding.DERIVED
            if computable or self._reproducible(value, self._at_hand(place), foreign)
            else Grounding.UNGROUNDED
        )

    def _foreign(self, place: Place) -> bool:
        """Whether a quantity is in a unit or currency of which the prompt does not speak."""
        unit = place.found.unit or (
            place.tokens[-1].text
            if place.found.kind == Kind.QUANTITY and len(place.tokens) > 1
            else ""
        )
        if not unit or unit in self.told.text:
            return False
        words = {
            "percent" if word in ("%", "per", "cent") else stem(word)
            for word in unit.lower().split()
        }
        return words.isdisjoint(self.told.words)

    def _stated(self, place: Place, value: Value, key: Key, subjects: Sequence[Names]) -> str:
        """A number that is stated of somebody."""
        if self._bound(subjects, frozenset(), frozenset((value,)), key):
            return Grounding.GIVEN
        if self.memory.known.get(key) == Grounding.DERIVED or self._chained(subjects, key):
            return Grounding.DERIVED
        foreign = place.found.date is not None or self._foreign(place)
        if any(
            self._reproducible(value, self.told.numbers_about(subject), foreign)
            for subject in subjects
        ):
            return Grounding.DERIVED
        return (
            Grounding.COMMON if not place.direct and self._common(value) else Grounding.UNGROUNDED
        )

    def _common(self, value: Value) -> bool:
        units = self.curriculum.constants.get(value)
        if units is not None and self.told.unit_stands(units):
            return True
        return isinstance(value, int) and abs(value) <= self.small_numbers

    def _at_hand(self, place: Place) -> frozenset[Value]:
        """The numbers a bare number may be computed from: those of the one who was asked for, if
        nothing else is told of them.
        """
        if place.concluding and self.told.untold:
            return self.told.numbers_about(self.told.asked)
        return self.told.number_set

    def _reproducible(
        self, value: Value, numbers: frozenset[Value], strictly: bool = False
    ) -> bool:
        """One arithmetic step from the numbers, their sum with signs, or an expression that stands
        in the prompt.

        A question about no named entity has nobody's secret for an answer: there small numbers,
        unit constants and numbers derived so far help too, except for a year that is asked for, for
        dates, and for units that the prompt does not know (`strictly`).
        """
        if value in self.told.reachable or one_step(value, numbers):
            return bool(numbers)
        if signed_sum(value, [number for number in self.told.numbers if number in numbers]):
            return True
        if strictly or not self.told.seeks or numbers <= {1} or self._dates(value):
            return False
        return one_step(value, numbers | self._tools(), twice=True)

    def _dates(self, value: Value) -> bool:
        """Whether this is the year that a prompt asks for."""
        return value in _YEARS and not _TIME_WORDS.isdisjoint(self.told.words)

    def _tools(self) -> set[Value]:
        constants = {
            value
            for value, units in self.curriculum.constants.items()
            if self.told.unit_stands(units)
        }
        derived = {
            value
            for (_, value), grounding in self.memory.known.items()
            if grounding == Grounding.DERIVED and value is not None
        }
        return constants | derived | set(range(1, self.small_numbers + 1))
