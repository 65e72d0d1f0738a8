"""Scorers of our own, for the families of reasoning-gym whose scorers evaluate text: they give the
same scores and run nothing.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from data_filters.verify.gym.expressions import NotReadable, read
from data_filters.verify.gym.integrals import is_antiderivative
from data_filters.verify.gym.polynomials import Numbers, Polynomials

Entry = Mapping[str, Any]
MAX_LITERAL_CHARACTERS = 20_000
_LITERAL = re.compile(r"[\w\s\[\](),.'\"+-]*", re.ASCII)
_WHOLE = re.compile(r"\b\d+\b", re.ASCII)
_INTEGER = re.compile(r"[-+]?(?:0[xX][\da-fA-F]+|0[bB][01]+|0[oO][0-7]+|[1-9]\d*|0+)", re.ASCII)
_UNREADABLE = (NotReadable, ZeroDivisionError, OverflowError)


def binary_matrix(answer: str, entry: Entry) -> float:
    """1 for the matrix as asked, 0.1 for a list of lists."""
    if answer == entry["answer"]:
        return 1.0
    return 0.1 if _rows(answer) == entry["answer"] else 0.0


def n_queens(answer: str, entry: Entry) -> float:
    """1 for a board of the solutions, 0.5 for one as a list of lists."""
    boards = entry["metadata"]["valid_answers"]
    if answer in boards:
        return 1.0
    return 0.5 if _rows(answer) in boards else 0.0


def spiral_matrix(answer: str, entry: Entry) -> float:
    """1 for the numbers in a row, 0.1 for a list of them."""
    gold = entry["answer"].strip()
    if answer.strip() == gold:
        return 1.0
    items = literal(answer.strip())
    listed = isinstance(items, list | tuple) and " ".join(map(str, items)) == gold
    return 0.1 if listed else 0.0


def string_insertion(answer: str, entry: Entry) -> float:
    """1 for the text, 0.1 for a list of its letters or the text in quotes."""
    if answer == entry["answer"]:
        return 1.0
    items = literal(answer)
    texts = isinstance(items, str | list | tuple) and all(isinstance(item, str) for item in items)
    return 0.1 if texts and "".join(items) == entry["answer"] else 0.0


def number_sorting(answer: str, entry: Entry) -> float:
    """1 for a list of the right numbers in the right order, as JSON or with single quotes."""
    said, wanted = _floats(answer), _floats(entry["answer"])
    return 1.0 if said is not None and said == wanted else 0.0


def bitwise_arithmetic(answer: str, entry: Entry) -> float:
    """1 for the right number, in any of Python's notations."""
    if not _INTEGER.fullmatch(answer.strip()) or len(answer) > MAX_LITERAL_CHARACTERS:
        return 0.0
    try:
        return 1.0 if int(answer, 0) == int(entry["answer"], 0) else 0.0
    except ValueError:  # more digits than Python reads
        return 0.0


def countdown(answer: str, entry: Entry) -> float:
    """1 where all the numbers, each once, make the target; 0.05 for other arithmetic."""
    value = _value(answer)
    if value is None:
        return 0.01
    used = sorted(map(int, _WHOLE.findall(answer)))
    met = used == sorted(entry["metadata"]["numbers"]) and value == entry["metadata"]["target"]
    return 1.0 if met else 0.05


def puzzle24(answer: str, entry: Entry) -> float:
    """1 where the four numbers, each once, make 24 exactly."""
    used = sorted(map(int, _WHOLE.findall(answer)))
    return 1.0 if _value(answer) == 24 and used == sorted(entry["metadata"]["numbers"]) else 0.01


def polynomial_multiplication(answer: str, entry: Entry) -> float:
    """1 for the product written out as a sum."""
    if "." in answer:  # a decimal number is not the whole one
        return 0.0
    try:
        said = read(answer, Polynomials(expanded=True))
        return 1.0 if said == read(entry["answer"], Polynomials()) else 0.0
    except _UNREADABLE:
        return 0.0


def integration(answer: str, entry: Entry) -> float:
    """1 where the derivative of the answer, which may stand in quotes, is the integrand."""
    problem = entry["metadata"]
    try:
        found = is_antiderivative(
            answer.strip().strip("'\""), problem["integrand"], problem["variable"]
        )
    except _UNREADABLE:
        return 0.0
    return 1.0 if found else 0.0


OWN_SCORERS: dict[str, Callable[[str, Entry], float]] = {
    "binary_matrix": binary_matrix,
    "bitwise_arithmetic": bitwise_arithmetic,
    "countdown": countdown,
    "intermediate_integration": integration,
    "n_queens": n_queens,
    "number_sorting": number_sorting,
    "polynomial_multiplication": polynomial_multiplication,
    "puzzle24": puzzle24,
    "simple_integration": integration,
    "spiral_matrix": spiral_matrix,
    "string_insertion": string_insertion,
}


def literal(text: str) -> Any:
    """A list, tuple, text or number as Python writes it; None where the text is none of these."""
    if len(text) > MAX_LITERAL_CHARACTERS or not _LITERAL.fullmatch(text):
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _rows(text: str) -> str | None:
    """A list of lists with one row a line."""
    rows = literal(text)
    if not isinstance(rows, list | tuple) or not all(isinstance(row, list | tuple) for row in rows):
        return None
    return "\n".join(" ".join(map(str, row)) for row in rows)


def _floats(text: str) -> list[float] | None:
    try:
        numbers = json.loads(text.replace("'", '"'))
        return [float(number) for number in numbers] if isinstance(numbers, list) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _value(text: str) -> Fraction | None:
    try:
        return read(text, Numbers())
    except _UNREADABLE:
        return None
