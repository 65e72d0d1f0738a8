"""The keys of sleep: what a user wants remembered goes from the context into an adapter."""

from dataclasses import dataclass, field

from recipes.schema.models import Lora, require


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """Context distillation: the student with documents in its context teaches itself without them,
    into an adapter.
    """

    # rows of `text` and `question` (.jsonl, .parquet or a folder); null: facts of the planted world
    documents: str | None = None
    # planted facts of never-trained people; 0 and no documents: no sleep
    num_facts: int = 0
    rank: int = 16  # of the adapter
    alpha: float = 32.0
    targets: list[str] = field(default_factory=lambda: list(Lora().targets))
    steps: int = 500
    batch_sequences: int = 64
    learning_rate: float = 2e-3  # AdamW, decays to 0
    # share of a batch without a document, 0..1; it keeps the student's other answers as they are
    rehearsal_fraction: float = 0.8
    # rehearsed prompts, from kept traces; in half of them the student abstains
    num_rehearsal_prompts: int = 8000
    max_new_tokens: int = 48

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"sleep.rank {self.rank} is below 1")
        require(
            0 <= self.rehearsal_fraction < 1,
            f"sleep.rehearsal_fraction {self.rehearsal_fraction} is outside 0..1",
        )
        for name in ("steps", "batch_sequences", "max_new_tokens"):
            require(getattr(self, name) >= 1, f"sleep.{name} {getattr(self, name)} is below 1")

    @property
    def lora(self) -> Lora:
        return Lora(rank=self.rank, alpha=self.alpha, targets=self.targets)

    @property
    def wanted(self) -> bool:
        return self.documents is not None or self.num_facts > 0
