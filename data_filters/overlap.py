"""Contact with held-out texts: a prompt that shares a long run of words with one, or is one."""

import re
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+|[-+*/=<>]")  # "3 + 5" and "3 - 5" are different problems


class Contact:
    """An index of held-out texts, as hashes of runs of words.

    Case, spaces and punctuation do not matter. Texts shorter than a run are compared whole.

    Args:
        texts: held-out problem texts; never recall questions, which would be an answer key.
        words: length of a run that counts as contact, at least 1.
    """

    def __init__(self, texts: Iterable[str], words: int) -> None:
        self.words = words
        self._runs: set[int] = set()
        self._whole: set[int] = set()
        for text in texts:
            parts = _WORD.findall(text.lower())
            if parts and len(parts) < words:
                self._whole.add(hash(tuple(parts)))
            self._runs.update(hash(tuple(run)) for run in _runs(parts, words))

    def match(self, text: str) -> str | None:
        """The passage of the text that stands in a held-out text, words joined by spaces; None without contact."""
        parts = _WORD.findall(text.lower())
        if len(parts) < self.words:
            return " ".join(parts) if hash(tuple(parts)) in self._whole else None
        return next((" ".join(run) for run in _runs(parts, self.words) if hash(tuple(run)) in self._runs), None)


def _runs(parts: list[str], words: int) -> Iterator[list[str]]:
    return (parts[start : start + words] for start in range(len(parts) - words + 1))
