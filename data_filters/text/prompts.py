"""What a prompt tells, and about whom: sentences with their words, numbers and named entities."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, TypeVar

from data_filters.text.arithmetic import expression_values
from data_filters.text.curriculum import Curriculum
from data_filters.text.dates import find_dates, told_parts
from data_filters.text.quantities import find_quantities
from data_filters.text.stem import stem
from data_filters.text.tokens import NUMBER_WORDS, Sentence, Token, Value, read

T = TypeVar("T")
_PRONOUNS = frozenset(map(stem, "she he her hers his him it its they them their theirs".split()))
_SEEKS = frozenset(  # stems of words by which a prompt asks for something to be worked out
    "how calculate compute solve evaluate determine sum total count average product difference remainder minimum maximum many much "
    "integer equation "
    "digit sort smallest largest probability expression formula value simplify round convert multiply divide add subtract time plu "
    "minu cost price "
    "number percent numeric output sequence pattern next equal grid matrix move state step rule position index result find".split()
)
_OPERATORS = re.compile(r"[+*/=\u00d7\u00f7^<>]|\\")
_LOOK_BACK = 3  # the question is searched among so many last sentences


class Statement(NamedTuple):
    """One sentence of a prompt.

    `about` holds its named entities, or those of the sentence before when it has a pronoun only;
    empty: about anything.
    """

    words: frozenset[str]
    numbers: frozenset[Value]
    about: frozenset[str]


class Told(NamedTuple):
    """A prompt, read once. All words are stems."""

    text: str
    statements: tuple[Statement, ...]
    question: str  # the sentence that asks, as it stands
    asked: frozenset[str]  # named entities in the question
    subject: str  # the last of them, as it stands
    words: frozenset[str]
    numbers: tuple[Value, ...]  # in order, each as often as it stands there
    number_set: frozenset[Value]
    entities: frozenset[str]
    lowercase: frozenset[str]  # words that occur uncapitalised
    running: str  # all words in order, for matching phrases
    reachable: frozenset[Value]  # values of the expressions that stand in the prompt
    seeks: bool  # asks about no named entity, and for something to be worked out
    closed_world: bool  # does so, and gives two numbers or more that are about nobody
    untold: bool  # no sentence but the question itself mentions what is asked about

    def has_phrase(self, words: Iterable[str]) -> bool:
        """Whether the words stand next to each other in one sentence."""
        return f" {' '.join(words)} " in self.running

    def binds(
        self, subject: frozenset[str], words: frozenset[str], numbers: frozenset[Value]
    ) -> bool:
        """Whether some sentence says this of the subject (any of its words), or of nobody in
        particular.
        """
        for said in self.statements:
            if (
                words <= said.words
                and numbers <= said.numbers
                and (not subject.isdisjoint(said.words | said.about) or said.about <= words)
            ):
                return True
        return False

    def links(self, one: frozenset[str], other: frozenset[str]) -> bool:
        """Whether some sentence mentions both."""
        return any(
            not (one.isdisjoint(said.words) or other.isdisjoint(said.words))
            for said in self.statements
        )

    def numbers_about(self, subject: frozenset[str]) -> frozenset[Value]:
        """Numbers told of the subject, or of entities that a chain of sentences links to it."""
        linked, open_, found = (
            set(subject),
            list(self.statements),
            set(self.number_set if not self.entities else ()),
        )
        while True:
            near = [
                said
                for said in open_
                if not said.about
                or not linked.isdisjoint(said.about | (said.words & self.entities))
            ]
            if not near:
                return frozenset(found)
            open_ = [said for said in open_ if said not in near]
            for said in near:
                found |= said.numbers
                linked |= said.about

    def unit_stands(self, units: frozenset[str]) -> bool:
        return not units.isdisjoint(self.words)


@lru_cache(maxsize=256)  # rollouts of one problem stand together
def read_prompt(prompt: str, curriculum: Curriculum) -> Told:
    """What a prompt tells; rollouts of one problem share the work."""
    sentences = read(prompt)
    lowercase = frozenset(
        token.key for sentence in sentences for token in sentence.words if not token.name
    )
    statements = _statements(prompt, sentences, lowercase, curriculum)
    words = frozenset().union(
        *(said.words for said in statements), ("percent",) if "%" in prompt else ()
    )
    asking = _question(sentences)
    names = (
        []
        if asking is None
        else [
            token
            for token in sentences[asking].names
            if _names_entity(token, lowercase, curriculum)
        ]
    )
    asked = frozenset(token.key for token in names)
    seeks = not asked and (not words.isdisjoint(_SEEKS) or _OPERATORS.search(prompt) is not None)
    numbers = tuple(number for sentence in sentences for number in _numbers(sentence))
    return Told(
        text=prompt,
        statements=statements,
        question="" if asking is None else _text(prompt, sentences[asking]),
        asked=asked,
        subject=_last_name(prompt, names),
        words=words,
        numbers=numbers,
        number_set=frozenset(numbers).union(*(said.numbers for said in statements)),
        entities=frozenset().union(*(said.about for said in statements)),
        lowercase=lowercase,
        running=" "
        + " . ".join(" ".join(token.key for token in sentence.words) for sentence in sentences)
        + " ",
        reachable=frozenset().union(
            *(
                expression_values(sentence.tokens)
                for sentence in sentences
                if len(sentence.numbers) > 1
            )
        ),
        seeks=seeks,
        closed_world=seeks and sum(len(said.numbers) for said in statements if not said.about) >= 2,
        untold=bool(asked)
        and not any(asked & said.words for place, said in enumerate(statements) if place != asking),
    )


def _statements(
    prompt: str, sentences: tuple[Sentence, ...], lowercase: frozenset[str], curriculum: Curriculum
) -> tuple[Statement, ...]:
    statements: list[Statement] = []
    said_months, said_values = _written_out(prompt)
    months, values = _by_sentence(sentences, said_months), _by_sentence(sentences, said_values)
    for place, sentence in enumerate(sentences):
        words = frozenset([token.key for token in sentence.words]).union(*months.get(place, ()))
        numbers = frozenset(_numbers(sentence)).union(*values.get(place, ()))
        about = frozenset(
            token.key for token in sentence.names if _names_entity(token, lowercase, curriculum)
        )
        if not about and statements and not words.isdisjoint(_PRONOUNS):
            about = statements[-1].about
        statements.append(Statement(words, numbers, about))
    return tuple(statements)


def _by_sentence(
    sentences: tuple[Sentence, ...], found: list[tuple[int, set[T]]]
) -> dict[int, list[set[T]]]:
    """What was found at a place of the prompt, by the number of its sentence."""
    starts = [sentence.tokens[0].start for sentence in sentences] if found else []
    by_sentence: dict[int, list[set[T]]] = {}
    for at, parts in found:
        number = bisect_right(starts, at) - 1
        if number >= 0 and at < sentences[number].tokens[-1].end:
            by_sentence.setdefault(number, []).append(parts)
    return by_sentence


def _written_out(prompt: str) -> tuple[list[tuple[int, set[str]]], list[tuple[int, set[Value]]]]:
    """(months, numbers) that the prompt gives in another form: 1957-05-12 gives may, 12 and 5, "3
    million" gives 3,000,000.
    """
    months: list[tuple[int, set[str]]] = []
    values: list[tuple[int, set[Value]]] = [
        (one.start, {one.value}) for one in find_quantities(prompt)
    ]
    for date in find_dates(prompt):
        stems, numbers = told_parts(date)
        months.append((date.start, stems))
        values.append((date.start, set(numbers)))
    return months, values


def _names_entity(token: Token, lowercase: frozenset[str], curriculum: Curriculum) -> bool:
    """A capitalised word outside the curriculum; one that opens a sentence must not occur in lower
    case ("Apples", "apples").
    """
    return not curriculum.knows(token.key) and not (token.first and token.key in lowercase)


def _numbers(sentence: Sentence) -> list[Value]:
    found: list[Value] = []
    for token in sentence.tokens:
        if token.value is not None:
            found += [token.value] if token.value >= 0 else [token.value, -token.value]
        elif token.kind == "word" and token.key in NUMBER_WORDS:
            found.append(NUMBER_WORDS[token.key])
    return found


def _question(sentences: tuple[Sentence, ...]) -> int | None:
    """The last of the final sentences that asks; without one, the last sentence."""
    last = len(sentences) - 1
    asking = (
        place for place in range(last, max(last - _LOOK_BACK, -1), -1) if sentences[place].asks
    )
    return next(asking, last if sentences else None)


def _text(prompt: str, sentence: Sentence) -> str:
    end = sentence.tokens[-1].end
    return prompt[sentence.tokens[0].start : end + 1 if sentence.asks else end]


def _last_name(prompt: str, names: list[Token]) -> str:
    """The last run of neighbouring names in the question, without a possessive 's."""
    if not names:
        return ""
    start = end = len(names) - 1
    while start and names[start].start - names[start - 1].end == 1:
        start -= 1
    return prompt[names[start].start : names[end].end].removesuffix("'s").removesuffix("\u2019s")
