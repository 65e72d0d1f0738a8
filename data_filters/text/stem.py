"""The stem of a word: what two forms of it have in common."""

from functools import lru_cache

_PLURAL_ES = ("sses", "xes", "zes", "ches", "shes")


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The word without case, possessive 's and plural s; "Mara's" and "Mara" agree, "boxes" and
    "box" too.

    Both sides of a comparison are stemmed, so it does not matter that "Paris" becomes "pari".
    """
    word = word.lower().replace("\u2019", "'")
    if word.endswith(("'s", "s'")):
        word = word[:-2]
    if word.endswith(_PLURAL_ES):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
