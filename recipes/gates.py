"""Gates: what must hold of a scorecard before a student goes out, as lines such as "recall.high <=
0.05".
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from recipes.errors import RecipeError
from recipes.metrics import NAMES, PARTED, RENAMED, SHARES

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = "expected METRIC >= NUMBER (or <=, >, <), METRIC.low or METRIC.high for an end of its interval, METRIC - CONTENDER for a difference"
_GATE = re.compile(
    r"(?P<name>[A-Za-z][\w/-]*(?:\.(?!(?:low|high|value)\b)\w+)?)(?:\.(?P<end>low|high|value))?"
    r"(?:\s+-\s+(?P<other>\w+))?"
    r"\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """One threshold: `end` (value, low or high) of a metric, or of its paired difference to
    `other`.
    """

    text: str
    name: str
    end: str
    other: str | None
    sign: str
    bound: float

    def holds(self, found: float) -> bool:
        """Whether a measured number passes."""
        return COMPARE[self.sign](found, self.bound)


def parse_gate(text: str) -> Gate:
    """The gate that a line of publish.gates says.

    Raises:
        RecipeError: it has another form, or names no metric; with the nearest name.
    """
    parts = _GATE.fullmatch(text.strip())
    if parts is None:
        raise RecipeError(f"publish.gates: {text!r} is not a gate; {FORM}")
    name, end, other, bound = parts["name"], parts["end"], parts["other"], float(parts["bound"])
    if name in RENAMED:
        raise RecipeError(f"publish.gates: {text!r}: {name} is now {RENAMED[name]}")
    group, _, part = name.partition("/")
    if not (name in (*NAMES, *SHARES) or (group in PARTED and part)):
        raise RecipeError(
            f"publish.gates: {text!r} names no metric {name!r}; {nearest(name, (*NAMES, *SHARES))}"
        )
    if name in SHARES and (end or other):
        raise RecipeError(
            f"publish.gates: {text!r}: {name} has no interval and no difference; write {name} {parts['sign']} {bound:g}"
        )
    return Gate(text.strip(), name, end or "value", other, parts["sign"], bound)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
