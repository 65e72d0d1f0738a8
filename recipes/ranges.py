"""Which numbers a key of a recipe may hold: no key takes nan or an infinite number, few take 0 or
less, and none takes what no machine can hold.

A rule is found by the name of its key, since names say what a number is: `learning_rate`,
`..._fraction`, `..._tokens`. A new key of a known kind needs no line here.
"""

import fnmatch
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed unless `above` or `below` says otherwise."""

    low: float = 0
    high: float = 1e9
    above: bool = False  # low itself is not allowed
    below: bool = False  # high itself is not allowed

    def fault(self, key: str, value: float) -> str:
        """What is wrong with a number, in one line; empty: nothing."""
        if not math.isfinite(value):
            return f"{key} {value} is no number; expected {self}"
        if value < self.low or (self.above and value == self.low):
            found = "not above" if self.above else "below"
            return f"{key} {value} is {found} {self.low:g}; expected {self}"
        if value > self.high or (self.below and value == self.high):
            found = "not below" if self.below else "above"
            return f"{key} {value} is {found} {self.high:g}; expected {self}"
        return ""

    def __str__(self) -> str:
        first = "above" if self.above else "from"
        return f"{first} {self.low:g} {'to below' if self.below else 'to'} {self.high:g}"


POSITIVE, COUNT, WHOLE = Range(above=True), Range(low=1), Range()
FRACTION, RATE = Range(high=1), Range(high=1, above=True)
# the first that fits "Section.key"
RULES = (
    ("*.seed", Range(high=2**32 - 1)),
    ("Source.options", Range(low=-1e9)),  # the data set's own
    ("Filter.small_numbers", Range(low=-1)),
    ("Filter.keep_commonness", Range(high=9)),
    ("*.thinking_tokens", WHOLE),
    ("Lora.dropout", Range(high=1, below=True)),
    ("*.adam_betas", Range(high=1, below=True)),
    ("*.learning_rate", RATE),
    ("*_learning_rate", RATE),
    ("*.weight_decay", FRACTION),
    ("*_shares", FRACTION),
    ("*_fraction", FRACTION),
    ("*_fractions", FRACTION),
    ("*_rate", FRACTION),
    ("*temperature", Range(high=1000)),
    ("*.rope_theta", Range(high=1e12, above=True)),
    ("*.alpha", POSITIVE),
    ("*.epochs", POSITIVE),
    ("*seconds", POSITIVE),
    ("*_gib", POSITIVE),
    ("*_mib", COUNT),
    ("Planted.*", COUNT),
    ("Shape.*", COUNT),
    ("Phase.max_steps", COUNT),
    ("*.checkpoint_steps", COUNT),
    ("*_sequences", COUNT),
    ("*_rows", COUNT),
    ("*_tokens", COUNT),
    ("*.token_budgets", COUNT),
    ("*_problems", COUNT),
    ("*_characters", COUNT),
    ("*_snippets", COUNT),
    ("*_calls", COUNT),
    ("*.count", Range(low=1, high=1e12)),
    ("*.vocab_size", COUNT),
    ("*.samples_per_problem", COUNT),
    ("*.wanted_correct", COUNT),
    ("*.rounds", COUNT),
    ("*.items", COUNT),
    ("*.bootstrap", COUNT),
    ("*.concurrency", COUNT),
    ("*.decontaminate_words", COUNT),
    ("*.num_digits", COUNT),
    ("*", WHOLE),
)


def range_of(schema: type, name: str) -> Range:
    """The numbers that a key of a section may hold."""
    key = f"{schema.__name__}.{name}"
    return next(rule for pattern, rule in RULES if fnmatch.fnmatchcase(key, pattern))


def number_faults(schema: type, values: dict[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """Name and fault of each key with a number that it may not hold.

    Args:
        schema: the dataclass of a section.
        values: its keys, as far as they could be read.
        key: the dotted key of the section; "" for the recipe itself.
    """
    for name, value in values.items():
        inner = value.values() if isinstance(value, dict) else value
        for one in inner if isinstance(value, list | tuple | dict) else [value]:
            if isinstance(one, int | float) and not isinstance(one, bool):
                fault = range_of(schema, name).fault(f"{key}.{name}" if key else name, one)
                if fault:
                    yield name, fault
                    break
