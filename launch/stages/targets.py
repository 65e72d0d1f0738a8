"""What an arm learns from: its sequences, and the teacher's targets for them, live or cached."""

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

import torch

from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from data_filters.scrub.arms import arm_view
from distill.data.packing import EncodedFile
from distill.models import (
    load_config,
    load_tokenizer,
    pick_device,
    shared_vocabulary,
    weights_folder,
)
from distill.progress import Bar
from distill.targets.cache import CachedTargets, Origin, origin_of, shard_path
from distill.targets.live import LiveTeacher, ShardedTeacher, loading_sharded
from distill.targets.teacher_facts import TeacherFacts, teacher_at_hand, teacher_elsewhere
from distill.targets.write_cache import (
    CacheWriter,
    HiddenCacheWriter,
    LocalCacheWriter,
    SpokenCacheWriter,
    TopKCacheWriter,
    finish_cache,
)
from distill.train.loop import OpenSource
from distill.train.student import encode_arm
from launch.inputs.digests import digest_source
from launch.inputs.inputs import Inputs
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part

# what a cache depends on beside models, traces and seed
CACHED = tuple(
    f"distill.{name}"
    for name in (
        "targets",
        "temperature",
        "sequence_tokens",
        "masked_action",
        "role_weights",
        "ce_weight",
        "micro_batch_rows",
    )
)


