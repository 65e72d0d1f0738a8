"""The stage distill: the base, the probe of the teacher, every arm, and what is learned in sleep."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from distill.data.packing import EncodedFile
from distill.engines.local import LocalEngine
from distill.models import load_tokenizer
from distill.train.probe import Look
from distill.train.student import make_base, train_arm
from eval.stage_scores.probe import against, probe_questions, probe_scores
from launch.inputs.inputs import Inputs
from launch.inputs.pair import load_pair
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part
from launch.stages.sleep import Sleep
from launch.stages.targets import Targets
from recipes.vocabulary import Arm

# what does not change what is learned
ASIDE = ("distill.arms", "distill.trackers", "distill.targets.teacher", "distill.targets.path")


class Distill:
    """The stage, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.spec, self.config = self.recipe.models.student, self.recipe.distill
        self.base = self.work.folder("distill/base")
        self.targets = Targets(inputs, self.base)
        self._checked = False

    def check(self) -> None:
        """Refuses what cannot work, as far as it is known before the other stages have run."""
        self._check_pair(built=False)

    def _check_pair(self, *, built: bool) -> None:
        if self._checked or all(self.work.done(f"distill/{arm}") for arm in self.config.arms):
            return
        pair = load_pair(self.inputs.teacher, built=built)
        for _, check in pair.checks():
            check()
        self._checked = pair.complete

    def parts(self) -> Iterator[Part]:
        """Base, probe, each arm after its targets, then the adapter of sleep."""
        self._check_pair(built=True)
        yield self.base_part()
        if self.config.probe.every_steps and self.recipe.models.teacher.engine == "transformers":
            yield Part("distill/probe", self._probe_identity(), self._probe_teacher, who="main")
        for arm in self.config.arms:
            targets = yield from self.targets.parts(arm)
            read = {"arm": arm, "input.traces": self.inputs.traces.kept_digest()} | targets
            identity = self.inputs.identity("models.student", "distill", leave_out=ASIDE)
            identity |= self._teacher_read() | read
            yield Part(f"distill/{arm}", identity, partial(self._train, arm))
        yield from Sleep(self.inputs).parts()

    # --- the base

    def base_part(self) -> Part:
        """The student before training; all arms start from it."""
        identity = self.inputs.identity("models.student") | self._teacher_read()
        return Part("distill/base", identity, self._make_base, who="main")

    def _teacher_read(self) -> Identity:
        """The teacher, where the student takes its tokenizer or follows its probabilities."""
        read = self.spec.shape is not None or self.targets.taught
        return {"input.teacher": self.inputs.teacher.digest()} if read else {}

    def _make_base(self, folder: Path) -> Notes:
        tokenizer = self.inputs.teacher.tokenizer() if self.spec.shape else None
        return make_base(self.spec, tokenizer, folder, seed=self.recipe.seed)

    # --- the arms

    def _train(self, arm: str, folder: Path) -> Notes:
        cached, is_main = self.targets.makes_cache, self.work.ranks.is_main
        path = (self.targets.folder(arm) if cached else folder) / "encoded.arrow"
        counts = self.targets.encode(arm, path)
        data = EncodedFile(path)
        notes = train_arm(
            self.spec,
            self.config,
            base=self.base,
            source=self.targets.source(arm, data),
            vocab_size=self.targets.vocab_size if self.targets.taught else None,
            data=data,
            folder=folder,
            label=arm,
            seed=self.recipe.seed,
            replay=self._phases(arm),
            is_main=is_main,
            look=self._look(),
            run=f"{self.recipe.name}/{arm}",
        )
        if is_main and not cached:
            path.unlink()
        return notes | counts

    def _phases(self, arm: str) -> list[int] | None:
        """Steps of each phase of the student, which every other arm repeats."""
        if arm == Arm.STUDENT:
            return None
        manifest = self.work.folder("distill/student") / "manifest.json"
        return list(json.loads(manifest.read_text())["notes"]["phases"])

    # --- the probe

    def _probe_identity(self) -> Identity:
        asked = (f"evaluate.{name}" for name in ("seed", "sources", "max_new_tokens"))
        found = self.inputs.identity("planted", "distill.probe.items", "generate.system", *asked)
        return found | {"input.teacher": self.inputs.teacher.digest()}

    def _probe_teacher(self, folder: Path) -> Notes:
        row = self._ask(self.inputs.teacher.engine(self.recipe.evaluate.batch_sequences))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "teacher.json").write_text(json.dumps(row) + "\n")
        return row

    def _look(self) -> Look | None:
        """What the training calls: a plain model's reasoning and recall against the teacher's."""
        if not self.config.probe.every_steps:
            return None
        path = self.work.folder("distill/probe") / "teacher.json"
        teacher = json.loads(path.read_text()) if path.exists() else None
        tokenizer = load_tokenizer(self.spec, self.base)
        batch = self.recipe.evaluate.batch_sequences

        def ask_student(model: nn.Module) -> dict[str, Any]:
            return against(
                self._ask(
                    LocalEngine(cast(PreTrainedModel, model), tokenizer, batch_sequences=batch)
                ),
                teacher,
            )

        return ask_student

    def _ask(self, engine: LocalEngine) -> dict[str, Any]:
        config = self.recipe.evaluate
        return probe_scores(
            engine,
            probe_questions(config, self.inputs.world, self.config.probe.items),
            max_new_tokens=config.max_new_tokens,
            system=self.recipe.generate.system,
        )
