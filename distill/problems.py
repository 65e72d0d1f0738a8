"""Problems: what a teacher is asked, and the split that keeps training and evaluation apart."""

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.planted import World
from distill.splits import split_of
from recipes.errors import RecipeError
from recipes.schema import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One prompt with its reference answer, if anybody knows one."""

    id: str
    source: str
    prompt: str
    gold: str | None
    seed: int


def draw_problems(
    sources: Sequence[Source], world: World | None, *, seed: int, start: int, count: int, split: str, block: int | None = None
) -> list[Problem]:
    """Problems number `start` to `start + count`, one block of a longer series.

    Args:
        sources: drawn from by weight.
        world: wanted by sources named planted/FAMILY.
        seed: of the run; each block has its own streams.
        start, count: which problems; a file source that is exhausted gives fewer.
        split: training, select or report; prompts of another split are skipped (but rows of files are taken whole).
        block: problems in every block before this one, so that files are read on where the last block stopped.
    """
    names = _names(sources, seed, start, count, split)
    earlier: Counter[int] = Counter()
    if any(source.path is not None for source in sources):
        for before in range(0, start, block or count):
            earlier.update(_names(sources, seed, before, block or count, split))
    streams = {i: _stream(sources[i], world, f"{seed}/{start}/{split}", earlier[i], split) for i in sorted(set(names))}
    drawn = [next(streams[i], None) for i in names]
    return [problem for problem in drawn if problem is not None]


def _names(sources: Sequence[Source], seed: int, start: int, count: int, split: str) -> list[int]:
    """Which source each problem of a block comes from."""
    return random.Random(f"{seed}/{start}/{split}").choices(range(len(sources)), [s.weight for s in sources], k=count)


def _stream(source: Source, world: World | None, seed: str, start: int, split: str) -> Iterator[Problem]:
    """Endless (or, for a file, finite) problems of one source, in its own seeded order."""
    kind, _, family = source.name.partition("/")
    if source.path is not None:
        return _from_rows(source, start)
    if kind == "planted":
        if world is None:
            raise RecipeError(f"source {source.name} wants a planted world; the recipe has none")
        return _from_world(world, source.name, family, random.Random(f"{seed}/{source.name}"), split)
    if kind == "reasoning_gym":
        return _from_reasoning_gym(source, family, random.Random(f"{seed}/{source.name}"), split)
    raise RecipeError(f"source {source.name}: give it a path, or name it planted/FAMILY or reasoning_gym/DATASET")


def _from_world(world: World, name: str, family: str, rng: random.Random, split: str) -> Iterator[Problem]:
    while True:
        item = world.draw(rng, family, split)
        yield Problem(id=f"{name}/{_short(item.prompt)}", source=name, prompt=item.prompt, gold=item.gold, seed=world.seed)


def _from_reasoning_gym(source: Source, family: str, rng: random.Random, split: str) -> Iterator[Problem]:
    """Fresh blocks of 64 items; items without a reference answer are skipped (five of its families have none)."""
    import reasoning_gym

    while True:
        seed = rng.randrange(2**31)
        for entry in _block(reasoning_gym, family, seed, source.options):
            prompt = entry["question"].strip()
            if entry["answer"] is not None and split_of(prompt) == split:
                yield Problem(id=f"{source.name}/{_short(prompt)}", source=source.name, prompt=prompt, gold=str(entry["answer"]), seed=seed)


def _block(gym: Any, family: str, seed: int, options: dict[str, int]) -> Any:
    try:
        return gym.create_dataset(family, seed=seed, size=64, **options)
    except (ValueError, TypeError, AssertionError) as fault:
        raise RecipeError(f"source reasoning_gym/{family}: {fault}") from fault


def _from_rows(source: Source, start: int) -> Iterator[Problem]:
    """Rows `start`, `start + 1`, ... of a JSONL or Parquet file or hub data set; each row once.

    A file has no split by hash: the recipe names different files (or splits of a data set) to learn from and to be judged by.
    """
    for number, row in enumerate(itertools.islice(_rows(source), start, None), start):
        if source.question not in row:
            raise RecipeError(f"source {source.name}: no column {source.question!r} in {source.path}; it has {', '.join(row)}")
        prompt = str(row[source.question]).strip()
        gold = None if source.answer is None else str(row[source.answer])
        yield Problem(id=f"{source.name}/{_short(prompt)}", source=source.name, prompt=prompt, gold=gold, seed=number)


def _rows(source: Source) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    path = Path(str(source.path))
    kind = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}.get(path.suffix)
    if kind and not path.is_file():
        raise RecipeError(f"source {source.name}: no file at {path}")
    if kind:
        return iter(load_dataset(kind, data_files=str(path), split="train", streaming=True))
    return iter(load_dataset(str(source.path), source.subset, split=source.split, streaming=True))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
