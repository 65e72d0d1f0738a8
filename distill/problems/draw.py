"""Problems: what a teacher is asked, and the split that keeps training and evaluation apart."""

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_filters.verify.checks import Check
from data_filters.verify.reading.references import Kind, verifier_of
from distill.problems.dataset_problems import read_rows
from distill.problems.gym_problems import entries
from distill.problems.planted_world import World
from distill.problems.splits import digest_of, split_of
from recipes.errors import RecipeError
from recipes.schema import Source

# draws without a new prompt of the split, after which a data set has no more; 5 % of a large one
# are in the smallest split
PATIENCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One prompt with all that is needed to judge an answer to it."""

    id: str
    source: str
    prompt: str
    gold: str | None
    seed: int
    verifier: Kind = "answer"
    entry: dict[str, Any] | None = None  # reasoning-gym's whole entry: question, answer, metadata
    tests: str | None = None  # Python assertions
    family: str = ""  # reasoning-gym's name of the data set
    others: tuple[str, ...] = ()  # further references, each as good as gold

    def check(self) -> Check:
        """What an answer is judged against."""
        return Check(
            kind=self.verifier,
            gold=self.gold,
            family=self.family,
            entry=self.entry,
            tests=self.tests,
            others=self.others,
        )


def draw_problems(
    sources: Sequence[Source],
    world: World | None,
    *,
    seed: int,
    start: int,
    count: int,
    split: str,
    block: int | None = None,
) -> list[Problem]:
    """Problems number `start` to `start + count`, one block of a longer series.

    Args:
        sources: drawn from by weight.
        world: wanted by sources named planted/FAMILY.
        seed: of the run; each block has its own streams.
        start, count: which problems; a source that is exhausted, and a row without a prompt, give
            fewer.
        split: training, select or report; prompts of another split are skipped (but rows of files
            are taken whole).
        block: problems in every block before this one, so that files are read on where the last
            block stopped.
    """
    names = _names(sources, seed, start, count, split)
    earlier: Counter[int] = Counter()
    if any(source.path is not None for source in sources):
        for before in range(0, start, block or count):
            earlier.update(_names(sources, seed, before, block or count, split))
    wanted = Counter(names)
    streams = {
        i: _stream(sources[i], world, f"{seed}/{start}/{split}", earlier[i], wanted[i], split)
        for i in sorted(wanted)
    }
    drawn = [next(streams[i], None) for i in names]
    return [problem for problem in drawn if problem is not None]


def _names(sources: Sequence[Source], seed: int, start: int, count: int, split: str) -> list[int]:
    """Which source each problem of a block comes from."""
    return random.Random(f"{seed}/{start}/{split}").choices(
        range(len(sources)), [s.weight for s in sources], k=count
    )


def _stream(
    source: Source, world: World | None, seed: str, start: int, count: int, split: str
) -> Iterator[Problem]:
    """Problems of one source, in its own seeded order: endless, or for a file those of rows `start`
    to `start + count`.
    """
    kind, _, family = source.name.partition("/")
    if source.path is not None:
        return _from_rows(source, start, count)
    if kind == "planted":
        if world is None:
            raise RecipeError(f"source {source.name} needs a planted world; the recipe has none")
        return _from_world(world, source, family, random.Random(f"{seed}/{source.name}"), split)
    if kind == "reasoning_gym":
        return _from_reasoning_gym(source, family, random.Random(f"{seed}/{source.name}"), split)
    raise RecipeError(
        f"source {source.name}: give it a path, or name it planted/FAMILY or reasoning_gym/DATASET"
    )


def _from_world(
    world: World, source: Source, family: str, rng: random.Random, split: str
) -> Iterator[Problem]:
    verifier: Kind = "answer" if source.verifier == "auto" else source.verifier
    while True:
        item = world.draw(rng, family, split)
        yield Problem(
            id=_id(source, item.prompt),
            source=source.name,
            prompt=item.prompt,
            gold=item.gold,
            seed=world.seed,
            verifier=verifier,
        )


def _from_reasoning_gym(
    source: Source, family: str, rng: random.Random, split: str
) -> Iterator[Problem]:
    """Prompts come again as they are drawn again; a data set of few prompts ends when nothing new
    has come for long.
    """
    seen: set[int] = set()
    barren = 0
    for seed, entry in entries(family, rng, level=source.level, options=source.options):
        prompt, ours = entry["question"].strip(), False
        if split_of(prompt) == split:
            ours, before = True, len(seen)
            seen.add(digest_of(prompt))
            barren = barren + 1 if len(seen) == before else 0
        else:
            barren += 1
        if barren >= PATIENCE:
            break
        if ours:
            yield _of_entry(source, family, prompt, seed, entry)
    if not seen:
        raise RecipeError(
            f"source {source.name}: none of {PATIENCE} draws is in the split {split}, it has too few problems; "
            "set a harder level or other options, or take another data set"
        )
    logging.getLogger(__name__).warning(
        "source %s: nothing new in %d draws after %d prompts of the split %s; it gives no more to this block",
        source.name,
        PATIENCE,
        len(seen),
        split,
    )


def _of_entry(
    source: Source, family: str, prompt: str, seed: int, entry: dict[str, Any]
) -> Problem:
    gold = None if entry["answer"] is None else str(entry["answer"])
    verifier: Kind = "reasoning_gym" if source.verifier == "auto" else source.verifier
    if gold is None and verifier not in ("reasoning_gym", "none"):
        raise RecipeError(
            f"source {source.name}: verifier {verifier} needs a reference answer, this data set has none; leave verifier out"
        )
    return Problem(
        id=_id(source, prompt),
        source=source.name,
        prompt=prompt,
        gold=gold,
        seed=seed,
        verifier=verifier,
        entry=entry,
        family=family,
    )


def _from_rows(source: Source, start: int, count: int) -> Iterator[Problem]:
    """Rows `start` to `start + count` of a JSONL or Parquet file or hub data set; each row once.

    A file has no split by hash: the recipe names different files (or splits of a data set) to learn
    from and to be judged by.
    """
    for row in read_rows(source, start, count):
        verifier = verifier_of(source.verifier, row.gold, row.tests)
        yield Problem(
            id=_id(source, row.prompt),
            source=source.name,
            prompt=row.prompt,
            gold=row.gold,
            seed=row.number,
            verifier=verifier,
            tests=row.tests,
            others=row.others,
        )


def _id(source: Source, prompt: str) -> str:
    return f"{source.name}/{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"
