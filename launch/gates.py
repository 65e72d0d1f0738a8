"""The gates of publish, held against a scorecard: nothing goes out that does not keep what its recipe promises."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recipes.errors import PipelineError
from recipes.gates import Gate, nearest, parse_gate
from recipes.metrics import SHARES

_REFUSED = "nothing was published; mend the student, or the gate if it asks too much"


def check_gates(gates: Sequence[str], card: Mapping[str, Any], arm: str) -> None:
    """Refuses an arm that fails a gate; a number that was not measured fails too.

    Args:
        gates: lines of publish.gates.
        card: the schema-1 scorecard.
        arm: whose numbers count.

    Raises:
        PipelineError: one line for every gate that does not hold, with what was found.
    """
    faults = [line for gate in map(parse_gate, gates) for line in _faults(gate, card, arm)]
    if faults:
        raise PipelineError("\n".join(faults))


def _faults(gate: Gate, card: Mapping[str, Any], arm: str) -> Iterator[str]:
    column = arm if gate.other is None else f"{arm}-{gate.other}"
    if gate.name in SHARES:
        found = card.get("headline_by_contender", {}).get(arm, {}).get(gate.name)
        entry = None if found is None else {"value": found}
    else:
        entry = card["metrics" if gate.other is None else "paired"].get(gate.name, {}).get(column)
    if entry is None:
        yield f"publish.gates: {gate.text!r}: {_missing(gate, card, arm, column)}; {_REFUSED}"
    elif not gate.holds(entry[gate.end]):
        interval = f" [{entry['low']:.4g}, {entry['high']:.4g}]" if "low" in entry else ""
        yield f"publish.gates: {gate.text!r} does not hold, found {entry['value']:.4g}{interval} for {column}; {_REFUSED}"


def _missing(gate: Gate, card: Mapping[str, Any], arm: str, column: str) -> str:
    """What was not measured, and the nearest that was."""
    if gate.name in SHARES:
        return f"the scorecard has no {gate.name} of {arm}: it wants the teacher among the contenders, and a teacher that can do it"
    table = card["metrics" if gate.other is None else "paired"]
    if gate.name in table:
        return f"{gate.name} was not measured for {column}; it was for {', '.join(table[gate.name])}"
    return f"{gate.name} was not measured; {nearest(gate.name, [name for name in table if column in table[name]])}"
