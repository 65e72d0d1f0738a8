"""Plain Python values as one line of JSON and back: what two processes may say to each other."""

import json
from fractions import Fraction
from typing import Any

# the only key of an object that stands for something JSON has no form for
_KIND = "!kind"
_BUILD: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "Fraction": lambda parts: Fraction(*parts),
}
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_PLAIN = (str, int, float, bool, type(None))


def to_json(value: Any) -> str:
    r"""One line of ASCII that `from_json` reads back as the same value.

    Args:
        value: text, numbers, fractions, truth values, None, and lists, tuples, sets and dicts of them; the
            keys of a dict may be any of those that can be hashed. Those of numpy become plain ones.

    Raises:
        TypeError: a value of another type.
        ValueError: a number of more than 4,300 digits, or a value that holds itself.
        RecursionError: nested too deeply.
    """
    return _ENCODER.encode(_packed(value))


def from_json(line: str | bytes) -> Any:
    """The value of a line of `to_json`; no line makes it run code.

    Raises:
        ValueError: not such a line.
        RecursionError: nested too deeply.
    """
    try:
        return _unpacked(json.loads(line))
    except (TypeError, KeyError, ZeroDivisionError) as fault:
        raise ValueError(f"not a line of values: {fault}") from fault


def _packed(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_packed(item) for item in value]
    if kind is dict:
        if _KIND not in value and all(type(key) is str for key in value):
            return {key: _packed(item) for key, item in value.items()}
        return {_KIND: "dict", "of": [[_packed(k), _packed(v)] for k, v in value.items()]}
    if kind in (tuple, set, frozenset):
        return {_KIND: kind.__name__, "of": [_packed(item) for item in value]}
    if kind is Fraction:
        return {_KIND: "Fraction", "of": [value.numerator, value.denominator]}
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):  # what data sets are made of
        return _packed(value.tolist())
    raise TypeError(f"{kind.__name__} cannot travel as JSON")


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if isinstance(value, dict):
        if _KIND in value:
            return _BUILD[value[_KIND]](_unpacked(item) for item in value["of"])
        return {key: _unpacked(item) for key, item in value.items()}
    return value
