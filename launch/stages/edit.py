"""The stage edit: curvature, the search of a frontier, the edits that are taken, and the short
training after them.
"""

import copy
import dataclasses
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from distill.checks.preflight import skeleton
from distill.data.encode import Encoded, Teaching, encode_traces
from distill.data.packing import EncodedFile, Packed, pack, write_encoded
from distill.edit.bits_per_byte import bits_per_byte, halves, read_text
from distill.edit.delta import save_delta
from distill.edit.directions import Method
from distill.edit.kfac import (
    collect_sums,
    finished_factors,
    load_factors,
    read_sums,
    save_factors,
    save_sums,
    weights_digest,
)
from distill.edit.matrices import Target, find_targets
from distill.edit.search import Editor, Point, Rule, Search, point_of
from distill.engines.local import LocalEngine
from distill.models import load_config, load_model, load_tokenizer, save_model
from distill.problems.splits import digest_of
from distill.targets.live import LiveTeacher
from distill.train.student import train_arm
from eval.stage_scores.edit_score import search_questions, search_score
from launch.runs.inputs import Inputs, digest_source
from launch.runs.progress import Bar
from launch.runs.run_folder import Workspace
from launch.stages.distill import Make, Students
from recipes.errors import RecipeError
from recipes.schema import Distill, Edit, Heal, Model, Recipe

