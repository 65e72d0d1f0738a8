"""The keys of the planted world."""

from dataclasses import dataclass, field

from recipes.schema.models import require


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The planted world: fictional people whose facts are known exactly."""

    seed: int = 1
    people: int = 130  # their facts are trained and may occur in traces
    teacher_only: int = 75  # their facts are trained, but no generation prompt asks for them
    strangers: int = 75  # never trained: the never-trained control
    # relative training frequency of a fact class (Zipf)
    exposures: list[int] = field(default_factory=lambda: [1, 4, 16, 64])
    # share of the facts in each class, sums to 1
    exposure_shares: list[float] = field(default_factory=lambda: [0.8, 0.15, 0.04, 0.01])

    def __post_init__(self) -> None:
        require(
            len(self.exposures) == len(self.exposure_shares),
            "planted.exposures and planted.exposure_shares differ in length",
        )
        require(
            abs(sum(self.exposure_shares) - 1) < 1e-6,
            f"planted.exposure_shares sum to {sum(self.exposure_shares)}, not 1",
        )
