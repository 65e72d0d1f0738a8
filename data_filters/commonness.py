"""How common words are in English, for the dial that keeps common names: wordfreq's Zipf scale, once a word."""

from collections.abc import Callable
from functools import lru_cache

from recipes.errors import RecipeError


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
