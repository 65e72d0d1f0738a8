"""Will a recipe work, and what will it take? Answers before any weight is loaded: python -m launch.doctor RECIPE [key=value ...]."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from launch.workspace import Workspace
from recipes.errors import PipelineError
from recipes.load import load_recipe
from recipes.schema import Recipe

EXAMPLES = """examples:
  python -m launch.doctor recipes/planted_world.yaml
  python -m launch.doctor recipes/yours.yaml --ranks 1 --device cuda
  python -m launch.doctor recipes/core_1b_base.yaml --ranks 8 --device cuda --half --peak-tflops 989 --mfu 0.4
  accelerate launch --config_file launch/accelerate/zero2_8gpu.yaml -m launch.doctor RECIPE      also checks what that launch can do

exit codes: 0 all well (or not to be checked here), 2 a fault that a person must mend, one line each"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints checks and plan; gives the exit code."""
    given = parser().parse_intermixed_args(arguments)
    if os.environ.get("RANK", "0") != "0":
        return 0
    try:
        recipe = load_recipe(given.recipe, given.overrides)
    except PipelineError as fault:
        print(*(f"error: {line}" for line in str(fault).splitlines()), sep="\n", file=sys.stderr)
        return 2
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return Doctor(recipe, given).examine()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.doctor", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Checks a recipe's models, tokenizers and machine and prints what its distillation takes, from configs alone.",
    )  # fmt: skip
    made.add_argument("recipe", metavar="RECIPE", help="a YAML file, e.g. recipes/yours.yaml")
    made.add_argument("overrides", metavar="key=value", nargs="*", help="laid on the recipe")
    here = int(os.environ.get("WORLD_SIZE", "1"))
    made.add_argument("--ranks", type=int, default=here, help="processes that train (default: those of this launch)")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="that the plan is for (default cpu)")
    made.add_argument("--half", action="store_true", help="plan with bfloat16 weights beside a float32 copy (mixed_precision: bf16)")
    made.add_argument("--peak-tflops", type=float, help="of one device, e.g. 989 for an H100 in bfloat16: adds a time")
    made.add_argument("--mfu", type=float, default=0.4, help="share of that peak that is reached (default 0.4, an assumption)")
    return made


