"""The stage distill: the base, the teacher's targets where they are cached, and every arm."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from distill.data.packing import EncodedFile
from distill.engines.local import LocalEngine
from distill.models import load_config, load_tokenizer, shared_vocabulary, weights_folder
from distill.targets.cache import CachedTargets, Origin, origin_of, shard_path
from distill.targets.live import LiveTeacher, ShardedTeacher, loading_sharded
from distill.targets.write_cache import (
    Scribe,
    ServedScribe,
    Teacher,
    finish_cache,
    teacher_at_hand,
    teacher_elsewhere,
)
from distill.train.loop import OpenSource
from distill.train.probe import Look
from distill.train.student import encode_arm, make_base, train_arm
from eval.stage_scores.probe import against, look, probe_questions
from launch.runs.identity import Identity
from launch.runs.inputs import Inputs, digest_source
from launch.runs.progress import Bar
from launch.runs.run_folder import Workspace
from recipes.schema import Recipe

Make = Callable[..., None]  # Street.make

# what does not change what is learned
ASIDE = ("distill.arms", "distill.trackers", "distill.targets.teacher", "distill.targets.path")
# what a cache depends on beside models, traces and seed
CACHED = tuple(
    f"distill.{name}"
    for name in (
        "targets",
        "temperature",
        "sequence_tokens",
        "masked",
        "role_weights",
        "ce_weight",
        "micro_batch_rows",
    )
)


class Students:
    """One pass through the stage on one rank.

    Args:
        make: makes a part unless it is there.
    """

    def __init__(self, recipe: Recipe, work: Workspace, inputs: Inputs, make: Make) -> None:
        self.recipe, self.work, self.inputs, self.make = recipe, work, inputs, make
        self.spec, self.config = recipe.models.student, recipe.distill
        self.is_main, self.taught = work.ranks.is_main, recipe.distill.divergence != "none"
        self.cached = self.taught and self.config.targets.kind != "live"
        self._checked = False

    def check(self, *, early: bool = False) -> None:
        """Refuses what cannot work before any weight is loaded; nothing where every arm is done.

        Args:
            early: before the other stages, as far as it is known then.
        """
        if self._checked or all(self.work.done(f"distill/{arm}") for arm in self.config.arms):
            return
        pair = self.inputs.pair(built=not early)
        for _, check in pair.checks():
            check()
        self._checked = pair.complete

    def walk(self) -> None:
        """Base, probe, then each arm with its targets."""
        self.check()
        self.make_base()
        if self.config.probe.every_steps and self.recipe.models.teacher.engine == "transformers":
            asked = (
                "planted",
                "distill.probe.items",
                "generate.system",
                *(f"evaluate.{x}" for x in ("seed", "sources", "max_new_tokens")),
            )
            self.make(
                "distill/probe",
                self.inputs.identity(*asked) | self._teacher(),
                self._probe_teacher,
                main_only=True,
            )
        for arm in self.config.arms:
            found = {"arm": arm, "input.traces": self.inputs.kept_digest()} | self._targets(arm)
            identity = (
                self.inputs.identity("models.student", "distill", leave_out=ASIDE)
                | self._teacher(always=False)
                | found
            )
            self.make(f"distill/{arm}", identity, lambda folder, arm=arm: self._train(arm, folder))

    def make_base(self) -> None:
        """The student before training; all arms start from it."""
        base = self.inputs.identity("models.student") | self._teacher(always=False)
        self.make("distill/base", base, self._make_base, main_only=True)

    # --- parts
    # --------------------------------------------------------------------------------------------------

    def _make_base(self, folder: Path) -> dict[str, Any]:
        tokenizer = self.inputs.teacher_tokenizer() if self.spec.shape else None
        return make_base(self.spec, tokenizer, folder, seed=self.recipe.seed)

    def _targets(self, arm: str) -> Identity:
        """Makes the arm's cache, where it has one of its own; names what a cache holds."""
        if not self.cached:
            return {}
        if self.config.targets.path is not None:
            return {"input.targets": digest_source(str(self._cache(arm) / "cache.json"))}
        made_of = {"arm": arm, "input.traces": self.inputs.kept_digest()} | self._teacher()
        identity = self.inputs.identity("models.student", *CACHED) | made_of
        self.make(
            f"distill/targets/{arm}", identity, lambda folder: self._write_targets(arm, folder)
        )
        return {"input.targets": self.work.digest(f"distill/targets/{arm}")}

    def _write_targets(self, arm: str, folder: Path) -> dict[str, Any]:
        """A cache by prefill over the arm's sequences; each rank takes every n-th shard."""
        counts = self._encode(arm, folder / "encoded.arrow")
        data, size = EncodedFile(folder / "encoded.arrow"), self.config.targets.shard_sequences
        numbers = range(-(-len(data) // size))
        todo = [n for n in self.inputs.share(numbers) if not shard_path(folder, n).exists()]
        origin = self._origin(data)
        with ExitStack() as stack:
            scribe, teacher = self._scribe(origin, stack) if todo or self.is_main else (None, None)
            with Bar(
                f"{arm}: targets", min(len(todo) * size, len(data)), "sequences", self.is_main
            ) as bar:
                for number in todo:
                    scribe.write(
                        folder,
                        number,
                        data.take(range(number * size, min((number + 1) * size, len(data)))),
                        bar.tokens,
                    )
            if not self.is_main:
                return {}
            for number in numbers:
                self.work.wait_for(shard_path(folder, number))
            return counts | finish_cache(folder, origin, teacher, data, size)

    def _scribe(self, origin: Origin, stack: ExitStack) -> tuple[Scribe | ServedScribe, Teacher]:
        """What writes a cache, and what the cache must know of the teacher."""
        spec = self.recipe.models.teacher
        if spec.engine == "transformers":
            model = self.inputs.open_model("teacher")
            rows = {
                "row_tokens": self.config.sequence_tokens,
                "micro_batch_rows": self.config.micro_batch_rows,
            }
            return Scribe(model, origin, seed=self.recipe.seed, **rows), teacher_at_hand(model)
        folder = self.inputs.teacher_folder()
        teacher = teacher_elsewhere(
            load_config(spec, folder),
            getattr(torch, spec.dtype),
            lambda: weights_folder(spec, folder),
        )
        if origin.kind == "hidden":
            return ServedScribe(
                stack.enter_context(self.inputs.hidden_states()), origin, teacher
            ), teacher
        return ServedScribe(
            stack.enter_context(self.inputs.speaking(1, max_new_tokens=1, top_k=origin.tokens)),
            origin,
            teacher,
        ), teacher

    def _train(self, arm: str, folder: Path) -> dict[str, Any]:
        own = self.cached and self.config.targets.path is None
        path = (self._cache(arm) if own else folder) / "encoded.arrow"
        counts = self._encode(arm, path)
        data, manifest = EncodedFile(path), self.work.folder("distill/student") / "manifest.json"
        replay = None if arm == "student" else json.loads(manifest.read_text())["notes"]["phases"]
        notes = train_arm(
            self.spec,
            self.config,
            base=self.base,
            source=self._source(arm, data),
            vocab_size=self.vocab_size if self.taught else None,
            data=data,
            folder=folder,
            label=arm,
            seed=self.recipe.seed,
            replay=replay,
            is_main=self.is_main,
            look=self._look(),
            run=f"{self.recipe.name}/{arm}",
        )
        if self.is_main and not own:
            path.unlink()
        return notes | counts

    def _encode(self, arm: str, path: Path) -> dict[str, int]:
        how = {"label": arm, "is_main": self.is_main, "wait": self.work.wait_for}
        return encode_arm(self.spec, self.config, self.base, self.traces_of(arm), path, **how)

    def traces_of(self, arm: str) -> Iterator[Trace]:
        """Kept traces as an arm sees them; arms differ in nothing else."""
        report = self.work.folder("filter") / "report.json"
        masked = json.loads(report.read_text())["masked_fraction"] if report.exists() else 0.0
        source = self.config.traces or self.work.folder("filter") / "kept"
        return (
            self.inputs.scrubber.arm_view(trace, arm, self.recipe.seed, masked)
            for trace in iter_traces(source)
        )

    # --- the teacher's signal
    # -----------------------------------------------------------------------------------

    def _source(self, arm: str, data: EncodedFile) -> OpenSource | None:
        if not self.taught:
            return None
        if self.cached:
            return lambda device: CachedTargets(self._cache(arm), self._origin(data), device)
        if self.config.targets.teacher == "sharded":
            return self._open_sharded
        return lambda device: LiveTeacher(
            self.inputs.open_model("teacher"), device, self.vocab_size
        )

    def _open_sharded(self, device: torch.device) -> ShardedTeacher:
        with loading_sharded() as config:
            teacher = self.inputs.load_model("teacher")
        return ShardedTeacher(teacher, config, self.vocab_size)

    def _cache(self, arm: str) -> Path:
        outside = self.config.targets.path
        return (
            Path(outside.replace("{arm}", arm))
            if outside
            else self.work.folder(f"distill/targets/{arm}")
        )

    def _origin(self, data: EncodedFile) -> Origin:
        tokenizer, teacher = load_tokenizer(self.spec, self.base), self.inputs.teacher_digest()
        return origin_of(
            self.config, tokenizer, teacher=teacher, vocab_size=self.vocab_size, data=data
        )

    @cached_property
    def vocab_size(self) -> int:
        """Ids that teacher and student share."""
        configs = (
            load_config(self.recipe.models.teacher, self.inputs.teacher_folder()),
            load_config(self.spec, self.base),
        )
        rows = tuple(int(config.get_text_config().vocab_size) for config in configs)
        return shared_vocabulary(
            self.inputs.teacher_tokenizer(), load_tokenizer(self.spec, self.base), rows
        )

    # --- the probe
    # ----------------------------------------------------------------------------------------------

    def _probe_teacher(self, folder: Path) -> dict[str, Any]:
        row = self._ask(self.inputs.engine("teacher", self.recipe.evaluate.batch_sequences))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "teacher.json").write_text(json.dumps(row) + "\n")
        return row

    def _look(self) -> Look | None:
        """What the training calls: a plain model's reasoning and recall against the teacher's."""
        if not self.config.probe.every_steps:
            return None
        path = self.work.folder("distill/probe") / "teacher.json"
        teacher = json.loads(path.read_text()) if path.exists() else None
        tokenizer, batch = (
            load_tokenizer(self.spec, self.base),
            self.recipe.evaluate.batch_sequences,
        )

        def ask_student(model: nn.Module) -> dict[str, Any]:
            return against(self._ask(LocalEngine(model, tokenizer, batch_sequences=batch)), teacher)

        return ask_student

    def _ask(self, engine: LocalEngine) -> dict[str, Any]:
        config = self.recipe.evaluate
        questions = probe_questions(config, self.inputs.world, self.config.probe.items)
        return look(
            engine,
            questions,
            max_new_tokens=config.max_new_tokens,
            system=self.recipe.generate.system,
        )

    # --- identities
    # ---------------------------------------------------------------------------------------------

    @property
    def base(self) -> Path:
        return self.work.folder("distill/base")

    def _teacher(self, *, always: bool = True) -> Identity:
        needed = always or self.spec.shape is not None or self.taught
        return {"input.teacher": self.inputs.teacher_digest()} if needed else {}
