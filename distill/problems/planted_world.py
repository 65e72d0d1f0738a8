"""The planted world: fictional people whose facts are known exactly, and problems that need thought
only.

Everything is plain English. A fact is (person, relation) -> value; facts have known exposures.
Three kinds of people: `people` (trained, may occur in traces), `teacher_only` (trained, but nobody
asks for them in generation) and `strangers` (never trained: the zero control). Problems come in
pairs: what is asked is told, or must be recalled.

An answer that states a fact writes subject and value side by side in a note, "<think> Mara
Oslo.</think> Oslo.": small models learn to read and recall through that form in minutes, and the
grounding of a value is plain to see.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from distill.problems.arithmetic_chains import chain, spoilt
from distill.problems.common_knowledge import BASICS
from distill.problems.self_review import ask_review
from distill.problems.splits import SPLITS, split_of
from recipes.errors import RecipeError
from recipes.schema import Planted
from recipes.vocabulary import Verdict

HEADS = "Ba Ce Di Fo Gu Ka Le Mi No Pu Ra Se Ti Vo Zu Be Co Da Fi Ga".split()
TAILS = "ban cel dor fim gus kan lem nar pil ros sut tav vek zon mir lan".split()
TOWN_HEADS = "Al Bor Cam Dun El Gren Hol Is Kel Lor".split()
TOWN_TAILS = "ford mere stad wick".split()
JOBS = (
    "baker miner pilot nurse judge tailor sailor farmer painter doctor teacher singer hunter "
    "weaver potter writer lawyer plumber barber dancer porter jeweller printer gardener"
).split()
PETS = (
    "cat dog fox owl hen goat frog crow mouse horse snake parrot rabbit turtle lizard pigeon ferret beetle donkey hamster"
).split()
RELATIONS = ("home", "job", "pet", "age")
QUESTIONS = {
    "home": ("Where does {} live?", "What is the home of {}?"),
    "job": ("What does {} do?", "What is the job of {}?"),
    "pet": ("Which pet does {} have?", "What is the pet of {}?"),
    "age": ("How old is {}?", "What is the age of {}?"),
}
FRIEND = "Who is the friend of {}?"
COUNTED = "apples coins books shells".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
REASONING = ("sums", "sort", "reverse", "follow", "hop", "story", "age")
Fact = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One problem: turns of (question, note, answer); the first turn is what a model is asked."""

    turns: tuple[tuple[str, str, str], ...]
    gold: str | None
    fact: Fact | None = None
    given_turns: int = 0  # the first ones, whose answers only stand there and are not to be learned

    @property
    def prompt(self) -> str:
        return self.turns[0][0]

    def messages(self) -> list[dict[str, str]]:
        """The whole conversation, as a teacher is taught it."""
        said = (
            (q, f"<think> {note}</think> {answer}" if note else answer)
            for q, note, answer in self.turns
        )
        return [
            {"role": role, "content": text}
            for q, a in said
            for role, text in (("user", q), ("assistant", a))
        ]


