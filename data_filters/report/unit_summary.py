"""What a unit's pass leaves for the report: counts and samples that merge in the order of the
units.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from data_filters.report.counts import FilterCounts
from data_filters.report.damage import Damage
from data_filters.report.diversity import Diversity
from data_filters.report.wilson import wilson


class UnitSummary:
    """Counts of one unit, or of all."""

    def __init__(self) -> None:
        self.counts = FilterCounts()
        self.before, self.after = Diversity(), Diversity()
        self.canaries: Counter[tuple[str, str]] = Counter()
        self.damage = Damage()

    def merge(self, other: "UnitSummary") -> None:
        """Adds what another unit counted; units are merged in their order."""
        self.counts.merge(other.counts)
        self.before.merge(other.before)
        self.after.merge(other.after)
        self.canaries.update(other.canaries)
        self.damage.merge(other.damage)

    def close(self) -> None:
        """Ends the counting of a unit; call it before the summary travels."""
        self.before.close()
        self.after.close()

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "counts": self.counts.to_json(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "canaries": [[*key, count] for key, count in self.canaries.items()],
            "damage": self.damage.to_json(),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "UnitSummary":
        """What `to_json` gave."""
        found = cls()
        found.counts = FilterCounts.from_json(said["counts"])
        found.before = Diversity.from_json(said["before"])
        found.after = Diversity.from_json(said["after"])
        found.canaries = Counter({(kind, fate): n for kind, fate, n in said["canaries"]})
        found.damage = Damage.from_json(said["damage"])
        return found

    def report(self) -> dict[str, Any]:
        """The stage's report as far as units count it, ready for JSON."""
        kinds = sorted({kind for kind, _ in self.canaries})
        return self.counts.report() | {
            "damage": self.damage.report(),
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
