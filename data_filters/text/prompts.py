"""What a prompt says and asks: its statements, numbers and question, extended message by message."""

import re
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, KeysView
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from data_filters.text.aliases.demonyms import of_one_place, same_place
from data_filters.text.aliases.initials import initials
from data_filters.text.aliases.spelling import misspelt
from data_filters.text.arithmetic.reach import MAX_SUMMANDS
from data_filters.text.arithmetic.working import Working
from data_filters.text.curriculum import Curriculum
from data_filters.text.dates import find_dates, parts_in_any_form
from data_filters.text.language.normal import normal_text
from data_filters.text.language.tell import language
from data_filters.text.lexicon import is_ordinary
from data_filters.text.notation import Notation
from data_filters.text.quantities import find_quantities
from data_filters.text.questions.fields import PRONOUNS, goes_on, is_option, labels_of, later_fields
from data_filters.text.statements import Statement, Statements, Stems
from data_filters.text.tokens import (
    NUMBER_WORDS,
    Sentence,
    Token,
    Value,
    is_year,
    split_sentences,
)

_SEEKS = frozenset(  # stems of words by which a prompt asks for something to be worked out
    "how calculate compute solve evaluate determine sum total count average product difference "
    "remainder minimum maximum many much integer equation digit sort smallest largest probability "
    "expression formula value simplify round convert multiply divide add subtract time plu minu "
    "cost price number percent numeric output sequence pattern next equal grid matrix move state "
    "step rule position index result find percentage percent likelihood ratio perimeter area volume "
    "profit salary interest".split()
)
_OPERATORS = re.compile(r"[+*/=\u00d7\u00f7^<>]|\\")
_FORMULA = re.compile(r"\\[A-Za-z(\[]|[\w)]\s?[=^]\s?[\w(]|\$[^$\n]{1,80}\$")
_NONE: Stems = frozenset()
_LOOK_BACK = 3  # the question is searched among so many last sentences, but for options
_MOST_KEPT = 16


class Question(NamedTuple):
    """The sentence of a prompt that asks, or its last one."""

    text: str = ""  # as it stands
    entities: Stems = frozenset()  # the named entities that it asks about
    subject: str = ""  # the last of them, as it stands
    about_unknown: bool = False  # no other sentence mentions any of them
    num_numbers: int = 0  # that stand in it


