"""Will a recipe work, and what will it take? Answers before any weight is loaded: python -m
launch.doctor RECIPE [key=value ...].
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from launch.runs.process import complain, configure_torch, threads_per_process
from launch.runs.run_folder import Workspace, ranks_from_env
from recipes.errors import PipelineError
from recipes.load import load_recipe
from recipes.schema import Lora, Model, Recipe

EXAMPLES = """examples:
  python -m launch.doctor recipes/planted_world.yaml
  python -m launch.doctor recipes/yours.yaml --gpus 1 --gpu-memory 24
  python -m launch.doctor recipes/core_1b.yaml --gpus 8 --gpu-memory 80 --peak-tflops 989 --mfu 0.4
  python -m launch.doctor recipes/core_1b.yaml --gpus 8 --vocabulary 151936      where the hub cannot be reached
  python -m launch.doctor recipes/planted_world.yaml --tokens-per-second 5000
  accelerate launch --config_file launch/accelerate/zero2_8gpu.yaml -m launch.doctor RECIPE      also checks what that launch can do

Lines: ok (what was found), fault (what must be mended), not checked (what cannot be looked at from here, e.g. hub models offline).
Nothing is written. Once a run has made its teacher and its traces, their tokenizer and lengths are used instead of assumptions.
exit codes: 0 no fault found, 2 a fault that a person must mend, one line each, 1 a bug (with traceback)"""

MOST_TRACES = 20_000  # that are encoded to be counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints checks and plan; gives the exit code."""
    given, ranks = parser().parse_intermixed_args(arguments), ranks_from_env()
    try:
        recipe = load_recipe(given.recipe, given.overrides)
        if not ranks.is_main:
            return 0
        configure_torch(threads_per_process())
        return Doctor(recipe, given).examine()
    except PipelineError as fault:
        return complain(str(fault), ranks)
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    return made


