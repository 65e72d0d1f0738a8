"""A journal of many answers: how fast they are written, how long a restart takes, and what memory
it holds.

python -m benchmarks.journal                       100,000 answers of 300 characters
python -m benchmarks.journal --answers 1000000
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_filters.records.traces import trace_id
from distill.engines.protocol import Completion
from distill.generation.journal import Journal
from recipes.vocabulary import FinishReason


def main() -> None:
    given = parser().parse_args()
    if given.part:
        return print(json.dumps(PARTS[given.part](given)))
    with tempfile.TemporaryDirectory() as folder:
        sizes = [given.answers // 10, given.answers]
        rows = [
            {"answers": size} | measure(size, given.characters, Path(folder) / f"{size}.jsonl")
            for size in sizes
        ]
    print(
        f"{'answers':>10} {'written/s':>10} {'restart, s':>10} {'read back/s':>11} {'memory, MB':>11} {'file, MB':>9}"
    )
    for row in rows:
        print(
            f"{row['answers']:>10,} {row['written_per_second']:>10,.0f} {row['restart_seconds']:>10.2f} {row['read_per_second']:>11,.0f} "
            f"{row['memory_mb']:>11.1f} {row['file_mb']:>9.1f}"
        )
    print(json.dumps({"rows": rows}))


def measure(answers: int, characters: int, path: Path) -> dict[str, float]:
    """Each part in a process of its own: it is a restart, and memory is that of the part alone."""
    found: dict[str, float] = {}
    for part in PARTS:
        words = [
            sys.executable,
            "-m",
            "benchmarks.journal",
            "--part",
            part,
            "--path",
            str(path),
            "--answers",
            str(answers),
        ]
        said = subprocess.run(
            [*words, "--characters", str(characters)], check=True, capture_output=True, text=True
        ).stdout
        found |= json.loads(said.splitlines()[-1])
    return found | {"file_mb": path.stat().st_size / 1e6}


def write(given: argparse.Namespace) -> dict[str, float]:
    text = "x" * given.characters
    began = time.perf_counter()
    with Journal(given.path) as journal:
        for number in range(given.answers):
            journal.add(
                trace_id(number),
                Completion(
                    text=text, prompt_tokens=9, completion_tokens=9, finish_reason=FinishReason.STOP
                ),
            )
    return {"written_per_second": given.answers / (time.perf_counter() - began)}


def restart(given: argparse.Namespace) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with Journal(given.path) as journal:
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        there = sum(journal.get(trace_id(number)) is not None for number in range(given.answers))
        reading = time.perf_counter() - began
    assert there == given.answers
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "restart_seconds": seconds,
        "read_per_second": given.answers / reading,
        "memory_mb": memory,
    }


PARTS = {"write": write, "restart": restart}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--answers", type=int, default=100_000)
    made.add_argument("--characters", type=int, default=300, help="of one answer")
    made.add_argument("--part", choices=("write", "restart"), help=argparse.SUPPRESS)
    made.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    main()
