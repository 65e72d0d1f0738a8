"""Code and formulas in a text: where they stand, and which words are symbols, not words."""

import re
from bisect import bisect_right
from collections.abc import Iterator

from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem

_CODE = re.compile(
    r"```(?P<language>[\w+#-]*)[^\n`]*\n(?P<fence>.*?)(?:```|\Z)|`(?P<inline>[^`\n]+)`", re.DOTALL
)
_DATA = frozenset("json yaml yml toml csv tsv text txt markdown md html xml plaintext log".split())
_LOOKS_LIKE_CODE = re.compile(  # a fence that names no language may hold plain text
    r"^\s*(?:def|class|import|from|for|if|while|return|let|const|var|int|pair|draw|print)\b.*[:;()=]|\w\(.*\)\s*[;:{]?\s*$|;\s*$",
    re.MULTILINE,
)
_EXPRESSION = re.compile(r"[_()=<>\[\]{}+*/\\;]|\w\.\w")  # no plain words between single backticks
# strings and comments: what code says in words
_SAID = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|(?:#|//|--).*")
_FORMULA = re.compile(
    r"""[\\$](?:  # a sign stands first: `re` leaps to the next one
    (?<=\\)\[.*?\\\] | (?<=\\)\(.*?\\\) | (?<=\$)\$.+?\$\$
    | (?<=\\)begin\{(?P<env>align|equation|gather|aligned|array|cases|eqnarray|matrix|pmatrix|bmatrix)\*?\}.*?\\end\{(?P=env)\*?\}
    | (?<=\$)(?<![\w\\$].)(?![\s\d.,]*\s?[a-z]{2})(?=\S)(?P<inline>[^$\n]{1,240}?)(?<=\S)\$(?!\d))""",
    re.VERBOSE | re.DOTALL,
)
_WORDS_INSIDE = re.compile(r"\\(?:text|mathrm|textbf|textit|mbox|operatorname)\s?\{([^{}]*)\}")
_PROSE = re.compile(r"[a-z]{2,}\s[a-z]{2,}")  # between dollars: two amounts, no formula
_LATIN = re.compile(r"[A-Za-z]{3}")
_MARKED = re.compile(r"[\u00b2\u00b3\u00b9\u0370-\u03ff\u2070-\u209f]")


class Notation:
    """The code and formulas of a text.

    Args:
        text: in any format; Markdown fences, LaTeX.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        found = sorted([*_code(text), *_formulas(text)]) if _has_notation(text) else []
        self._starts = [start for start, _ in found]
        self._ends = [end for _, end in found]

    def covers(self, place: int) -> bool:
        """Whether a place lies in code, outside its strings and comments, or in a formula, outside
        its words.
        """
        number = bisect_right(self._starts, place) - 1
        return number >= 0 and place < self._ends[number]

    def is_symbol(self, word: str, start: int) -> bool:
        """Whether a word is a symbol: part of code or of a formula, a letter with an index ("S_x",
        "E_total", "F\u2082"), or an identifier of ordinary words ("N_and_rest").
        """
        if self._starts and self.covers(start):
            return True
        if "_" in word:
            return all(
                len(part) < 2 or part.isdigit() or is_ordinary(stem(part))
                for part in word.split("_")
            ) or any(len(part) == 1 for part in word.split("_"))
        if _MARKED.search(word):
            return _LATIN.search(word) is None
        if start and self._text[start - 1].isdigit():
            return True  # "7C3", "900W"
        end = start + len(word)
        return len(word) < 4 and self._text[end : end + 2] in ("_{", "^{", "_\\", "^*")


def _has_notation(text: str) -> bool:
    return "`" in text or "\\" in text or "$" in text


def _code(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of code, without its strings and comments."""
    if "`" not in text:
        return
    for match in _CODE.finditer(text):
        start, end = match.span("fence" if match["fence"] is not None else "inline")
        if not _is_code(match):
            continue
        for said in _SAID.finditer(text, start, end):
            yield start, said.start()
            start = said.end()
        yield start, end


def _is_code(match: re.Match[str]) -> bool:
    """Whether what stands between backticks is a program, no data or plain text."""
    if match["inline"]:
        return _EXPRESSION.search(match["inline"]) is not None
    language = match["language"].lower()
    if language:
        return language not in _DATA
    return _LOOKS_LIKE_CODE.search(match["fence"]) is not None


def _formulas(text: str) -> Iterator[tuple[int, int]]:
    """The ranges of formulas, without the words inside."""
    for match in _FORMULA.finditer(text):
        if match["inline"] and _PROSE.search(_WORDS_INSIDE.sub("", match["inline"])):
            continue
        start, end = match.span()
        for words in _WORDS_INSIDE.finditer(text, start, end):
            yield start, words.start(1)
            start = words.end(1)
        yield start, end
