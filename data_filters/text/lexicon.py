"""Ordinary English words: a sentence that opens with one of them has not begun with a name; and how
common a word is, by wordfreq.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from data_filters.text.stem import stem
from recipes.errors import RecipeError

KIND_WORDS = frozenset(  # parts of names that say what a thing is, not which one
    "dr mr mrs ms prof sir lady lord dame queen king prince princess pope saint st jr sr inc ltd llc plc gmbh ag kg ab oy nv bv sa "
    "spa co corp sons "
    "brothers university college institute school academy museum ministry bank foundation society association union press airlines "
    "industries "
    "radio united group national lake mount river bay island islands isle valley port cape north south east west new the a an of and "
    "in on for at to "
    "van von der den de la di da del".split()
)
_FILE = Path(__file__).with_name("ordinary_words.txt")
_ENDINGS = ("ing", "ed", "ly", "er", "est", "ness", "able", "ment", "d", "y", "ies")


@lru_cache(maxsize=1)
def ordinary_words() -> frozenset[str]:
    """Stems of the 28,000 most frequent lower-case words."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


@lru_cache(maxsize=1 << 16)
def is_ordinary(key: str) -> bool:
    """Whether a stem is an ordinary word, or an inflected form of one ("rotating", "half-open")."""
    words = ordinary_words()
    if key in words:
        return True
    if "-" in key or "'" in key or "\u2019" in key:
        parts = key.replace("'", "-").replace("\u2019", "-").split("-")
        return all(len(part) < 3 or part in words or stem(part) in words for part in parts)
    for ending in _ENDINGS:
        root = key.removesuffix(ending)
        if (
            root != key
            and len(root) > 2
            and (
                root in words
                or root + "e" in words
                or (root[:-1] in words and root[-1] == root[-2])
            )
        ):
            return True
    prefix = next((one for one in ("un", "re", "non") if key.startswith(one)), None)
    return prefix is not None and len(key) > 5 and key.removeprefix(prefix) in words


@lru_cache(maxsize=1)
def zipf_frequency() -> Callable[[str], float]:
    """Word to its Zipf frequency: 0 = unknown, 3 = once in a million words, 6 = once in a thousand.

    Raises:
        RecipeError: wordfreq is missing.
    """
    try:
        import wordfreq
    except ImportError as error:
        raise RecipeError(
            "filter.keep_commonness: wordfreq is not installed; pip install 'cognitive-core[commonness]' or set it to null"
        ) from error

    @lru_cache(maxsize=1 << 17)
    def frequency(word: str) -> float:
        return float(wordfreq.zipf_frequency(word, "en"))

    return frequency


def is_common(words: list[str], at_least: float) -> bool:
    """Whether the rarest of the words is still that frequent."""
    frequency = zipf_frequency()
    return bool(words) and all(frequency(word.lower()) >= at_least for word in words)
