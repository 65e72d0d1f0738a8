"""Drops traces that a probe calls recall, and traces with facts that may not even be masked."""

from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext


def called_recall(one: Examined, context: FilterContext) -> str | None:
    """The first probe that is to drop and calls the trace recall."""
    probes = context.config.probes
    for name in probes.asked():
        drops = context.strict or getattr(probes, name) == "drop"
        if drops and one.recall.get(name):
            return f"recall, says {name}"
    return None


def ungrounded_fact(one: Examined, context: FilterContext) -> str | None:
    """The first fact that the prompt did not supply and for which the whole trace goes."""
    span = context.scrubber.drops(one.spans)
    return None if span is None else f"states what nobody gave: {span.original}"
