"""What a unit's pass leaves for the report: counts and samples that merge in the order of the
units.
"""

from collections import Counter
from typing import Any

from data_filters.records.traces import Trace
from data_filters.report.diversity import Diversity
from data_filters.report.tally import Tally
from data_filters.report.wilson import wilson
from data_filters.verify.answers import verify
from recipes.vocabulary import Action, Verdict

SAMPLES = 5


class Sketch:
    """Counts of one unit, or of all."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.before, self.after = Diversity(), Diversity()
        self.canaries: Counter[tuple[str, str]] = Counter()
        self.damage: Counter[str] = Counter()

    def add_damage(self, before: Trace, after: Trace, reference: str | None, undone: bool) -> None:
        """Counts a trace that was right before scrubbing, and whether it could still be verified as
        it goes out.
        """
        if before.verdict != Verdict.CORRECT:
            return
        old, new = (
            next(m["content"] for m in reversed(trace.messages) if m["role"] == "assistant")
            for trace in (before, after)
        )
        broken = (
            old != new
            and verify(old, reference)[0] == Verdict.CORRECT
            and verify(new, reference)[0] != Verdict.CORRECT
        )
        edited = before.messages != after.messages
        self.damage.update(
            {
                "right before": 1,
                "edited": int(edited),
                "edits undone": int(undone),
                "declined": int(any(span.action == Action.ABSTAIN for span in after.spans)),
                "no longer right": int(broken),
            }
        )

    def merge(self, other: "Sketch") -> None:
        self.tally = merged(self.tally, other.tally)
        self.before.merge(other.before)
        self.after.merge(other.after)
        self.canaries.update(other.canaries)
        self.damage.update(other.damage)

    def report(self) -> dict[str, Any]:
        found = {
            name: self.damage[name]
            for name in ("right before", "edited", "edits undone", "declined", "no longer right")
        }
        kinds = sorted({kind for kind, _ in self.canaries})
        return self.tally.report() | {
            "damage": found
            | {"rate": self.damage["no longer right"] / max(self.damage["right before"], 1)},
            "diversity": {"before": self.before.report(), "after": self.after.report()},
            "canaries": {kind: self._canary(kind) for kind in kinds},
        }

    def _canary(self, kind: str) -> dict[str, Any]:
        found, missed = self.canaries[kind, "found"], self.canaries[kind, "missed"]
        told, overdone = self.canaries[kind, "told"], self.canaries[kind, "overdone"]
        return {
            "found": interval(found, found + missed),
            "overdone": interval(overdone, told + overdone),
        }


def interval(hits: int, total: int) -> dict[str, float]:
    """A share with Wilson's 95 % interval."""
    if not total:
        return {"n": 0}
    low, high = wilson(hits, total)
    return {
        "value": round(hits / total, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": total,
    }


def merged(mine: Any, theirs: Any) -> Any:
    """Two summaries of one shape as one: numbers, and lists of them, add up; tables merge by key;
    lists of samples are joined and cut.
    """
    if isinstance(mine, Counter):
        return mine + theirs
    if isinstance(mine, dict):
        for key, value in theirs.items():
            mine[key] = merged(mine[key], value) if key in mine else value
        return mine
    if isinstance(mine, int | float):
        return mine + theirs
    if isinstance(mine, list):
        numbers = all(isinstance(one, int | float) for one in [*mine, *theirs])
        return (
            [a + b for a, b in zip(mine, theirs, strict=True)]
            if numbers and mine
            else [*mine, *theirs][:SAMPLES]
        )
    for name in vars(mine):
        setattr(mine, name, merged(getattr(mine, name), getattr(theirs, name)))
    return mine
