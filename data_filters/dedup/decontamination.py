"""Contact with held-out texts: a question that shares a long run of words with one, or is one, or
holds a short one as a line.
"""

import re
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+|[-+*/=<>]")  # "3 + 5" and "3 - 5" are different problems
_SHORTEST_LINE = 4  # words; a shorter line ("Answer:") is no problem


class HeldOutIndex:
    """An index of held-out texts, as hashes of runs of words.

    Case, spaces and punctuation do not matter. Texts shorter than a run are compared whole, with
    the whole question and with each of its lines: that is how a problem stands among examples. It
    travels between processes as its texts, since Python's hashes do not.

    Args:
        texts: held-out problem texts; never recall questions, which would be an answer key.
        words: length of a run that counts as contact, at least 1.
    """

    def __init__(self, texts: Iterable[str], words: int) -> None:
        self.texts, self.words = tuple(texts), words
        self._runs: set[int] = set()
        self._whole: set[int] = set()
        for text in self.texts:
            parts = _WORD.findall(text.lower())
            if parts and len(parts) < words:
                self._whole.add(hash(tuple(parts)))
            self._runs.update(hash(tuple(run)) for run in _runs(parts, words))

    def __reduce__(self) -> tuple[type["HeldOutIndex"], tuple[tuple[str, ...], int]]:
        return HeldOutIndex, (self.texts, self.words)

    def __repr__(self) -> str:
        return f"HeldOutIndex({self.texts!r}, {self.words})"

    def match(self, text: str) -> str | None:
        """The passage of the text that stands in a held-out text, words joined by spaces; None
        without contact.
        """
        parts = _WORD.findall(text.lower())
        if len(parts) < self.words:
            found = parts if hash(tuple(parts)) in self._whole else None
        else:
            found = next(
                (run for run in _runs(parts, self.words) if hash(tuple(run)) in self._runs), None
            )
        if found is None and "\n" in text:
            found = next(
                (
                    line
                    for line in map(_WORD.findall, text.lower().split("\n"))
                    if self._is_short_item(line)
                ),
                None,
            )
        return None if found is None else " ".join(found)

    def _is_short_item(self, line: list[str]) -> bool:
        return _SHORTEST_LINE <= len(line) < self.words and hash(tuple(line)) in self._whole


def _runs(parts: list[str], words: int) -> Iterator[list[str]]:
    return (parts[start : start + words] for start in range(len(parts) - words + 1))
