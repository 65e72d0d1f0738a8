"""YAML (+ `extends`) + key=value overrides -> one frozen, checked Recipe, or one RecipeError that
lists every fault.

The schema is walked here and each leaf converted by itself: omegaconf stops at the first fault, a
person wants them all.
"""

import dataclasses
import difflib
import functools
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.errors import RecipeError
from recipes.find import find_recipe, place_paths
from recipes.knobs import (
    dotted,
    fields_of,
    in_words,
    options,
    required_keys,
    unknown_key,
    without_none,
)
from recipes.ranges import number_faults
from recipes.schema import Model, Recipe
from recipes.yaml_locations import COMMAND_LINE, Placed, merge, parse_override, parse_yaml

_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # no file name, and no text that can be written
_BAD: Any = object()  # stands for a value whose fault is already listed


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe at `path` with `key=value` overrides laid on it, checked and frozen.

    Args:
        path: a YAML file, or the name of a recipe of the package, such as "smoke". Its optional
            `extends:` names a base file, relative to its own folder. Paths in it are relative to
            its own folder too; one that is not there is taken from the working directory.
        overrides: dotted keys as typed on the command line, left to right, e.g.
            "distill.steps=100"; a list may be written `stages=[generate,filter]` or, for zsh,
            `stages=generate,filter`.

    Raises:
        RecipeError: one line for every fault, each with "file:line" or "command line": unknown and
            repeated keys, wrong types, missing values, broken rules of recipes/schema/; or no such
            file; or broken YAML.
    """
    body, faults = _layers(find_recipe(path))
    for item in overrides:
        layer, wrong = parse_override(item)
        body, faults = merge(body, layer), faults + wrong
    recipe = _build(Recipe, body, "", faults)
    if faults:
        raise RecipeError("\n".join(faults))
    return cast(Recipe, recipe)


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML; load_recipe reads it back to an equal Recipe."""
    return dump_yaml(dataclasses.asdict(recipe))


def dump_yaml(tree: Any) -> str:
    """Plain values as the YAML of a recipe, in their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


class _Dumper(yaml.SafeDumper):
    """Line breaks of Unicode are escaped: without quotes YAML would fold them into spaces."""

    def represent_str(self, data: str) -> yaml.Node:
        style = '"' if set(data) & set("\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Dumper.add_multi_representer(StrEnum, _Dumper.represent_str)


def _layers(path: Path) -> tuple[Placed, list[str]]:
    """The file laid on all that it extends, and the faults of the YAML itself.

    A document that cannot be parsed ends the reading: what it would have said is unknown, so
    nothing else can be judged.
    """
    chain: list[Placed] = []
    seen: list[Path] = []
    faults: list[str] = []
    asked_at = ""
    while True:
        text = _text(path, asked_at)
        if path.resolve() in seen:
            raise RecipeError(
                f"{asked_at}{path.name} extends itself: {' -> '.join(p.name for p in [*seen, path])}"
            )
        seen.append(path.resolve())
        node, wrong = parse_yaml(text, path.name)
        if any("broken YAML" in fault for fault in wrong):
            raise RecipeError("\n".join(faults + wrong))
        if not isinstance(node.value, dict):
            raise RecipeError(
                f"{path.name}: a recipe is a mapping of keys to values, found {_shown(node)}"
            )
        faults += wrong
        base = node.value.pop("extends", None)
        chain.append(place_paths(node, path.parent))
        if base is None:
            return functools.reduce(merge, reversed(chain)), faults
        if not isinstance(base.value, str):
            raise RecipeError(
                f"{base.place}: extends is {_shown(base)}, expected the name of one recipe file"
            )
        asked_at, path = f"{base.place}: ", path.parent / base.value


def _text(path: Path, asked_at: str) -> str:
    if not _is_file(path):
        beside = {other.stem: other for other in path.parent.glob("*.yaml")}
        near = [
            f"; did you mean {beside[stem]}?"
            for stem in difflib.get_close_matches(path.stem, beside, n=1)
        ]
        shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
        shown = shown if shown.isprintable() else repr(shown)
        raise RecipeError(f"{asked_at}no recipe at {shown}{''.join(near)}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{asked_at}{path} cannot be read: {fault}") from fault


def _is_file(path: Path) -> bool:
    """Also of names that no file can have: too long, with NUL, half a surrogate, a circle of
    links.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _build(hint: Any, node: Placed, key: str, faults: list[str]) -> Any:
    """The value of type `hint` that stands at `node`; _BAD where a fault was noted."""
    if node.value == "???":
        return _note(faults, f"{node.place}: missing value of {key!r}, expected {in_words(hint)}")
    core = without_none(hint)
    if node.value is None:
        return None if core != hint else _wrong(core, node, key, faults)
    if core is Model and isinstance(node.value, str):
        node = Placed({"path": node}, node.place)  # a model that is only a path
    if dataclasses.is_dataclass(core):
        return _section(cast(type, core), node, key, faults)
    if get_origin(core) in (list, tuple):
        return _sequence(core, node, key, faults)
    if get_origin(core) is dict:
        return _table(core, node, key, faults)
    return _leaf(core, node, key, faults)


