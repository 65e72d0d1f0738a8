"""What the generate stage leaves: shards of traces, a table of problems beside each, a report and
samples to read.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_filters.records.files import replacing
from data_filters.records.shards import iter_traces
from distill.generation.attempts import Attempt
from distill.generation.live_stats import LiveCounts
from distill.problems.draw import Problem
from recipes.schema import Generate
from recipes.vocabulary import Verdict

PROBLEMS = pa.schema(
    [
        *((name, pa.string()) for name in ("problem_id", "source", "prompt", "gold")),
        *((name, pa.int32()) for name in ("attempts", *Verdict, "truncated")),
        ("solve_rate", pa.float32()),
        ("shortest_correct_tokens", pa.int32()),
    ]
)


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"traces-{number:05d}.parquet"


def num_shards(generate: Generate) -> int:
    return -(-generate.count // generate.shard_problems)


def summaries(
    problems: Sequence[Problem], tried: Sequence[Sequence[Attempt]]
) -> list[dict[str, Any]]:
    """A row a problem: how often it was tried and solved; the rate is null where nobody could
    judge.
    """
    rows = []
    for problem, attempts in zip(problems, tried, strict=True):
        counts = {
            verdict: sum(one.verdict == verdict and one.whole for one in attempts)
            for verdict in Verdict
        }
        judged = len(attempts) - counts[Verdict.UNKNOWN]
        solved = [
            one.written.completion_tokens for one in attempts if one.verdict == Verdict.CORRECT
        ]
        rows.append(
            {name: getattr(problem, name) for name in ("source", "prompt", "gold")}
            | counts
            | {
                "problem_id": problem.id,
                "attempts": len(attempts),
                "truncated": sum(not one.whole for one in attempts),
                "solve_rate": counts[Verdict.CORRECT] / judged if judged else None,
                "shortest_correct_tokens": min(solved, default=None),
            }
        )
    return rows


def write_report(folder: Path, **more: Any) -> dict[str, Any]:
    """report.json and samples.md from the shards in `folder`; gives the report.

    Args:
        more: further entries, e.g. what the connection counted.
    """
    counts = LiveCounts()
    for trace in iter_traces(folder):
        counts.add(trace)
    report = counts.report() | more
    for name, text in (
        ("report.json", json.dumps(report, indent=1, sort_keys=True) + "\n"),
        ("samples.md", counts.samples_text()),
    ):
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return report
