"""Problems off the beaten track: longer than any that was taught, with made-up rules, among
statements that do not matter.
"""

import random

from distill.problems.arithmetic_chains import chain
from distill.problems.planted_world import LETTERS, QUESTIONS, World
from eval.suites.questions import Question
from recipes.vocabulary import Suite

LENGTHS = (6, 7)  # operands; the world's own sums have 3 to 5
DISTRACTORS = (0, 1, 2, 4, 8)
SIGNS = {"@": "+", "#": "-"}


def off_manifold_questions(world: World, seed: int, items: int) -> list[Question]:
    """Chains of unseen length, operators with new names, and a rule to apply, a third each; nothing
    of it is in any training.

    Args:
        world: has no part in them.
        seed: of the problems.
        items: how many.
    """
    rng = random.Random(f"off_manifold/{seed}")
    made = []
    for number in range(items):
        family = ("longer", "operator", "rule")[number % 3]
        prompt, gold = {"longer": _longer, "operator": _operator, "rule": _rule}[family](rng)
        name = f"off_manifold/{family}/{number}"
        made.append(
            Question(
                id=name,
                suite=Suite.OFF_MANIFOLD,
                family=family,
                cluster=name,
                prompt=prompt,
                gold=gold,
            )
        )
    return made


def distracted_questions(world: World, seed: int, items: int) -> list[Question]:
    """Something told about one person among 0, 1, 2, 4 and 8 statements about others, a fifth
    each.
    """
    rng = random.Random(f"distracted/{seed}/{world.seed}")
    made = []
    for number in range(items):
        count = DISTRACTORS[number % len(DISTRACTORS)]
        relation = rng.choice(("home", "job", "pet"))
        pairs = world.told(rng, rng.sample(world.names, count + 1), relation)
        name, value = rng.choice(pairs)
        prompt = (
            f"{world.tell(pairs, relation)} {QUESTIONS[relation][rng.randrange(2)].format(name)}"
        )
        where = f"distracted/{count}/{number}"
        made.append(
            Question(
                id=where,
                suite=Suite.DISTRACTED,
                family=str(count),
                cluster=where,
                prompt=prompt,
                gold=value,
                distractors=count,
            )
        )
    return made


def _longer(rng: random.Random) -> tuple[str, str]:
    start, steps, _, total = chain(rng, rng.choice(LENGTHS))
    return f"What is {start} {' '.join(f'{sign} {number}' for sign, number in steps)}?", str(total)


def _operator(rng: random.Random) -> tuple[str, str]:
    """Two steps, so that length is not what is new."""
    start, steps, _, total = chain(rng, 3)
    names = {sign: name for name, sign in SIGNS.items()}
    said = " ".join(f"{name} means {sign}." for name, sign in SIGNS.items())
    return (
        f"{said} What is {start} {' '.join(f'{names[sign]} {number}' for sign, number in steps)}?",
        str(total),
    )


def _rule(rng: random.Random) -> tuple[str, str]:
    old, new, other = rng.sample(LETTERS, 3)
    row = [rng.choice((old, other, rng.choice(LETTERS))) for _ in range(rng.randint(3, 6))]
    row[rng.randrange(len(row))] = old
    changed = " ".join(new if letter == old else letter for letter in row)
    return f"Rule: every {old} becomes {new}. Apply the rule to {' '.join(row)}.", changed
