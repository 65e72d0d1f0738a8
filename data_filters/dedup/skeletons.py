"""What a question asks without what it asks it of: names and numbers become slots, in the order of
their first mention.

"The home of Mara is Oslo. Where does Mara live?" is "the home of @1 is @2 where does @1 live" with
the values Mara, Oslo.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

_TOKEN = re.compile(
    r" ?+(?:(?P<word>[^\W\d_][\w']*(?:-\w+)*)|(?P<number>\d[\d,.:/]*\d|\d)|(?P<sign>[-+*/=<>%^]))"
)


class Skeleton(NamedTuple):
    """A text with slots, and what stood in them."""

    words: tuple[str, ...]
    values: tuple[str, ...]  # names and numbers, in order of mention, each name once


def skeleton(text: str, knows: Callable[[str], bool]) -> Skeleton:
    """The words of a text with a slot for every name and number, and what stood in the slots.

    Args:
        text: a question.
        knows: whether a word that begins with a capital is an ordinary one ("Where").
    """
    words: list[str] = []
    values: list[str] = []
    slots: dict[str, str] = {}
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        found = match[kind]
        if kind == "number":
            words.append("#")
            values.append(found)
        elif kind == "word" and len(found) > 1 and found[0].isupper() and not knows(found):
            name = found.removesuffix("'s")
            if name not in slots:
                slots[name] = f"@{len(slots) + 1}"
                values.append(name)
            words.append(slots[name])
        else:
            words.append(found.lower())
    return Skeleton(tuple(words), tuple(values))


def fill(text: str, names: dict[str, str]) -> str:
    """The text with whole words replaced; a possessive 's stays."""
    if not names:
        return text
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda match: names[match.group()], text)
