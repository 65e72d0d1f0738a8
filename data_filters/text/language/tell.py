"""In which language a text is written: by its script, and in Latin letters by its function words.

Only one question is answered well: English or not. Which of two neighbours (Norwegian or Danish)
another text is in is a guess, for reports.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from data_filters.text.language.normal import fold
from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem

ENGLISH = "en"
UNDETERMINED = "und"  # no language of the lists, and no English
_LISTS = Path(__file__).with_name("function_words.txt")
_SAMPLE_CHARACTERS = 700  # of a text's begin, middle and end each
_MIN_UNKNOWN = 12  # words, to call a text no language of the lists
_SCRIPTS = {  # ranges of letters, and the language that the script is most often used for
    "zh": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f",
    "ja": "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "ru": "\u0400-\u052f",
    "ar": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "he": "\u0590-\u05ff",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
    "si": "\u0d80-\u0dff",
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f",
    "ka": "\u10a0-\u10ff",
    "am": "\u1200-\u137f",
    "km": "\u1780-\u17ff",
    "hy": "\u0530-\u058f",
}
_OF_SCRIPT = {code: re.compile(f"[{ranges}]") for code, ranges in _SCRIPTS.items()}
_LETTERS = f"[{''.join(_SCRIPTS.values())}]"
_FOREIGN = re.compile(_LETTERS)
_WORD = re.compile(r"(?<![\\\w])[^\W\d_]+(?:['-][^\W\d_]+)*(?!\w)")
_NO_PROSE = re.compile(  # code, formulas, addresses
    r"```.*?(?:```|\Z)|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]{1,200}\$|\\[\[(].*?\\[\])]|\\[A-Za-z]+"
    r"|https?://\S+|</?\w+>",
    re.DOTALL,
)
_PARTICLES = re.compile(  # small words inside a name speak for no language
    r"(?<=\w)\s(?:(?:van|von|der|den|de|del|della|di|da|do|dos|du|des|la|le|el|al|ter|y|e)'?\s)+(?=[A-Z])"
)
# letters of one script with what may stand between them; Greek letters alone are symbols
_STRETCH = re.compile(rf"{_LETTERS}(?:[^\w\n<]{{0,3}}(?:{_LETTERS}|\d(?=.{{0,9}}{_LETTERS})))*")
_LEAST_LETTERS = {"zh": 2, "ja": 2, "ko": 2, "th": 3, "el": 5}  # of a stretch that says something


@lru_cache(maxsize=1)
def _languages_of() -> dict[str, tuple[str, ...]]:
    """Each function word with the languages that have it."""
    found: dict[str, list[str]] = {}
    for line in _LISTS.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            code, _, words = line.partition(":")
            for word in set(words.split()):
                found.setdefault(word, []).append(code)
    return {word: tuple(codes) for word, codes in found.items()}


@lru_cache(maxsize=1)
def _english() -> frozenset[str]:
    """The function words of English."""
    return frozenset(word for word, codes in _languages_of().items() if ENGLISH in codes)


def language(text: str) -> str:
    """The ISO 639-1 code of a text's language; "und" for one that is not known, "" where too little
    prose tells: a number, a formula, code, a name.

    Long texts are told by samples. Example: "Anna hat 3 Stifte und kauft 4 weitere." is "de".
    """
    prose = _PARTICLES.sub(" ", _NO_PROSE.sub(" ", _sample(text)))
    script = "" if prose.isascii() else _script(prose)
    return script or _by_words(_WORD.findall(prose))


def languages(message: str, asked: str = "") -> tuple[str, ...]:
    """The languages of an assistant's message, of its thought and of its answer; where a part does
    not tell, that of what was asked.

    Args:
        message: thought and answer.
        asked: language of the prompt, "" if it does not tell.
    """
    thought, _, answer = message.rpartition("</think>")
    parts = [part for part in (thought, answer) if part.strip()]
    return tuple(dict.fromkeys(language(part) or asked or ENGLISH for part in parts))


def supported(message: str, asked: str = "") -> bool:
    """Whether all of a message is in a language that the detectors read."""
    return all(one == ENGLISH for one in languages(message, asked))


def _sample(text: str) -> str:
    size = _SAMPLE_CHARACTERS
    if len(text) <= 3 * size:
        return text
    middle = len(text) // 2
    return f"{text[:size]}\n{text[middle : middle + size]}\n{text[-size:]}"


def _script(prose: str) -> str:
    """The language of the script that a third of the letters belong to, or ""."""
    together = "".join(_FOREIGN.findall(prose))
    # a Chinese word has two letters, an English one five
    weight = len(together) + len(_OF_SCRIPT["zh"].findall(together))
    if 3 * weight <= sum(map(str.isalpha, prose)):
        return ""
    counts = {code: len(pattern.findall(together)) for code, pattern in _OF_SCRIPT.items()}
    most = max(counts, key=lambda code: counts[code])
    if most == "zh" and counts["ja"] * 10 > counts["zh"]:
        return "ja"
    # a few Greek letters are symbols
    return "" if counts[most] < _LEAST_LETTERS.get(most, 1) else most


def _by_words(words: Sequence[str]) -> str:
    """The language in Latin letters that most of the words speak for."""
    plain = [fold(word).lower() for word in words if not word.isupper() or len(word) == 1]
    if len(plain) < 2:
        return ""
    votes, best = _votes(plain)
    if votes[ENGLISH] >= 3 and (not best or votes[best] <= votes[ENGLISH]):
        return ENGLISH  # as below, but nearly every text is told without its unknown words
    low = [word for word in words if word.islower()] or plain  # names are unknown in any language
    unknown = sum(map(_is_unknown, low)) / len(low)
    if best and votes[best] > votes[ENGLISH] and votes[best] >= 2 and unknown > 0.3:
        return best
    if unknown > 0.5 and votes[ENGLISH] < min(3, 0.15 * len(plain)):  # one "is" makes no English
        return UNDETERMINED if len(low) >= _MIN_UNKNOWN else ""
    return ENGLISH if votes[ENGLISH] or (unknown < 0.3 and len(plain) > 2) else ""


@lru_cache(maxsize=1 << 16)
def _is_unknown(word: str) -> bool:
    return not is_ordinary(stem(fold(word)))


def _votes(words: Iterable[str]) -> tuple[Counter[str], str]:
    """How many of the words each language has, and which has most but English."""
    lists = _languages_of()
    votes: Counter[str] = Counter()
    for word, count in Counter(words).items():
        codes = lists.get(word)
        if codes is None and not word.isalpha():
            parts = word.replace("'", "-").split("-")
            codes = tuple(code for part in parts for code in lists.get(part, ()))
        for code in codes or ():
            votes[code] += count
    others = [code for code in votes if code != ENGLISH]
    return votes, max(others, key=lambda code: votes[code]) if others else ""


def foreign_stretches(text: str) -> Iterator[tuple[int, int]]:
    """Ranges in other scripts than Latin that say something; "pi" or an angle as a Greek letter
    does not.
    """
    if text.isascii():
        return
    for match in _STRETCH.finditer(text):
        letters = "".join(_FOREIGN.findall(match[0]))
        code = next(code for code, pattern in _OF_SCRIPT.items() if pattern.match(letters))
        if len(letters) >= _LEAST_LETTERS.get(code, 4):
            yield match.span()


def speaks_other(words: Sequence[str]) -> bool:
    """Whether the words of one sentence are in another language than English: of at least six words
    three are different function words of that language, one at most is an English one.
    """
    if len(words) < 6:
        return False
    english, found = _english(), 0
    for word in words:
        found += word.lower() in english
        if found > 1:
            return False
    said = _PARTICLES.sub(" ", " ".join(words)).split()
    plain = {fold(word).lower() for word in said if len(word) > 1}
    votes, best = _votes(plain)  # three different ones: "pour" is a move of a puzzle
    unknown = sum(not is_ordinary(stem(word)) for word in plain)
    return bool(best) and votes[best] >= 3 and 2 * unknown > len(plain)