class PromptFacts:
    """What a prompt says; all words are stems.

    A conversation calls `extend` for each message that its assistant is given, so that nothing is
    read twice. What is asked of it holds for the messages so far.

    Args:
        curriculum: words that name no entity.
    """

    def __init__(self, curriculum: Curriculum) -> None:
        self.curriculum = curriculum
        self.messages: list[str] = []
        self.statements = Statements()
        self.question = Question()
        self.reachable: set[float] = set()  # values of the expressions that stand in it
        self._last: deque[tuple[Sentence, str]] = deque(maxlen=_MOST_KEPT)  # with their message
        self._num_numbers = 0
        self._num_amounts = 0  # numbers that are no years
        self._has_formula = False
        self._places: defaultdict[Value, list[int]] = defaultdict(list)  # of a number, among all
        self.lowered = ""  # all messages in lower case
        self._names: set[str] = set()  # capitalised words that are no ordinary ones
        self._forms: dict[str, str] = {}  # other forms of them that somebody asked for
        self._language: str | None = None  # of the last message that tells
        self._works_out = False  # has a word or a sign by which something is to be worked out

    def extend(self, message: str) -> None:
        """Reads one more message."""
        message = normal_text(message).text
        sentences = split_sentences(message)
        self.messages.append(message)
        self.lowered = f"{self.lowered}\n{message.lower()}"
        self._language = None
        lowercase = {
            token.key for sentence in sentences for token in sentence.words if not token.name
        }
        self.statements.add(_statements(message, sentences, self.curriculum), lowercase)
        for sentence in sentences:
            self._last.append((sentence, message))
            for value in _numbers(sentence):
                self._places[value].append(self._num_numbers)
                self._num_numbers += 1
                self._num_amounts += not is_year(value)
        if self._num_numbers > 1:
            self.reachable |= {value for line in Working(message).lines for value in line.made}
        self._read_names(sentences)
        self._has_formula = self._has_formula or _FORMULA.search(message) is not None
        if "%" in message:
            self.statements.words.setdefault("percent", [])
        self._works_out = (
            self._works_out
            or any(key in self.words for key in _SEEKS)
            or _OPERATORS.search(message) is not None
        )
        self.question = self._question()

    @property
    def language(self) -> str:
        """The language of the last message that tells one, as ISO 639-1; "" where none does."""
        if self._language is None:
            told = (language(message) for message in reversed(self.messages))
            self._language = next((one for one in told if one), "")
        return self._language

    # --- words and entities

    @property
    def words(self) -> KeysView[str]:
        """All words, those of written-out dates among them, and "percent" where a % stands."""
        return self.statements.words.keys()

    @property
    def lowercase(self) -> AbstractSet[str]:
        """Words that stand somewhere without a capital."""
        return self.statements.lowercase

    def given_form(self, key: str) -> str:
        """The word of the prompt that a name's word is another form of; itself where there is none.

        "Hungarian" is a form of "Hungary", and "Mikalsen" one of "Mikkalsen".

        Args:
            key: the stem of a capitalised word.
        """
        if key in self.words:
            return key
        if key not in self._forms:
            self._forms[key] = self._find_form(key) or key
        return self._forms[key]

    def _find_form(self, key: str) -> str | None:
        listed = next((other for other in same_place(key) if other in self._names), None)
        if listed or is_ordinary(key):
            return listed
        alike = sorted(other for other in self._names if other[0] == key[0])
        by_rule = (one for one in alike if of_one_place(key, one) or misspelt(key, one))
        return next(by_rule, None)

    def _read_names(self, sentences: tuple[Sentence, ...]) -> None:
        found = {token.key for sentence in sentences for token in sentence.names}
        self._names |= {key for key in found if not is_ordinary(key) or any(same_place(key))}
        self._forms.clear()

    def names(self, key: str) -> bool:
        """Whether a word is part of the name of an entity."""
        return self.statements.names(key)

    def contains(self, said: str) -> bool:
        """Whether a passage stands in some message, letter by letter."""
        return any(said in message for message in self.messages)

    # --- numbers

    @property
    def numbers(self) -> KeysView[Value]:
        """All values, in whatever form they are given."""
        return self.statements.numbers.keys()

    def summands(self, among: AbstractSet[Value]) -> list[Value]:
        """Those of some numbers that stand in the prompt as figures or words, in its order and as
        often as they stand there; empty where there are more than anybody adds up.
        """
        places: list[tuple[int, Value]] = []
        for value in among:
            places += [(place, value) for place in self._places.get(value, ())]
            if len(places) > MAX_SUMMANDS:
                return []
        return [value for _, value in sorted(places)]

    # --- what it asks for

    @property
    def asked(self) -> Stems:
        """The named entities in the question."""
        return self.question.entities

    @property
    def seeks(self) -> bool:
        """Whether it asks about no named entity, and for something to be worked out."""
        return not self.asked and self._works_out

    @property
    def works_out(self) -> bool:
        """Whether something is to be worked out from numbers that it gives; if it asks about an
        entity that it says nothing of, from two or more that are told of nobody else.
        """
        if self.asks_about_unknown:
            told = self.question.num_numbers + self.statements.num_general
            return self._works_out and told > 1
        told = self._num_numbers > 0 or self._has_formula
        return (self._works_out and told) or self._num_amounts > 1

    @property
    def asks_about_unknown(self) -> bool:
        """Whether no sentence but the question itself mentions what is asked about."""
        return self.question.about_unknown

    def _asking(self) -> int:
        """Which of the last sentences asks; the last one where none does."""
        left, last = _LOOK_BACK, len(self._last) - 1
        for place in range(last, -1, -1):
            sentence, message = self._last[place]
            if sentence.asks:
                return place
            left -= not is_option(sentence, message)
            if not left:
                break
        return last

    def _question(self) -> Question:
        """The last of the final sentences that asks; without one, the last sentence."""
        if not self._last:
            return Question()
        place = self._asking()
        sentence, message = self._last[place]
        labels = labels_of(message, (sentence,))
        is_symbol = Notation(message).is_symbol
        names = [
            token
            for token in sentence.names
            if not self.curriculum.knows(token.key)
            and token.start not in labels
            and not is_symbol(token.text, token.start)
            and not (token.first and (token.ordinary or token.key in self.statements.lowercase))
        ]
        entities = frozenset(token.key for token in names)
        number = len(self.statements) - len(self._last) + place
        unknown = bool(entities) and not self.statements.mention(entities, besides=number)
        numbers = len(_numbers(sentence))
        return Question(
            _text(message, sentence), entities, _last_name(message, names), unknown, numbers
        )


