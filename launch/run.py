"""One recipe, one command: python -m launch.run RECIPE [key=value ...], also under accelerate
launch ... -m launch.run.

Nothing heavy is imported before the recipe is known to be valid: --show and a mistake in a recipe
answer at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from distill.progress import LOG
from launch.runs.process import (
    check_ranks,
    complain,
    configure_torch,
    die_with_launcher,
    machine,
    storage_fault,
    threads_per_process,
)
from launch.runs.ranks import Ranks, ranks_from_env
from launch.runs.run_folder import Workspace
from launch.runs.run_log import logging_to, show_on_console, show_once, write_line
from recipes.errors import PipelineError
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
exit codes: 0 done, 2 something a person must fix (one line a fault), 130 interrupted, 1 a bug (with traceback)
environment: COGNITIVE_CORE_THREADS = CPU threads of each process (default: cores / processes of this machine)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a recipe; gives the exit code."""
    given = parser().parse_intermixed_args(arguments)
    ranks, place = Ranks(), "launch"
    show_on_console()
    try:
        ranks = ranks_from_env()
        recipe = load_recipe(given.recipe, given.overrides)
        if given.show:
            if ranks.is_main:
                write_line(to_yaml(recipe).rstrip("\n"), sys.stdout)
            return 0
        place = f"{recipe.runs}/{recipe.name}"
        check_ranks()
        die_with_launcher()
        run_recipe(recipe, ranks)
        return 0
    except PipelineError as fault:
        return complain(str(fault), ranks)
    except KeyboardInterrupt:
        if ranks.is_main:
            LOG.error("interrupted; the same command continues where it stopped")
        return 130
    except Exception as fault:
        line = storage_fault(fault, place)
        if line is None:
            raise
        return complain(line, ranks)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.run",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs the stages of a recipe: teacher, generate, filter, distill, edit, evaluate, publish.",
    )
    made.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, e.g. recipes/planted_world.yaml"
    )
    made.add_argument(
        "overrides",
        metavar="key=value",
        nargs="*",
        help="laid on the recipe, e.g. distill.steps=300 name=short",
    )
    made.add_argument("--show", action="store_true", help="print the resolved recipe and stop")
    return made


def run_recipe(recipe: Recipe, ranks: Ranks) -> None:
    """Opens the run folder and runs the stages; shows at the end how long it took and where the
    scorecard is.

    Raises:
        PipelineError: what a person must fix.
    """
    work = Workspace(Path(recipe.runs) / recipe.name, ranks)
    work.open(recipe)
    with logging_to(work.root, ranks):
        _run_stages(recipe, work)


def _run_stages(recipe: Recipe, work: Workspace) -> None:
    began, threads, count = time.monotonic(), threads_per_process(), work.ranks.count
    show_once(f"{work.root}: {count} process(es), {threads} thread(s) each; loading", work.ranks)
    # TRACKIO_DIR=... trackio show
    os.environ.setdefault("TRACKIO_DIR", str(Path(recipe.runs).absolute() / "trackio"))
    configure_torch(threads)
    show_once(machine(), work.ranks)
    from launch import pipeline

    pipeline.run(recipe, work)
    work.record_recipe()
    card = work.folder("evaluate") / "scorecard.md"
    where = f"; scorecard: {card}" if card.exists() else ""
    show_once(f"{work.root}: done in {time.monotonic() - began:,.0f} s{where}", work.ranks)


if __name__ == "__main__":
    sys.exit(main())
