"""One kind of pass: a function over numbered units, in this process or in several, which goes on
where it was stopped.

The function writes one file a unit, by rename, and nothing else: units may be done in any order and
any number of times. Another engine can call the same functions with (folder, number) and leave this
file alone.
"""

import pkgutil
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from data_filters.verify.worker_pool import WorkerPool
from recipes import errors
from recipes.errors import PipelineError, ShardError

WEEK_SECONDS = 7 * 86_400.0
MEMORY_GIB = 64.0  # of address space, not of memory
Step = Callable[[Path, int], int]  # (working folder, unit) -> traces done
Outcome = tuple[int, str, str]  # traces done, class and text of the fault; empty: none


def run_pass(
    step: Step, folder: Path, todo: Sequence[int], processes: int, progress: Callable[[int], None]
) -> None:
    """Calls `step` for every unit of `todo`.

    Args:
        step: a function of a module.
        folder: the working folder.
        todo: numbers of units.
        processes: 1: in this one.
        progress: called with the traces of each unit that is done.

    Raises:
        PipelineError: as `step` raises it.
        RuntimeError: something else went wrong in a process; its traceback stands in the message.
    """
    if processes == 1 or len(todo) < 2:
        for number in todo:
            progress(step(folder, number))
        return
    free: SimpleQueue[WorkerPool] = SimpleQueue()
    workers = [
        WorkerPool(1, WEEK_SECONDS, modules=[__name__], memory_gib=MEMORY_GIB)
        for _ in range(min(processes, len(todo)))
    ]
    for worker in workers:
        free.put(worker)
    with ThreadPoolExecutor(len(workers)) as pool:
        jobs = [pool.submit(_elsewhere, free, step, folder, number) for number in todo]
        try:
            for job in as_completed(jobs):
                progress(job.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for worker in workers:
                worker.close()


def _elsewhere(free: "SimpleQueue[WorkerPool]", step: Step, folder: Path, number: int) -> int:
    """What a step gave in another process. Plain values travel both ways, never objects."""
    worker = free.get()
    arguments = (f"{step.__module__}:{step.__qualname__}", str(folder), number)
    try:
        done = worker.run([(f"{__name__}.attempt", arguments)])[0]
    finally:
        free.put(worker)
    if done.fault:
        raise ShardError(
            f"{folder}: the process that worked at unit {number} ended ({done.fault}); "
            "free memory or lower filter.num_processes"
        )
    traces, kind, text = done.value
    if kind:
        fault = getattr(errors, kind, RuntimeError)
        raise (fault if issubclass(fault, PipelineError) else RuntimeError)(text)
    return int(traces)


def attempt(step: str, folder: str, number: int) -> Outcome:
    """What a step gave, or what it raised, in a form that travels between processes.

    Args:
        step: "module:function".
        folder: the working folder.
        number: of the unit.
    """
    try:
        return pkgutil.resolve_name(step)(Path(folder), number), "", ""
    except PipelineError as fault:
        return 0, type(fault).__name__, str(fault)
    except Exception:
        return 0, "RuntimeError", f"unit {number}:\n{traceback.format_exc()}"
