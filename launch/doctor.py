"""Will a recipe work, and what will it take? Answers before any weight is loaded: python -m
launch.doctor RECIPE [key=value ...].
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from launch.runs.process import complain, configure_torch, threads_per_process
from launch.runs.ranks import Ranks, ranks_from_env
from launch.runs.run_folder import Workspace
from launch.runs.run_log import say
from recipes.errors import PipelineError
from recipes.load import load_recipe
from recipes.schema import Recipe

EXAMPLES = """examples:
  python -m launch.doctor recipes/planted_world.yaml
  python -m launch.doctor recipes/yours.yaml --gpus 1 --gpu-memory 24
  python -m launch.doctor recipes/core_1b.yaml --gpus 8 --gpu-memory 80 --peak-tflops 989 --mfu 0.4
  python -m launch.doctor recipes/core_1b.yaml --gpus 8 --vocabulary 151936      where the hub cannot be reached
  python -m launch.doctor recipes/planted_world.yaml --tokens-per-second 5000
  python -m launch.doctor recipes/planted_world.yaml --verify      were the files of a finished run damaged since?
  accelerate launch --config_file launch/accelerate/zero2_8gpu.yaml -m launch.doctor RECIPE      also checks what that launch can do

Lines: ok (what was found), fault (what must be fixed), not checked (what cannot be looked at from here, e.g. hub models offline).
Nothing is written. Once a run has made its teacher and its traces, their tokenizer and lengths are used instead of assumptions.
exit codes: 0 no fault found, 2 a fault that a person must fix, one line each, 1 a bug (with traceback)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints checks and plan; gives the exit code."""
    given, ranks = parser().parse_intermixed_args(arguments), Ranks()
    try:
        ranks = ranks_from_env()
        recipe = load_recipe(given.recipe, given.overrides)
        if not ranks.is_main:
            return 0
        if given.verify:
            return verify(Workspace(Path(recipe.runs) / recipe.name))
        configure_torch(threads_per_process())
        return Doctor(recipe, given).examine()
    except PipelineError as fault:
        return complain(str(fault), ranks)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.doctor",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Checks a recipe's models, tokenizers and machine and prints what its distillation takes, from configs alone.",
    )
    made.add_argument("recipe", metavar="RECIPE", help="a YAML file, e.g. recipes/yours.yaml")
    made.add_argument("overrides", metavar="key=value", nargs="*", help="laid on the recipe")
    made.add_argument(
        "--verify",
        action="store_true",
        help="read every byte of what the run has finished and compare it with the manifests, then stop",
    )
    _add_plan_options(made)
    return made


def _add_plan_options(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--gpus",
        "--ranks",
        dest="ranks",
        metavar="N",
        type=_count_of,
        help="processes that train (default: this launch's)",
    )
    made.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="that the plan is for (default: cuda with --gpus, else what is here)",
    )
    made.add_argument(
        "--gpu-memory",
        metavar="GIB",
        type=float,
        help="of one device: says under which ZeRO stages it fits",
    )
    made.add_argument(
        "--half",
        action="store_true",
        help="plan as under DeepSpeed with mixed_precision: bf16 (default: as launched)",
    )
    made.add_argument(
        "--vocabulary",
        metavar="N",
        type=_count_of,
        help="rows of the embeddings, where no tokenizer is at hand",
    )
    made.add_argument(
        "--tokens-per-second",
        metavar="X",
        type=float,
        help="of all devices, as a short run's bar says: adds a time",
    )
    made.add_argument(
        "--peak-tflops",
        metavar="X",
        type=float,
        help="of one device: adds a time (with --gpus 989, an H100 in bfloat16)",
    )
    made.add_argument(
        "--mfu",
        metavar="FRACTION",
        type=float,
        default=0.4,
        help="share of that peak that is reached (an assumption: 0.4)",
    )


def verify(work: Workspace) -> int:
    """Prints which finished parts are not as they were finished; gives the exit code."""
    faults = 0
    for fault in work.damaged_parts():
        say(f"fault  {fault}")
        faults += 1
    finished = sum(1 for _ in work.root.rglob("manifest.json"))
    say(f"{work.root}: {finished} finished part(s) read, {faults} fault(s)")
    return 2 if faults else 0


def _count_of(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1 up")
    return int(text)


class Doctor:
    """One examination."""

    def __init__(self, recipe: Recipe, given: argparse.Namespace) -> None:
        from launch.inputs.inputs import Inputs

        self.recipe, self.given = recipe, given
        self.work = Workspace(Path(recipe.runs) / recipe.name)
        self.inputs = Inputs(recipe, self.work)
        self.faults = 0

    def examine(self) -> int:
        """Checks, then the plan; gives the exit code."""
        from distill.checks.preflight import teacher_checks
        from launch.inputs.pair import load_pair
        from launch.plan import Plan
        from launch.stages.evaluate import contender_checks

        for name, check in contender_checks(self.recipe.evaluate):
            if found := self._attempt(name, check):
                say(f"ok     {name}: {found}")
        models = self.recipe.models
        if not models.given:  # nothing is trained
            return self._verdict()
        if models.teacher.path is None:
            self._run(teacher_checks(self.recipe.teacher, models.teacher))
        if models.teacher.base_urls:
            rendered_there = models.teacher.server.api == "chat"
            if (
                rendered_there
                or self._attempt("the teacher's servers", self.inputs.teacher.tokenizer) is not None
            ):
                self._run([("teacher's servers", self.inputs.teacher.look_at_servers)])
        stand_in = self._attempt("the tokenizer of the teacher to be", self._teacher_to_be)
        pair = load_pair(self.inputs.teacher, stand_in, self._attempt)
        self._run(pair.checks())
        if pair.tokenizer is not None:
            self._first_step(pair)
        counted = self._lengths(pair)
        say("", *Plan(self.recipe, self.given).lines(pair, counted))
        return self._verdict()

    def _verdict(self) -> int:
        say(f"\n{self.faults} fault(s)" if self.faults else "\nno fault found")
        return 2 if self.faults else 0

    # --- checks
    # -------------------------------------------------------------------------------------------------

    def _run(self, checks: Iterable[tuple[str, Callable[[], str]]]) -> None:
        for name, check in checks:
            try:
                say(f"ok     {name}: {check()}")
            except PipelineError as fault:
                self._fault(name, fault)

    def _fault(self, name: str, fault: PipelineError) -> None:
        self.faults += 1
        say(f"fault  {name}: {fault}")

    def _attempt(self, name: str, load: Callable[[], Any]) -> Any:
        """What `load` gives, or None and a line that says why."""
        try:
            return load()
        except PipelineError as fault:
            if _unreachable(fault):
                say(f"not checked: all that needs {name} ({fault})")
            else:
                self._fault(name, fault)
            return None

    def _teacher_to_be(self) -> Any:
        """The tokenizer of a teacher that the run will train, made as the run makes it; None where
        it is there or comes from elsewhere.
        """
        models, config = self.recipe.models, self.recipe.teacher
        if (
            models.teacher.path is not None
            or self.work.state("teacher", self.inputs.teacher.identity()) == "done"
        ):
            return None
        from distill.train.teacher import own_tokenizer

        return own_tokenizer(config, self.inputs.need_world(), seed=self.recipe.seed)

    def _first_step(self, pair: Any) -> None:
        from distill.checks.first_step import check_first_step

        config, needs_teacher = self.recipe.distill, self.recipe.distill.divergence != "none"
        if self.faults or pair.student is None or (needs_teacher and pair.teacher is None):
            why = "fix the faults above first" if self.faults else "a config is not at hand"
            return say(f"not checked: first step ({why})")
        teacher, remote = (
            pair.teacher if needs_teacher else None,
            self.recipe.models.student.trust_remote_code,
        )
        try:
            self._run(
                [
                    (
                        "first step",
                        lambda: check_first_step(
                            pair.student, teacher, pair.tokenizer, config, remote=remote
                        ),
                    )
                ]
            )
        # of the architecture's own code: not every family can be shrunken by a handful of sizes
        except Exception as fault:
            why = str(fault).partition("\n")[0]
            say(
                f"not checked: first step (a small copy does not run: {type(fault).__name__}: {why})"
            )

    def _lengths(self, pair: Any) -> Any:
        """What kept traces measure, where there are some: distill.traces or the run's own."""
        from distill.data.lengths import count_lengths
        from launch.plan import MOST_TRACES

        config = self.recipe.distill
        source = Path(config.traces) if config.traces else self.work.folder("filter") / "kept"
        if pair.tokenizer is None or not source.exists():
            return None
        found = self._attempt(
            "the kept traces",
            lambda: count_lengths(source, pair.tokenizer, config, most=MOST_TRACES),
        )
        if found is None:
            return None
        which = (
            f"the first {MOST_TRACES:,}"
            if found.sequences == MOST_TRACES
            else f"{found.sequences:,}"
        )
        say(
            f"ok     traces: {found.too_long:,} of {which} are longer than {config.sequence_tokens} tokens and will be left out"
        )
        for reason, count in found.left_out.most_common():
            print(f"ok     traces: {count:,} of {which} will be left out: {reason}")
        return found if found.taught_tokens else None


def _unreachable(fault: BaseException | None) -> bool:
    """Whether the hub could not be asked, which says nothing about the recipe."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while fault is not None:
        if isinstance(fault, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
