"""One recipe, one command: python -m launch.run RECIPE [key=value ...], also under accelerate launch ... -m launch.run.

Nothing heavy is imported before the recipe is known to be valid: --show and a mistake in a recipe answer at once.
"""

import argparse
import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from launch.runs.run_folder import Ranks, Workspace, ranks_from_env
from recipes.errors import PipelineError, RecipeError, TrainingError
from recipes.load import load_recipe, to_yaml
from recipes.schema import Recipe

EXAMPLES = """examples:
  python -m launch.run recipes/smoke.yaml                         every stage, one process
  python -m launch.run recipes/planted_world.yaml --show          print the resolved recipe and stop
  python -m launch.doctor recipes/planted_world.yaml              look whether it can work and what it takes, and stop
  python -m launch.run recipes/planted_world.yaml distill.steps=300 name=short
                                                                  a variant; finished stages it shares are reused
  python -m launch.run recipes/planted_world.yaml stages=generate,filter
  accelerate launch --config_file launch/accelerate/zero2_cpu2.yaml -m launch.run recipes/smoke.yaml
                                                                  the same recipe on two CPU ranks

A run that was stopped, in whatever way, continues when the same command is given again.
exit codes: 0 done, 2 something a person must mend (one line a fault), 130 interrupted, 1 a bug (with traceback)
environment: COGNITIVE_CORE_THREADS = CPU threads of each process (default: cores / processes of this machine)"""

STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
STORAGE_TEXTS = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter", "unexpected pos")  # safetensors; torch.save
GRACE_SECONDS = 3.0  # a launcher needs less to end the other ranks after one has failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a recipe; gives the exit code."""
    given = parser().parse_intermixed_args(arguments)
    ranks, place = ranks_from_env(), "launch"
    try:
        recipe = load_recipe(given.recipe, given.overrides)
        if given.show:
            if ranks.is_main:
                print(to_yaml(recipe), end="")
            return 0
        place = f"{recipe.runs}/{recipe.name}"
        check_ranks()
        die_with_launcher()
        walk(recipe, ranks)
        return 0
    except PipelineError as fault:
        return complain(str(fault), ranks)
    except KeyboardInterrupt:
        if ranks.is_main:
            tqdm.write("interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    except Exception as fault:
        line = storage_fault(fault, place)
        if line is None:
            raise
        return complain(line, ranks)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.run", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs the stages of a recipe: teacher, generate, filter, distill, edit, evaluate, publish.",
    )  # fmt: skip
    made.add_argument("recipe", metavar="RECIPE", help="a YAML file, e.g. recipes/planted_world.yaml")
    made.add_argument("overrides", metavar="key=value", nargs="*", help="laid on the recipe, e.g. distill.steps=300 name=short")
    made.add_argument("--show", action="store_true", help="print the resolved recipe and stop")
    return made


def walk(recipe: Recipe, ranks: Ranks) -> None:
    """Opens the run folder and walks the street; says at the end how long it took and where the scorecard is."""
    began = time.monotonic()
    threads = threads_per_process()
    work = Workspace(Path(recipe.runs) / recipe.name, ranks)
    work.open(recipe)
    if ranks.is_main:
        print(f"{work.root}: {ranks.count} process(es), {threads} thread(s) each; loading", flush=True)
    os.environ.setdefault("TRACKIO_DIR", str(Path(recipe.runs).absolute() / "trackio"))  # TRACKIO_DIR=... trackio show
    settle(threads)
    if ranks.is_main:
        print(machine(), flush=True)
    from launch import pipeline

    pipeline.run(recipe, work)
    work.record_recipe()
    if ranks.is_main:
        card = work.folder("evaluate") / "scorecard.md"
        print(f"{work.root}: done in {time.monotonic() - began:,.0f} s" + (f"; scorecard: {card}" if card.exists() else ""), flush=True)


def threads_per_process() -> int:
    """COGNITIVE_CORE_THREADS, or this machine's usable cores shared out over its processes.

    OMP_NUM_THREADS is not asked: accelerate and torchrun set it to 1 without being told to.

    Raises:
        RecipeError: the variable holds no whole number above 0.
    """
    wanted = os.environ.get("COGNITIVE_CORE_THREADS")
    if wanted is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise RecipeError(f"environment: COGNITIVE_CORE_THREADS is {wanted!r}, wanted a whole number of threads from 1 up")
    return int(wanted)


def settle(threads: int) -> None:
    """Sets the CPU threads of torch and silences the libraries' own bars; hub downloads keep theirs, they may take hours."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # threads that spin longer are ten times slower on a shared core (docs/log.md)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions")  # two environments would build over each other's ops
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
        torch.set_flush_denormal(True)  # a sharp teacher gives probabilities so small that arithmetic on them takes a third of a step
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it found no other


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
    told = any(name in os.environ for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"))
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
        numbered = isinstance(link, OSError) and link.errno in STORAGE
        if numbered or any(text in str(link) for text in STORAGE_TEXTS):
            what = os.strerror(link.errno) if numbered else "the disk is full or cannot be written"
            where = (link.filename if numbered else None) or place
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
    for line in filter(None, text.splitlines()):
        tqdm.write(f"{mark}: {line}", file=sys.stderr)  # on a line of its own also where a progress bar stands
    return 2


if __name__ == "__main__":
    sys.exit(main())
