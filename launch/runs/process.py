"""How a process of a run is set up, and how its faults are told to people: threads, libraries, ranks, exit codes."""

import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator

from distill.progress import LOG
from launch.runs.ranks import Ranks, ranks_from_env
from launch.runs.run_log import show_on_console
from recipes.errors import RecipeError, TrainingError

STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
STORAGE_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "PytorchStreamWriter",
    "unexpected pos",
)  # safetensors; torch.save
GRACE_SECONDS = 3.0  # a launcher needs less to end the other ranks after one has failed


def threads_per_process() -> int:
    """COGNITIVE_CORE_THREADS, or this machine's usable cores shared out over its processes.

    OMP_NUM_THREADS is not asked: accelerate and torchrun set it to 1 without being told to.

    Raises:
        RecipeError: the variable holds no whole number above 0.
    """
    wanted = os.environ.get("COGNITIVE_CORE_THREADS")
    if wanted is None:
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise RecipeError(
            f"environment: COGNITIVE_CORE_THREADS is {wanted!r}, expected a whole number of threads from 1 up"
        )
    return int(wanted)


def configure_torch(threads: int) -> None:
    """Sets the CPU threads of torch and silences the libraries' own bars; hub downloads keep theirs, they may take hours."""
    os.environ.setdefault(
        "GOMP_SPINCOUNT", "10000"
    )  # threads that spin longer are ten times slower on a shared core (docs/log.md)
    os.environ.setdefault(
        "TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions"
    )  # two environments would build over each other's ops
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("ACCELERATE_LOG_LEVEL", "ERROR")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import torch
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    if ranks_from_env().is_main and not os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
        enable_progress_bars()
    if not torch.cuda.is_available():
        torch.set_num_threads(threads)
        torch.set_flush_denormal(
            True
        )  # a sharp teacher gives probabilities so small that arithmetic on them takes a third of a step
        os.environ.setdefault(
            "DS_ACCELERATOR", "cpu"
        )  # else DeepSpeed warns that it found no other


def machine() -> str:
    """What torch computes on, for people: the next imports take seconds, and a command is never silent for long."""
    import torch

    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"torch {torch.__version__} on {where}; loading the stages"


def check_ranks() -> None:
    """Refuses a launch that started one process where the machine file asked for several.

    accelerate does that, without a word, for distributed_type MULTI_CPU where mpirun is missing: it names a meeting point but no ranks.

    Raises:
        TrainingError: as said.
    """
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in os.environ
    several = "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ
    told = any(
        name in os.environ
        for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    )
    if by_accelerate and several and not told:
        raise TrainingError(
            "launch: the accelerate config asks for several processes but only one was started, without a rank; on CPUs use "
            "distributed_type DEEPSPEED as in launch/accelerate/zero2_cpu2.yaml, or num_processes: 1 (with MASTER_ADDR unset)"
        )


def die_with_launcher() -> None:
    """Asks Linux to end this rank when its launcher is killed: an orphan would go on writing while the run is started again."""
    launched = "LOCAL_RANK" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def storage_fault(fault: BaseException, place: str) -> str | None:
    """One line for a full or unwritable disk, however deep a library wrapped it; None for any other fault.

    Args:
        place: named where the fault names no file.
    """
    for link in _causes(fault):
        what, where = "the disk is full or cannot be written", place
        if isinstance(link, OSError) and link.errno in STORAGE:
            what, where = os.strerror(link.errno), link.filename or place
        elif not any(text in str(link) for text in STORAGE_TEXTS):
            continue
        return f"{where}: {what}; free some space or make it writable, then give the same command again: finished work is kept"
    return None


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def complain(text: str, ranks: Ranks) -> int:
    """Prints each fault on a line of its own; gives the exit code 2.

    Most faults meet every rank, so the others give the main rank's line time to end the launch; a fault that only they met is printed.
    """
    mark = "error" if ranks.is_main else f"error (rank {ranks.index})"
    if not ranks.is_main:
        time.sleep(GRACE_SECONDS)
    show_on_console()
    for line in filter(None, text.splitlines()):
        LOG.error("%s: %s", mark, line)
    return 2
