"""The sentences of a prompt as statements: what each says, of whom, and which of them say a given
thing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from data_filters.text.tokens import Value

Stems = frozenset[str]


@dataclass(slots=True)
class Statement:
    """One sentence of a prompt; all words are stems.

    `about` holds its named entities, or those of the sentence before when it has a pronoun only;
    empty: about anything.
    """

    words: Stems
    numbers: frozenset[Value]
    phrase: str  # its words in order, a blank before and behind each
    named: Stems  # capitalised words that name an entity wherever they stand
    openers: Stems  # words that open the sentence: names, unless the prompt has them in lower case
    pronoun: bool
    goes_on: bool = False  # speaks on of those that the statement before is about
    about: Stems = frozenset()


class Statements:
    """All statements of a prompt, indexed by word, number and entity.

    Later messages only add statements. But a word that turns up in lower case ("apples") is no
    longer a name where it opens an earlier sentence ("Apples are red."), so `about` may change.
    """

    def __init__(self) -> None:
        self.words: defaultdict[str, list[int]] = defaultdict(list)  # to numbers of statements
        self.numbers: defaultdict[Value, list[int]] = defaultdict(list)
        self.lowercase: set[str] = set()  # words that stand somewhere without a capital
        self._all: list[Statement] = []
        self._about: defaultdict[str, set[int]] = defaultdict(set)
        self._openers: defaultdict[str, list[int]] = defaultdict(list)
        self._general: set[Value] = set()  # numbers of statements about nobody
        self.num_general = 0  # how often such a number is told

    def __len__(self) -> int:
        return len(self._all)

    def add(self, statements: Iterable[Statement], lowercase: AbstractSet[str]) -> None:
        """Appends the statements of one message.

        Args:
            statements: in order, without `about`.
            lowercase: the words of the message that stand there without a capital.
        """
        new = lowercase - self.lowercase
        self.lowercase |= new
        for number in sorted({number for key in new for number in self._openers.pop(key, ())}):
            self._update(number)
        for said in statements:
            number = len(self._all)
            self._all.append(said)
            for key in said.words:
                self.words[key].append(number)
            for value in said.numbers:
                self.numbers[value].append(number)
            for key in said.openers:
                if key not in self.lowercase:
                    self._openers[key].append(number)
            about = self._entities(number)
            if said.goes_on:  # it has the words for them, in another sentence
                for key in about - said.words:
                    self.words[key].append(number)
                said.words |= about
            self._enter(number, about)

    def names(self, key: str) -> bool:
        """Whether some statement is about an entity with this word in its name."""
        return key in self._about

    def mention(self, words: Collection[str], besides: int) -> bool:
        """Whether a statement other than number `besides` has one of the words."""
        return any(
            number != besides for key in words if key in self.words for number in self.words[key]
        )

    def has_phrase(self, words: Collection[str]) -> bool:
        """Whether the words stand next to each other in one statement."""
        phrase = f" {' '.join(words)} "
        return any(phrase in said.phrase for said in self._saying(words, ()))

    def binds(self, subject: Stems, words: Stems, numbers: frozenset[Value]) -> bool:
        """Whether some statement says this of the subject (any of its words), or of nobody in
        particular.
        """
        for said in self._saying(words, numbers):
            if (
                words <= said.words
                and numbers <= said.numbers
                and (
                    said.about <= words
                    or not subject.isdisjoint(said.words)
                    or not subject.isdisjoint(said.about)
                )
            ):
                return True
        return False

    def links(self, one: Stems, other: Stems) -> bool:
        """Whether some statement mentions both."""
        return any(
            not other.isdisjoint(self._all[number].words)
            for key in one
            if key in self.words
            for number in self.words[key]
        )

    def numbers_about(self, subject: Stems) -> set[Value]:
        """Numbers told of the subject, of entities that a chain of statements links to it, or of
        nobody.
        """
        found, linked, seen = set(self._general), set(subject), set[int]()
        waiting = [*subject]
        while waiting:
            key = waiting.pop()
            if key not in self._about:
                continue
            for number in {*self._about[key], *self.words.get(key, ())} - seen:
                seen.add(number)
                said = self._all[number]
                found |= said.numbers
                # what goes on from sentence to sentence links too much: a page is about all it names
                others = (said.named | said.openers) if said.goes_on else said.about
                waiting += others - linked
                linked |= others
        return found

    def _saying(self, words: Collection[str], numbers: Collection[Value]) -> Iterator[Statement]:
        """The statements that have the rarest of the words and numbers; all where there is none."""
        having: list[list[int]] = [self.words.get(key, []) for key in words]
        having += [self.numbers.get(value, []) for value in numbers]
        if not having:
            return iter(self._all)
        rarest = min(having, key=lambda places: len(places))
        return (self._all[number] for number in rarest)

    def _entities(self, number: int) -> Stems:
        said = self._all[number]
        own = said.named
        if said.openers:
            own |= said.openers - self.lowercase
        if said.goes_on and number:
            return own | self._all[number - 1].about
        return own if own or not (said.pronoun and number) else self._all[number - 1].about

    def _enter(self, number: int, about: Stems) -> None:
        said = self._all[number]
        said.about = about
        for key in about:
            self._about[key].add(number)
        if not about:
            self._general |= said.numbers
            self.num_general += len(said.numbers)

    def _update(self, number: int) -> None:
        """Finds anew whom a statement is about, and those that follow it with a pronoun."""
        while number < len(self._all):
            said, about = self._all[number], self._entities(number)
            if about == said.about:
                return  # one about nobody stays so: names only become fewer
            for key in said.about:
                self._about[key].discard(number)
                if not self._about[key]:
                    del self._about[key]
            self._enter(number, about)
            number += 1
