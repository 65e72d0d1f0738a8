"""References as data sets write them: the final answer of one that shows its working, and how
answers to it are judged.
"""

import re
from typing import Literal

Kind = Literal["answer", "choice", "math", "program", "reasoning_gym", "none"]
MAX_WORDS = 30  # of a reference in plain words; a longer one is a text that holds an answer
_MARKED = re.compile(r"####|\b(?:the\s+)?(?:final\s+)?answer\s+is\b\s*:?|^answer\s*:", re.I | re.M)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|([^\s{}$.,;]+))")
_WORD = re.compile(r"[^\W\d_]{3,}")
_LATEX = re.compile(r"\\[a-zA-Z]+|\$[^$]+\$|[\^_]\{|\d_\d")
_FORMULA_PART = re.compile(
    r"(?<![a-zA-Z])(?:sqrt|sin|cos|tan|log|ln|exp|pi|[a-zA-Z])(?![a-zA-Z])|[\d.,%$*+/^=<>()\[\]|!\s-]"
)
_CHOICE = re.compile(r"(?:[A-Z]|\\text\{\(?[A-Z]\)?\}|\([A-Z]\))$|\([A-Z]\)\s\S")
_DIFFERENCE = re.compile(r"-?[a-zA-Z](?:\s*-\s*[a-zA-Z])+|-[a-zA-Z]")  # no list of names
# nothing to work out; a date; a list
_NO_FORMULA = re.compile(r"[^\d+*/^=<]*|\d+([-/])\d+\1\d+|.*\w\s+\w.*|[^(\[]*,\s.*", re.DOTALL)


def final_reference(text: str) -> str:
    """What a reference comes down to: the last box, else what follows the last "####" or "answer
    is" on its line, else all of it.

    Example: "2 + 3 = 5 apples. #### 5" gives "5".
    """
    boxed = last_box(text)
    if boxed is not None:
        return boxed.strip()
    marks = list(_MARKED.finditer(text))
    said = text[marks[-1].end() :].strip() if marks else ""
    return said.split("\n")[0].strip().removesuffix(".") if said else text.strip()


def is_readable(reference: str) -> bool:
    """Whether a reference is short enough to be met; else it is working whose end nobody marked."""
    return len(_WORD.findall(reference)) <= MAX_WORDS


def last_box(text: str) -> str | None:
    """What stands in the last \\boxed{...} (or \\fbox{...}, or `\\boxed 5`); None: there is none."""
    place = box_range(text)
    return None if place is None else text[slice(*place)]


def box_range(text: str) -> tuple[int, int] | None:
    """Where the content of the last box stands, in characters; brackets are counted."""
    found = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opened = _BOX.match(text, found) if found >= 0 else None
    if opened is None:
        return None
    if opened[1] is not None:
        return opened.span(1)
    depth = 0
    for place in range(opened.end() - 1, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return opened.end(), place
    return None


def verifier_of(asked: Literal["auto"] | Kind, gold: str | None, tests: str | None = None) -> Kind:
    """How an answer is judged: as asked or, for auto, by the look of its reference; none where
    there is nothing to judge by.

    Args:
        asked: auto, answer, choice, math, program or none.
        gold: the reference answer, tests: of a program; None where there are none.
    """
    if not {"program": tests, "auto": tests or gold}.get(asked, gold):
        return "none"
    if asked != "auto":
        return asked
    if tests:
        return "program"
    text = str(gold).strip()
    if _CHOICE.match(text):
        return "choice"
    formula = _DIFFERENCE.fullmatch(text) or (
        not _FORMULA_PART.sub("", text) and not _NO_FORMULA.fullmatch(text)
    )
    # an amount of money has no formula, though LaTeX writes its sign with a backslash
    return "math" if formula or _LATEX.search(text.replace("\\$", "")) else "answer"
