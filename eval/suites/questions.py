"""One question, and how hard it is."""

import re
from dataclasses import dataclass

from data_filters.verify.checks import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a suite.

    `cluster` is the unit of independence (a fact asked in two phrasings is one); `note` begins the
    answer for the model (second elicitation); `choices` are the values among which a forced choice
    is made, after the note.
    """

    id: str
    suite: str
    family: str
    cluster: str
    prompt: str
    gold: str
    relation: str = ""
    exposure: int = 0
    note: str = ""
    choices: tuple[str, ...] = ()
    difficulty: int | None = None  # a level, higher is harder; comparable within a family
    distractors: int | None = None  # snippets in the prompt that do not matter; None: not counted
    check: Check | None = None  # None: the reference in words or numbers

    def judged_by(self) -> Check:
        """What answers are checked against."""
        return self.check or Check(kind="answer", gold=self.gold)


def difficulty_of(family: str, prompt: str) -> int | None:
    """Steps of a planted problem: operations of sums and stories, things to sort, reverse or
    follow; None for the other families.
    """
    if family == "sums":
        return len(re.findall(r" [+-] ", prompt))
    if family == "story":
        return prompt.count(" finds ") + prompt.count(" loses ")
    if family in ("sort", "reverse"):
        return len(prompt.split()) - 1
    return prompt.partition(". Continue")[0].count(" ") - 2 if family == "follow" else None
