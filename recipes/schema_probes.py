"""Questions to the teacher that tell recall from thought; each costs one or two short answers a trace, so all are off by default."""

from dataclasses import dataclass
from typing import Literal

from recipes.schema_models import require

PROBES = ("closed_book", "premise", "rename", "surprise")
Mode = Literal["off", "report", "drop"]


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What is done with traces that a probe calls recall: nothing is asked, they are counted, or they are dropped."""

    closed_book: Mode = "off"  # answered right without any reasoning
    premise: Mode = "off"  # still right when the statements before the question are taken away
    rename: Mode = "off"  # the answer does not follow when names are replaced by others throughout
    surprise: Mode = "off"  # the teacher is far surer of the answer's words than the reference model
    reference: str | None = None  # surprise: folder or hub id of a model that shares the teacher's tokenizer and knows no facts
    surprise_nats: float = 3.0  # surprise: least gap in log-probability of a word, teacher minus reference, nats
    batch_sequences: int = 256  # questions decoded together
    max_new_tokens: int = 64  # of an answer

    def __post_init__(self) -> None:
        named = self.reference is not None or self.surprise == "off"
        require(named, "filter.probes.surprise wants a model to compare with; name one in filter.probes.reference")
        require(self.max_new_tokens >= 1, f"filter.probes.max_new_tokens {self.max_new_tokens} is below 1")

    def asked(self) -> tuple[str, ...]:
        """The names of the probes that are on."""
        return tuple(name for name in PROBES if getattr(self, name) != "off")
