"""reasoning-gym's own scorers, called with the forms an answer can be written in, and its data sets without their traps."""

import re
from collections import Counter
from functools import lru_cache
from typing import Any

import reasoning_gym
import sympy  # noqa: F401 - scorers load it at first use, which is not the time of an item
from reasoning_gym.cognition import number_sequences

from data_filters.verify import after_thought, answer_forms

LARGEST_TERM = 1000  # number_sequence throws sequences away that go beyond
_MARKER_ENDS = re.compile(r"answer(?: is)?:?|####", re.IGNORECASE)


def open_dataset(family: str, **options: Any) -> Any:
    """A reasoning-gym data set, as reasoning_gym.create_dataset makes it; number_sequence cannot stall.

    Its rules may square a term over and over: after 8 terms of four squarings a number has 2**32 times the digits of the first, and only
    then is the sequence thrown away for a term above 1000. Here the first such term ends it: the items are the same.
    """
    if family == "number_sequence":
        number_sequences.PatternRule.apply = _bounded_rule
    return reasoning_gym.create_dataset(family, **options)


_apply_rule = number_sequences.PatternRule.apply


def _bounded_rule(rule: Any, sequence: list[int], position: int) -> int:
    term = _apply_rule(rule, sequence, position)
    if abs(term) > LARGEST_TERM:
        raise OverflowError(f"a term of {term.bit_length()} bits")  # the generator takes this for a sequence to throw away
    return term


def score(text: str, family: str, entry: dict[str, Any]) -> tuple[float, str | None]:
    """(score 0..1, the answer's form that got it); (0, None) where the text holds no answer.

    Each form of the final answer is scored, the best counts. The bare reference is right also where it looks like something else,
    such as a text to decipher that speaks of an answer itself.
    """
    forms = answer_forms(text)
    if not forms:
        return 0.0, None
    gold = entry["answer"]
    if gold is not None and _is_written_out(str(gold), after_thought(text) or ""):
        forms.insert(0, str(gold))
    best, best_form = 0.0, forms[0]
    for form in forms:
        found = float(_scorer(family, _precision(family, entry)).score_answer(form, entry))
        if found >= 1.0 and not _is_lawful(form, family, entry):
            found = 0.0
        if found > best:
            best, best_form = found, form
        if best >= 1.0:
            break
    return best, best_form


def _is_written_out(gold: str, tail: str) -> bool:
    """Whether the text is the reference and nothing else, or ends with it right behind a marker."""
    if tail.strip() == gold.strip():
        return True
    return any(tail[marker.end() :].strip() == gold.strip() for marker in _MARKER_ENDS.finditer(tail))


def _is_lawful(answer: str, family: str, entry: dict[str, Any]) -> bool:
    """Rules of a family that its scorer leaves out: puzzle24 takes any four numbers, not only those it gave."""
    if family != "puzzle24":
        return True
    return Counter(map(int, re.findall(r"\b\d+\b", answer))) == Counter(entry["metadata"]["numbers"])


def _precision(family: str, entry: dict[str, Any]) -> int | None:
    """Decimal places of a decimal_arithmetic entry; its scorer takes its tolerance from the settings, not from the entry."""
    if family != "decimal_arithmetic":
        return None
    return int(entry["metadata"]["difficulty"]["decimal_places"][1])


@lru_cache(maxsize=512)
def _scorer(family: str, decimal_places: int | None) -> Any:
    settings: dict[str, Any] = {}
    if family == "puzzle24":
        settings = {"min_value": 1, "max_value": 10**6}  # a harder level may give larger numbers; _is_lawful compares them
    if decimal_places is not None:
        settings = {"min_num_decimal_places": decimal_places, "max_num_decimal_places": decimal_places, "precision": decimal_places + 2}
    return reasoning_gym.create_dataset(family, size=1, seed=0, **settings)