class Targets:
    """Sequences and targets of every arm, seen from one rank.

    Args:
        base: the folder of the student before training; its tokenizer is the arms'.
    """

    def __init__(self, inputs: Inputs, base: Path) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.spec, self.config, self.base = self.recipe.models.student, self.recipe.distill, base
        self.taught = self.config.divergence != "none"
        self.cached = self.taught and self.config.targets.kind != "live"
        # a cache of this run, not one that was made elsewhere
        self.makes_cache = self.cached and self.config.targets.path is None

    # --- sequences

    def traces(self, arm: str) -> Iterator[Trace]:
        """Kept traces as an arm sees them; arms differ in nothing else."""
        report = self.work.folder("filter") / "report.json"
        masked = json.loads(report.read_text())["masked_fraction"] if report.exists() else 0.0
        scrubber = self.inputs.traces.scrubber
        return (
            arm_view(scrubber, trace, arm, self.recipe.seed, masked)
            for trace in iter_traces(self.inputs.traces.kept)
        )

    def encode(self, arm: str, path: Path) -> dict[str, int]:
        """Writes the sequences of an arm to `path` unless they are there; gives counts."""
        return encode_arm(
            self.spec,
            self.config,
            self.base,
            self.traces(arm),
            path,
            label=arm,
            is_main=self.work.ranks.is_main,
            wait=self.work.wait_for,
        )

    # --- the cache

    def parts(self, arm: str) -> Generator[Part, None, Identity]:
        """The arm's cache, where it has one of its own.

        Returns:
            what the arm's identity must say of its targets.
        """
        if not self.cached:
            return {}
        if not self.makes_cache:
            return {"input.targets": digest_source(str(self.folder(arm) / "cache.json"))}
        made_of = {
            "arm": arm,
            "input.traces": self.inputs.traces.kept_digest(),
            "input.teacher": self.inputs.teacher.digest(),
        } | self.inputs.teacher.speaker()
        name = f"distill/targets/{arm}"
        identity = self.inputs.identity("models.student", *CACHED) | made_of
        yield Part(name, identity, partial(self._write, arm))
        return {"input.targets": self.work.digest(name)}

    def folder(self, arm: str) -> Path:
        """Where the cache of an arm lies, in this run or elsewhere."""
        outside = self.config.targets.path
        if outside:
            return Path(outside.replace("{arm}", arm))
        return self.work.folder(f"distill/targets/{arm}")

    def _write(self, arm: str, folder: Path) -> Notes:
        """A cache by prefill over the arm's sequences; each rank takes every n-th shard."""
        counts, is_main = self.encode(arm, folder / "encoded.arrow"), self.work.ranks.is_main
        data, size = EncodedFile(folder / "encoded.arrow"), self.config.targets.shard_sequences
        numbers = range(-(-len(data) // size))
        share = self.inputs.teacher.share(numbers)
        todo = [number for number in share if not shard_path(folder, number).exists()]
        if not (todo or is_main):
            return {}
        origin, total = self._origin(data), min(len(todo) * size, len(data))
        with ExitStack() as stack:
            writer, teacher = self._cache_writer(origin, stack)
            with Bar(f"{arm}: targets", total, "sequences", is_main) as bar:
                for number in todo:
                    rows = range(number * size, min((number + 1) * size, len(data)))
                    writer.write(folder, number, data.take(rows), bar.tokens)
            if not is_main:
                return {}
            for number in numbers:
                self.work.wait_for(shard_path(folder, number))
            return counts | finish_cache(folder, origin, teacher, data, size)

    def _cache_writer(self, origin: Origin, stack: ExitStack) -> tuple[CacheWriter, TeacherFacts]:
        """What writes a cache, and what the cache must know of the teacher."""
        spec, access = self.recipe.models.teacher, self.inputs.teacher
        if spec.engine == "transformers":
            model = access.open()
            writer = LocalCacheWriter(
                model,
                origin,
                seed=self.recipe.seed,
                row_tokens=self.config.sequence_tokens,
                micro_batch_rows=self.config.micro_batch_rows,
            )
            return writer, teacher_at_hand(model)
        teacher = teacher_elsewhere(
            load_config(spec, access.folder),
            getattr(torch, spec.dtype),
            lambda: weights_folder(spec, access.folder),
        )
        if origin.kind == "hidden":
            hidden = stack.enter_context(access.hidden_states())
            return HiddenCacheWriter(hidden, teacher), teacher
        if origin.kind == "sampled":
            spoken = SpokenCacheWriter(
                stack.enter_context(access.hidden_states()),
                teacher,
                origin,
                pick_device(self.work.ranks.local_index),
                seed=self.recipe.seed,
                row_tokens=self.config.sequence_tokens,
                micro_batch_rows=self.config.micro_batch_rows,
            )
            return spoken, teacher
        speaking = access.speaking(1, max_new_tokens=1, top_k=origin.tokens)
        return TopKCacheWriter(stack.enter_context(speaking), origin), teacher

    # --- the teacher's signal

    def source(self, arm: str, data: EncodedFile) -> OpenSource | None:
        """What opens the targets of an arm on a device; None where no teacher is followed."""
        if not self.taught:
            return None
        if self.cached:
            return lambda device: CachedTargets(self.folder(arm), self._origin(data), device)
        return self._open_sharded if self.config.targets.teacher == "sharded" else self.live

    def live(self, device: torch.device) -> LiveTeacher:
        """The teacher, whole on every rank."""
        return LiveTeacher(self.inputs.teacher.open(), device, self.vocab_size)

    def _open_sharded(self, device: torch.device) -> ShardedTeacher:
        with loading_sharded() as config:
            teacher = self.inputs.teacher.load()
        return ShardedTeacher(teacher, config, self.vocab_size)

    def _origin(self, data: EncodedFile) -> Origin:
        return origin_of(
            self.config,
            load_tokenizer(self.spec, self.base),
            teacher=self.inputs.teacher.digest(),
            vocab_size=self.vocab_size,
            data=data,
        )

    @cached_property
    def vocab_size(self) -> int:
        """Ids that teacher and student share."""
        teacher = load_config(self.recipe.models.teacher, self.inputs.teacher.folder)
        student = load_config(self.spec, self.base)
        rows = (
            int(teacher.get_text_config().vocab_size),
            int(student.get_text_config().vocab_size),
        )
        tokenizer = load_tokenizer(self.spec, self.base)
        return shared_vocabulary(self.inputs.teacher.tokenizer(), tokenizer, rows)
