"""What the filters did, in numbers and in samples: the filter stage's report."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from data_filters.records.traces import Span, Trace
from data_filters.scrub.arms import masked_words
from recipes.vocabulary import Action, Grounding

_SAMPLES = 5
_SAMPLE_CHARACTERS = 400


class FilterCounts:
    """Counts of kept and dropped traces and of their spans; grows with the number of reasons, not
    of traces.
    """

    def __init__(self) -> None:
        self.kept = 0
        self.dropped: dict[str, Counter[str]] = defaultdict(Counter)
        self.families: dict[str, Counter[str]] = defaultdict(Counter)
        self.spans: Counter[tuple[str, str, str]] = Counter()
        self.samples: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.words = [0, 0]  # ungrounded, all
        self.treated: Counter[str] = Counter()  # kept traces, by the most that was done to them

    def add(self, trace: Trace, fault: tuple[str, str] | None, spans: Sequence[Span]) -> None:
        """Counts one trace as it goes out; `spans` are those found before it was edited."""
        family = self.families[trace.source]
        if fault:
            by, reason = fault[0], fault[1].split(":")[0]
            self.dropped[by][reason] += 1
            family[f"dropped_by_{by}"] += 1
            self._sample(f"{by}: {reason}", trace, fault[1])
            return
        self.kept += 1
        family["kept"] += 1
        family[trace.verdict] += 1
        declined = {span.message for span in trace.spans if span.action == Action.ABSTAIN}
        acted = {span.message: span.action for span in trace.spans if span.action != Action.KEEP}
        if acted:
            actions = set(acted.values()) - {Action.MASK}
            edited = "declined" if declined else "edited" if actions else "masked"
            self.treated[edited] += 1
        for span in spans:
            treated = span.message in declined or span.grounding == Grounding.UNGROUNDED
            self.spans[
                span.kind,
                span.grounding,
                acted.get(span.message, Action.KEEP) if treated else Action.KEEP,
            ] += 1
        untold = next((span for span in spans if span.grounding == Grounding.UNGROUNDED), None)
        if untold is not None:
            family["untold"] += 1
            done = next(
                (span.action for span in trace.spans if span.grounding == Grounding.UNGROUNDED),
                Action.KEEP,
            )
            self._sample(
                f"scrub: {done}",
                trace,
                f"{untold.original!r} of {untold.subject!r}, nobody gave it",
            )
        self._count_words(trace, spans, declined)

    def _count_words(self, trace: Trace, spans: Sequence[Span], declined: set[int]) -> None:
        """Words of the teacher's own text, also where it was replaced."""
        if declined:
            own = {
                span.message: span.original for span in trace.spans if span.action == Action.ABSTAIN
            }
            messages = [
                m | {"content": own.get(n, m["content"])} for n, m in enumerate(trace.messages)
            ]
        else:
            messages = trace.messages
        for place, words in enumerate(masked_words(messages, spans)):
            self.words[place] += words

    def _sample(self, label: str, trace: Trace, reason: str) -> None:
        samples = self.samples[label]
        if len(samples) < _SAMPLES:
            text = "\n".join(f"{m['role']}: {m['content']}" for m in trace.messages)
            samples.append(
                {
                    "id": trace.id,
                    "source": trace.source,
                    "reason": reason,
                    "text": text[:_SAMPLE_CHARACTERS],
                }
            )

    def merge(self, other: "FilterCounts") -> None:
        """Adds what another unit counted."""
        self.kept += other.kept
        self.spans.update(other.spans)
        self.treated.update(other.treated)
        self.words = [mine + theirs for mine, theirs in zip(self.words, other.words, strict=True)]
        for mine, theirs in ((self.dropped, other.dropped), (self.families, other.families)):
            for name, counts in theirs.items():
                mine[name].update(counts)
        for label, samples in other.samples.items():
            self.samples[label] = [*self.samples[label], *samples][:_SAMPLES]

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "kept": self.kept,
            "dropped": {by: dict(reasons) for by, reasons in self.dropped.items()},
            "families": {name: dict(counts) for name, counts in self.families.items()},
            "spans": [[*key, count] for key, count in self.spans.items()],
            "samples": dict(self.samples),
            "words": self.words,
            "treated": dict(self.treated),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "FilterCounts":
        """What `to_json` gave."""
        found = cls()
        found.kept, found.words = said["kept"], said["words"]
        found.spans = Counter({(kind, who, did): n for kind, who, did, n in said["spans"]})
        found.samples.update(said["samples"])
        found.treated.update(said["treated"])
        for mine, theirs in ((found.dropped, said["dropped"]), (found.families, said["families"])):
            mine.update({name: Counter(counts) for name, counts in theirs.items()})
        return found

    def harshest(self) -> tuple[str, int]:
        """The filter that dropped most, and how many."""
        totals = {by: reasons.total() for by, reasons in self.dropped.items()}
        return max(totals.items(), key=lambda item: (item[1], item[0]))

    def report(self) -> dict[str, Any]:
        """Everything, ready for JSON. `masked_fraction` (0..1) is the share of assistant words that
        masking would hide.
        """
        return {
            "read": self.kept + sum(reasons.total() for reasons in self.dropped.values()),
            "kept": self.kept,
            "untold": sum(family["untold"] for family in self.families.values()),
            "treated": {name: self.treated[name] for name in ("declined", "edited", "masked")},
            "dropped": {by: dict(reasons) for by, reasons in self.dropped.items()},
            "sources": {name: dict(counts) for name, counts in self.families.items()},
            "spans": [
                {"kind": kind, "grounding": grounding, "action": action, "count": count}
                for (kind, grounding, action), count in sorted(self.spans.items())
            ],
            "masked_fraction": self.words[0] / max(self.words[1], 1),
            "samples": dict(self.samples),
        }
