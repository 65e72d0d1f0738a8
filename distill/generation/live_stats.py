"""What a teacher has written so far, in numbers and a few samples: for the progress bar, and for
generate/report.json.
"""

import hashlib
import heapq
import re
from collections import Counter, defaultdict
from typing import Any

from data_filters.records.traces import Trace
from recipes.vocabulary import FinishReason, Verdict

KEPT = 2048  # hashes of a sketch: its count is right to about 2 %
GRAM_WORDS = 200  # of a trace that are looked at for distinct n-grams
SAMPLES = 6
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")


class Distinct:
    """How many different things were added, in bounded memory: the smallest hashes of all
    (Bar-Yossef et al. 2002, k minimum values).
    """

    def __init__(self) -> None:
        self._largest_first: list[int] = []
        self._held: set[int] = set()
        self.total = 0

    def add(self, thing: str) -> None:
        self.total += 1
        self._keep(
            int.from_bytes(
                hashlib.blake2b(thing.encode(errors="surrogatepass"), digest_size=8).digest(), "big"
            )
        )

    def count(self) -> float:
        """Exact up to KEPT things, an estimate beyond."""
        if len(self._held) < KEPT:
            return len(self._held)
        return (KEPT - 1) * 2**64 / -self._largest_first[0]

    def fraction(self) -> float:
        """Different ones among all, 0..1."""
        return min(1.0, self.count() / self.total) if self.total else 0.0

    def _keep(self, number: int) -> None:
        if number in self._held or (len(self._held) >= KEPT and number >= -self._largest_first[0]):
            return
        self._held.add(number)
        heapq.heappush(self._largest_first, -number)
        if len(self._held) > KEPT:
            self._held.discard(-heapq.heappop(self._largest_first))


class Tally:
    """Counts of traces; its memory grows with the number of sources only."""

    def __init__(self) -> None:
        self.sources: dict[str, Counter[str]] = defaultdict(Counter)
        self.skeletons, self.grams = Distinct(), {n: Distinct() for n in (1, 2, 3)}
        self.samples: dict[str, list[Trace]] = defaultdict(list)

    def add(self, trace: Trace) -> None:
        outcome = (
            trace.verdict
            if trace.finish_reason == FinishReason.STOP
            else "truncated"
            if trace.finish_reason == FinishReason.LENGTH
            else "refused"
        )
        counts = self.sources[trace.source]
        counts.update(
            {
                outcome: 1,
                "traces": 1,
                "prompt_tokens": trace.prompt_tokens,
                "completion_tokens": trace.completion_tokens,
            }
        )
        self.skeletons.add(skeleton(trace.prompt()))
        words = trace.messages[-1]["content"].split()[:GRAM_WORDS]
        for n, grams in self.grams.items():
            for i in range(len(words) - n + 1):
                grams.add(" ".join(words[i : i + n]))
        if len(self.samples[outcome]) < SAMPLES:
            self.samples[outcome].append(trace)

    def line(self) -> str:
        """For a progress bar: shares of outcomes, distinct bigrams, repeated question skeletons."""
        whole = self._whole()
        shares = [f"{name} {whole[name] / whole['traces']:.0%}" for name in OUTCOMES if whole[name]]
        return ", ".join(
            [
                *shares,
                f"distinct-2 {self.grams[2].fraction():.2f}",
                f"repeated questions {1 - self.skeletons.fraction():.0%}",
            ]
        )

    def report(self) -> dict[str, Any]:
        """Ready for JSON; fractions 0..1."""
        return {
            **self._whole(),
            "distinct_n": {str(n): round(grams.fraction(), 4) for n, grams in self.grams.items()},
            "repeated_skeletons": round(1 - self.skeletons.fraction(), 4),
            "sources": {name: dict(counts) for name, counts in sorted(self.sources.items())},
        }

    def samples_text(self) -> str:
        """A page of traces to read, a few of each outcome."""
        parts = ["# Samples of what the teacher wrote\n"]
        for outcome in OUTCOMES:
            for trace in self.samples.get(outcome, []):
                head = f"## {outcome}: {trace.source} ({trace.completion_tokens} tokens, reference {trace.gold!r})\n"
                parts.append(
                    head + "\n".join(_quoted(m["role"], m["content"]) for m in trace.messages)
                )
        return "\n\n".join(parts) + "\n"

    def _whole(self) -> Counter[str]:
        return sum(self.sources.values(), Counter())


OUTCOMES = (*Verdict, "truncated", "refused")


def skeleton(prompt: str) -> str:
    """A question without its numbers and names: what templates share."""
    return " ".join(_NAME.sub("N", _NUMBER.sub("0", prompt)).lower().split())


def _quoted(role: str, text: str) -> str:
    """Indented, so that nothing in a model's text is markup."""
    return f"**{role}**\n\n" + "\n".join(f"    {line}" for line in text.split("\n")) + "\n"
