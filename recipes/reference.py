"""docs/recipe.md, written from the schema itself: `python -m recipes.reference >
docs/recipe.md`.
"""

import ast
import dataclasses
import inspect
import io
import json
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from recipes import schema
from recipes.knobs import fields_of, options

_HEAD = """# Recipe reference

Written by `python -m recipes.reference > docs/recipe.md` from the comments in `recipes/schema/`; do not edit it here.

A recipe is a YAML file with these keys. `extends: base.yaml` starts from another recipe. On the command line every key can be set by
its dotted name: `distill.steps=300`, `stages=generate,filter`, `models.student.lora.rank=16`. A key that is left out has its default.
"""


def reference() -> str:
    """The whole page in Markdown: one table a section, in the order in which a recipe mentions
    them.
    """
    files = {inspect.getfile(section) for section in _sections()}
    comments = {
        name: fields
        for file in sorted(files)
        for name, fields in _comments(Path(file).read_text(encoding="utf-8")).items()
    }
    return "\n".join(
        [_HEAD, *(_table(section, keys, comments) for section, keys in _sections().items())]
    )


def _sections() -> dict[type, list[str]]:
    """Every dataclass of a recipe, with the dotted keys under which it stands; "" for the recipe
    itself.
    """
    found: dict[type, list[str]] = {}

    def visit(section: type, key: str) -> None:
        found.setdefault(section, []).append(key)
        for name, hint in fields_of(section).items():
            for inner, suffix in _nested(hint):
                visit(inner, f"{key}.{name}{suffix}".removeprefix("."))

    visit(schema.Recipe, "")
    return found


def _nested(hint: Any) -> Iterator[tuple[type, str]]:
    """The dataclasses inside a type, each with "[]" where it stands in a list and ".NAME" where it
    stands in a table.
    """
    if dataclasses.is_dataclass(hint):
        yield hint, ""  # type: ignore[misc]
    for arg in get_args(hint):
        for inner, suffix in _nested(arg):
            yield inner, {list: "[]", dict: ".NAME"}.get(get_origin(hint), "") + suffix


def _table(section: type, keys: list[str], comments: dict[str, dict[str, str]]) -> str:
    title = ", ".join(f"`{key}`" for key in keys if key) or "The recipe"
    lines = [
        f"## {title}",
        "",
        " ".join(inspect.cleandoc(section.__doc__ or "").split("\n\n")[0].split()),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for field in dataclasses.fields(section):
        owner = next(
            base for base in section.__mro__ if field.name in vars(base).get("__annotations__", {})
        )
        meaning = comments[owner.__name__].get(field.name, "")
        cells = (f"`{field.name}`", _type(fields_of(section)[field.name]), _default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _type(hint: Any) -> str:
    """The type as people write it, without module names."""
    if dataclasses.is_dataclass(hint):
        return "section"
    if options(hint):
        return ", ".join(f"`{option}`" for option in options(hint))
    args = [_type(arg) for arg in get_args(hint)]
    if get_origin(hint) is dict:
        return f"dict of {args[0]} to {args[1]}"
    if get_origin(hint) in (list, tuple):
        return f"{get_origin(hint).__name__} of {', '.join(args)}"
    if args:
        return " or ".join(args)
    return "null" if hint is type(None) else hint.__name__


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{json.dumps(field.default)}`"
    if field.default_factory is dataclasses.MISSING:
        return "**required**"
    value = field.default_factory()
    if dataclasses.is_dataclass(value):
        return "see below"
    return f"`{json.dumps(value).replace(chr(34), '')}`"


def _comments(source: str) -> dict[str, dict[str, str]]:
    """Class name -> field name -> its comment: behind it, or in the lines above it."""
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    found: dict[str, dict[str, str]] = {}
    for section in ast.parse(source).body:
        if isinstance(section, ast.ClassDef):
            fields = [line for line in section.body if isinstance(line, ast.AnnAssign)]
            found[section.name] = {
                ast.unparse(line.target): _beside(line, by_line)
                or " ".join(reversed(list(_above(line.lineno, lines, by_line))))
                for line in fields
            }
    return found


def _beside(line: ast.AnnAssign, by_line: dict[int, str]) -> str:
    """The comments on the lines of a field, in their order."""
    numbers = range(line.lineno, (line.end_lineno or line.lineno) + 1)
    return " ".join(by_line[number] for number in numbers if number in by_line)


def _above(number: int, lines: list[str], by_line: dict[int, str]) -> Iterator[str]:
    """The comments in the lines directly above a line, from the bottom up."""
    while (number := number - 1) in by_line and lines[number - 1].lstrip().startswith("#"):
        yield by_line[number]


if __name__ == "__main__":
    print(reference(), end="")
