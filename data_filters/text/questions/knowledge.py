"""Questions of general knowledge, and the options that they offer.

"Which organ makes insulin?" names nobody and gives nothing: only memory has its answer, also where
one of its options says it.
"""

import re

from data_filters.text.prompts import PromptFacts

_OPTION = re.compile(
    r"(?:^|\s)\(?(?P<key>[A-J])[).:]\s+(?P<text>[^\n]+?)(?=\s+\(?[A-J][).:]\s|\s*(?:\n|\Z))"
)
_ASKS = re.compile(r"\b(?:which|what|who|whom|whose|where|when|how\s(?:many|much|long|far|old))\b")
# general truths are told in the present; an event of which no name says which it was is recalled by
# nobody ("Who reported the theft?"), but works and findings are
_PAST = re.compile(r"\b(?:was|were|did|had|[a-z]{2,}(?:ed|ought|aught))\b")
_MADE = re.compile(
    r"\b(?:invented|discovered|wrote|written|composed|painted|founded|designed|directed|developed"
    r"|proved|proposed|introduced|called|named|known|used|located|based)\b"
)
# words that speak of the prompt itself, of a story or of whoever talks
_NEARBY = re.compile(
    r"\b(?:this|that|these|those|following|above|below|passage|text|story|sentence|paragraph|table"
    r"|code|function|program|best|better|way|ways|should|tips?|advice|explain|difference|he|she|they|him|his|her|their|you|your|i|my|we|our|me|us|it|its)\b"
)
_WORDS = range(3, 31)  # of such a question
_MORE_WORDS = 7  # that may stand beside it: "Answer briefly."


def options(facts: PromptFacts) -> dict[str, str]:
    """What a question offers, by letter: "(A) Mars (B) Jupiter"; empty where it is no choice."""
    text = facts.messages[-1] if facts.messages else ""
    found = {match["key"]: match["text"].strip() for match in _OPTION.finditer(text)}
    return found if {"A", "B"} <= found.keys() else {}


def asks_general_knowledge(facts: PromptFacts) -> bool:
    """Whether a question names no entity, and its prompt gives nothing that it could be answered
    from.
    """
    said = facts.question.text.lower().rstrip("?. ")
    num_words = len(said.split())
    if facts.asked or num_words not in _WORDS or not _ASKS.search(said) or _NEARBY.search(said):
        return False
    if _PAST.search(said) and not _MADE.search(said):
        return False
    if facts.numbers - {1} or facts.works_out:  # "in one word"
        return False
    return stands_alone(facts)


def stands_alone(facts: PromptFacts) -> bool:
    """Whether a prompt is little more than its question and the options."""
    asked = len(facts.question.text.split())
    offered = sum(len(text.split()) + 1 for text in options(facts).values())
    return len(facts.lowered.split()) - asked - offered <= _MORE_WORDS
