"""Whether two mathematical expressions are equal, by math-verify; it may run for ever: call it
where it can be killed.
"""

import logging
import re
from functools import lru_cache

import math_verify

from data_filters.verify.answers import same_answer
from data_filters.verify.reading.formulas import (
    PLAIN_WORDS,
    as_written,
    differs_in_form,
    in_latex,
    in_words,
    without_operators,
)

# beyond these a text is no formula, and its parser takes minutes to find that out
MAX_CHARACTERS, MAX_BRACKETS = 5_000, 200
_IS = re.compile(r"\b(?:is|are|equals)\b:?")
# it warns that it has no time limit; ours is outside of it
logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def same_as_any(answers: list[str], references: list[str]) -> str | None:
    """The first of the readings of an answer that equals one of the references; None: none does."""
    found = (same_value(answers, reference) for reference in references)
    return next((answer for answer in found if answer is not None), None)


def same_value(answers: list[str], gold: str) -> str | None:
    """The first of the readings of an answer that equals the reference; None where none does.

    A reference without operators may also be met in words ("seven"), and one that is made of words
    ("even", "5 km") only so: the parser would take them for products of letters. With operators
    words would not do: "x - 1" and "x + 1" differ in punctuation only.
    """
    plain = without_operators(gold)
    wanted = [] if PLAIN_WORDS.search(plain) else parsed(in_latex(gold))
    for answer in answers:
        if as_written(answer) == as_written(gold):
            return answer
        if plain and in_words(answer) and same_answer(answer, plain):
            return answer
        if not wanted or differs_in_form(answer, gold):
            continue
        found = parsed(in_latex(answer))
        if found and math_verify.verify(wanted, found, timeout_seconds=None, raise_on_error=True):
            return answer
    return None


@lru_cache(maxsize=4096)  # a problem is asked several times, and one answer has several readings
def parsed(text: str) -> list[object]:
    """What the text means, as expressions; empty where it means nothing. Text without $ is taken
    for a formula, behind its last "is".
    """
    if len(text) > MAX_CHARACTERS or sum(map(text.count, "([{")) > MAX_BRACKETS:
        return []
    said = _IS.split(text)[-1]
    tries = (
        [text]
        if "$" in text or "\\boxed" in text or "\\[" in text or "\\(" in text
        else [f"${said}$", text]
    )
    for form in tries:
        found = math_verify.parse(form, fallback_mode="no_fallback", parsing_timeout=None)
        if found:
            return list(found)
    return []
