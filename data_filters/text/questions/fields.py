"""Prompts that are made of fields and of sentences that go on: whose label, record or subject a
sentence has.
"""

from collections.abc import Iterable, Sequence

from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem
from data_filters.text.tokens import Sentence, Token

PRONOUNS = frozenset(map(stem, "she he her hers his him it its they them their theirs".split()))
_VERBS = frozenset("is was are were has had".split())
_NO_PLACES: frozenset[int] = frozenset()
_LABEL_WORDS = 4
_OPTION_KEYS = frozenset("ABCDEFGHIJ")


def labels_of(message: str, sentences: Iterable[Sentence]) -> frozenset[int]:
    """Where the words of labels start: "Date" in "Date: 1937" and in a row of a table says what the
    value is and names nobody. A label that is no ordinary word may be a name: "Mara: 12 points".
    """
    if ":" not in message and "|" not in message:
        return _NO_PLACES
    return frozenset(
        token.start
        for sentence in sentences
        for token in _label(sentence.tokens)
        if is_ordinary(token.key)
    )


def _label(tokens: Sequence[Token]) -> Sequence[Token]:
    """The words before the first colon of a sentence, where nothing else stands there."""
    first = 1 if tokens[0].text == "|" else 0
    for place, token in enumerate(tokens[first : first + _LABEL_WORDS + 1], start=first):
        if token.kind == "colon":
            return tokens[first:place]
        if token.kind != "word":
            break
    return ()


def later_fields(message: str, sentences: Sequence[Sentence]) -> frozenset[int]:
    """The numbers of sentences that are later fields of a record, where there are several records:
    "Born: 1937" under "Person: Ilse" is about her. One record alone is about all that is asked.
    """
    later: set[int] = set()
    num_records = 0
    for place, sentence in enumerate(sentences):
        if not _label(sentence.tokens):
            continue
        before = sentences[place - 1] if place else None
        between = message[before.tokens[-1].end : sentence.tokens[0].start] if before else "\n\n"
        if before is not None and _label(before.tokens) and between.count("\n") == 1:
            later.add(place)
        else:
            num_records += 1
    return frozenset(later) if num_records > 1 else frozenset()


def goes_on(sentence: Sentence, names: Sequence[Token], message: str) -> bool:
    """Whether a sentence speaks on of whom the one before is about: it opens with a pronoun, or with
    "the" and names nobody before its verb ("The mayor is Udo Falk.").
    """
    words, start = sentence.words, sentence.tokens[0].start
    if not words or message[:start].rstrip(" ").endswith("\n\n"):
        return False
    if words[0].key in PRONOUNS or words[0].key in ("this", "these"):
        return True
    if words[0].key != "the" or len(words) < 3:
        return False
    verb = next((word.start for word in words if word.text in _VERBS), -1)
    return 0 <= verb < min((name.start for name in names), default=-1)


def is_option(sentence: Sentence, message: str) -> bool:
    """Whether a sentence is what a choice offers: "(A) Mars", "B. Jupiter"."""
    words = sentence.words
    if not words or words[0].text not in _OPTION_KEYS or words[0].start > sentence.tokens[0].end:
        return False
    return message[words[0].end : words[0].end + 1] in (")", ".", ":")
