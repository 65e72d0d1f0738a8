"""What contenders are asked. Questions come from the world's key or from outside, never from what a
filter found.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

from distill.problems.common_knowledge import BASICS
from distill.problems.draw import draw_problems
from distill.problems.planted_world import QUESTIONS, REASONING, RELATIONS, Fact, Item, World
from distill.problems.splits import fact_split, split_of
from eval.suites.off_manifold import distracted_questions, off_manifold_questions
from eval.suites.questions import Question, difficulty_of
from recipes.schema import Evaluate, Source
from recipes.vocabulary import Split, Suite


def planted_questions(
    world: World, *, seed: int, items: int, split: str = Split.REPORT
) -> list[Question]:
    """Every suite of the planted world; recall asks about every trained fact of the split (see
    distill/problems/splits.py).
    """
    rng = random.Random(f"evaluation/{seed}/{world.seed}")
    made: list[Question] = []
    each = -(-items // len(REASONING))
    for family in REASONING:
        made += _fresh(world, rng, Suite.REASONING, family, each, split)
    made += _fresh(world, rng, Suite.OPEN_BOOK, "read", items, split)
    made += _fresh(world, rng, Suite.COUNTERFACTUAL, "counter", items, split)
    made += _basics(world, rng, items)
    made += [
        _closed(world, rng, Suite.RECALL, fact, rng.randrange(2))
        for fact in _facts(world.people)
        if fact_split(*fact) == split
    ]
    for suite, people in (
        (Suite.RECALL_NEVER_TRAINED, world.strangers),
        (Suite.RECALL_TEACHER_ONLY, world.teacher_only),
    ):
        made += [
            _closed(world, rng, suite, fact, form) for fact in _facts(people) for form in range(2)
        ]
    made += _untold(world, rng, items)
    if split == Split.REPORT:
        for questions in (off_manifold_questions, distracted_questions):
            made += questions(world, seed, items)
    return made


def source_questions(
    suite: str, sources: Sequence[Source], *, seed: int, items: int, split: str = Split.REPORT
) -> list[Question]:
    """Questions of a suite from reasoning-gym, files or hub data sets; only those with a reference
    answer. Each is judged as generate judges it.
    """
    if not sources:
        return []
    drawn = draw_problems(sources, None, seed=seed, start=0, count=items, split=split)
    unique = {p.id: p for p in drawn if p.verifier != "none"}
    levels = {source.name: source.level for source in sources}
    return [
        Question(
            id=f"{suite}/{p.id}",
            suite=suite,
            family=p.source.partition("/")[2] or p.source,
            cluster=p.id,
            prompt=p.prompt,
            gold=p.gold or "",
            difficulty=levels.get(p.source),
            check=p.check(),
        )
        for p in unique.values()
    ]


def all_questions(evaluate: Evaluate, world: World | None) -> list[Question]:
    """What the recipe's evaluation asks."""
    made = planted_questions(world, seed=evaluate.seed, items=evaluate.items) if world else []
    outside = (
        (Suite.REASONING, evaluate.sources),
        (Suite.RECALL, evaluate.recall_sources),
        (Suite.BASICS, evaluate.basics_sources),
        (Suite.OPEN_BOOK, evaluate.open_book_sources),
    )
    for suite, sources in outside:
        made += source_questions(suite, sources, seed=evaluate.seed, items=evaluate.items)
    return made


def _facts(people: Iterable[str]) -> Iterator[Fact]:
    return itertools.product(people, RELATIONS)


def _fresh(
    world: World, rng: random.Random, suite: str, family: str, items: int, split: str
) -> list[Question]:
    """Distinct problems of one family on this side of the split (fewer where its space is
    small).
    """
    found: dict[str, Item] = {}
    for _ in range(items * 20):
        item = world.read(rng, turns=1) if family == "read" else world.draw(rng, family, split)
        if family != "read" or split_of(item.prompt) == split:
            found.setdefault(item.prompt, item)
        if len(found) == items:
            break
    return [
        Question(
            id=f"{suite}/{family}/{n}",
            suite=suite,
            family=family,
            cluster=f"{suite}/{family}/{n}",
            prompt=prompt,
            gold=str(item.gold),
            difficulty=difficulty_of(family, prompt),
        )
        for n, (prompt, item) in enumerate(found.items())
    ]


def _basics(world: World, rng: random.Random, items: int) -> list[Question]:
    """Every question of the minimum curriculum, then some again behind statements that have nothing
    to do with it.
    """
    numbers = list(range(len(BASICS)))
    rng.shuffle(numbers)
    made = []
    for n in range(items):
        number = numbers[n % len(numbers)]
        item = world.basics(rng, number, distract=0.0 if n < len(numbers) else 1.0)
        made.append(
            Question(
                id=f"basics/{n}",
                suite=Suite.BASICS,
                family="basics",
                cluster=f"basics/{number}",
                prompt=item.prompt,
                gold=str(item.gold),
            )
        )
    return made


def _closed(world: World, rng: random.Random, suite: str, fact: Fact, form: int) -> Question:
    """A fact, closed book, with the value of the world's key; strangers have one too, which nobody
    was ever told.
    """
    name, relation = fact
    return Question(
        id=f"{suite}/{name}/{relation}/{form}",
        suite=suite,
        family=relation,
        cluster=f"{name}/{relation}",
        prompt=QUESTIONS[relation][form].format(name),
        gold=world.facts[fact],
        relation=relation,
        exposure=world.exposure.get(fact, 0),
        note=f"<think> {name}",
        choices=tuple(world.values[relation]),
    )


def _untold(world: World, rng: random.Random, items: int) -> list[Question]:
    """Questions whose fact was not told: of everybody, half behind statements about others, and age
    problems.
    """
    made = []
    for n in range(items):
        name = rng.choice((world.people, world.strangers, world.teacher_only)[n % 3])
        if n % 4 == 3:
            item, family = world.age(rng, name=name, told=False), "age_problem"
        else:
            distract = float(n % 2)
            item, family = (
                world.closed(rng, (name, rng.choice(RELATIONS)), distract=distract),
                "distracted" if distract else "plain",
            )
        made.append(
            Question(
                id=f"untold/{n}",
                suite=Suite.UNANSWERABLE,
                family=family,
                cluster=f"untold/{n}",
                prompt=item.prompt,
                gold=str(item.gold),
            )
        )
    return made
