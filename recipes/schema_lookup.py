"""The knobs of tools: how traces are turned into look-ups, and how models are asked that may call."""

from dataclasses import dataclass, field

from recipes.schema_models import require

KINDS = ("found", "given", "missing", "changed", "irrelevant", "off")


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """filter.untold: lookup. What becomes of a trace that states what nobody gave, and what else is made of the others."""

    mixture: dict[str, float] = field(
        default_factory=lambda: {"found": 3, "given": 1, "missing": 3, "changed": 1.5, "irrelevant": 1, "off": 1}
    )  # weights of: looked up; the same fact given; missing from the base; changed there; results about others; no tools offered
    records: int = 3  # of each such trace, of different kinds
    offered: float = 0.6  # share of the other traces whose prompt offers tools that they have no need of, 0..1
    moved: float = 1.0  # chance that a trace that was told also becomes one where the base tells, or nobody, 0..1
    two_hops: float = 1.0  # chance that a trace about "the friend of X" also becomes two look-ups, 0..1
    programs: float = 1.0  # chance that a trace of sums also becomes one of long numbers and a program, 0..1
    digits: int = 3  # of these numbers
    links: list[str] = field(default_factory=list)  # between subjects, e.g. [friend of], that a base holds beside facts: results show them
    snippets: int = 3  # passages that a look-up gives

    def __post_init__(self) -> None:
        require(set(self.mixture) <= set(KINDS), f"filter.lookups.mixture names {', '.join(self.mixture)}; wanted {', '.join(KINDS)}")
        require(any(self.mixture.values()), "filter.lookups.mixture has no weight above 0")
        require(all(weight >= 0 for weight in self.mixture.values()), "filter.lookups.mixture has a weight below 0")
        for name in ("offered", "moved", "two_hops", "programs"):
            require(0 <= getattr(self, name) <= 1, f"filter.lookups.{name} {getattr(self, name)} is outside 0..1")
        require(1 <= self.records <= len(KINDS), f"filter.lookups.records {self.records} is outside 1..{len(KINDS)}")
        require(self.snippets >= 1, f"filter.lookups.snippets {self.snippets} is below 1")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """How much a model that may call tools gets, and when it is stopped."""

    contenders: list[str] = field(default_factory=list)  # who is asked with tools at hand too, e.g. [student]; on the planted world only
    snippets: int = 3  # passages that a look-up gives
    max_calls: int = 4  # of one conversation; what it calls beyond is not run
    result_characters: int = 600  # of a result; what is longer is cut
    context_tokens: int = 1024  # of a conversation; a longer one is ended
    seconds: float = 2.0  # of a program
    memory_mib: int = 64  # of a program

    def __post_init__(self) -> None:
        for name in ("snippets", "max_calls", "result_characters", "context_tokens", "memory_mib"):
            require(getattr(self, name) >= 1, f"evaluate.tools.{name} {getattr(self, name)} is below 1")
        require(self.seconds > 0, f"evaluate.tools.seconds {self.seconds} is not above 0")
