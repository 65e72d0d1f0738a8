"""Scores by reasoning-gym's scorers, or by ours where theirs evaluate text, for each form that an
answer can be written in.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import reasoning_gym

from data_filters.verify.answers import after_thought, answer_forms, same_answer
from data_filters.verify.gym.own_scorers import OWN_SCORERS
from data_filters.verify.gym.trust import why_not

COIN_TOLERANCE = Fraction(1, 10_000)  # as the scorer's own
MAX_CHARACTERS = 50_000  # of an answer; the longest references have a few thousand
_HUGE = re.compile(r"\d\.?[eE][-+]?\d{4}")  # a power of ten that Fraction and Decimal write out
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_MARKER = re.compile(r"answer(?: is)?:?|####", re.IGNORECASE)


def score(text: str, family: str, entry: dict[str, Any]) -> tuple[float, str | None]:
    """(score 0..1, the answer's form that got it); (0, None) where the text holds no answer.

    Each form of the final answer is scored, the best counts. The bare reference is right also where
    it looks like something else, such as a text to decipher that speaks of an answer itself; a
    number is right as the house compares numbers ("1,000", "7 apples").

    Raises:
        Exception: whatever the scorer raised, where it raised on every form.
    """
    best, best_form, fault, scored = 0.0, None, None, False
    for form in _forms(text, entry["answer"]):
        best_form = best_form or form
        try:
            found = _scored(form, family, entry)
        except Exception as raised:  # of a form that it cannot read; another may be readable
            fault = raised
            continue
        scored = True
        if found > best:
            best, best_form = found, form
        if best >= 1.0:
            break
    if fault is not None and not scored:
        raise fault
    return best, best_form


def _scored(form: str, family: str, entry: dict[str, Any]) -> float:
    """The score of one form; none where working it out might never end."""
    if len(form) > MAX_CHARACTERS or (_HUGE.search(form) and form != entry["answer"]):
        return 0.0
    if family in OWN_SCORERS:
        return OWN_SCORERS[family](form, entry)
    found = float(_scorer(family, _settings(family, entry)).score_answer(form, entry))
    return 0.0 if found >= 1.0 and not _is_lawful(form, family, entry) else found


def _forms(text: str, gold: str | None) -> list[str]:
    """What to score: the reference itself where the text gives it in other words, then the readings
    of the text.
    """
    forms = answer_forms(text)
    if gold is None or not forms:
        return forms
    gold, tail = str(gold), after_thought(text) or ""
    said = any(
        tail[start:].strip() == gold.strip()
        for start in (0, *(marker.end() for marker in _MARKER.finditer(tail)))
    )
    if said or (_NUMBER.fullmatch(gold) and same_answer(forms[0], gold)):
        return [gold, *forms]
    return forms


def _is_lawful(answer: str, family: str, entry: dict[str, Any]) -> bool:
    """Rules that a family's scorer leaves out, though it gives the full score."""
    gold = entry["answer"]
    if family == "game_of_life_halting":  # any answer is true
        return same_answer(answer, gold)
    if family == "coin_flip":  # any beginning of the number: "0" for 0.25
        return abs(Fraction(answer.replace(",", "")) - Fraction(gold)) <= COIN_TOLERANCE
    if family == "figlet_font":  # any ten letters in place, whatever follows
        return answer.replace(" ", "").lower() == gold.lower()
    return True


def _settings(family: str, entry: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """What a scorer reads from the settings of its data set though it belongs to the entry; harder
    levels differ from the default.
    """
    if family == "decimal_arithmetic":  # its tolerance
        places = int(entry["metadata"]["difficulty"]["decimal_places"][1])
        return (
            ("min_num_decimal_places", places),
            ("max_num_decimal_places", places),
            ("precision", places + 2),
        )
    if family == "word_ladder":  # the words it knows
        letters = len(entry["metadata"]["end_word"])
        return ("min_word_length", letters), ("max_word_length", letters)
    return ()


@lru_cache(maxsize=512)
def _scorer(family: str, settings: tuple[tuple[str, int], ...]) -> Any:
    if reason := why_not(family):
        raise PermissionError(f"{family}: {reason}")
    return reasoning_gym.create_dataset(family, size=1, seed=0, **dict(settings))