class Doctor:
    """One examination."""

    def __init__(self, recipe: Recipe, given: argparse.Namespace) -> None:
        from launch.inputs import Inputs

        self.recipe, self.given = recipe, given
        self.work = Workspace(Path(recipe.runs) / recipe.name)
        self.inputs = Inputs(recipe, self.work)
        self.faults = 0

    def examine(self) -> int:
        """Checks, then the plan."""
        from distill.preflight import check_first_step, check_machine

        self._check("machine", lambda: check_machine(self.recipe.distill, self.recipe.models.student, "distill"))
        pair = self._pair()
        if pair is not None:
            for name, check in pair.checks():
                if name != "machine":
                    self._check(name, check)
            if pair.teacher is not None:
                self._check("first step", lambda: check_first_step(pair.student, pair.teacher, pair.tokenizer, self.recipe.distill))
            self._long_traces()
        self._plan(pair)
        print(f"{self.faults} fault(s)" if self.faults else "no fault found")
        return 2 if self.faults else 0

    def _check(self, name: str, check: Callable[[], str]) -> None:
        try:
            print(f"ok     {name}: {check()}")
        except PipelineError as fault:
            self.faults += 1
            print(f"fault  {name}: {fault}")

    def _pair(self) -> Any:
        """Configs and tokenizers, or None with a line that says what could not be looked at."""
        try:
            return self.inputs.pair(tokenizer=self._teacher_to_be())
        except PipelineError as fault:
            print(f"not checked: vocabulary, special tokens, template, lengths, first step ({fault})")
            return None

    def _teacher_to_be(self) -> Any:
        """The tokenizer of a teacher that the run will train: a smaller one of the same kind, where it has not been trained yet."""
        models, config = self.recipe.models, self.recipe.teacher
        if models.teacher.path is not None or self.work.done("teacher"):
            return None
        from distill.teacher import conversations
        from distill.tokenizer import train_tokenizer

        talks = conversations(config, self.inputs.need_world(), seed=self.recipe.seed, count=1000)
        return train_tokenizer((m["content"] for t in talks for m in t.messages), vocab_size=config.vocab_size)

    def _long_traces(self) -> None:
        """How many sequences an earlier run left out."""
        for arm in self.recipe.distill.arms:
            for part in (f"distill/{arm}", f"distill/targets/{arm}"):
                notes = self._notes(part)
                if "too_long" in notes:
                    seen = f"{notes['too_long']} of {notes['written'] + notes['too_long']} traces"
                    print(f"ok     lengths of {arm}: {seen} over {self.recipe.distill.sequence_tokens} tokens were left out")

    def _notes(self, part: str) -> dict[str, Any]:
        path = self.work.folder(part) / "manifest.json"
        return json.loads(path.read_text())["notes"] if path.exists() else {}

    # --- the plan -----------------------------------------------------------------------------------------------

    def _plan(self, pair: Any) -> None:
        from distill.models import load_config
        from launch import plan

        models, distill, given = self.recipe.models, self.recipe.distill, self.given
        student_config = pair.student if pair else load_config(models.student) if models.student.shape else None
        if student_config is None:
            return print("no plan: the student's config is not at hand")
        student = plan.size_of(student_config, models.student.lora)
        teacher = plan.size_of(pair.teacher) if pair and pair.teacher is not None else None
        beside = "" if pair else " (without embeddings: no tokenizer at hand)"
        rows = [("student", f"{_count(student.total)} parameters{beside}, {_count(student.trained)} of them trained")]
        if teacher:
            rows.append(("teacher", f"{_count(teacher.total)} parameters, {_count(teacher.active)} read a token"))
        for stage in (0, 1, 2, 3):
            states = plan.states_gib(student, stage, given.ranks, half=given.half)
            rows.append((f"states, ZeRO-{stage}", f"{states:.2f} GiB a rank on {given.ranks}" if stage else f"{states:.2f} GiB a rank"))
        rows_at_once = f"{distill.micro_batch_rows} rows of {distill.sequence_tokens} tokens"
        rows.append(("activations", f"{plan.activations_gib(student, distill):.2f} GiB for {rows_at_once}"))
        rows.append(("loss", f"{plan.loss_gib(student, given.device):.2f} GiB of buffers"))
        if teacher:
            weights = teacher.total * (4 if models.teacher.dtype == "float32" else 2) / plan.GIB
            rows.append(("live teacher", f"{weights:.2f} GiB whole on every rank, {weights / given.ranks:.2f} GiB sharded"))
        rows += self._amounts(student, teacher)
        width = max(len(name) for name, _ in rows)
        print("\nplan (estimates from shapes; formulas and sources in launch/plan.py)")
        print(*(f"  {name:<{width}}  {text}" for name, text in rows), sep="\n")

    def _amounts(self, student: Any, teacher: Any) -> list[tuple[str, str]]:
        """Caches, FLOPs and time, from what an earlier run counted or from the recipe's limits."""
        from launch import plan

        recipe, distill, given = self.recipe, self.recipe.distill, self.given
        notes = self._notes("distill/student") or self._notes("distill/targets/student")
        if "taught_tokens" in notes:
            taught, basis = notes["taught_tokens"], "counted by this run"
        else:
            taught = recipe.generate.count * recipe.generate.samples_per_problem * recipe.generate.max_new_tokens // 2
            basis = "if every trace is kept and half as long as it may be"
        rows = []
        for kind, each, whole in plan.cache_rows(teacher, distill, taught) if teacher else []:
            rows.append((f"cache, {kind}", f"{each:,} bytes a token, {whole:,.3f} GiB for {_count(taught)} taught tokens ({basis})"))
        steps = distill.steps + sum(phase.max_steps for phase in distill.curriculum)
        tokens = steps * distill.batch_sequences * distill.sequence_tokens // 2
        train, read = plan.flops(student, teacher, tokens, checkpointing=distill.activation_checkpointing)
        arms = len(distill.arms)
        rows.append(("one arm", f"{train:.3g} FLOPs for {_count(tokens)} tokens ({steps} steps at most, sequences half full)"))
        if teacher:
            rows.append(("its teacher", f"{read:.3g} FLOPs, once per token read"))
        if given.peak_tflops:
            hours = arms * (train + read) / (given.ranks * given.peak_tflops * 1e12 * given.mfu) / 3600
            reached = f"{given.mfu:.0%} of {given.peak_tflops:g} TFLOPS"
            rows.append(("time", f"{hours:,.1f} hours for {arms} arm(s) on {given.ranks} device(s), if {reached} is reached"))
        return rows


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return str(int(number))


if __name__ == "__main__":
    sys.exit(main())
