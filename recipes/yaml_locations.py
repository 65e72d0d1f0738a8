"""YAML whose every value knows where it stands, so that a fault can name file and line."""

import functools
from dataclasses import dataclass
from typing import Any

import yaml

COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Placed:
    """A scalar, a list of Placed or a dict of Placed, with its place: "core.yaml:5" or "command
    line".
    """

    value: Any
    place: str
    # a scalar as it was written: `on`, `0012` and `2024-01-01` are text where text is wanted
    text: str | None = None

    def find(self, *keys: str) -> "Placed | None":
        """The value under nested keys, None where there is none."""
        node: Placed | None = self
        for key in keys:
            node = (
                node.value.get(key) if node is not None and isinstance(node.value, dict) else None
            )
        return node


def parse_yaml(text: str, place: str) -> tuple[Placed, list[str]]:
    """The document and one line for each fault in it; a broken document comes back empty.

    Args:
        text: the YAML.
        place: file name for "file:line", or COMMAND_LINE, which has no lines.
    """
    faults: list[str] = []
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Placed({}, place), faults
        return _placed(loader, root, _Place(place), place, faults), faults
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line if fault.problem_mark else 0
        return Placed({}, place), [
            *faults,
            f"{_Place(place).at(line)}: broken YAML: {fault.problem}",
        ]
    except (yaml.YAMLError, ValueError) as fault:
        return Placed({}, place), [*faults, f"{place}: broken YAML: {str(fault).splitlines()[0]}"]
    except RecursionError:
        return Placed({}, place), [*faults, f"{place}: broken YAML: an alias contains itself"]


def parse_override(item: str) -> tuple[Placed, list[str]]:
    """`key.of.value=YAML` as a nested Placed, and its faults."""
    key, equals, text = item.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        return Placed({}, COMMAND_LINE), [f"{COMMAND_LINE}: {item!r} is not key=value"]
    node, faults = parse_yaml(text, COMMAND_LINE)
    if faults:
        return Placed({}, COMMAND_LINE), [f"{fault} in {item!r}" for fault in faults]
    if not text.strip():
        node = Placed(None, COMMAND_LINE, "")
    parts = [part.strip() for part in key.split(".")]
    return functools.reduce(
        lambda inner, part: Placed({part: inner}, COMMAND_LINE), reversed(parts), node
    ), []


def merge(base: Placed, over: Placed) -> Placed:
    """`over` laid on `base`: mappings key by key, everything else (lists too) replaced whole."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    joined = dict(base.value)
    for key, value in over.value.items():
        joined[key] = merge(joined[key], value) if key in joined else value
    return Placed(joined, base.place if over.place == COMMAND_LINE else over.place)


@dataclass(frozen=True, slots=True)
class _Place:
    name: str

    def at(self, line: int) -> str:
        """Lines count from 0 here, as in yaml's marks."""
        return self.name if self.name == COMMAND_LINE else f"{self.name}:{line + 1}"


def _placed(
    loader: yaml.SafeLoader, node: yaml.Node, file: _Place, place: str, faults: list[str]
) -> Placed:
    if isinstance(node, yaml.MappingNode):
        _note_duplicates(node, file, faults)
        loader.flatten_mapping(node)
        pairs = [(str(key.value), value, file.at(key.start_mark.line)) for key, value in node.value]
        return Placed(
            {key: _placed(loader, value, file, at, faults) for key, value, at in pairs}, place
        )
    if isinstance(node, yaml.SequenceNode):
        items = [
            _placed(loader, item, file, file.at(item.start_mark.line), faults)
            for item in node.value
        ]
        return Placed(items, place)
    return Placed(loader.construct_object(node), place, node.value)


def _note_duplicates(node: yaml.MappingNode, file: _Place, faults: list[str]) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line
        if name in first and name != "<<":
            faults.append(
                f"{file.at(line)}: key {name!r} is given twice, first in line {first[name] + 1}"
            )
        first.setdefault(name, line)
