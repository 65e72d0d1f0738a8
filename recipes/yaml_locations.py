"""YAML whose every value knows where it stands, so that a fault can name file and line."""

import functools
from dataclasses import dataclass
from typing import Any

import yaml

COMMAND_LINE = "command line"
MOST_VALUES = 100_000  # of a document; an alias counts as often as it is used
MOST_BITS = 1024  # of a whole number: a float holds no larger one


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
        if (fault := _unreadable(root)) is not None:
            return Placed({}, place), [f"{place}: broken YAML: {fault}"]
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
        return Placed({}, place), [*faults, f"{place}: broken YAML: it is nested too deeply"]


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
    return Placed(_scalar(loader, node), place, node.value)


def _scalar(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """The value of a scalar; a tag that does not fit it, or a number without bounds, is broken
    YAML.
    """
    try:
        value = loader.construct_object(node)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        value = _NO_VALUE
    too_large = isinstance(value, int) and value.bit_length() > MOST_BITS
    if value is _NO_VALUE or too_large:
        shown = node.value if len(node.value) <= 40 else f"{node.value[:40]}..."
        kind = str(node.tag).rpartition(":")[2]
        why = "is too large a number" if too_large else f"cannot be read as {kind}"
        raise yaml.MarkedYAMLError(problem=f"{shown!r} {why}", problem_mark=node.start_mark)
    return value


_NO_VALUE = object()


def _unreadable(root: yaml.Node) -> str | None:
    """Why a document would have no end, or one that nobody waits for: aliases of aliases."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise ValueError("an alias contains itself")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inner = node.value if isinstance(node, yaml.CollectionNode) else ()
            parts = (
                part for item in inner for part in (item if isinstance(item, tuple) else (item,))
            )
            sizes[id(node)] = 1 + sum(map(size, parts))
            open_nodes.discard(id(node))
        return sizes[id(node)]

    try:
        count = size(root)
    except ValueError as fault:
        return str(fault)
    most = f"more than {MOST_VALUES:,} values, with those that aliases repeat"
    return f"it holds {most}" if count > MOST_VALUES else None


def _note_duplicates(node: yaml.MappingNode, file: _Place, faults: list[str]) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line
        if name in first and name != "<<":
            faults.append(
                f"{file.at(line)}: key {name!r} is given twice, first in line {first[name] + 1}"
            )
        first.setdefault(name, line)
