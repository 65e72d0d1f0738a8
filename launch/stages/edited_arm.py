"""The arm that is edited: its weights, its factors, the traces that measure and heal it, and the
questions that judge it.
"""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from distill.checks.preflight import skeleton
from distill.data.encode import Encoded, Teaching, encode_traces
from distill.data.packing import Packed, pack
from distill.edit.bits_per_byte import bits_per_byte, halves, read_text
from distill.edit.factors import (
    Sums,
    load_factors,
    read_sums,
    save_factors,
    save_sums,
    weights_digest,
)
from distill.edit.kfac import collect_sums, finished_factors
from distill.edit.matrices import Target, find_targets
from distill.edit.search import Editor
from distill.engines.local import LocalEngine
from distill.models import load_config, load_tokenizer
from distill.problems.splits import digest_of
from distill.progress import Bar
from eval.stage_scores.edit_score import search_questions, search_score
from launch.inputs.contenders import part_of
from launch.inputs.inputs import Inputs
from launch.runs.parts import Notes
from launch.stages.targets import Targets
from recipes.errors import RecipeError
from recipes.schema import Distill, Edit, Heal
from recipes.vocabulary import Action, Arm, Contender, Grounding


class EditedArm:
    """One arm of the run, as the section edit sees it.

    Args:
        targets: gives the traces as an arm sees them.
    """

    def __init__(self, inputs: Inputs, config: Edit, targets: Targets) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.config, self.targets = config, targets
        self.spec = self.recipe.models.student
        self.folder = self.work.folder(part_of(config.arm))

    # --- weights

    def describe(self) -> str:
        """What will be edited, from the student's config alone.

        Raises:
            ModelError: layers or projections that it does not have.
        """
        found = self._matrices(skeleton(load_config(self.spec), self.spec), with_weights=False)
        return f"{len(found)} matrices in {len({target.layer for target in found})} layers"

    def open(self) -> PreTrainedModel:
        """Loaded anew, on this rank's accelerator."""
        return self.inputs.contenders.open(self.config.arm, self.folder).eval()

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Loaded anew."""
        return load_tokenizer(self.spec, self.folder)

    def matrices(self, model: PreTrainedModel) -> list[Target]:
        """The weights that are edited."""
        return self._matrices(model, with_weights=True)

    def _matrices(self, model: PreTrainedModel, *, with_weights: bool) -> list[Target]:
        return find_targets(
            model,
            layers=self.config.layers,
            projections=self.config.projections,
            with_weights=with_weights,
        )

    def editor(self, model: PreTrainedModel) -> Editor:
        """What takes directions out of the model's weights, by the finished factors."""
        path = self.work.folder("edit/factors") / "factors.safetensors"
        factors = load_factors(path, origin={"model": weights_digest(model)})
        return Editor(model, self.matrices(model), factors)

    def collect_factors(self, path: Path) -> Notes:
        """Writes the curvature of each matrix: each rank reads every n-th sequence and writes its
        sums; the main rank adds them up.
        """
        model, ranks = self.open(), self.work.ranks
        matrices, sequences = self.matrices(model), self._calibration()
        shares = [path.with_name(f".sums-{rank:05d}") for rank in range(ranks.count)]
        save_sums(
            shares[ranks.index],
            self._sums(model, matrices, sequences[ranks.index :: ranks.count]),
        )
        if not ranks.is_main:
            return {}
        for share in shares:
            self.work.wait_for(share)
        factors = finished_factors(matrices, [read_sums(share) for share in shares])
        save_factors(path, factors, origin={"model": weights_digest(model)})
        for share in shares:
            share.unlink()
        tokens = max(one.tokens for one in factors.values())
        return {"targets": len(matrices), "sequences": len(sequences), "tokens": tokens}

    def _sums(
        self, model: PreTrainedModel, matrices: list[Target], sequences: list[Encoded]
    ) -> dict[str, Sums]:
        config, training = self.config, self.recipe.distill

        def stream() -> Iterator[Packed]:
            for start in range(0, len(sequences), training.micro_batch_rows):
                rows = sequences[start : start + training.micro_batch_rows]
                yield pack(rows, training.sequence_tokens)

        with Bar("edit: curvature", None, "rows", self.work.ranks.is_main) as bar:
            return collect_sums(
                model,
                matrices,
                stream,
                seed=self.recipe.seed,
                gold=config.labels == "gold",
                memory_gib=config.factors_gib,
                temperature=config.label_temperature,
                progress=bar.tokens,
            )

    # --- traces

    def _calibration(self) -> list[Encoded]:
        """The sequences that the curvature is measured on, numbered."""
        sequences = [dataclasses.replace(one, row=row) for row, one in enumerate(self._drawn())]
        if not sequences:
            raise RecipeError(
                "edit: no trace to measure the curvature on; set edit.calibration: as_taught, "
                "or keep more traces"
            )
        return sequences

    def _drawn(self) -> Iterable[Encoded]:
        """Sequences by the hash of their trace, no longer than a row; then the first half of the
        text.
        """
        config, longest, tokenizer = (
            self.config,
            self.recipe.distill.sequence_tokens,
            self.tokenizer(),
        )
        view = Arm.STUDENT if config.arm == Contender.BASE else config.arm
        unchanged = config.calibration == "unchanged"
        traces = self.unchanged() if unchanged else self.targets.traces(view)
        drawn = heapq.nsmallest(
            config.calibration_sequences, traces, key=lambda trace: digest_of(trace.id)
        )
        # what the template refuses was counted when the arm was trained
        alone, left_out = Teaching(kl=0.0, ce=1.0), Counter[str]()
        for one in encode_traces(drawn, tokenizer, alone, left_out=left_out):
            if len(one.ids) <= longest:
                yield one
        if config.calibration_text:
            text = halves(read_text(config.calibration_text))[0]
            ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
            for piece in ids.split(longest):
                ones = torch.ones(len(piece)).numpy()
                yield Encoded(piece.int().numpy(), 0 * ones, ones, 0 * ones, source="text")

    def unchanged(self) -> Iterator[Trace]:
        """Kept traces that need no fact."""
        return filter(needs_no_fact, iter_traces(self.inputs.traces.kept))

    def healing(self) -> Iterator[Trace]:
        """The traces of the short training after the edit."""
        heal = self.config.heal
        scrubbed = heal.traces == "scrubbed"
        traces = self.targets.traces(Arm.STUDENT) if scrubbed else self.unchanged()
        return (
            trace
            for trace in traces
            if not heal.families or trace.source.rpartition("/")[2] in heal.families
        )

    # --- questions

    def scorer(self, model: PreTrainedModel) -> Callable[[PreTrainedModel], dict[str, float]]:
        """What asks the model, whatever its weights are just now; gives recall and each suite that
        is to stay, 0..1, and bits a byte of a text.
        """
        config, evaluate, tokenizer = self.config, self.recipe.evaluate, self.tokenizer()
        questions = search_questions(evaluate, config, self.inputs.world)
        engine = LocalEngine(model, tokenizer, batch_sequences=evaluate.batch_sequences)
        text = config.calibration_text
        held_out = halves(read_text(text))[1] if text else None

        def score(edited: PreTrainedModel) -> dict[str, float]:
            found = search_score(
                engine,
                questions,
                keep=config.keep_suites,
                max_new_tokens=evaluate.max_new_tokens,
                system=self.recipe.generate.system,
                seed=evaluate.seed,
            )
            if held_out:
                found |= {"bits_per_byte": bits_per_byte(edited, tokenizer, held_out)}
            return found

        return score


def needs_no_fact(trace: Trace) -> bool:
    """Whether nothing was masked or replaced, and no ungrounded fact stands there, as
    `filter.ungrounded_action: keep` leaves it.
    """
    return all(
        span.action == Action.KEEP and span.grounding != Grounding.UNGROUNDED
        for span in trace.spans
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
