"""The keys of publishing."""

from dataclasses import dataclass, field

from recipes.gates import parse_gate
from recipes.vocabulary import Arm


@dataclass(frozen=True, kw_only=True)
class Publish:
    """What is published: a hub-ready folder, pushed only if `repo` names a repository."""

    student: str = Arm.STUDENT  # the arm to publish
    repo: str | None = None  # hub repository; null: write the folder, push nothing
    private: bool = True
    license: str = "apache-2.0"
    # conditions on the scorecard, e.g. "recall.high <= 0.05", "reasoning_retained >= 0.97"
    gates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for gate in self.gates:
            parse_gate(gate)
