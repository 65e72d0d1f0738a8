"""One recipe for several shapes: trains and asks a ladder of teachers and writes what they answered
beside their sizes.

    python -m launch.ladder recipes/sparsity.yaml

Every rung is an ordinary run of its own (RUNS/NAME-RUNG-seed_N), so that what was stopped goes on
and what is finished is skipped.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from launch.runs.process import complain
from launch.runs.ranks import Ranks
from launch.runs.run_folder import Workspace
from launch.runs.run_log import say
from recipes.errors import PipelineError, RecipeError
from recipes.find import find_recipe
from recipes.load import load_recipe
from recipes.schema import Recipe
from recipes.vocabulary import StageName

EXAMPLES = """examples:
  python -m launch.ladder recipes/sparsity.yaml                        every rung of recipes/rungs/sparsity.yaml
  python -m launch.ladder recipes/sparsity.yaml --seeds 1,2,3          more seeds: narrower intervals
  python -m launch.ladder recipes/sparsity.yaml teacher.steps=500 name=longer
  python -m launch.ladder recipes/sparsity.yaml --collect              no training: what is finished, as it stands

Writes RUNS/NAME/ladder.json and answers.parquet. environment: COGNITIVE_CORE_THREADS, as for launch.run
exit codes: as for launch.run"""
STAGES = [StageName.TEACHER, StageName.EVALUATE]


@dataclass(frozen=True, slots=True)
class Run:
    """One rung with one seed."""

    rung: str
    family: str
    recipe: Recipe
    overrides: tuple[str, ...]

    @property
    def work(self) -> Workspace:
        return Workspace(Path(self.recipe.runs) / self.recipe.name)

    def finished(self) -> bool:
        """Whether it is done with this very recipe; keys that are new since then and have their
        default do not count.
        """
        if not self.work.done("evaluate"):
            return False
        try:
            return load_recipe(self.work.folder("recipe.yaml")) == self.recipe
        except RecipeError:  # a key that is gone: launch.run settles what that changes
            return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Climbs a ladder; gives the exit code."""
    given = parser().parse_intermixed_args(arguments)
    try:
        path = find_recipe(given.recipe)
        whole = load_recipe(path, given.overrides)
        runs = plan_runs(path, given.overrides, whole, given.rungs, given.seeds)
        if not given.collect and (code := climb(path, runs)):
            return code
        ready = [run for run in runs if run.finished()]
        say(*report(collect(ready, Path(whole.runs) / whole.name), whole.evaluate.bootstrap))
        return 0
    except PipelineError as fault:
        return complain(str(fault), Ranks())
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.ladder",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Trains and evaluates the teacher of a recipe in several shapes and collects sizes and answers.",
    )
    made.add_argument("recipe", metavar="RECIPE", help="a YAML file, e.g. recipes/sparsity.yaml")
    made.add_argument(
        "overrides", metavar="key=value", nargs="*", help="laid on the recipe, for every rung"
    )
    made.add_argument(
        "--rungs",
        metavar="FILE",
        type=Path,
        help="what differs (default: rungs/NAME beside RECIPE)",
    )
    made.add_argument(
        "--seeds", metavar="N,N", help="training seeds (default: those of the rungs' file)"
    )
    made.add_argument("--collect", action="store_true", help="train nothing")
    return made


def plan_runs(
    path: Path, overrides: Sequence[str], whole: Recipe, rungs: Path | None, seeds: str | None
) -> list[Run]:
    """Every run of the ladder, all recipes checked before the first one starts; seeds outermost, so
    that a whole ladder is there soon.

    Raises:
        RecipeError: no rungs, an unreadable one, or a recipe that is refused with a rung laid on
            it.
    """
    file = rungs or path.parent / "rungs" / path.name
    told = _read_rungs(file)
    if list(whole.stages) != STAGES:
        raise RecipeError(
            f"{path.name}: a ladder's recipe has stages: [teacher, evaluate], found {list(whole.stages)}"
        )
    if seeds is not None and not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise RecipeError(
            f"command line: --seeds {seeds!r}, expected whole numbers with commas, e.g. 1,2,3"
        )
    runs = []
    for seed in (
        [int(seed) for seed in seeds.split(",")] if seeds else told.get("seeds", [whole.seed])
    ):
        for name, keys in told["rungs"].items():
            laid = [f"{key}={json.dumps(value)}" for key, value in keys.items() if key != "family"]
            every = (*overrides, *laid, f"seed={seed}", f"name={whole.name}-{name}-seed_{seed}")
            family = str(keys.get("family", told.get("family", whole.name)))
            runs.append(Run(name, family, load_recipe(path, every), every))
    return runs


