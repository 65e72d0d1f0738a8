"""A place and its people: "Hungarian" says what "Hungary" says."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_filters.text.stem import stem

_LISTED = Path(__file__).with_name("demonyms.txt")
_ENDINGS = ("ian", "ean", "ese", "ish", "ite", "ine", "er", "an", "ic", "i", "n")
_PLACE_ENDINGS = ("", "a", "e", "o", "y", "ia", "land")
_MIN_COMMON = 4  # letters that a place and its people share


@lru_cache(maxsize=1)
def _families() -> dict[str, tuple[frozenset[str], ...]]:
    """Stems of the listed words, each with the words of its places."""
    found: dict[str, list[frozenset[str]]] = {}
    for line in _LISTED.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            places, _, people = line.partition(":")
            names = [*places.split(","), *people.split()]
            family = frozenset(stem(word) for name in names for word in name.split())
            for key in family:
                found.setdefault(key, []).append(family)
    return {key: tuple(families) for key, families in found.items()}


def same_place(word: str) -> Iterator[str]:
    """Stems of listed words for the same place or its people: "Dutch" gives holland and netherland.

    Args:
        word: a stem.
    """
    for family in _families().get(word, ()):
        yield from family - {word}


@lru_cache(maxsize=1 << 16)
def of_one_place(one: str, other: str) -> bool:
    """Whether one stem is that of a place and the other an ending of it: "peru" and "peruvian" are
    listed, "vestria" and "vestrian" follow a rule.
    """
    place, people = sorted((one, other), key=len)
    if other in same_place(one):
        return True
    for ending in _ENDINGS:
        if not people.endswith(ending):
            continue
        root = people.removesuffix(ending)
        # a lone n makes other names of names, "Karin" of "Kari"; "Vestrian" is of "Vestria"
        if len(root) < _MIN_COMMON or (ending == "i" and root[-1] not in "aqnl"):
            continue
        if ending == "n" and not (root.endswith("a") and len(root) > _MIN_COMMON):
            continue
        if any(place == root + rest or place + "s" == root + rest for rest in _PLACE_ENDINGS):
            return True
    return False