def _section(schema: type, node: Placed, key: str, faults: list[str]) -> Any:
    if not isinstance(node.value, dict):
        return _wrong(schema, node, key, faults)
    known = fields_of(schema)
    before = len(faults)
    values = {}
    for name, child in node.value.items():
        if name in known:
            values[name] = _build(known[name], child, dotted(key, name), faults)
        else:
            faults.append(f"{child.place}: {unknown_key(schema, key, name)}")
    # a recipe that only asks finished models
    alone = schema is not Recipe or node.find("evaluate", "models") is not None
    for name in (*required_keys(schema), *(() if alone else ("models",))):
        if name not in values:
            faults.append(
                f"{node.place}: missing key {dotted(key, name)!r}, expected {in_words(without_none(known[name]))}"
            )
    if len(faults) > before:
        return _BAD
    try:
        built = schema(**values)
    except RecipeError as fault:
        section = "" if not key or key in str(fault) else f"in {key}: "
        return _note(faults, f"{_blamed(str(fault), node, key)}: {section}{fault}")
    for name, found in number_faults(schema, values, key):
        faults.append(f"{node.value[name].place}: {found}")
    return built if len(faults) == before else _BAD


def _sequence(hint: Any, node: Placed, key: str, faults: list[str]) -> Any:
    """A list or tuple; from the command line also `a,b` without brackets."""
    items = node.value
    if node.place == COMMAND_LINE and node.text:
        items = [parse_yaml(piece.strip(), COMMAND_LINE)[0] for piece in node.text.split(",")]
    hints = get_args(hint)
    fixed = get_origin(hint) is tuple and ... not in hints
    if not isinstance(items, list) or (fixed and len(items) != len(hints)):
        return _wrong(hint, node, key, faults)
    each = hints if fixed else [hints[0]] * len(items)
    built = [
        _build(h, item, f"{key}[{i}]", faults)
        for i, (h, item) in enumerate(zip(each, items, strict=True))
    ]
    return tuple(built) if get_origin(hint) is tuple else built


def _table(hint: Any, node: Placed, key: str, faults: list[str]) -> Any:
    if not isinstance(node.value, dict):
        return _wrong(hint, node, key, faults)
    return {
        name: _build(get_args(hint)[1], child, dotted(key, name), faults)
        for name, child in node.value.items()
    }


def _leaf(hint: Any, node: Placed, key: str, faults: list[str]) -> Any:
    """One value by omegaconf's conversion, except text: that is taken as it was written."""
    if isinstance(node.value, dict | list):
        return _wrong(hint, node, key, faults)
    if hint is str:
        if node.text is not None and _NO_TEXT.search(node.text):
            what = "NUL or half of a surrogate pair"
            return _note(
                faults, f"{node.place}: {key} is {node.text!r}, expected text without {what}"
            )
        return node.text
    for option in options(hint):
        if option == node.text:
            return option
    if options(hint):
        return _wrong(hint, node, key, faults)
    if hint is bool and not isinstance(node.value, bool):
        return _wrong(hint, node, key, faults)  # omegaconf takes 2 for true
    single = OmegaConf.structured(dataclasses.make_dataclass("Leaf", [("value", hint)]))
    try:
        return OmegaConf.merge(single, {"value": node.value}).value
    except OmegaConfBaseException:
        return _wrong(hint, node, key, faults)


def _note(faults: list[str], line: str) -> Any:
    faults.append(line)
    return _BAD


def _wrong(hint: Any, node: Placed, key: str, faults: list[str]) -> Any:
    near = difflib.get_close_matches(str(node.text), options(hint), n=1)
    hint_text = f"; did you mean {near[0]!r}?" if near else ""
    return _note(
        faults, f"{node.place}: {key} is {_shown(node)}, expected {in_words(hint)}{hint_text}"
    )


def _shown(node: Placed) -> str:
    if isinstance(node.value, dict):
        return f"a section with {', '.join(node.value) or 'nothing in it'}"
    if isinstance(node.value, list):
        return f"a list of {len(node.value)}"
    if node.value is None:
        return "null"
    return repr(node.text) if isinstance(node.value, str) else str(node.text)


def _blamed(message: str, node: Placed, key: str) -> str:
    """The place of the first key that a rule's message names, else of the section."""
    for word in re.findall(r"[a-z_][a-z_.]*[a-z_]", message):
        inner = word.removeprefix(f"{key}.").removeprefix(f"{key.rpartition('.')[2]}.")
        found = node.find(*inner.split("."))
        if found is not None:
            return found.place
    return node.place
