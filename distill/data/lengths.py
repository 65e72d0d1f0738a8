"""How long the kept traces are in the student's tokens, and how much of them is taught."""

from dataclasses import dataclass
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
        ModelError: the chat template does not render a trace verbatim.
        ShardError: a file cannot be read.
    """
    sequences = too_long = tokens = taught = 0
    for encoded in encode_traces(islice(iter_traces(source), most), tokenizer, teaching(distill)):
        sequences += 1
        if len(encoded.ids) > distill.sequence_tokens:
            too_long += 1
            continue
        tokens += len(encoded.ids)
        taught += int((encoded.kl + encoded.ce + encoded.flat > 0).sum())
    return Lengths(sequences, too_long, tokens, taught)