DELTA = "delta.safetensors"
SEARCHED = tuple(
    f"edit.{name}"
    for name in (
        "ranking",
        "controls",
        "taken",
        "combine",
        "items",
        "keep",
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


class Editing:
    """One pass through the stage on one rank.

    Args:
        make: makes a part unless it is there.
    """

    def __init__(
        self, recipe: Recipe, work: Workspace, inputs: Inputs, students: Students, make: Make
    ) -> None:
        assert recipe.edit is not None
        self.recipe, self.work, self.inputs, self.students, self.make = (
            recipe,
            work,
            inputs,
            students,
            make,
        )
        self.config: Edit = recipe.edit
        self.spec: Model = recipe.models.student
        self.arm = work.folder(f"distill/{self.config.arm}")
        self.is_main = work.ranks.is_main

    def check(self) -> str:
        """What will be edited, from the student's config alone.

        Raises:
            ModelError: layers or projections that it does not have.
        """
        model = skeleton(load_config(self.spec), self.spec)
        found = find_targets(
            model,
            layers=self.config.layers,
            projections=self.config.projections,
            with_weights=False,
        )
        return f"{len(found)} matrices in {len({target.layer for target in found})} layers"

    def walk(self) -> None:
        """Factors by all ranks, the search and the edits by the main one, the healing by all;
        edit/frontier.json at the end.
        """
        config, inputs = self.config, self.inputs
        if config.arm == "base":
            self.students.make_base()
        read = {
            "input.model": self.work.digest(f"distill/{config.arm}"),
            "input.traces": inputs.kept_digest(),
        }
        self.make(
            "edit/factors",
            inputs.identity(*COLLECTED, "distill.sequence_tokens") | read,
            self._collect,
        )
        asked = (
            "planted",
            "generate.system",
            *(f"evaluate.{name}" for name in ("seed", "max_new_tokens", "sources")),
        )
        searched = inputs.identity(*SEARCHED, *asked)
        files = (*config.recall_sources, *config.open_book_sources)
        searched |= {f"input.{source.name}": digest_source(str(source.path)) for source in files}
        searched |= {"input.factors": self.work.digest("edit/factors")}
        self.make("edit/search", searched, self._search, main_only=True)
        found = {
            "input.search": self.work.digest("edit/search"),
            "input.model": read["input.model"],
        }
        for name in config.controls:
            self.make(
                f"edit/{name}",
                found | {"method": name},
                lambda folder, name=name: self._edit(name, folder),
                main_only=True,
            )
        heals = config.heal.steps > 0
        unhealed = "edit/unhealed" if heals else "edit/student"
        self.make(
            unhealed,
            found | {"method": config.ranking},
            lambda folder: self._edit(config.ranking, folder),
            main_only=True,
        )
        if heals:
            before = {
                "input.edited": self.work.digest(unhealed),
                "input.traces": read["input.traces"],
            }
            identity = (
                inputs.identity(
                    "edit.heal", "distill", leave_out=("distill.arms", "distill.trackers")
                )
                | before
            )
            self.make("edit/student", identity, self._heal)
        parts = ["search", *config.controls, *(["unhealed"] if heals else []), "student"]
        self.make(
            "edit",
            {f"input.{part}": self.work.digest(f"edit/{part}") for part in parts},
            self._report,
            main_only=True,
        )

    # --- parts
    # --------------------------------------------------------------------------------------------------

    def _collect(self, folder: Path) -> dict[str, Any]:
        """Each rank reads every n-th sequence and writes its sums; the main rank adds them up."""
        model, tokenizer = self._open(), load_tokenizer(self.spec, self.arm)
        targets = self._targets(model)
        sequences = [
            dataclasses.replace(one, row=row)
            for row, one in enumerate(self._calibration(tokenizer))
        ]
        if not sequences:
            raise RecipeError(
                "edit: no trace to measure the curvature on; set edit.calibration: as_taught, or keep more traces"
            )
        ranks = self.work.ranks
        mine, size = sequences[ranks.index :: ranks.count], self.recipe.distill.sequence_tokens

        def stream() -> Iterator[Packed]:
            rows = self.recipe.distill.micro_batch_rows
            for start in range(0, len(mine), rows):
                yield pack(mine[start : start + rows], size)

        with Bar("edit: curvature", None, "rows", self.is_main) as bar:
            sums = collect_sums(
                model,
                targets,
                stream,
                seed=self.recipe.seed,
                gold=self.config.labels == "gold",
                memory_gib=self.config.factors_gib,
                temperature=self.config.label_temperature,
                progress=bar.tokens,
            )
        shares = [folder / f".sums-{rank:05d}" for rank in range(ranks.count)]
        save_sums(shares[ranks.index], sums)
        if not self.is_main:
            return {}
        for share in shares:
            self.work.wait_for(share)
        factors = finished_factors(targets, [read_sums(share) for share in shares])
        save_factors(
            folder / "factors.safetensors", factors, origin={"model": weights_digest(model)}
        )
        for share in shares:
            share.unlink()
        return {
            "targets": len(targets),
            "sequences": len(sequences),
            "tokens": max(one.tokens for one in factors.values()),
        }

    def _search(self, folder: Path) -> dict[str, Any]:
        config, model = self.config, self._open()
        methods: list[Method] = [config.ranking, *config.controls]
        score = self._scorer(model)
        with Bar("edit: search", None, "points", self.is_main) as bar:

            def show(point: Point) -> None:
                bar.bar.set_postfix_str(
                    f"{point.method} {_cuts(point)}: {_brief(point.scores)}", refresh=False
                )
                bar.items(1)

            search = Search(
                self._editor(model),
                score,
                self._rule(),
                taken=config.taken,
                combine=config.combine,
                journal=folder / "journal.jsonl",
                seconds=config.seconds / len(methods),
                progress=show,
            )
            before = search.before()
            found = {method: search.frontier(method) for method in methods}
        empty = [method for method, points in found.items() if not points]
        if empty:
            raise RecipeError(
                f"edit.seconds {config.seconds:g} was over before {empty[0]} had its turn; give it more, or ask fewer items"
            )
        taken = self._rule().choose(found[config.ranking], before.scores)
        # controls are taken at the recall of the edit: at another one a comparison of what is kept
        # says nothing
        matched = dataclasses.replace(
            self._rule(), prefer="keep_most", recall_at_most=taken.scores["recall"]
        )
        points_taken = {config.ranking: taken} | {
            name: matched.choose(found[name], before.scores) for name in config.controls
        }
        chosen = {method: dataclasses.asdict(point) for method, point in points_taken.items()}
        points = [dataclasses.asdict(point) for points in found.values() for point in points]
        _write(
            folder / "frontier.json", {"before": before.scores, "chosen": chosen, "points": points}
        )
        return {"points": len(points)} | {
            f"recall_{method}": point["scores"]["recall"] for method, point in chosen.items()
        }

    def _edit(self, method: Method, folder: Path) -> dict[str, Any]:
        """A model with the chosen cuts of a method, and the delta that undoes them."""
        model = self._open()
        whole = copy.deepcopy(model)
        point = point_of(self._found()["chosen"][method])
        kept = self._editor(model).apply(method, point.cuts)
        save_model(model, load_tokenizer(self.spec, self.arm), folder)
        return save_delta(folder / DELTA, whole, model) | {
            "kept_fraction": round(kept, 4),
            "cuts": _cuts(point),
        }

    def _heal(self, folder: Path) -> dict[str, Any]:
        heal, recipe = self.config.heal, self.recipe
        start, path, taught = (
            self.work.folder("edit/unhealed"),
            folder / "encoded.arrow",
            self._teacher_at_hand(),
        )
        short, counts = healing(recipe.distill, heal, taught=taught), dict[str, int]()
        if self.is_main and not path.exists():
            alone = Teaching(kl=1.0 if taught else 0.0, ce=0.0 if taught else 1.0)
            encoded = encode_traces(self._healing(), load_tokenizer(self.spec, start), alone)
            counts = write_encoded(encoded, path, longest=short.sequence_tokens, label="edit: heal")
        self.work.wait_for(path)
        vocab = self.students.vocab_size if taught else None
        source = (
            (lambda device: LiveTeacher(self.inputs.open_model("teacher"), device, vocab))
            if taught
            else None
        )
        notes = train_arm(
            self.spec,
            short,
            base=start,
            source=source,
            vocab_size=vocab,
            data=EncodedFile(path),
            folder=folder,
            label="edit: heal",
            seed=recipe.seed,
            replay=None,
            is_main=self.is_main,
            look=None,
            run=f"{recipe.name}/heal",
        )
        if self.is_main:
            path.unlink()
            notes |= counts | save_delta(
                folder / DELTA, load_model(self.spec, self.arm), load_model(self.spec, folder)
            )
        return notes

    def _report(self, folder: Path) -> dict[str, Any]:
        """edit/frontier.json: the points, those that were chosen, and what the search split says of
        the model before and after healing.
        """
        report = self._found() | {"rule": dataclasses.asdict(self._rule()), "arm": self.config.arm}
        model = load_model(self.spec, folder / "student").to(self._open().device).eval()
        report["edited"] = self._scorer(model)(model)
        if self.config.heal.steps:
            report["unhealed"] = report["chosen"][self.config.ranking]["scores"]
        _write(folder / "frontier.json", report)
        return {f"{name}_after": round(value, 4) for name, value in report["edited"].items()}

    # --- what they are made of
    # ----------------------------------------------------------------------------------

    def _open(self) -> PreTrainedModel:
        return self.inputs.open_model(self.config.arm, self.arm).eval()

    def _targets(self, model: PreTrainedModel) -> list[Target]:
        return find_targets(model, layers=self.config.layers, projections=self.config.projections)

    def _editor(self, model: PreTrainedModel) -> Editor:
        path = self.work.folder("edit/factors") / "factors.safetensors"
        return Editor(
            model, self._targets(model), load_factors(path, origin={"model": weights_digest(model)})
        )

    def _rule(self) -> Rule:
        config = self.config
        return Rule(
            keep=list(config.keep),
            recall_at_most=config.recall_at_most,
            keep_at_least=config.keep_at_least,
            prefer=config.rule,
        )

    def _found(self) -> dict[str, Any]:
        return dict(json.loads((self.work.folder("edit/search") / "frontier.json").read_text()))

    def _scorer(self, model: PreTrainedModel) -> Callable[[PreTrainedModel], dict[str, float]]:
        """What asks the model, whatever its weights are just now."""
        config, evaluate = self.config, self.recipe.evaluate
        tokenizer = load_tokenizer(self.spec, self.arm)
        questions = search_questions(evaluate, config, self.inputs.world)
        engine = LocalEngine(model, tokenizer, batch_sequences=evaluate.batch_sequences)
        how = {
            "max_new_tokens": evaluate.max_new_tokens,
            "system": self.recipe.generate.system,
            "seed": evaluate.seed,
        }
        held_out = (
            halves(read_text(config.calibration_text))[1] if config.calibration_text else None
        )

        def score(edited: PreTrainedModel) -> dict[str, float]:
            found = search_score(engine, questions, keep=config.keep, **how)
            fluent = (
                {"bits_per_byte": bits_per_byte(edited, tokenizer, held_out)} if held_out else {}
            )
            return found | fluent

        return score

    def _calibration(self, tokenizer: PreTrainedTokenizerBase) -> Iterable[Encoded]:
        """Sequences by the hash of their trace, no longer than a row; then the first half of the
        text.
        """
        config, longest = self.config, self.recipe.distill.sequence_tokens
        traces = (
            self._procedural()
            if config.calibration == "unchanged"
            else self.students.traces_of(self._view())
        )
        drawn = heapq.nsmallest(
            config.calibration_sequences, traces, key=lambda trace: digest_of(trace.id)
        )
        yield from (
            one
            for one in encode_traces(drawn, tokenizer, Teaching(kl=0.0, ce=1.0))
            if len(one.ids) <= longest
        )
        if config.calibration_text:
            ids = torch.tensor(
                tokenizer.encode(
                    halves(read_text(config.calibration_text))[0], add_special_tokens=False
                )
            )
            for piece in ids.split(longest):
                ones = torch.ones(len(piece)).numpy()
                yield Encoded(piece.int().numpy(), 0 * ones, ones, 0 * ones, source="text")

    def _view(self) -> str:
        return "student" if self.config.arm == "base" else self.config.arm

    def _procedural(self) -> Iterator[Trace]:
        """Kept traces that are thought alone."""
        return filter(
            needs_no_fact,
            iter_traces(self.recipe.distill.traces or self.work.folder("filter") / "kept"),
        )

    def _healing(self) -> Iterator[Trace]:
        heal = self.config.heal
        traces = (
            self.students.traces_of("student") if heal.traces == "scrubbed" else self._procedural()
        )
        return (
            trace
            for trace in traces
            if not heal.families or trace.source.rpartition("/")[2] in heal.families
        )

    def _teacher_at_hand(self) -> bool:
        """Whether healing can follow the teacher's probabilities; behind a server it follows the
        text.
        """
        return (
            self.recipe.distill.divergence != "none"
            and self.recipe.models.teacher.engine == "transformers"
        )


def healing(distill: Distill, heal: Heal, *, taught: bool) -> Distill:
    """The training after an edit: as the arms were trained, but short, on the whole mix at once,
    its rate falling from the start.

    Args:
        taught: the teacher is at hand, its probabilities are followed; otherwise its text.
    """
    return dataclasses.replace(
        distill,
        steps=heal.steps,
        batch_sequences=heal.batch_sequences,
        optimizer=heal.optimizer,
        learning_rate=heal.learning_rate,
        muon_learning_rate=heal.muon_learning_rate,
        curriculum=[],
        warmup_steps=min(10, heal.steps // 4),
        stable_fraction=0.0,
        trackers=[],
        divergence=distill.divergence if taught else "none",
        probe=dataclasses.replace(distill.probe, every_steps=0),
        targets=dataclasses.replace(distill.targets, kind="live", path=None),
    )


def needs_no_fact(trace: Trace) -> bool:
    """Whether nothing was masked or replaced, and nothing stands there that nobody gave, as
    `filter.untold: keep` leaves it.
    """
    return all(span.action == "keep" and span.grounding != "ungrounded" for span in trace.spans)


def _cuts(point: Point) -> str:
    return ", ".join(f"layer {layer} by {taken:g}" for layer, taken in point.cuts) or "nothing"


def _brief(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _write(path: Path, document: dict[str, Any]) -> None:
    half = path.with_name(path.name + ".tmp")
    half.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    half.replace(path)
