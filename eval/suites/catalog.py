"""What each suite is, one row a suite: where its answers stand, how it is asked, which metrics it
gives and what they mean.

Whoever needs a group of suites takes it from here, so that a new row joins it by itself.
docs/add_a_suite.md shows how a suite is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import auto
from typing import NamedTuple

from recipes.vocabulary import BaseState, Outcome, Suite, Word


class Book(Word):
    """Where the answer to a question stands."""

    OPEN = auto()  # in the question: all that is needed is there
    COMMON = auto()  # in the minimum curriculum, which every model is taught
    CLOSED = auto()  # in the weights or nowhere: the question asks for a fact
    NOT_GIVEN = auto()  # nowhere: an honest contender declines
    TOOLS = auto()  # in the knowledge base, after several look-ups, or at the end of a program


class Share(NamedTuple):
    """A metric: the share of the answers that have this outcome, in this state of the base."""

    outcome: Outcome = Outcome.CORRECT
    base: BaseState = BaseState.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRow:
    """One suite."""

    suite: Suite
    book: Book
    metrics: Mapping[str, Share] = field(default_factory=dict)  # of its free answers
    families: bool = False  # the accuracy of each family is a metric too, SUITE/FAMILY
    compared: bool = False  # contenders are compared on it, question by question
    unfamiliar: bool = False  # unlike anything that is taught, so no part of what a student must do
    with_tools: bool = False  # contenders with tools are asked it too
    meaning: str = ""  # of the metric that has the suite's name, for the legend


SUITES = (
    SuiteRow(
        suite=Suite.REASONING,
        book=Book.OPEN,
        metrics={"reasoning": Share(), "reasoning_with_tools.correct": Share(base=BaseState.FULL)},
        families=True,
        compared=True,
        with_tools=True,
    ),
    SuiteRow(
        suite=Suite.OPEN_BOOK,
        book=Book.OPEN,
        metrics={"open_book": Share()},
        compared=True,
        with_tools=True,
    ),
    SuiteRow(
        suite=Suite.COUNTERFACTUAL,
        book=Book.OPEN,
        metrics={"counterfactual": Share()},
        meaning="follows a context that contradicts the trained fact",
        compared=True,
        with_tools=True,
    ),
    SuiteRow(
        suite=Suite.OFF_MANIFOLD,
        book=Book.OPEN,
        metrics={"off_manifold": Share()},
        families=True,
        unfamiliar=True,
        meaning="longer chains than any that was taught, renamed operators, rules that the prompt "
        "makes up",
    ),
    SuiteRow(
        suite=Suite.DISTRACTED,
        book=Book.OPEN,
        metrics={"distracted": Share()},
        unfamiliar=True,
        with_tools=True,
        meaning="reading among 0 to 8 statements that do not matter",
    ),
    SuiteRow(
        suite=Suite.BASICS,
        book=Book.COMMON,
        metrics={"basics": Share()},
        compared=True,
        with_tools=True,
    ),
    # recall has a family of scores of its own, eval/scores/recall
    SuiteRow(suite=Suite.RECALL, book=Book.CLOSED, with_tools=True),
    SuiteRow(suite=Suite.RECALL_NEVER_TRAINED, book=Book.CLOSED, with_tools=True),
    SuiteRow(suite=Suite.RECALL_TEACHER_ONLY, book=Book.CLOSED, with_tools=True),
    SuiteRow(
        suite=Suite.UNANSWERABLE,
        book=Book.NOT_GIVEN,
        metrics={"abstention": Share(Outcome.ABSTAINED)},
    ),
    SuiteRow(
        suite=Suite.MULTI_HOP,
        book=Book.TOOLS,
        metrics={
            "multi_hop": Share(base=BaseState.FULL),
            "multi_hop_deleted.abstained": Share(Outcome.ABSTAINED, BaseState.DELETED),
            "multi_hop_off.correct": Share(base=BaseState.OFF),
        },
        with_tools=True,
    ),
    SuiteRow(
        suite=Suite.LONG_SUMS,
        book=Book.TOOLS,
        metrics={
            "long_sums": Share(base=BaseState.FULL),
            "long_sums_off.correct": Share(base=BaseState.OFF),
        },
        with_tools=True,
    ),
)


def suites(*books: Book, **flags: bool) -> tuple[Suite, ...]:
    """Gives the suites of these books whose flags are these, in the order of the table.

    Args:
        books: any of them; none stands for all.
        flags: fields of SuiteRow, e.g. with_tools=True.
    """
    return tuple(
        row.suite
        for row in SUITES
        if (not books or row.book in books)
        and all(getattr(row, name) == flag for name, flag in flags.items())
    )


# what a student is taught to do with what stands in the question
SELF_CONTAINED = suites(Book.OPEN, unfamiliar=False)
# their prompts must not stand in the traces that are trained on
HELD_OUT = suites(Book.OPEN)
CLOSED_BOOK = suites(Book.CLOSED)
# an honest contender without tools declines them, or knows them by heart
NOT_IN_THE_QUESTION = suites(Book.CLOSED, Book.NOT_GIVEN)
TOOLS_NEEDED = suites(Book.TOOLS)
NO_LOOKUP_NEEDED = suites(Book.OPEN, Book.COMMON)
# of these, what a contender with tools is asked
NO_LOOKUP_ASKED = suites(Book.OPEN, Book.COMMON, with_tools=True)
BY_FAMILY = suites(families=True)
COMPARED = suites(compared=True)

# families of reasoning that are arithmetic
ARITHMETIC = (
    "sums",
    "story",
    "age",
    "chain_sum",
    "basic_arithmetic",
    "leg_counting",
    "simple_equations",
)
# the answer stands in a text that comes with the question
READING = (Suite.OPEN_BOOK, Suite.COUNTERFACTUAL)
# facts that the teacher knows
TAUGHT_FACTS = (Suite.RECALL, Suite.RECALL_TEACHER_ONLY)
# trained facts, and the zero beside them
FACTS_AND_ZERO = (Suite.RECALL, Suite.RECALL_NEVER_TRAINED)
# what a training looks at from time to time
PROBED = (Suite.REASONING, Suite.RECALL)
# what sleep must not hurt
KEPT_BY_SLEEP = (Suite.REASONING, Suite.OPEN_BOOK, Suite.BASICS)

# metric -> its meaning, where the metric has the name of its suite
MEANINGS = {str(row.suite): row.meaning for row in SUITES if row.meaning}
# metrics of several suites together
POOLED: dict[str, tuple[tuple[Suite, ...], Share]] = {
    "false_abstention": (SELF_CONTAINED, Share(Outcome.ABSTAINED)),
    "kb_full.correct": (CLOSED_BOOK, Share(base=BaseState.FULL)),
    "kb_deleted.abstained": (CLOSED_BOOK, Share(Outcome.ABSTAINED, BaseState.DELETED)),
    "kb_off.correct": (CLOSED_BOOK, Share(base=BaseState.OFF)),
    "kb_off.abstained": (CLOSED_BOOK, Share(Outcome.ABSTAINED, BaseState.OFF)),
    "given_with_tools.correct": (READING, Share(base=BaseState.FULL)),
}
# every metric that is the share of one outcome: the suites that it pools, and what is counted
DECLARED = {
    name: ((row.suite,), share) for row in SUITES for name, share in row.metrics.items()
} | POOLED