def _count_of(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, wanted a whole number from 1 up")
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
        from launch.stages.evaluate import contender_checks

        for name, check in contender_checks(self.recipe.evaluate):
            if found := self._attempt(name, check):
                print(f"ok     {name}: {found}", flush=True)
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
        print()
        print(*self._plan(pair, counted), sep="\n")
        return self._verdict()

    def _verdict(self) -> int:
        print(f"\n{self.faults} fault(s)" if self.faults else "\nno fault found", flush=True)
        return 2 if self.faults else 0

    # --- checks
    # -------------------------------------------------------------------------------------------------

    def _run(self, checks: Iterable[tuple[str, Callable[[], str]]]) -> None:
        for name, check in checks:
            try:
                print(f"ok     {name}: {check()}", flush=True)
            except PipelineError as fault:
                self._fault(name, fault)

    def _fault(self, name: str, fault: PipelineError) -> None:
        self.faults += 1
        print(f"fault  {name}: {fault}", flush=True)

    def _attempt(self, name: str, load: Callable[[], Any]) -> Any:
        """What `load` gives, or None and a line that says why."""
        try:
            return load()
        except PipelineError as fault:
            if _unreachable(fault):
                print(f"not checked: all that needs {name} ({fault})", flush=True)
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
            why = "mend the faults above first" if self.faults else "a config is not at hand"
            return print(f"not checked: first step ({why})")
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
            print(
                f"not checked: first step (a small copy does not run: {type(fault).__name__}: {why})"
            )

    def _lengths(self, pair: Any) -> Any:
        """What kept traces measure, where there are some: distill.traces or the run's own."""
        from distill.data.lengths import count_lengths

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
        print(
            f"ok     traces: {found.too_long:,} of {which} are longer than {config.sequence_tokens} tokens and will be left out"
        )
        return found if found.taught_tokens else None

    # --- the plan
    # -----------------------------------------------------------------------------------------------

    def _plan(self, pair: Any, counted: Any) -> Iterator[str]:
        models = self.recipe.models
        for config in (pair.student, pair.teacher):
            if config is not None and pair.tokenizer is None and self.given.vocabulary:
                config.get_text_config().vocab_size = self.given.vocabulary
        student = _size(pair.student, models.student, models.student.lora)
        teacher = _size(pair.teacher, models.teacher, None)
        if student is None:
            yield "no plan: the student's config is not at hand, or no model can be built from it"
            return
        yield "plan (estimates from shapes; formulas and sources in launch/cost_estimate.py)"
        beside = (
            ""
            if student.vocab > 1
            else " without embeddings: no tokenizer at hand, see --vocabulary"
        )
        rows = [
            (
                "student",
                f"{_count(student.total)} parameters{beside}, {_count(student.trained)} of them trained",
            )
        ]
        if teacher is not None:
            rows.append(
                (
                    "teacher",
                    f"{_count(teacher.total)} parameters, {_count(teacher.active)} of them read a token",
                )
            )
        yield from _aligned(rows)
        yield from self._memory(student, teacher)
        yield from _aligned(self._amounts(student, teacher, counted))

    def _memory(self, student: Any, teacher: Any) -> Iterator[str]:
        """A table: what lies on a rank under each ZeRO stage."""
        from launch import cost_estimate

        models, given = self.recipe.models, self.given
        half = given.half or os.environ.get("ACCELERATE_MIXED_PRECISION") == "bf16"
        precisions = [cost_estimate.MIXED, cost_estimate.whole(models.student.dtype)]
        ranks, device = self._ranks(), self._device()
        rows = cost_estimate.memory_rows(
            student,
            teacher,
            self.recipe.distill,
            models.teacher.dtype,
            precisions if half else precisions[::-1],
            ranks,
            device,
        )
        width = max(len(name) for name, _ in rows)
        yield f"\n  {f'GiB on each of {ranks}':<{width}}" + "".join(
            f"{name:>9}" for name in ("no ZeRO", "ZeRO-1", "ZeRO-2", "ZeRO-3")
        )
        for name, gib in rows:
            yield f"  {name:<{width}}" + "".join(f"{one:>9.2f}" for one in gib)
        if given.gpu_memory:
            fits = ("fits" if one <= given.gpu_memory else "too much" for one in rows[-1][1])
            yield f"  {f'of {given.gpu_memory:g} GiB':<{width}}" + "".join(
                f"{word:>9}" for word in fits
            )
        yield ""

    def _amounts(self, student: Any, teacher: Any, counted: Any) -> list[tuple[str, str]]:
        """Caches, FLOPs and time of one arm, from traces that are there or from the recipe's
        limits.
        """
        from launch import cost_estimate

        recipe, config = self.recipe, self.recipe.distill
        if counted is not None:
            more = " of the first traces" if counted.sequences == MOST_TRACES else ""
            taught, tokens, basis = (
                counted.taught_tokens,
                counted.mean_tokens,
                f"counted in the kept traces{more}",
            )
        else:
            sequences = recipe.generate.count * recipe.generate.samples_per_problem
            taught, tokens = (
                sequences * recipe.generate.max_new_tokens // 2,
                config.sequence_tokens / 2,
            )
            basis = "assumed: every trace is kept, half as long as it may be"
        rows = [("taught tokens", f"{_count(taught)} an arm ({basis})")]
        for kind, each, gib in cost_estimate.cache_rows(
            teacher, config, taught, recipe.models.teacher.dtype
        ):
            rows.append((f"cache, {kind}", f"{each:,} bytes a taught token, {gib:,.3f} GiB an arm"))
        steps = config.steps + sum(phase.max_steps for phase in config.curriculum)
        tokens *= steps * config.batch_sequences
        train, read = cost_estimate.flops(student, teacher, tokens)
        at_most = " at most" if config.curriculum else ""
        rows.append(
            ("one arm", f"{_count(tokens)} tokens in {steps} steps{at_most}, {train:.3g} FLOPs")
        )
        if teacher is not None:
            rows.append(("its teacher", f"{read:.3g} FLOPs where it reads along at every step"))
        return rows + self._time(train + read, tokens)

    def _time(self, operations: float, tokens: float) -> list[tuple[str, str]]:
        given, arms = self.given, len(self.recipe.distill.arms)
        if given.tokens_per_second:
            seconds = arms * tokens / given.tokens_per_second
            return [
                (
                    "time",
                    f"{_hours(seconds)} for {arms} arm(s) at {given.tokens_per_second:g} tokens/s",
                )
            ]
        peak = given.peak_tflops or (989.0 if given.ranks else None)
        if peak is None:
            return []
        seconds = arms * operations / (self._ranks() * peak * 1e12 * given.mfu)
        assumed = f"if {given.mfu:.0%} of {peak:g} TFLOPS is reached on each of {self._ranks()}, an assumption"
        return [("time", f"{_hours(seconds)} for {arms} arm(s), {assumed}")]

    def _ranks(self) -> int:
        return self.given.ranks or ranks_from_env().count

    def _device(self) -> str:
        import torch

        asked = (
            "cuda"
            if self.given.ranks or self.given.gpu_memory or torch.cuda.is_available()
            else "cpu"
        )
        return self.given.device or asked


def _unreachable(fault: BaseException | None) -> bool:
    """Whether the hub could not be asked, which says nothing about the recipe."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while fault is not None:
        if isinstance(fault, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def _size(config: Any, spec: Model, lora: Lora | None) -> Any:
    from launch.cost_estimate import size_of

    try:
        return None if config is None else size_of(config, spec, lora)
    except PipelineError:  # told by the checks
        return None


def _aligned(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    yield from (f"  {name:<{width}}  {text}" for name, text in rows)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.1f} minutes"


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return str(int(number))


if __name__ == "__main__":
    sys.exit(main())
