"""The stage edit: curvature, the search of a frontier, the edits that are taken, and the short
training after them.
"""

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from data_filters.records.files import replacing
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import EncodedFile, counts_of, write_encoded
from distill.edit.delta import save_delta
from distill.edit.directions import Method
from distill.edit.search import Point, Rule, Search, point_of
from distill.models import load_model, load_tokenizer, save_model, to_device
from distill.progress import Bar
from distill.train.student import train_arm
from launch.inputs.digests import digest_source
from launch.inputs.inputs import Inputs
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part
from launch.stages.distill import Distill
from launch.stages.edited_arm import EditedArm, healing
from recipes.errors import RecipeError
from recipes.schema import Edit as Config
from recipes.vocabulary import Contender, Suite

DELTA = "delta.safetensors"
SEARCHED = tuple(
    f"edit.{name}"
    for name in (
        "ranking",
        "controls",
        "removed_curvature_fractions",
        "max_combined_layers",
        "items",
        "keep_suites",
        "rule",
        "recall_at_most",
        "keep_at_least",
        "recall_sources",
        "open_book_sources",
    )
)
COLLECTED = tuple(
    f"edit.{name}"
    for name in (
        "arm",
        "projections",
        "layers",
        "calibration_sequences",
        "calibration",
        "calibration_text",
        "labels",
        "label_temperature",
    )
)


