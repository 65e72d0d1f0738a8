"""What the schema says of a key and of its value, in the words of an error message."""

import dataclasses
import difflib
import functools
import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from recipes.schema import Recipe
from recipes.schema.renamed import RENAMED

_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def in_words(hint: Any) -> str:
    """A type in words."""
    core = without_none(hint)
    if core != hint:
        return f"{in_words(core)} or null"
    args, origin = get_args(core), get_origin(core)
    if dataclasses.is_dataclass(core):
        return f"a section with keys of {', '.join(fields_of(cast(type, core)))}"
    if options(core):
        return f"one of {', '.join(options(core))}"
    if origin is tuple and ... not in args:
        return f"a list of {len(args)}: {', '.join(map(in_words, args))}"
    if origin in (list, tuple):
        return f"a list, each {in_words(args[0])}"
    if origin is dict:
        return f"a section of names, each with {in_words(args[1])}"
    if core in _PLAIN:
        return _PLAIN[core]
    return " or ".join(in_words(a) for a in args) or str(getattr(core, "__name__", core))


def unknown_key(schema: type, key: str, name: str) -> str:
    """What is wrong with a key that a section does not have.

    Args:
        schema: the dataclass of the section.
        key: the dotted key of the section; "" for the recipe itself.
        name: what stands in it.

    Returns:
        the new name of a renamed key; else the nearest key of this section, else keys of that name
        in other sections, else all keys of this section.
    """
    full = dotted(key, name)
    if full in RENAMED:
        return f"{full} is now {RENAMED[full]}"
    known = list(fields_of(schema))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"unknown key {full!r}; did you mean {dotted(key, near[0])!r}?"
    moved = [new for old, new in RENAMED.items() if old.rpartition(".")[2] == name]
    elsewhere = [one for one in all_keys() if one.rpartition(".")[2] == name]
    if elsewhere or moved:
        return f"unknown key {full!r}; did you mean {' or '.join(map(repr, elsewhere or moved))}?"
    return f"unknown key {full!r}; known here: {', '.join(known)}"


def options(hint: Any) -> tuple[str, ...]:
    """The words that a knob may hold: of a Literal or of an enum; none for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(hint) if isinstance(hint, type) and issubclass(hint, StrEnum) else ()


def dotted(key: str, name: str) -> str:
    """`key.name`, or `name` at the top."""
    return f"{key}.{name}" if key else name


def without_none(hint: Any) -> Any:
    """X for `X | None`, everything else as it is."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    return functools.reduce(lambda a, b: a | b, [a for a in get_args(hint) if a is not type(None)])


@functools.cache
def fields_of(schema: type) -> dict[str, Any]:
    """Name -> resolved type of every field."""
    hints = get_type_hints(schema)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def required_keys(schema: type) -> Iterator[str]:
    """Names of the fields without a default."""
    missing = dataclasses.MISSING
    return (
        f.name
        for f in dataclasses.fields(schema)
        if f.default is missing and f.default_factory is missing
    )


def all_keys(schema: type = Recipe, key: str = "") -> Iterator[str]:
    """The dotted keys of a section and of the sections inside it."""
    for name, hint in fields_of(schema).items():
        core = without_none(hint)
        yield dotted(key, name)
        if dataclasses.is_dataclass(core):
            yield from all_keys(cast(type, core), dotted(key, name))
