"""What a teacher has written so far, in numbers and a few samples: for the progress bar, and for
generate/report.json.
"""

import json
from collections import Counter, defaultdict
from typing import Any

from data_filters.dedup.minhash import hash64
from data_filters.dedup.skeletons import skeleton
from data_filters.records.traces import Trace
from data_filters.report.diversity import Distinct
from data_filters.text.curriculum import load_curriculum
from data_filters.text.stem import stem
from recipes.vocabulary import FinishReason, Verdict

KEPT = 2048  # hashes of a sketch: its count is right to about 2 %
GRAM_WORDS = 200  # of a trace that are looked at for distinct n-grams
SAMPLES = 6


class LiveCounts:
    """Counts of traces; its memory grows with the number of sources only."""

    def __init__(self) -> None:
        self.sources: dict[str, Counter[str]] = defaultdict(Counter)
        self.refusals: Counter[str] = Counter()  # what servers said
        self._curriculum = load_curriculum()
        self.templates = Distinct(KEPT)
        self.grams = {n: Distinct(KEPT) for n in (1, 2, 3)}
        self.samples: dict[str, list[Trace]] = defaultdict(list)

    def add(self, trace: Trace) -> None:
        outcome = (
            trace.verdict
            if trace.finish_reason == FinishReason.STOP
            else "truncated"
            if trace.finish_reason == FinishReason.LENGTH
            else "refused"
        )
        if outcome == "refused":
            self.refusals[json.loads(trace.sampling or "{}").get("refused", "")] += 1
        counts = self.sources[trace.source]
        counts.update(
            {
                outcome: 1,
                "traces": 1,
                "prompt_tokens": trace.prompt_tokens,
                "completion_tokens": trace.completion_tokens,
            }
        )
        asked = skeleton(trace.prompt(), lambda word: self._curriculum.knows(stem(word)))
        self.templates.add(hash64(" ".join(asked.words)))
        words = trace.messages[-1]["content"].split()[:GRAM_WORDS]
        for n, grams in self.grams.items():
            for i in range(len(words) - n + 1):
                grams.add(hash64(" ".join(words[i : i + n])))
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
                f"repeated questions {1 - self.templates.fraction():.0%}",
            ]
        )

    def report(self) -> dict[str, Any]:
        """Ready for JSON; fractions 0..1."""
        return {
            **self._whole(),
            "distinct_n": {str(n): round(grams.fraction(), 4) for n, grams in self.grams.items()},
            "repeated_skeletons": round(1 - self.templates.fraction(), 4),
            "sources": {name: dict(counts) for name, counts in sorted(self.sources.items())},
        } | ({"refusals": dict(self.refusals.most_common(SAMPLES))} if self.refusals else {})

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


def _quoted(role: str, text: str) -> str:
    """Indented, so that nothing in a model's text is markup."""
    return f"**{role}**\n\n" + "\n".join(f"    {line}" for line in text.split("\n")) + "\n"
