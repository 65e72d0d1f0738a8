"""What the filter did, judged by the planted world's key. The key scores the filter; the filter never sees it."""

from collections import Counter
from collections.abc import Iterable

from data_filters.traces import Trace
from distill.planted import RELATIONS, World

ASKED = ("planted/ask", "planted/ask_age")


def score_filter(kept: Iterable[Trace], world: World) -> dict[str, float]:
    """Shares of kept traces that were treated rightly and wrongly.

    Returns:
        facts: closed-book traces whose original answer stated the true value; fact_recall: share of them that were acted on;
        invented: closed-book traces that stated something else; invented_recall: share acted on;
        told: all other traces; over_scrub: share acted on although everything in them was given, derived or common.
    """
    counts: Counter[tuple[str, bool]] = Counter()
    for trace in kept:
        counts[_kind(trace, world), any(span.action != "keep" for span in trace.spans)] += 1
    totals = {kind: counts[kind, True] + counts[kind, False] for kind in ("fact", "invented", "told")}
    share = {kind: round(counts[kind, True] / total, 4) if total else 0.0 for kind, total in totals.items()}
    return {
        "facts": totals["fact"], "fact_recall": share["fact"], "invented": totals["invented"], "invented_recall": share["invented"],
        "told": totals["told"], "over_scrub": share["told"],
    }  # fmt: skip


def _kind(trace: Trace, world: World) -> str:
    if trace.source not in ASKED:
        return "told"
    question = trace.messages[-2]["content"].rpartition(". ")[2]
    name = next(word for word in question.replace("?", "").split() if word in world.names)
    relation = "age" if trace.source == "planted/ask_age" else next(r for r in RELATIONS if _asks(question, r))
    said = next((span.original for span in trace.spans if span.action == "abstain"), trace.messages[-1]["content"])
    return "fact" if f"{name} {world.facts[name, relation]}." in said and name not in world.strangers else "invented"


def _asks(question: str, relation: str) -> bool:
    words = {"home": ("live", "home"), "job": (" do?", "job"), "pet": ("pet",), "age": ("old", "age")}[relation]
    return any(word in question for word in words)
