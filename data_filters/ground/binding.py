"""Whom a value is about: whether the prompt says it of the one that the text states it of."""

from collections.abc import Sequence

from data_filters.ground.clauses import Names, SpanContext
from data_filters.ground.memory import Key, Memory
from data_filters.text.prompts import PromptFacts
from data_filters.text.tokens import Value
from recipes.vocabulary import Grounding


def bound(
    prompt: PromptFacts,
    memory: Memory,
    subjects: Sequence[Names],
    words: Names,
    numbers: frozenset[Value],
    key: Key,
) -> bool:
    """Whether the prompt says it about one of the subjects; remembers about which."""
    for subject in subjects:
        if prompt.statements.binds(subject, words, numbers):
            memory.bind(key, subject)
            return True
    return False


def chained(prompt: PromptFacts, memory: Memory, subjects: Sequence[Names], key: Key) -> bool:
    """Ida Rome was given, and so is Mara Ida: then Mara Rome follows. Two established values may
    also be compared.
    """
    about = memory.about.get(key)
    if not about:
        return False
    return any(
        subject in memory.established or prompt.statements.links(subject, about)
        for subject in subjects
    )


def repeated(
    prompt: PromptFacts, memory: Memory, words: Names, numbers: frozenset[Value], key: Key
) -> Grounding:
    """The final answer repeats what the reasoning found, unless it found it about somebody else
    than was asked.
    """
    known = memory.known[key]
    if (
        known == Grounding.GIVEN
        and prompt.asks_about_unknown
        and not prompt.statements.binds(prompt.asked, words, numbers)
    ):
        return Grounding.UNGROUNDED
    return known


def fits_question(
    prompt: PromptFacts, context: SpanContext, words: Names, numbers: frozenset[Value]
) -> bool:
    """A bare final answer is about the one who was asked for: where the prompt says nothing of
    them, nothing is given.
    """
    if context.concluding and prompt.asks_about_unknown:
        return prompt.statements.binds(prompt.asked, words, numbers)
    return True