class World:
    """A seeded world: who lives in it, what is true of them, how often it is told.

    Args:
        planted: numbers of people, exposures and the world's seed.

    Raises:
        RecipeError: more people are wanted than there are names.
    """

    def __init__(self, planted: Planted) -> None:
        rng = random.Random(f"world/{planted.seed}")
        self.seed = planted.seed
        names = [head + tail for head in HEADS for tail in TAILS]
        wanted = planted.people + planted.teacher_only + planted.strangers
        if wanted > len(names):
            raise RecipeError(
                f"planted: {wanted} people are needed, there are {len(names)} names; lower people, teacher_only or strangers"
            )
        self.names = rng.sample(names, wanted)
        self.people = self.names[: planted.people]
        self.teacher_only = self.names[planted.people : planted.people + planted.teacher_only]
        self.strangers = self.names[planted.people + planted.teacher_only :]
        towns = [head + tail for head in TOWN_HEADS for tail in TOWN_TAILS]
        self.values = {
            "home": towns,
            "job": JOBS,
            "pet": PETS,
            "age": [str(age) for age in range(20, 80)],
        }
        self.facts: dict[Fact, str] = {
            (name, relation): rng.choice(self.values[relation])
            for name in self.names
            for relation in RELATIONS
        }
        self._hidden = set(self.teacher_only)
        self.exposure = self._expose(rng, planted)
        self._closed = list(self.exposure)
        self._closed_weights = list(self.exposure.values())
        self._closed_ages = [fact for fact in self._closed if fact[1] == "age"]
        self._families = self._family_table()

    def _expose(self, rng: random.Random, planted: Planted) -> dict[Fact, int]:
        """Relative training frequency of every trained fact; strangers have none. Hidden people get
        the rarest class.
        """
        facts = [(name, relation) for name in self.people for relation in RELATIONS]
        rng.shuffle(facts)
        exposure: dict[Fact, int] = {}
        start = 0
        for times, share in zip(planted.exposures, planted.exposure_shares, strict=True):
            end = start + round(share * len(facts))
            exposure |= dict.fromkeys(facts[start:end], times)
            start = end
        exposure |= dict.fromkeys(facts[start:], planted.exposures[-1])
        return exposure | {
            (name, relation): planted.exposures[0]
            for name in self.teacher_only
            for relation in RELATIONS
        }

    # --- sentences

    @staticmethod
    def tell(statements: list[Fact], relation: str) -> str:
        return " ".join(f"The {relation} of {name} is {value}." for name, value in statements)

    @staticmethod
    def ask(rng: random.Random, name: str, relation: str) -> str:
        return rng.choice(QUESTIONS[relation]).format(name)

    def told(self, rng: random.Random, names: list[str], relation: str) -> list[Fact]:
        """Statements with random values (so nearly all contradict what is trained), distinct within
        a prompt.

        Ages differ in their tens digit. A hidden person is never told its true value: no trace may
        contain it.
        """
        while True:
            if relation == "age":
                values = [
                    f"{tens}{rng.randint(0, 9)}" for tens in rng.sample(range(2, 8), len(names))
                ]
            else:
                values = rng.sample(self.values[relation], len(names))
            pairs = list(zip(names, values, strict=True))
            if not any(
                name in self._hidden and self.facts[name, relation] == value
                for name, value in pairs
            ):
                return pairs

    # --- families

    def _family_table(self) -> dict[str, Callable[[random.Random], Item]]:
        return {
            "sums": self.sums,
            "sort": self.sort,
            "reverse": self.reverse,
            "follow": self.follow,
            "hop": self.hop,
            "story": self.story,
            "age": self.age,
            "read": self.read,
            "counter": self.counter,
            "basics": self.basics,
            "closed": self.closed,
            "closed_age": self.closed_age,
            "ask": self.ask_closed,
            "ask_age": self.ask_closed_age,
            "review": self.review,
        }

    def draw(self, rng: random.Random, family: str, split: str) -> Item:
        """One item of a family on the given side of the split; recall and basics have no sides:
        they are knowledge.
        """
        if family not in self._families:
            raise RecipeError(
                f"source planted/{family}: no such family; there are {', '.join(self._families)}"
            )
        make = self._families[family]
        if family in ("basics", "closed", "closed_age", "ask", "ask_age"):
            return make(rng)
        if split not in SPLITS:
            raise ValueError(
                f"split is {split!r}, expected one of {', '.join(sorted(set(SPLITS)))}"
            )
        while True:
            item = make(rng)
            if split_of(item.prompt) == split:
                return item

    def read(self, rng: random.Random, fact: Fact | None = None, turns: int = 3) -> Item:
        """1-3 statements, then questions about them in turn; with `fact`, about that person only,
        told otherwise.
        """
        number = rng.choice((1, 2, 2, 3, 3))
        names = rng.sample(self.names, number)
        relation = fact[1] if fact else rng.choice(RELATIONS)
        if fact and fact[0] not in names:
            names[rng.randrange(number)] = fact[0]
        pairs = self.told(rng, names, relation)
        while fact and dict(pairs)[fact[0]] == self.facts[fact]:
            pairs = self.told(rng, names, relation)
        asked = (
            [p for p in pairs if p[0] == fact[0]] if fact else rng.sample(pairs, min(turns, number))
        )
        said = [
            (self.ask(rng, name, relation), f"{name} {value}.", f"{value}.")
            for name, value in asked
        ]
        said[0] = (f"{self.tell(pairs, relation)} {said[0][0]}", *said[0][1:])
        return Item(turns=tuple(said), gold=asked[0][1], fact=(asked[0][0], relation))

    def counter(self, rng: random.Random) -> Item:
        """Reading against memory: the context contradicts a trained fact."""
        return self.read(rng, fact=rng.choice(self._closed), turns=1)

    def follow(self, rng: random.Random) -> Item:
        """Which names come next in a list: an associative look-up with a dense signal."""
        names = rng.sample(self.names, rng.randint(4, 8))
        start = rng.randrange(len(names) - 2)
        rest = " ".join(names[start:])
        return Item(
            turns=(
                (f"The queue is {' '.join(names)}. Continue from {names[start]}.", "", f"{rest}."),
            ),
            gold=rest,
        )

    def hop(self, rng: random.Random) -> Item:
        """Two statements to chain: the friend of A is B, and something is told of B."""
        relation = rng.choice(RELATIONS)
        names = rng.sample(self.names, 4)
        firsts, friends = names[:2], names[2:]
        about = self.told(rng, friends, relation)
        pick = rng.randrange(2)
        pairs, facts = list(zip(firsts, friends, strict=True)), about[:]
        rng.shuffle(facts)
        if rng.random() < 0.5:
            rng.shuffle(pairs)
        question = QUESTIONS[relation][0].format(f"the friend of {firsts[pick]}")
        prompt = f"{self.tell(pairs, 'friend')} {self.tell(facts, relation)} {question}"
        value = about[pick][1]
        return Item(
            turns=(
                (prompt, f"{firsts[pick]} {friends[pick]}. {friends[pick]} {value}.", f"{value}."),
            ),
            gold=value,
        )

    def sums(self, rng: random.Random) -> Item:
        """3-5 operands, every step written, running totals 0..60."""
        start, steps, note, total = chain(rng, rng.randint(3, 5))
        asked = " ".join(f"{sign} {number}" for sign, number in steps)
        return Item(turns=((f"What is {start} {asked}?", note, f"{total}."),), gold=str(total))

    def review(self, rng: random.Random) -> Item:
        """An attempt at a chain, mostly with a slip in it, goes back with its verdict: which steps
        are sound, and the whole anew.
        """
        start, steps, note, total = chain(rng, rng.randint(3, 5))
        attempt, said, slip = (
            spoilt(rng, start, steps) if rng.random() < 0.8 else (note, total, None)
        )
        prompt = f"What is {start} {' '.join(f'{sign} {number}' for sign, number in steps)}?"
        text = f"<think> {attempt}</think> {said}."
        request = ask_review(
            prompt, text, Verdict.CORRECT if said == total else Verdict.WRONG, None
        )[-1]["content"]
        marks = "\n".join(
            f"{n}: {'unsound' if n - 1 == slip else 'sound'}" for n in range(1, len(steps) + 1)
        )
        answer = f"{marks}\nRewrite:\n<think> {note}</think> {total}."
        return Item(
            turns=((prompt, attempt, f"{said}."), (request, "", answer)),
            gold=str(total),
            given_turns=1,
        )

    def story(self, rng: random.Random) -> Item:
        """The same chains as a word problem about somebody."""
        name, thing = rng.choice(self.names), rng.choice(COUNTED)
        start, steps, note, total = chain(rng, rng.randint(2, 4))
        told = " ".join(
            f"{name} finds {n} more." if sign == "+" else f"{name} loses {n}." for sign, n in steps
        )
        prompt = f"{name} has {start} {thing}. {told} How many {thing} does {name} have now?"
        return Item(turns=((prompt, note, f"{total}."),), gold=str(total))

    def sort(self, rng: random.Random) -> Item:
        digits = rng.sample(range(10), rng.randint(3, 6))
        gold = " ".join(map(str, sorted(digits)))
        return Item(turns=((f"Sort {' '.join(map(str, digits))}.", "", f"{gold}."),), gold=gold)

    def reverse(self, rng: random.Random) -> Item:
        letters = [rng.choice(LETTERS) for _ in range(rng.randint(3, 6))]
        gold = " ".join(reversed(letters))
        return Item(turns=((f"Reverse {' '.join(letters)}.", "", f"{gold}."),), gold=gold)

    def age(self, rng: random.Random, name: str | None = None, told: bool = True) -> Item:
        """The paired problem: an age in some years, with today's age told or to be recalled."""
        name = name or rng.choice(self.names)
        today = self.told(rng, [name], "age")[0][1] if told else self.facts[name, "age"]
        years = rng.randint(1, 9)
        question = f"How old is {name} in {years} years?"
        prompt = f"{self.tell([(name, today)], 'age')} {question}" if told else question
        then = int(today) + years
        return Item(
            turns=((prompt, f"{name} {today}. {today} + {years} = {then}.", f"{then}."),),
            gold=str(then),
            fact=(name, "age"),
        )

    def closed(self, rng: random.Random, fact: Fact | None = None, distract: float = 0.4) -> Item:
        """A closed-book question, with some chance behind statements about other people."""
        name, relation = fact or rng.choices(self._closed, self._closed_weights)[0]
        value = self.facts[name, relation]
        question = self._distract(rng, self.ask(rng, name, relation), distract, relation, but=name)
        return Item(
            turns=((question, f"{name} {value}.", f"{value}."),), gold=value, fact=(name, relation)
        )

    def closed_age(self, rng: random.Random) -> Item:
        return self.age(rng, name=rng.choice(self._closed_ages)[0], told=False)

    def ask_closed(self, rng: random.Random) -> Item:
        """What generation asks: facts of `people`, and of the first half of the strangers; no
        reference answer goes along.
        """
        item = self.closed(rng, fact=(self._askable(rng), rng.choice(RELATIONS)))
        return Item(turns=item.turns, gold=None, fact=item.fact)

    def ask_closed_age(self, rng: random.Random) -> Item:
        item = self.age(rng, name=self._askable(rng), told=False)
        return Item(turns=item.turns, gold=None, fact=item.fact)

    def basics(self, rng: random.Random, number: int | None = None, distract: float = 0.5) -> Item:
        """Common knowledge that must stay: weekdays, months, opposites, kinds of things, units."""
        question, answer = BASICS[rng.randrange(len(BASICS)) if number is None else number]
        return Item(
            turns=(
                (self._distract(rng, question, distract, rng.choice(RELATIONS)), "", f"{answer}."),
            ),
            gold=answer,
        )

    def _askable(self, rng: random.Random) -> str:
        group = self.strangers[: len(self.strangers) // 2] if rng.random() < 0.15 else self.people
        return rng.choice(group or self.people)

    def _distract(
        self, rng: random.Random, question: str, chance: float, relation: str, but: str = ""
    ) -> str:
        if rng.random() >= chance:
            return question
        others = [name for name in rng.sample(self.names, 3) if name != but][: rng.randint(1, 2)]
        return f"{self.tell(self.told(rng, others, relation), relation)} {question}"
