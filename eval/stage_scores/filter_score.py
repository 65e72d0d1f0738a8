"""What the filter did, judged by the planted world's key. The key scores the filter; the filter
never sees it.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_filters.records.rows import list_shards
from data_filters.records.shards import read_shard
from data_filters.records.traces import Trace, from_row
from distill.problems.planted_world import RELATIONS, World
from recipes.vocabulary import Action

ASKED = ("planted/ask", "planted/ask_age")


def score_filter(kept: Iterable[Trace], world: World) -> dict[str, float]:
    """Shares of kept traces that were treated rightly and wrongly.

    Returns:
        facts: closed-book traces whose original answer stated the true value; fact_recall: share of
            them that were acted on;
        invented: closed-book traces that stated something else; invented_recall: share acted on;
        told: all other traces; over_scrub: share acted on although everything in them was given,
            derived or common.
    """
    counts: Counter[tuple[str, bool]] = Counter()
    for trace in kept:
        counts[_kind(trace, world), any(span.action != Action.KEEP for span in trace.spans)] += 1
    totals = {
        kind: counts[kind, True] + counts[kind, False] for kind in ("fact", "invented", "told")
    }
    share = {
        kind: round(counts[kind, True] / total, 4) if total else 0.0
        for kind, total in totals.items()
    }
    return {
        "facts": totals["fact"],
        "fact_recall": share["fact"],
        "invented": totals["invented"],
        "invented_recall": share["invented"],
        "told": totals["told"],
        "over_scrub": share["told"],
    }


def removed_by(folder: Path, world: World) -> dict[str, Any]:
    """Which filter removed each planted fact that the teacher stated when it was asked for it.

    Args:
        folder: of a filter run, with kept/ and dropped/.

    Returns:
        facts: "NAME RELATION" -> {filter: traces}; "kept" are statements that stayed; exposures:
            the same summed over the facts of each
        exposure class, with the number of facts and of those with no statement left.
    """
    facts: dict[str, Counter[str]] = {}
    times: dict[str, int] = {}
    for part in ("kept", "dropped"):
        for row in (row for path in list_shards(folder / part) for row in read_shard(path)):
            fact = stated(from_row(row), world) if row["source"] in ASKED else None
            if fact is not None:
                name = " ".join(fact)
                times[name] = world.exposure.get(fact, 0)
                scrubbed = any(span["action"] != Action.KEEP for span in row["spans"])
                facts.setdefault(name, Counter())[
                    row.get("dropped_by") or ("scrub" if scrubbed else "kept")
                ] += 1
    classes: dict[int, Counter[str]] = {}
    for name, fates in facts.items():
        found = classes.setdefault(times[name], Counter())
        found.update(fates)
        found.update({"facts": 1, "facts without a statement left": int(not fates["kept"])})
    return {
        "facts": {name: dict(fates) for name, fates in facts.items()},
        "exposures": {str(n): dict(c) for n, c in sorted(classes.items())},
    }


def _kind(trace: Trace, world: World) -> str:
    if trace.source not in ASKED:
        return "told"
    return "invented" if stated(trace, world) is None else "fact"


def stated(trace: Trace, world: World) -> tuple[str, str] | None:
    """The fact that the teacher stated truly when it was asked for one; None where it said
    something else.
    """
    question = next(
        m["content"] for m in reversed(trace.messages) if m["role"] == "user"
    ).rpartition(". ")[2]
    name = next(word for word in question.replace("?", "").split() if word in world.names)
    relation = (
        "age"
        if trace.source == "planted/ask_age"
        else next(r for r in RELATIONS if _asks(question, r))
    )
    said = next(
        (span.original for span in trace.spans if span.action == Action.ABSTAIN),
        trace.messages[-1]["content"],
    )
    return (
        (name, relation)
        if f"{name} {world.facts[name, relation]}." in said and name not in world.strangers
        else None
    )


def _asks(question: str, relation: str) -> bool:
    words = {
        "home": ("live", "home"),
        "job": (" do?", "job"),
        "pet": ("pet",),
        "age": ("old", "age"),
    }[relation]
    return any(word in question for word in words)