def read_prompt(prompt: str, curriculum: Curriculum) -> PromptFacts:
    """What a prompt of one message says."""
    facts = PromptFacts(curriculum)
    facts.extend(prompt)
    return facts


def _statements(
    message: str, sentences: tuple[Sentence, ...], curriculum: Curriculum
) -> Iterator[Statement]:
    months, values = _other_forms(message, sentences)
    labels = labels_of(message, sentences)
    records = later_fields(message, sentences) if labels else frozenset()
    is_symbol = Notation(message).is_symbol
    for place, sentence in enumerate(sentences):
        keys = [token.key for token in sentence.words]
        words = frozenset(keys).union(months.get(place, ()), initials(sentence.words))
        names = [
            token
            for token in sentence.names
            if not (curriculum.knows(token.key) or token.start in labels)
            and not is_symbol(token.text, token.start)
        ]
        openers = [token.key for token in names if token.first]
        yield Statement(
            words=words,
            numbers=frozenset(_numbers(sentence)).union(values.get(place, ())),
            phrase=f" {' '.join(keys)} ",
            named=frozenset([token.key for token in names if not token.first]),
            openers=frozenset(openers) if openers else _NONE,
            pronoun=not words.isdisjoint(PRONOUNS),
            goes_on=place in records or goes_on(sentence, names, message),
        )


def _other_forms(
    message: str, sentences: tuple[Sentence, ...]
) -> tuple[dict[int, set[str]], dict[int, set[Value]]]:
    """(months, numbers) that sentences give in another form, by the number of the sentence:
    1957-05-12 gives may, 12 and 5, "3 million" gives 3,000,000.
    """
    months: defaultdict[int, set[str]] = defaultdict(set)
    values: defaultdict[int, set[Value]] = defaultdict(set)
    for quantity in find_quantities(message):
        number = _sentence_at(sentences, quantity.start)
        if number is not None:
            values[number].add(quantity.value)
    for date in find_dates(message):
        number = _sentence_at(sentences, date.start)
        if number is not None:
            stems, numbers = parts_in_any_form(date)
            months[number] |= stems
            values[number] |= numbers
    return months, values


def _sentence_at(sentences: tuple[Sentence, ...], at: int) -> int | None:
    """The number of the sentence that a place of the message belongs to."""
    number = bisect_right(sentences, at, key=lambda sentence: sentence.tokens[0].start) - 1
    return number if number >= 0 and at < sentences[number].tokens[-1].end else None


def _numbers(sentence: Sentence) -> list[Value]:
    found: list[Value] = []
    for token in sentence.tokens:
        if token.value is not None:
            found += [token.value] if token.value >= 0 else [token.value, -token.value]
        elif token.kind == "word" and token.key in NUMBER_WORDS:
            found.append(NUMBER_WORDS[token.key])
    return found


def _text(message: str, sentence: Sentence) -> str:
    end = sentence.tokens[-1].end
    return message[sentence.tokens[0].start : end + 1 if sentence.asks else end]


def _last_name(message: str, names: list[Token]) -> str:
    """The last run of neighbouring names in the question, without a possessive 's."""
    if not names:
        return ""
    start = end = len(names) - 1
    while start and names[start].start - names[start - 1].end == 1:
        start -= 1
    return message[names[start].start : names[end].end].removesuffix("'s").removesuffix("\u2019s")
