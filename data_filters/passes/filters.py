"""The filters of a run and their order, as one value that travels to every process."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from data_filters.dedup.decontamination import Contact
from data_filters.scrub.scrub import Scrubber

# the order in which a trace may be dropped; the first that fires is named
ORDER = (
    "read",
    "shape",
    "verify",
    "select",
    "duplicates",
    "overlap",
    "near_duplicates",
    "skeleton",
    "probes",
    "exposure",
    "scrub",
)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What each filter is told.

    Args:
        scrubber: finds and treats ungrounded facts.
        keep_unknown: keep traces whose answer nobody could judge.
        solve_rate, shortest: as data_filters.select.
        longest_characters: of a trace; longer ones are dropped unread.
        duplicates: drop exact repetitions.
        near_duplicates: drop what asks nearly the same of the same values as another problem, and
            answers alike.
        per_skeleton: traces kept that ask nearly the same of whatever values; 0 = all.
        contact: index of the held-out problems, None: no such check.
        probes: what is done with traces that a probe calls recall: {"closed_book": "drop"}; others
            are only counted.
        exposure_cap: times that a training may see one fact, whoever gave it; 0 = no cap.
        epochs: times that a training sees each trace.
        canaries: traces of a unit in which made-up facts are planted, for the report alone.
        skip: filters of pass 1 (shape, verify, select) that drop nothing, to see what they are for.
        report_only: write everything readable to kept as it is, and say what would have happened.
    """

    scrubber: Scrubber
    keep_unknown: bool = True
    solve_rate: tuple[float, float] = (0.0, 1.0)
    shortest: int = 0
    longest_characters: int = 1_000_000
    duplicates: bool = True
    near_duplicates: bool = True
    per_skeleton: int = 0
    contact: Contact | None = None
    probes: Mapping[str, str] = field(default_factory=dict)
    exposure_cap: int = 0
    epochs: float = 1.0
    canaries: int = 8
    skip: tuple[str, ...] = ()
    report_only: bool = False

    def digest(self) -> str:
        """Changes when any setting, word list or held-out text does."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()[:16]


def canonical(value: Any) -> str:
    """A text that is the same for the same settings in every process: sets have no order, and no
    address counts.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({', '.join(f'{f.name}={canonical(getattr(value, f.name))}' for f in fields(value))})"
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(sorted(f"{canonical(key)}: {canonical(one)}" for key, one in value.items()))
            + "}"
        )
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(canonical, value))) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical, value)) + "]"
    if type(value).__repr__ is object.__repr__:
        return f"{type(value).__name__}({canonical(vars(value)) if hasattr(value, '__dict__') else ''})"
    return repr(value)
