"""What scrubbing did to traces whose answer was right: counts, and the worst of them.

A trace is changed where it is declined or dropped, or where its answer is another one afterwards. One
that only memory could answer is counted apart: taking it out is what the filter is for.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_filters.records.traces import Trace
from data_filters.verify.answers import final_answer
from recipes.vocabulary import Action, Grounding, Verdict

RECALLED = "recalled and taken out"
COUNTS = (
    "right before",
    "masked",
    "edited",
    "edits undone",
    RECALLED,
    "declined",
    "dropped",
    "no longer right",
    "changed",
)
_CHANGES = ("declined", "dropped", "no longer right")  # the worst first
_WORST = 5  # samples
_SAMPLE_CHARACTERS = 300  # from the end of a reply
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+")


class Damage:
    """Counts and samples of right traces; those of units are merged in their order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.worst: list[dict[str, str]] = []

    def add(
        self,
        before: Trace,
        after: Trace,
        *,
        reference: str | None,
        judge: Callable[[str], str],
        undone: bool,
        dropped: bool = False,
    ) -> None:
        """Counts a trace, if it was right before.

        Args:
            before: as the teacher wrote it, with its verdict.
            after: as it goes out.
            reference: the right answer, where it is known.
            judge: text of the last assistant message to a verdict.
            undone: an edit or a refusal was taken back.
            dropped: it does not go out, since it states what nobody gave.
        """
        if before.verdict != Verdict.CORRECT:
            return
        actions = {span.action for span in after.spans}
        change = "dropped" if dropped else "declined" if Action.ABSTAIN in actions else ""
        if change and _is_recalled(before, reference):
            change = RECALLED
        elif not change and _is_other(before, after, judge):
            change = "no longer right"
        self.counts.update(["right before", *([change] if change else [])])
        self.counts["edited"] += before.messages != after.messages
        self.counts["edits undone"] += undone
        self.counts["masked"] += Action.MASK in actions and Action.ABSTAIN not in actions
        if change in _CHANGES:
            self.counts["changed"] += 1
            self._keep([_sample(before, after, change)])

    def merge(self, other: "Damage") -> None:
        """Adds what another unit counted."""
        self.counts.update(other.counts)
        self._keep(other.worst)

    def _keep(self, samples: Sequence[dict[str, str]]) -> None:
        found = sorted([*self.worst, *samples], key=lambda one: _CHANGES.index(one["what"]))
        self.worst = found[:_WORST]

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {"counts": dict(self.counts), "worst": self.worst}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Damage":
        """What `to_json` gave."""
        found = cls()
        found.counts, found.worst = Counter(said["counts"]), list(said["worst"])
        return found

    def report(self) -> dict[str, Any]:
        """Everything, ready for JSON; `rate` is the share of right traces that changed, 0..1."""
        counts = {name: self.counts[name] for name in COUNTS}
        rate = counts["changed"] / max(counts["right before"], 1)
        return counts | {"rate": rate, "worst": self.worst}


def damage_fault(damage: Mapping[str, Any], limit: float, report: object) -> str | None:
    """The line that ends a stage which changed too many right traces; None: it did not.

    Args:
        damage: of a report.
        limit: filter.max_damage_fraction, 0..1.
        report: where a person reads more.
    """
    if damage["rate"] <= limit:
        return None
    how = ", ".join(f"{damage[name]} {name}" for name in _CHANGES if damage[name])
    return (
        f"{report}: {damage['changed']} of {damage['right before']} right traces "
        f"({damage['rate']:.1%}) were changed ({how}), filter.max_damage_fraction is {limit:g}; "
        "look at the worst under Damage, then change filter.ungrounded_action or raise the limit"
    )


def _is_recalled(before: Trace, reference: str | None) -> bool:
    """Whether only memory could give the answer, by what stands in prompt and reference alone: the
    prompt has not all of its words, and a number is not asked for where numbers are given.

    It is told from other signs than those by which the scrubber declines, so that its mistakes show.
    """
    given, answer = before.prompt(), reference or ""
    if _NUMBER.search(answer) and len(_NUMBER.findall(given)) > 1:
        return False
    words = {word.lower() for word in _WORD.findall(answer)}
    return bool(words) and not words <= {word.lower() for word in _WORD.findall(given)}


def _is_other(before: Trace, after: Trace, judge: Callable[[str], str]) -> bool:
    """Whether the answer changed: as it is judged, or where nobody can judge it now, by its text."""
    old, new = before.last_reply() or "", after.last_reply() or ""
    if old == new:
        return False
    if judge(old) == Verdict.CORRECT:
        return judge(new) != Verdict.CORRECT
    return final_answer(old) != final_answer(new)


def _sample(before: Trace, after: Trace, what: str) -> dict[str, str]:
    facts = (span for span in after.spans if span.grounding == Grounding.UNGROUNDED)
    fact = next(facts, None)
    asked = before.asked()[-_SAMPLE_CHARACTERS:]
    said = (before.last_reply() or "")[-_SAMPLE_CHARACTERS:]
    return {
        "what": what,
        "id": before.id,
        "source": before.source,
        "reason": "" if fact is None else f"{fact.kind} in {fact.relation!r}",
        "text": f"{asked}\n{said}",
    }
