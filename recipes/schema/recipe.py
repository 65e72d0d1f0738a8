"""A whole recipe: its sections, and the rules between them.

Rules inside a section stand in its `__post_init__`; rules between sections in
`Recipe.__post_init__`, so that a recipe that cannot work is refused before any model is loaded.
"""

from dataclasses import dataclass, field

from recipes.gates import nearest, parse_gate
from recipes.schema.edit import Edit
from recipes.schema.evaluate import Evaluate
from recipes.schema.filter import Filter
from recipes.schema.generate import Generate
from recipes.schema.models import Models, require
from recipes.schema.planted import Planted
from recipes.schema.publish import Publish
from recipes.schema.sleep import Sleep
from recipes.schema.training import Distill, Teacher
from recipes.vocabulary import Contender, StageName


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run."""

    name: str  # the run folder is RUNS/NAME
    runs: str = "runs"
    seed: int = 1
    # which stages to run; the order is fixed
    stages: list[StageName] = field(default_factory=lambda: list(StageName))
    # may be left out only with stages: [evaluate] and evaluate.models
    models: Models = field(default_factory=Models.none)
    planted: Planted = field(default_factory=Planted)
    teacher: Teacher = field(default_factory=Teacher)
    generate: Generate = field(default_factory=Generate)
    filter: Filter = field(default_factory=Filter)
    distill: Distill = field(default_factory=Distill)
    edit: Edit | None = None  # null: no weights are edited
    evaluate: Evaluate = field(default_factory=Evaluate)
    sleep: Sleep = field(default_factory=Sleep)
    publish: Publish = field(default_factory=Publish)

    def __post_init__(self) -> None:
        plain = self.name.strip(".") and not set(self.name) & set("/\\\0\n\r")
        require(
            bool(plain), f"name {self.name!r} is no name of a folder; expected one without / and \\"
        )
        seeds = (self.seed, self.evaluate.seed)
        require(
            seeds[0] != seeds[1],
            f"evaluate.seed {seeds[1]} is also the training seed; evaluation problems must be fresh",
        )
        longest = self.generate.max_new_tokens
        room = self.distill.sequence_tokens
        require(
            room > longest,
            f"distill.sequence_tokens {room} does not hold generate.max_new_tokens {longest} and a prompt",
        )
        goes_out, arms = (
            self.publish.student,
            [*self.distill.arms, *([Contender.EDITED] if self.edit else [])],
        )
        require(goes_out in arms, f"publish.student {goes_out!r} is none of distill.arms {arms}")
        self._check_edit()
        self._check_gates()
        if not self.models.given:
            alone = set(self.stages) == {StageName.EVALUATE} and bool(self.evaluate.models)
            return require(
                alone,
                "missing key 'models': only stages: [evaluate] with evaluate.models does without teacher and student",
            )
        self._check_signal()
        taught = self.models.teacher.path is not None or bool(self.teacher.sources)
        require(taught, "models.teacher has a shape, so teacher.sources must say what it learns")
        planted = any(
            source.name.startswith("planted/")
            for source in (*self.teacher.sources, *self.generate.sources)
        )
        asked = planted or bool(self.evaluate.recall_sources) or not self.evaluate.attacks
        require(
            asked,
            "evaluate.attacks ask for facts, and there are none: name closed-book questions in evaluate.recall_sources",
        )

    def _check_edit(self) -> None:
        """What is edited is there, and what a search looks at is not asked again by the
        scorecard.
        """
        if self.edit is None:
            return
        arms = self.distill.arms
        require(
            self.edit.arm in (Contender.BASE, *arms),
            f"edit.arm {self.edit.arm!r} is none of distill.arms {arms}, nor base",
        )
        asked = {
            source.path
            for source in (*self.evaluate.recall_sources, *self.evaluate.open_book_sources)
        }
        both = sorted(
            str(s.path)
            for s in (*self.edit.recall_sources, *self.edit.open_book_sources)
            if s.path in asked
        )
        require(
            not both,
            f"edit and evaluate both ask {', '.join(both)}; a search must not see the scorecard's questions",
        )

    def _check_gates(self) -> None:
        """A gate on a task or a contender that this recipe does not have would never open."""
        tasks, others = (
            [f"harness/{task.label}" for task in self.evaluate.harness],
            [*Contender, *self.evaluate.models],
        )
        for gate in map(parse_gate, self.publish.gates):
            unasked = gate.name.startswith("harness/") and gate.name not in tasks
            require(
                not unasked,
                f"publish.gates: {gate.text!r} names no task of evaluate.harness; {nearest(gate.name, tasks)}",
            )
            known = gate.other is None or gate.other in others
            require(
                known,
                f"publish.gates: {gate.text!r} names no contender {gate.other!r}; {nearest(str(gate.other), others)}",
            )

    def _check_signal(self) -> None:
        """A teacher that is spoken with gives what a cache holds: hidden states, and with its output
        matrix whole distributions; or its likeliest tokens at temperature 1.
        """
        engine, targets, how = (
            self.models.teacher.engine,
            self.distill.targets,
            self.distill.divergence,
        )
        if how == "none" or targets.path is not None or engine == "transformers":
            return
        require(
            targets.kind != "live",
            f"distill.targets.kind live reads every batch in this process, models.teacher.engine is {engine}; "
            "set it to sampled, hidden or top_k, which are written to disk first, or models.teacher.engine: transformers",
        )
        warm = (
            f"distill.temperature {self.distill.temperature:g} needs whole distributions, targets.kind top_k of engine "
            f"{engine} has those of 1; set it to 1, or targets.kind to sampled or hidden"
        )
        require(self.distill.temperature == 1 or targets.kind != "top_k", warm)
        chat = (
            "models.teacher.server.api: chat gives no log-probabilities of a prompt; set it to completions, or "
            "targets.kind to sampled or hidden"
        )
        likeliest = engine == "endpoint" and targets.kind == "top_k"
        require(not likeliest or self.models.teacher.server.api == "completions", chat)
