"""What the benchmarks share: timing in turns, peak memory, a table for people and a last line for
programs.
"""

import gc
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MB = 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TAIL_CHARACTERS = 3000  # of a failed child's errors


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one callable, a number for each round."""

    seconds: list[float]

    @property
    def least(self) -> float:
        """The steadiest figure: a shared machine only ever slows down."""
        return min(self.seconds)

    @property
    def middle(self) -> float:
        return median(self.seconds)


def take_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> dict[str, Times]:
    """Times callables in interleaved rounds, so that a slow minute hits all of them, after one
    round that does not count.

    Each round starts with another callable: none is always the one that runs after the largest.

    Args:
        calls: by name; what they give is dropped before the next one runs.
        rounds: 1 and above.
        device: on "cuda" the clock stops when the device has finished.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        names = list(calls)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            passed = clock(calls[name], device)
            if number:
                seconds[name].append(passed)
    return {name: Times(found) for name, found in seconds.items()}


def clock(call: Callable[[], object], device: str = "cpu") -> float:
    """Seconds of one call."""
    wait(device)
    began = time.perf_counter()
    made = call()
    wait(device)
    passed = time.perf_counter() - began
    del made  # freeing what was made is not the call's work
    return passed


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


# --- memory


def extra_peak_mb(call: Callable[[], object], device: str = "cpu") -> float:
    """How far memory rises during a call above where it stood before, in MB of 2**20 bytes.

    On a CPU it is the resident set of this process: call it in a fresh one (`fresh_process`), since
    memory that was freed but not given back would hide the rise, and after a tiny warm-up, since
    libraries load parts of themselves at first use.
    """
    gc.collect()
    if device == "cuda":
        import torch

        wait(device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        wait(device)
        return (torch.cuda.max_memory_allocated() - before) / MB
    forget_peak()
    before_mb = rss_mb()
    call()
    return peak_rss_mb() - before_mb


def forget_peak() -> None:
    """Makes the peak of this process start anew; without /proc the peak of the imports and inputs
    stays a lower bound.
    """
    if CLEAR.exists():
        CLEAR.write_text("5")  # man 5 proc: resets VmHWM


def rss_mb() -> float:
    """Resident memory of this process now; where the system does not say (no /proc), its peak so
    far.
    """
    return status_mb("VmRSS") if STATUS.exists() else peak_rss_mb()


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB of 2**20 bytes.

    VmHWM, where there is one: ru_maxrss of a child begins at what its parent held when it was
    started.
    """
    if STATUS.exists():
        return status_mb("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB, 1)


def status_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found, f"{STATUS} has no {name}"
    return round(int(found[1]) / 1024, 1)


def fresh_process(module: str, words: Sequence[str]) -> dict[str, Any]:
    """The JSON object that `python -m module words` prints last; leaves the program if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(
            f"{module} {' '.join(words)} left with {done.returncode}:\n{done.stderr[-TAIL_CHARACTERS:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


# --- output


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Aligned columns, one for every key of any row; numbers to the right, what a row lacks is a
    dash.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[written(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [not any(isinstance(row.get(column), str) for row in rows) for column in columns]
    for line in [columns, *cells]:
        parts = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )
        print("  ".join(parts).rstrip())


def written(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def print_json(found: Mapping[str, Any]) -> None:
    """One line: the last that a benchmark prints."""
    print(json.dumps(found), flush=True)


def use_threads(count: int) -> None:
    """CPU threads of torch, and denormal numbers as 0: they slow the tails of a softmax down
    without changing a sum.

    Call it after every import: some libraries set the number themselves.
    """
    import torch

    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
