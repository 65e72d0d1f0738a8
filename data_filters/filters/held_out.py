"""Drops prompts that also stand in the evaluation's problems."""

from data_filters.filters.examined import Examined
from data_filters.filters.settings import FilterContext


def in_held_out(one: Examined, context: FilterContext) -> str | None:
    """The passage that a message of the user shares with a held-out text."""
    if context.held_out is None:
        return None
    for message in one.trace.messages:
        if message["role"] == "user":
            passage = context.held_out.match(message["content"])
            if passage is not None:
                return f"stands in a held-out problem: {passage}"
    return None
