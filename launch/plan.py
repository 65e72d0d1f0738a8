"""The plan of a distillation as lines for people: parameters, memory, caches, FLOPs and time."""

import argparse
import os
from collections.abc import Iterator

import torch
from transformers import PretrainedConfig

from distill.checks.preflight import ModelPair
from distill.data.lengths import Lengths
from launch import cost_estimate
from launch.cost_estimate import Size, size_of
from launch.runs.ranks import ranks_from_env
from recipes.errors import PipelineError
from recipes.schema import Lora, Model, Recipe

MOST_TRACES = 20_000  # that are encoded to be counted
H100_TFLOPS = 989.0  # dense bfloat16 peak of one device, assumed with --gpus


class Plan:
    """What the distillation of a recipe takes.

    Args:
        given: the options of launch.doctor: ranks, device, gpu_memory, half, vocabulary,
            tokens_per_second, peak_tflops, mfu.
    """

    def __init__(self, recipe: Recipe, given: argparse.Namespace) -> None:
        self.recipe, self.given = recipe, given

    def lines(self, pair: ModelPair, counted: Lengths | None) -> Iterator[str]:
        """The whole plan; one line where the student's config is not at hand.

        Args:
            counted: what kept traces measure, where there are some.
        """
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

    def _memory(self, student: Size, teacher: Size | None) -> Iterator[str]:
        """A table: what lies on a rank under each ZeRO stage."""
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

    def _amounts(
        self, student: Size, teacher: Size | None, counted: Lengths | None
    ) -> list[tuple[str, str]]:
        """Caches, FLOPs and time of one arm, from traces that are there or from the recipe's
        limits.
        """
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
        peak = given.peak_tflops or (H100_TFLOPS if given.ranks else None)
        if peak is None:
            return []
        seconds = arms * operations / (self._ranks() * peak * 1e12 * given.mfu)
        assumed = f"if {given.mfu:.0%} of {peak:g} TFLOPS is reached on each of {self._ranks()}, an assumption"
        return [("time", f"{_hours(seconds)} for {arms} arm(s), {assumed}")]

    def _ranks(self) -> int:
        return self.given.ranks or ranks_from_env().count

    def _device(self) -> str:
        asked = (
            "cuda"
            if self.given.ranks or self.given.gpu_memory or torch.cuda.is_available()
            else "cpu"
        )
        return self.given.device or asked


def _size(config: PretrainedConfig | None, spec: Model, lora: Lora | None) -> Size | None:
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
