"""How varied texts are, as summaries that merge: scrubbing can itself make everything alike.

Counts of different things come from the k smallest of their hashes (Bar-Yossef et al. 2002,
Counting distinct elements in a data stream): exact below k, within about 3 % above.
"""

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from data_filters.dedup.minhash import hash64

SMALLEST = 1024
COMMON = 512  # openings and skeletons that are counted by name
SAMPLE_CHARACTERS = 4096  # of each unit, to be compressed
SAMPLE_TRACES = 128  # of each unit, whose word n-grams are counted


class Distinct:
    """About how many different things were seen.

    Args:
        smallest: hashes that are kept; the count is exact below so many things.
    """

    def __init__(self, smallest: int = SMALLEST) -> None:
        self.total, self.smallest = 0, smallest
        self.least: set[int] = set()
        self._limit = 1 << 64

    def add(self, number: int) -> None:
        """Takes 64 bits of a thing."""
        self.total += 1
        if number < self._limit:
            self.least.add(number)
            if len(self.least) >= 2 * self.smallest:
                self._shrink()

    def merge(self, other: "Distinct") -> None:
        """Adds what another one of the same size saw."""
        self.total += other.total
        self.least |= other.least
        self._shrink()

    def to_json(self) -> list[Any]:
        """Everything, as values that JSON can hold."""
        return [self.total, sorted(self.least)]

    @classmethod
    def from_json(cls, said: Sequence[Any]) -> "Distinct":
        """What `to_json` gave, of the usual size."""
        found = cls()
        found.total, found.least = said[0], set(said[1])
        return found

    def count(self) -> float:
        """Exact below `smallest` things, an estimate above."""
        self._shrink()
        if len(self.least) < self.smallest:
            return float(len(self.least))
        return (self.smallest - 1) / (max(self.least) / 2**64)

    def fraction(self) -> float:
        """Different ones among all, 0..1."""
        return min(1.0, self.count() / self.total) if self.total else 0.0

    def _shrink(self) -> None:
        if len(self.least) > self.smallest:
            self.least = set(sorted(self.least)[: self.smallest])
            self._limit = max(self.least)


class Diversity:
    """Of questions and of what the assistant says."""

    def __init__(self) -> None:
        self.grams = {words: Distinct() for words in (1, 2, 3)}
        self.skeletons = Distinct()
        self.named: dict[str, Counter[str]] = {"skeleton": Counter(), "opening": Counter()}
        self.sample: list[str] = []
        self.sampled = 0  # traces of this unit whose n-grams were counted
        self.bytes = [0, 0]  # compressed, plain

    def add(self, said: str, skeleton: Sequence[str]) -> None:
        """Takes one trace: the assistant's text and the words of its question's skeleton."""
        words = said.lower().split()
        if self.sampled < SAMPLE_TRACES:
            self.sampled += 1
            for size, seen in self.grams.items():
                for gram in zip(*(words[start:] for start in range(size)), strict=False):
                    seen.add(hash64(" ".join(gram)))
        self.skeletons.add(hash64(" ".join(skeleton)))
        self.named["skeleton"][" ".join(skeleton)[:80]] += 1
        self.named["opening"][" ".join(words[:2])] += 1
        if sum(map(len, self.sample)) < SAMPLE_CHARACTERS:
            self.sample.append(said[:SAMPLE_CHARACTERS])

    def close(self) -> None:
        """Compresses the unit's sample; call it before the summary travels."""
        data = "\n".join(self.sample).encode(errors="replace")
        self.bytes = [self.bytes[0] + len(zlib.compress(data, 9)), self.bytes[1] + len(data)]
        self.sample = []
        self._forget()

    def merge(self, other: "Diversity") -> None:
        """Adds what another unit counted."""
        for size, seen in self.grams.items():
            seen.merge(other.grams[size])
        self.skeletons.merge(other.skeletons)
        for name, counts in self.named.items():
            counts.update(other.named[name])
        self.bytes = [mine + theirs for mine, theirs in zip(self.bytes, other.bytes, strict=True)]
        self._forget()

    def to_json(self) -> dict[str, Any]:
        """Everything that a closed summary holds, as values that JSON can hold."""
        return {
            "grams": [[size, seen.to_json()] for size, seen in self.grams.items()],
            "skeletons": self.skeletons.to_json(),
            "named": {name: dict(counts) for name, counts in self.named.items()},
            "bytes": self.bytes,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Diversity":
        """What `to_json` gave."""
        found = cls()
        found.grams = {size: Distinct.from_json(seen) for size, seen in said["grams"]}
        found.skeletons = Distinct.from_json(said["skeletons"])
        found.named = {name: Counter(counts) for name, counts in said["named"].items()}
        found.bytes = said["bytes"]
        return found

    def _forget(self) -> None:
        """Rare names go, so that the summary stays small; the common ones are exact unless they
        were rare in some unit.
        """
        for name, counts in self.named.items():
            if len(counts) > COMMON:
                self.named[name] = Counter(
                    dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:COMMON])
                )

    def report(self) -> dict[str, float]:
        """Shares are 0..1, the entropy in bits, over the openings that are counted by name."""
        traces = max(self.skeletons.total, 1)
        openings = self.named["opening"]
        total = max(openings.total(), 1)
        found = {f"distinct_{size}": seen.fraction() for size, seen in self.grams.items()} | {
            "skeletons": self.skeletons.count(),
            "largest_skeleton": max(self.named["skeleton"].values(), default=0) / traces,
            "opening_entropy_bits": 0.0
            - sum(n / total * math.log2(n / total) for n in openings.values()),
            "compressed": self.bytes[0] / max(self.bytes[1], 1),
        }
        return {name: round(value, 4) for name, value in found.items()}
