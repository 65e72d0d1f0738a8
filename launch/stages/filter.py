"""The stage filter: its settings, who asks the teacher, and what the planted world's key says of
the outcome.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.lookup.augment import augment
from data_filters.passes.probe_answers import ask_about, probe_answers_path, probe_totals
from data_filters.recall.known_texts import digest_of_texts
from data_filters.records.files import replacing
from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from data_filters.records.units import Unit, cut, read_unit
from data_filters.report.damage import damage_fault
from data_filters.sift import sift
from distill.engines.protocol import Conversation, Sampling
from distill.problems.planted_world import World
from distill.progress import Bar, show
from eval.stage_scores.filter_score import removed_by, score_filter
from launch.inputs.digests import digest_texts
from launch.inputs.held_out import held_out_prompts
from launch.inputs.inputs import Inputs
from launch.inputs.probing import Probing, cost_of_probes
from launch.inputs.teacher import SPOKEN
from launch.runs.identity import Identity
from launch.runs.parts import Notes, Part
from launch.runs.run_log import show_once
from recipes.errors import RecipeError
from recipes.vocabulary import Action

ASKED = "filter/asked"
# what changes nothing of what is kept
HOW_FAST = (
    "filter.num_processes",
    "filter.probes.batch_sequences",
    "filter.max_damage_fraction",
)
UNIT_TRACES = 2048
SHOWN_FAULTS = 3


class Filter:
    """The stage, seen from one rank."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.recipe, self.work = inputs, inputs.recipe, inputs.work
        self.config, self.traces = self.recipe.filter, inputs.traces

    def check(self) -> None:
        """Nothing can be known before the traces are there."""

    def parts(self) -> Iterator[Part]:
        """Answers to probes by all ranks, where a probe is on; the filtered traces by the main
        one.
        """
        if outside := self.recipe.distill.traces:
            return show_once(f"filter: not needed, traces come from {outside}", self.work.ranks)
        if self.probes:
            yield Part(ASKED, self.asked_identity(), self.ask)
        yield Part("filter", self.identity(), self._write, who="main")

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that are on."""
        return self.config.probes.asked()

    @cached_property
    def held_out(self) -> list[str]:
        """Prompts that no kept trace may hold."""
        return held_out_prompts(self.recipe, self.inputs.world)

    def asked_identity(self) -> Identity:
        """What the answers to the probes depend on: the traces, the teacher, the questions."""
        found = self.inputs.identity("filter.probes", "filter.curriculum_file", leave_out=SPOKEN)
        return (
            found
            | {
                "input.traces": self.traces.written_digest(),
                "input.teacher": self.inputs.teacher.digest(),
            }
            | self.inputs.teacher.speaker()
        )

    def ask(self, folder: Path) -> Notes:
        """The ask pass: this rank's share of the units; on the main rank a count of them, when all
        are there.
        """
        units = self._units(folder)
        numbers = range(len(units))
        todo = [
            n
            for n in self.inputs.teacher.share(numbers)
            if not probe_answers_path(folder, n).exists()
        ]
        if todo:
            self._ask_units(folder, units, todo)
        if self.work.ranks.is_main:
            for number in numbers:
                self.work.wait_for(probe_answers_path(folder, number))
            if told := cost_of_probes(probe_totals(folder, len(units))):
                show(f"filter: {told}")
        return {"units": len(units)}

    def _units(self, folder: Path) -> list[Unit]:
        """The main rank cuts the source; the others read how. Paths are noted by name: a run folder
        may be moved.
        """
        plan, source = folder / "plan.json", Path(self.traces.written)
        if self.work.ranks.is_main and not plan.exists():
            units = cut(source if source.exists() else str(source), folder / "copied", UNIT_TRACES)
            noted = [
                asdict(unit)
                | {
                    "path": os.path.relpath(
                        unit.path, folder if "copied" in Path(unit.path).parts else source
                    )
                }
                for unit in units
            ]
            with replacing(plan) as partial:
                partial.write_text(json.dumps(noted))
        self.work.wait_for(plan)
        noted = json.loads(plan.read_text())
        homes = [folder if unit["path"].startswith("copied") else source for unit in noted]
        return [
            Unit(**unit | {"path": os.path.normpath(home / unit["path"])})
            for home, unit in zip(homes, noted, strict=True)
        ]

    def _ask_units(self, folder: Path, units: Sequence[Unit], todo: Sequence[int]) -> None:
        config, knows = self.config.probes, FilterContext(self.settings()).knows
        sampling = Sampling(max_new_tokens=config.max_new_tokens)
        probing = Probing(config, self.inputs.teacher)
        with (
            self.inputs.teacher.speaking(
                config.batch_sequences,
                max_new_tokens=probing.max_new_tokens,
                top_k=probing.top_k,
            ) as engine,
            Bar("filter: asking", None, "questions", self.work.ranks.is_main) as bar,
        ):
            measure = probing.measure(engine)
            further = probing.further(engine, len(units), bar.tokens)

            def speak(conversations: Sequence[Conversation], prefixes: Sequence[str]) -> list[str]:
                said = engine.complete(
                    conversations, sampling, prefixes=prefixes, progress=bar.tokens
                )
                return [completion.text for completion in said]

            for number in todo:
                traces = [trace for trace in read_unit(units[number]) if isinstance(trace, Trace)]
                how = (speak, knows, measure, config.surprise_nats, further)
                ask_about(traces, probe_answers_path(folder, number), self.probes, *how)

    def settings(self) -> FilterSettings:
        """What the filters are told."""
        return FilterSettings(
            config=self.config, seed=self.recipe.seed, held_out=tuple(self.held_out)
        )

    def identity(self) -> Identity:
        """What the stage's content depends on."""
        found = self.inputs.identity("filter", leave_out=HOW_FAST) | {
            "input.traces": self.traces.written_digest(),
            "input.held_out": digest_texts(self.held_out),
        }
        for source in self.config.known_texts:
            found[f"input.known_texts.{Path(source).name}"] = digest_of_texts(source)
        return found | (
            {"input.asked": self.work.digest(ASKED)} if self.config.probes.asked() else {}
        )

    def _write(self, folder: Path) -> Notes:
        """Runs the filters; gives notes for the manifest."""
        asked = self.work.folder(ASKED) if self.config.probes.asked() else None
        processes = self.config.num_processes or num_cores()
        shown, gazetteer = self.work.ranks.is_main, self.traces.scrubber.gazetteer
        faults = gazetteer.faults if gazetteer is not None else ()
        with (
            Bar("filter: reading", None, "traces", shown) as reading,
            Bar("filter: writing", None, "traces", shown) as writing,
        ):
            report = sift(
                self.traces.written,
                folder,
                self.settings(),
                processes=processes,
                shard_rows=UNIT_TRACES,
                probe_answers=asked,
                examined=reading.items,
                written=writing.items,
            )
        notes = told(report)
        self._stop_damage(report, folder)
        if faults:
            notes["gazetteer rows left out"] = len(faults)
            show(
                f"filter.gazetteer: {len(faults)} row(s) left out, such as {'; '.join(faults[:SHOWN_FAULTS])}"
            )
        if self.config.ungrounded_action == Action.LOOKUP:
            with Bar("filter: look-ups", None, "shards", shown) as bar:
                records = augment(
                    folder,
                    self.traces.scrubber,
                    self.config.lookups,
                    self.recipe.seed,
                    progress=bar.items,
                )
            return notes | {"records": records}
        if self.inputs.world is not None:
            self._score(folder, self.inputs.world)
        return notes

    def _stop_damage(self, report: Mapping[str, Any], folder: Path) -> None:
        """Ends the stage if scrubbing changed too many right traces; a report alone changes none.

        Raises:
            RecipeError: it did; the worst traces are shown before.
        """
        limit, page = self.config.max_damage_fraction, folder / "report.html"
        fault = damage_fault(report["damage"], limit, page)
        if fault is None:
            return
        if self.work.ranks.is_main:
            for one in report["damage"]["worst"][:SHOWN_FAULTS]:
                show(f"filter: {one['what']}: {one['id']} of {one['source']}, {one['reason']}")
        if self.config.mode != "report_only":
            raise RecipeError(fault)
        show(f"filter: {fault}")

    def _score(self, folder: Path, world: World) -> None:
        """What the world's key, which no filter sees, says of the outcome."""
        score = score_filter(iter_traces(folder / "kept"), world)
        facts = removed_by(folder, world)
        for name, found in (("key_score.json", score), ("key_facts.json", facts)):
            with replacing(folder / name) as partial:
                partial.write_text(json.dumps(found, indent=1, sort_keys=True))
        if self.work.ranks.is_main:
            show(
                "filter, scored by the world's key (which it never sees): "
                + ", ".join(f"{k} {v}" for k, v in score.items())
            )


def num_cores() -> int:
    """The cores that this process may use, 1 and above."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told(report: Mapping[str, Any]) -> Notes:
    """What people are told of a filter run; where it only reports, kept/ holds all that could be
    read.
    """
    damage = report["damage"]
    kept = {"kept": report["kept"]}
    if report["mode"] == "report_only":
        unreadable = sum(report["dropped"].get("read", {}).values())
        kept = {"kept": report["read"] - unreadable, "would be kept": report["kept"]}
    names = {"right before": "right", "changed": "of these changed"}
    right = {said: damage[name] for name, said in names.items()}
    counts = {"read": report["read"]} | kept | dict(report["treated"]) | right
    if report["ignored_columns"]:
        counts["columns ignored"] = report["ignored_columns"]
    if languages := sum(report["dropped"].get("language", {}).values()):
        counts["in other languages than English, dropped"] = languages
    return counts | {"dropped": report["dropped"]}
