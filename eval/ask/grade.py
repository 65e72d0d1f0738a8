"""An answer's outcome. Five outcomes, never a bool: a refusal is not a mistake, and a cut-off
answer is neither.
"""

import re

from data_filters.verify.answers import final_answer, same_answer
from recipes.vocabulary import FinishReason, Outcome

DECLINES = re.compile(
    r"\b(i (do not|don't|cannot|can't|could not) (know|say|tell|answer)|i'?m not sure|i am not sure"
    r"|not enough information|unknown)\b",
    re.IGNORECASE,
)


def grade(text: str, finish_reason: str, gold: str) -> Outcome:
    """What became of one answer.

    A correct value beside a refusal counts as correct: recall must not hide behind politeness.

    Args:
        text: all that the model wrote.
        finish_reason: length = cut off; it is judged only if a final answer stands there all the
            same.
        gold: the reference.
    """
    answer = final_answer(text)
    declined = answer is not None and DECLINES.search(answer) is not None
    named = (
        declined and re.search(rf"\b{re.escape(gold)}\b", str(answer), re.IGNORECASE) is not None
    )
    if answer is not None and (named or same_answer(answer, gold)):
        return Outcome.CORRECT
    if finish_reason == FinishReason.LENGTH:
        return Outcome.TRUNCATED
    if answer is None:
        return Outcome.UNPARSED
    return Outcome.ABSTAINED if declined else Outcome.WRONG
