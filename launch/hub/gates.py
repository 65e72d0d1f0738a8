"""The gates of publish, held against a scorecard: nothing goes out that does not keep what its
recipe promises.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recipes.errors import PipelineError
from recipes.gates import Gate, nearest, parse_gate
from recipes.metrics import SHARES

_REFUSED = "nothing was published; fix the student, or the gate if it asks too much"


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


def gate_results(gates: Sequence[str], card: Mapping[str, Any], arm: str) -> list[dict[str, Any]]:
    """For the report, each gate with whether it holds and what was found, None where that was not
    measured.
    """
    results = []
    for gate in map(parse_gate, gates):
        entry = _entry(gate, card, arm)
        found = None if entry is None else entry[gate.end]
        results.append(
            {"text": gate.text, "holds": found is not None and gate.holds(found), "found": found}
        )
    return results


def _faults(gate: Gate, card: Mapping[str, Any], arm: str) -> Iterator[str]:
    entry, column = _entry(gate, card, arm), _column(gate, arm)
    if entry is None:
        yield f"publish.gates: {gate.text!r}: {_missing(gate, card, arm, column)}; {_REFUSED}"
    elif not gate.holds(entry[gate.end]):
        interval = f" [{entry['low']:.4g}, {entry['high']:.4g}]" if "low" in entry else ""
        yield f"publish.gates: {gate.text!r} does not hold, found {entry['value']:.4g}{interval} for {column}; {_REFUSED}"


def _column(gate: Gate, arm: str) -> str:
    return arm if gate.other is None else f"{arm}-{gate.other}"


def _entry(gate: Gate, card: Mapping[str, Any], arm: str) -> Mapping[str, float] | None:
    """What the gate is about, None where it was not measured."""
    if gate.name in SHARES:
        found = card.get("headline_by_contender", {}).get(arm, {}).get(gate.name)
        return None if found is None else {"value": found}
    return (
        card["metrics" if gate.other is None else "paired"]
        .get(gate.name, {})
        .get(_column(gate, arm))
    )


def _missing(gate: Gate, card: Mapping[str, Any], arm: str, column: str) -> str:
    """What was not measured, and the nearest that was."""
    if gate.name in SHARES:
        return f"the scorecard has no {gate.name} of {arm}: it needs the teacher among the contenders, and a teacher that can do it"
    table = card["metrics" if gate.other is None else "paired"]
    if gate.name in table:
        return (
            f"{gate.name} was not measured for {column}; it was for {', '.join(table[gate.name])}"
        )
    return f"{gate.name} was not measured; {nearest(gate.name, [name for name in table if column in table[name]])}"
