"""An answer's outcome. Five outcomes, never a bool: a refusal is not a mistake, and a cut-off
answer is neither.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from data_filters.verify.answers import final_answer
from data_filters.verify.checks import Check, check_of
from data_filters.verify.verifiers import Verifiers
from recipes.vocabulary import FinishReason, Outcome, Verdict

_CANNOT = r"(?:do not|don't|cannot|can't|could not|couldn't|am not able to)"
DECLINES = re.compile(
    rf"\bi {_CANNOT} (?:know|say|tell|answer|determine|recall|remember)\b"
    r"|\bi(?:'m| am) (?:not sure|unsure)\b|\bnot enough information\b|\bcannot be (?:known|determined)\b"
    # "the unknown number is 7" declines nothing
    r"|^\W*(?:unknown|not known)\b\W*$|\b(?:is|are|was|were|remains?) (?:not known|unknown)\b"
    r"|\bunknown to me\b",
    re.IGNORECASE,
)


class Answered(NamedTuple):
    """An answer, and what it is checked against."""

    text: str  # all that the model wrote
    # length = cut off; it is judged only if a final answer stands there all the same
    finish_reason: str
    check: Check


def grade(text: str, finish_reason: str, gold: str) -> Outcome:
    """What became of one answer to a question of which no more than a reference is known."""
    with Verifiers() as verifiers:
        return grade_all([Answered(text, finish_reason, check_of(gold))], verifiers)[0]


def grade_all(answers: Sequence[Answered], verifiers: Verifiers) -> list[Outcome]:
    """What became of each answer, by the verifier of its problem.

    A correct value beside a refusal counts as correct: recall must not hide behind politeness.

    Args:
        answers: any number.
        verifiers: their processes start only where letters and plain numbers do not decide.
    """
    judged = verifiers.judge([(one.text, one.check) for one in answers])
    return [
        _outcome(one, said.verdict, said.why) for one, said in zip(answers, judged, strict=True)
    ]


def _outcome(one: Answered, verdict: Verdict, why: str) -> Outcome:
    answer = final_answer(one.text)
    declined = answer is not None and DECLINES.search(answer) is not None
    if verdict == Verdict.CORRECT or (declined and _names(str(answer), one.check)):
        return Outcome.CORRECT
    if one.finish_reason == FinishReason.LENGTH:
        return Outcome.TRUNCATED
    if answer is None or why == "no program":
        return Outcome.UNPARSED
    return Outcome.ABSTAINED if declined else Outcome.WRONG


def _names(answer: str, check: Check) -> bool:
    return check.kind in ("answer", "choice") and any(
        re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", answer, re.IGNORECASE)
        for gold in check.references
        if gold
    )
