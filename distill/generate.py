"""The teacher writes traces: one Parquet file a shard of problems, the unit of resume."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from data_filters.shards import write_shard
from data_filters.traces import SCHEMA, Trace, to_row, trace_id
from data_filters.verify import final_answer
from distill.engine import LocalEngine
from distill.planted import World
from distill.problems import Problem, draw_problems
from distill.speech import Completion, Sampling
from recipes.schema import Generate


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"traces-{number:05d}.parquet"


def num_shards(generate: Generate) -> int:
    return -(-generate.count // generate.shard_problems)


def write_traces(
    engine: LocalEngine, generate: Generate, world: World | None, *, shard: int, folder: Path, seed: int, teacher: str,
    progress: Callable[[int, int], None],
) -> int:  # fmt: skip
    """One shard of traces; what it holds depends on (seed, shard) only, not on who writes it.

    Returns:
        the number of traces written.
    """
    start = shard * generate.shard_problems
    count = min(generate.shard_problems, generate.count - start)
    problems = draw_problems(generate.sources, world, seed=seed, start=start, count=count, split="training", block=generate.shard_problems)
    asked = [(problem, sample) for problem in problems for sample in range(generate.samples_per_problem)]
    sampling = Sampling(
        max_new_tokens=generate.max_new_tokens, temperature=generate.temperature, top_p=generate.top_p, seed=seed * 100_003 + shard
    )
    conversations = [conversation(problem.prompt, generate.system) for problem, _ in asked]
    completions = engine.complete(conversations, sampling, progress=progress)
    rows = [
        to_row(_trace(problem, sample, messages, completion, sampling, teacher, seed))
        for (problem, sample), messages, completion in zip(asked, conversations, completions, strict=True)
    ]
    write_shard(shard_path(folder, shard), rows, SCHEMA)
    return len(rows)


def conversation(prompt: str, system: str | None) -> list[dict[str, str]]:
    """What a model is asked, as messages."""
    said = [{"role": "system", "content": system}] if system else []
    return [*said, {"role": "user", "content": prompt}]


def _trace(
    problem: Problem, sample: int, messages: Sequence[dict[str, str]], written: Completion, sampling: Sampling, teacher: str, seed: int
) -> Trace:
    how = json.dumps({"temperature": sampling.temperature, "top_p": sampling.top_p, "max_new_tokens": sampling.max_new_tokens})
    return Trace(
        id=trace_id(problem.id, sample, teacher, problem.prompt, how, seed),
        problem_id=problem.id, source=problem.source, seed=problem.seed,
        messages=[*messages, {"role": "assistant", "content": written.text}], gold=problem.gold, answer=final_answer(written.text),
        prompt_tokens=written.prompt_tokens, completion_tokens=written.completion_tokens, finish_reason=written.finish_reason,
        teacher=teacher, engine="transformers", sampling=how,
    )  # fmt: skip