class Edit:
    """The stage, seen from one rank; nothing where the recipe has no section edit."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.is_main = self.work.ranks.is_main

    @cached_property
    def distill(self) -> Distill:
        """The stage that makes the arms: the base, and the traces and targets of each arm."""
        return Distill(self.inputs)

    @cached_property
    def arm(self) -> EditedArm:
        """What is edited."""
        return EditedArm(self.inputs, self.config, self.distill.targets)

    @property
    def config(self) -> Config:
        """The section of the recipe."""
        assert self.recipe.edit is not None
        return self.recipe.edit

    def check(self) -> None:
        """Refuses layers or projections that the student does not have."""
        if self.recipe.edit is not None and not self.work.done("edit"):
            self.arm.describe()

    def parts(self) -> Iterator[Part]:
        """Factors by all ranks, the search and the edits by the main one, the healing by all;
        edit/frontier.json at the end.
        """
        if self.recipe.edit is None:
            return
        if self.config.arm == Contender.BASE:
            yield self.distill.base_part()
        yield Part("edit/factors", self._factors_identity(), self._collect)
        yield Part("edit/search", self._search_identity(), self._search, who="main")
        for method in self.config.controls:
            yield self._edit_part(f"edit/{method}", method)
        heals = self.config.heal.steps > 0
        unhealed = "edit/unhealed" if heals else "edit/student"
        yield self._edit_part(unhealed, self.config.ranking)
        if heals:
            yield Part("edit/student", self._heal_identity(unhealed), self._heal)
        parts = ["search", *self.config.controls, *(["unhealed"] if heals else []), "student"]
        read = {f"input.{part}": self.work.digest(f"edit/{part}") for part in parts}
        yield Part("edit", read, self._report, who="main")

    # --- curvature

    def _factors_identity(self) -> Identity:
        found = self.inputs.identity(*COLLECTED, "distill.sequence_tokens")
        return found | self._model_read() | self._traces_read()

    def _model_read(self) -> Identity:
        return {"input.model": self.work.digest(f"distill/{self.config.arm}")}

    def _traces_read(self) -> Identity:
        return {"input.traces": self.inputs.traces.kept_digest()}

    def _collect(self, folder: Path) -> Notes:
        return self.arm.collect_factors(folder / "factors.safetensors")

    # --- the search

    def _search_identity(self) -> Identity:
        asked = (f"evaluate.{name}" for name in ("seed", "max_new_tokens", "sources"))
        found = self.inputs.identity(*SEARCHED, "planted", "generate.system", *asked)
        files = (*self.config.recall_sources, *self.config.open_book_sources)
        found |= {f"input.{source.name}": digest_source(str(source.path)) for source in files}
        return found | {"input.factors": self.work.digest("edit/factors")}

    def _search(self, folder: Path) -> Notes:
        config, model = self.config, self.arm.open()
        methods: list[Method] = [config.ranking, *config.controls]
        score = self.arm.scorer(model)
        with Bar("edit: search", None, "points", self.is_main) as bar:

            def show(point: Point) -> None:
                bar.remark(lambda: f"{point.method} {_cuts(point)}: {_brief(point.scores)}")
                bar.items(1)

            search = Search(
                self.arm.editor(model),
                score,
                self._rule(),
                taken=config.removed_curvature_fractions,
                combine=config.max_combined_layers,
                journal=folder / "journal.jsonl",
                seconds=config.search_seconds / len(methods),
                progress=show,
            )
            before = search.before()
            found = {method: search.frontier(method) for method in methods}
        empty = [method for method, points in found.items() if not points]
        if empty:
            raise RecipeError(
                f"edit.search_seconds {config.search_seconds:g} was over before {empty[0]} had its turn; "
                "give it more, or ask fewer items"
            )
        chosen = {
            method: dataclasses.asdict(point)
            for method, point in self._choose(found, before).items()
        }
        points = [dataclasses.asdict(point) for points in found.values() for point in points]
        report = {"before": before.scores, "chosen": chosen, "points": points}
        _write(folder / "frontier.json", report)
        recall = {f"recall_{name}": point["scores"][Suite.RECALL] for name, point in chosen.items()}
        return {"points": len(points)} | recall

    def _choose(self, found: dict[Method, list[Point]], before: Point) -> dict[Method, Point]:
        """The point that the rule takes; of controls the one at the same recall, since at another
        one a comparison of what is kept says nothing.
        """
        config, rule = self.config, self._rule()
        taken = rule.choose(found[config.ranking], before.scores)
        recall = taken.scores[Suite.RECALL]
        matched = dataclasses.replace(rule, prefer="keep_most", recall_at_most=recall)
        controls = {name: matched.choose(found[name], before.scores) for name in config.controls}
        return {config.ranking: taken} | controls

    def _rule(self) -> Rule:
        config = self.config
        return Rule(
            keep=list(config.keep_suites),
            recall_at_most=config.recall_at_most,
            keep_at_least=config.keep_at_least,
            prefer=config.rule,
        )

    def _found(self) -> dict[str, Any]:
        return dict(json.loads((self.work.folder("edit/search") / "frontier.json").read_text()))

    # --- the edits

    def _edit_part(self, name: str, method: Method) -> Part:
        read = {"input.search": self.work.digest("edit/search")} | self._model_read()
        return Part(name, read | {"method": method}, partial(self._edit, method), who="main")

    def _edit(self, method: Method, folder: Path) -> Notes:
        """A model with the chosen cuts of a method, and the delta that undoes them."""
        model = self.arm.open()
        whole = copy.deepcopy(model)
        point = point_of(self._found()["chosen"][method])
        kept = self.arm.editor(model).apply(method, point.cuts)
        save_model(model, self.arm.tokenizer(), folder)
        noted = save_delta(folder / DELTA, whole, model)
        return noted | {"kept_fraction": round(kept, 4), "cuts": _cuts(point)}

    # --- healing

    def _heal_identity(self, unhealed: str) -> Identity:
        aside = ("distill.arms", "distill.trackers")
        found = self.inputs.identity("edit.heal", "distill", leave_out=aside)
        return found | {"input.edited": self.work.digest(unhealed)} | self._traces_read()

    def _heal(self, folder: Path) -> Notes:
        start, path = self.work.folder("edit/unhealed"), folder / "encoded.arrow"
        # behind a server a teacher gives its text only
        targets = self.distill.targets
        taught = targets.taught and self.recipe.models.teacher.engine == "transformers"
        short = healing(self.recipe.distill, self.config.heal, taught=taught)
        spec = self.recipe.models.student
        if self.is_main and not path.exists():
            alone = Teaching(kl=1.0 if taught else 0.0, ce=0.0 if taught else 1.0)
            left_out, longest = Counter[str](), short.sequence_tokens
            tokenizer = load_tokenizer(spec, start)
            encoded = encode_traces(self.arm.healing(), tokenizer, alone, left_out=left_out)
            label = "edit: heal"
            write_encoded(encoded, path, longest=longest, label=label, left_out=left_out)
        self.work.wait_for(path)
        counts = counts_of(path)
        notes = train_arm(
            spec,
            short,
            base=start,
            source=targets.live if taught else None,
            vocab_size=targets.vocab_size if taught else None,
            data=EncodedFile(path),
            folder=folder,
            label="edit: heal",
            seed=self.recipe.seed,
            replay=None,
            is_main=self.is_main,
            look=None,
            run=f"{self.recipe.name}/heal",
        )
        if self.is_main:
            path.unlink()
            before, after = load_model(spec, self.arm.folder), load_model(spec, folder)
            notes |= counts | save_delta(folder / DELTA, before, after)
        return notes

    # --- the report

    def _report(self, folder: Path) -> Notes:
        """edit/frontier.json: the points, those that were chosen, and what the search split says of
        the model before and after healing.
        """
        report = self._found() | {"rule": dataclasses.asdict(self._rule()), "arm": self.config.arm}
        model = load_model(self.recipe.models.student, folder / "student")
        to_device(model, self.arm.open().device).eval()
        report["edited"] = self.arm.scorer(model)(model)
        if self.config.heal.steps:
            report["unhealed"] = report["chosen"][self.config.ranking]["scores"]
        _write(folder / "frontier.json", report)
        return {f"{name}_after": round(value, 4) for name, value in report["edited"].items()}


def _cuts(point: Point) -> str:
    return ", ".join(f"layer {layer} by {taken:g}" for layer, taken in point.cuts) or "nothing"


def _brief(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _write(path: Path, document: dict[str, Any]) -> None:
    with replacing(path) as partial_file:
        partial_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
