"""How long the kept traces are in the student's tokens, and how much of them is taught."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from data_filters.records.shards import iter_traces
from distill.data.encode import encode_traces, teaching
from recipes.schema import Distill


@dataclass(frozen=True)
class Lengths:
    """Of traces as they stand before an arm's view of them."""

    sequences: int
    too_long: int  # over distill.sequence_tokens
    tokens: int  # of those that are not
    taught_tokens: int  # of those that are not
    # traces that the chat template refuses or would change, by reason
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def mean_tokens(self) -> float:
        return self.tokens / max(1, self.sequences - self.too_long)


def count_lengths(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    distill: Distill,
    *,
    most: int | None = None,
) -> Lengths:
    """Counts by encoding them.

    Args:
        source: as distill.traces.
        most: traces to look at; None: all.

    Raises:
        ShardError: a file cannot be read.
    """
    sequences = too_long = tokens = taught = 0
    left_out = Counter[str]()
    traces = islice(iter_traces(source), most)
    for encoded in encode_traces(traces, tokenizer, teaching(distill), left_out=left_out):
        sequences += 1
        if len(encoded.ids) > distill.sequence_tokens:
            too_long += 1
            continue
        tokens += len(encoded.ids)
        taught += int((encoded.kl + encoded.ce + encoded.flat > 0).sum())
    return Lengths(sequences, too_long, tokens, taught, left_out)
