"""What a contender with tools is asked, and the bases that it may look things up in: the world's
key, whole, with gaps, and changed.

Questions and bases come from the world's key: most facts that are asked were in no trace, so the
skill is measured and not the memory.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from data_filters.lookup.knowledge_base import KnowledgeBase, passage
from distill.problems.planted_world import QUESTIONS, Fact, World
from distill.problems.splits import digest_of
from eval.suites.catalog import CLOSED_BOOK, NO_LOOKUP_ASKED
from eval.suites.questions import Question
from eval.suites.suites import planted_questions
from recipes.schema import Evaluate
from recipes.vocabulary import BaseState, Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Questions asked in one state of the base."""

    base: str  # FULL, DELETED, OFF or SWAPPED
    passages: KnowledgeBase | None  # None: no tools at all
    questions: list[Question]
    # question id -> the value that stands in the base in place of the true one
    swapped: dict[str, str]


def settings(world: World, evaluate: Evaluate) -> Iterator[Setting]:
    """Every state of the base with its questions, `evaluate.items` a suite at most."""
    key = WorldKey(world, evaluate.seed)
    plain = planted_questions(world, seed=evaluate.seed, items=evaluate.items)
    closed = [q for suite in CLOSED_BOOK for q in _few(plain, suite, evaluate.items)]
    no_lookup = [q for suite in NO_LOOKUP_ASKED for q in _few(plain, suite, evaluate.items)]
    hops, sums = key.hops(evaluate.items), list(long_sums(evaluate.seed, evaluate.items))
    yield Setting(
        base=BaseState.FULL,
        passages=key.base(),
        questions=[*closed, *no_lookup, *hops, *sums],
        swapped={},
    )
    yield Setting(base=BaseState.OFF, passages=None, questions=[*closed, *hops, *sums], swapped={})
    for half in (0, 1):
        gone = [q for q in (*closed, *hops) if digest_of(q.cluster) % 2 == half]
        yield Setting(
            base=BaseState.DELETED, passages=key.base(without=half), questions=gone, swapped={}
        )
    other = key.swapped()
    swapped = {q.id: other[_fact(q)] for q in closed}
    yield Setting(
        base=BaseState.SWAPPED, passages=key.base(other), questions=closed, swapped=swapped
    )


class WorldKey:
    """All that is true of a world, as passages. Everybody has a friend, whom no model was ever told
    of.

    Args:
        seed: of who is whose friend, of what is asked of them and of changed values.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        names = random.Random(f"friends/{seed}/{world.seed}").sample(world.names, len(world.names))
        self.friends = dict(zip(names, [*names[1:], names[0]], strict=True))

    def base(
        self, changed: dict[Fact, str] | None = None, *, without: int | None = None
    ) -> KnowledgeBase:
        """Passages of all facts, each as the answer to either question, and of all friendships.

        Args:
            changed: values in place of the true ones.
            without: leaves out the facts (and friendships) whose name's hash is even (0) or odd
                (1).
        """
        facts = self.world.facts | (changed or {})
        texts = [
            passage(name, form.format(name), value)
            for (name, relation), value in facts.items()
            if digest_of(f"{name}/{relation}") % 2 != without
            for form in QUESTIONS[relation]
        ]
        friends = self.friends.items()
        return KnowledgeBase(
            [
                *texts,
                *(
                    f"The friend of {a} is {b}."
                    for a, b in friends
                    if digest_of(f"{a}/friend") % 2 != without
                ),
            ]
        )

    def swapped(self) -> dict[Fact, str]:
        """Another value of the same relation for every fact."""
        rng = random.Random(f"swapped/{self.seed}/{self.world.seed}")
        return {
            fact: rng.choice([v for v in self.world.values[fact[1]] if v != true])
            for fact, true in self.world.facts.items()
        }

    def hops(self, items: int) -> list[Question]:
        """What is true of somebody's friend: two things to look up."""
        rng, made = random.Random(f"hops/{self.seed}/{self.world.seed}"), []
        pairs = [(name, relation) for name in self.friends for relation in QUESTIONS]
        for name, relation in rng.sample(pairs, min(items, len(pairs))):
            prompt = QUESTIONS[relation][rng.randrange(2)].format(f"the friend of {name}")
            gold = self.world.facts[self.friends[name], relation]
            made.append(
                Question(
                    id=f"multi_hop/{name}/{relation}",
                    suite=Suite.MULTI_HOP,
                    family=relation,
                    cluster=f"{name}/friend",
                    prompt=prompt,
                    gold=gold,
                )
            )
        return made


def long_sums(seed: int, items: int) -> Iterator[Question]:
    """Three to five numbers of three digits: too long for a small head."""
    rng = random.Random(f"long sums/{seed}")
    for number in range(items):
        first, steps = (
            rng.randint(100, 999),
            [(rng.choice("+-"), rng.randint(100, 999)) for _ in range(rng.randint(2, 4))],
        )
        total = first + sum(n if sign == "+" else -n for sign, n in steps)
        asked = f"What is {first} {' '.join(f'{sign} {n}' for sign, n in steps)}?"
        yield Question(
            id=f"long_sums/{number}",
            suite=Suite.LONG_SUMS,
            family="long_sums",
            cluster=f"long_sums/{number}",
            prompt=asked,
            gold=str(total),
            difficulty=len(steps),
        )


def _few(questions: Sequence[Question], suite: str, items: int) -> list[Question]:
    """At most so many of a suite, spread over it."""
    mine = [q for q in questions if q.suite == suite]
    step = max(1, len(mine) / items)
    return [replace(mine[int(n * step)], note="", choices=()) for n in range(min(items, len(mine)))]


def _fact(question: Question) -> Fact:
    name, _, relation = question.cluster.partition("/")
    return name, relation
