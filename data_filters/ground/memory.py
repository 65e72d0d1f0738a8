"""What a conversation has established: the grounding of its values, and whom they are about."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from data_filters.ground.clauses import Names
from data_filters.text.arithmetic.evaluate import MAX_VALUE
from data_filters.text.dates import Date
from data_filters.text.tokens import Value
from recipes.vocabulary import Grounding

_RECENT = 16
Key = tuple[tuple[str, ...], Value | None]  # (words, number): one of them, or the parts of a date


class Decision(NamedTuple):
    """What was decided of a span; `subject` is the entity before it, `computed` says that
    arithmetic in the text made it, `bound` that it belongs to a named entity.
    """

    grounding: Grounding
    subject: str = ""
    computed: bool = False
    bound: bool = True


@dataclass(slots=True)
class Memory:
    """What a conversation has established so far; its messages are judged in turn."""

    known: dict[Key, Grounding] = field(default_factory=dict)  # the last grounding of a value
    derived: set[Value] = field(default_factory=set)  # numbers that follow from given ones
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))  # the last of them
    recalled: set[Value] = field(default_factory=set)  # numbers told of an entity, without ground
    # full dates that were given or follow from such
    dates: deque[Date] = field(default_factory=lambda: deque(maxlen=_RECENT))
    # entities that a given value was bound to
    about: dict[Key, Names] = field(default_factory=dict)
    established: set[Names] = field(default_factory=set)  # the words of those values
    # grounding of the span that starts here, in this message
    at: dict[int, Grounding] = field(default_factory=dict)

    def learn(self, key: Key, grounding: Grounding) -> None:
        """Notes the grounding of a value."""
        self.known[key] = grounding
        value = key[1]
        if value is not None and grounding is Grounding.DERIVED and not key[0]:
            if value not in self.derived and -MAX_VALUE < value < MAX_VALUE:
                self.recent.append(float(value))
            self.derived.add(value)
            self.recalled.discard(value)

    def bind(self, key: Key, subject: Names) -> None:
        """Notes that a value was given about a subject."""
        self.about[key] = self.about.get(key, frozenset()) | subject
        self.established.add(frozenset(key[0]))