def _read_rungs(file: Path) -> dict[str, Any]:
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as fault:
        raise RecipeError(
            f"{file}: the rungs cannot be read ({str(fault).splitlines()[0]}); name their file with --rungs"
        ) from fault
    rungs = told.get("rungs") if isinstance(told, dict) else None
    if (
        not isinstance(rungs, dict)
        or not rungs
        or not all(isinstance(keys, dict) for keys in rungs.values())
    ):
        raise RecipeError(
            f"{file}: expected rungs: {{NAME: {{recipe.key: value}}}}, and perhaps seeds: [1, 2] and family: NAME"
        )
    return told


def climb(path: Path, runs: Sequence[Run]) -> int:
    """Runs what is not finished, each in a process of its own; gives the exit code of the first
    that fails, else 0.
    """
    began, made = time.monotonic(), 0
    for number, run in enumerate(runs, 1):
        head = f"ladder: run {number} of {len(runs)}, {run.recipe.name}"
        if run.finished():
            say(f"{head}: done, skipped")
            continue
        left = len([later for later in runs[number - 1 :] if not later.finished()])
        each = (time.monotonic() - began) / made if made else 0.0
        say(head + (f"; about {each * left / 60:,.0f} min left" if made else ""))
        if code := subprocess.run(
            [sys.executable, "-m", "launch.run", str(path), *run.overrides], check=False
        ).returncode:
            return 130 if code < 0 else code
        made += 1
    return 0


def collect(runs: Sequence[Run], folder: Path) -> Path:
    """Writes sizes and answers of finished runs into one folder.

    Raises:
        RecipeError: no run is finished.
    """
    from data_filters.records.files import replacing
    from data_filters.records.shards import read_shard, write_shard
    from distill.models import load_config
    from eval.ask.ask import SCHEMA
    from eval.scores.sizes.ladder import Rung
    from launch.cost_estimate import size_of

    if not runs:
        raise RecipeError(f"{folder}: no rung is finished with this recipe; run without --collect")
    rungs, rows = [], []
    for run in runs:
        spec, teacher = run.recipe.models.teacher, run.work.folder("teacher")
        size, name = size_of(load_config(spec, teacher), spec), f"{run.rung}-seed_{run.recipe.seed}"
        rungs.append(Rung(name=name, family=run.family, total=size.total, active=size.active))
        rows += [
            row | {"contender": name}
            for row in read_shard(run.work.folder("evaluate/answers/teacher") / "answers.parquet")
        ]
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder / "answers.parquet", rows, SCHEMA)
    with replacing(folder / "ladder.json") as half:
        half.write_text(
            json.dumps({"schema": 1, "rungs": [asdict(rung) for rung in rungs]}, indent=1) + "\n",
            encoding="utf-8",
        )
    return folder


def report(folder: Path, bootstrap: int) -> list[str]:
    """Lines for people: each rung with its sizes and scores, then what a doubling of total
    parameters adds.
    """
    from eval.scores.sizes.equivalent_sizes import slopes
    from eval.scores.sizes.ladder import AXES, Ladder, rung_rows

    ladder = Ladder.read(folder)
    lines = [f"{'rung':<24}{'total':>11}{'active':>11}{'reasoning':>11}{'recall':>9}"]
    for row in rung_rows(ladder):
        shares = (" " if row[axis] is None else f"{100 * row[axis]:.1f} %" for axis in AXES)
        lines.append(
            f"{row['name']:<24}{row['total']:>11,}{row['active']:>11,}"
            + "{:>11}{:>9}".format(*shares)
        )
    lines += [
        "recall: chosen among the values of the relation, luck of guessing taken off; where nobody had to choose, as generated"
    ]
    try:
        found = slopes(ladder, bootstrap=bootstrap)
    except PipelineError as fault:
        return [*lines, f"no slopes: {fault}", f"written: {folder}"]
    for axis, slope in found.items():
        lines.append(
            f"logit {axis} per doubling of total parameters: {slope['value']:+.2f} [{slope['low']:+.2f}, {slope['high']:+.2f}]"
        )
    return [*lines, f"written: {folder}"]


if __name__ == "__main__":
    sys.exit(main())
