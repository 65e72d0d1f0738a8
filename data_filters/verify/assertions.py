"""Tests of a program, as data sets write them, made into code that counts the assertions it runs.

Known forms: assertions one after the other, `check(candidate)`, pytest's functions and classes of
plain assertions, and JSON of inputs and outputs. Other forms are named, not guessed.
"""

import ast
import builtins
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

COUNTER = "_assertions_that_held"
RENAMED = "_of_the_program_"
MAX_CHARACTERS = 1_000_000


class Unjudgeable(Exception):
    """These tests say nothing about any program; the message says why."""


@dataclass(frozen=True, slots=True)
class Assertions:
    """Tests as Python code."""

    code: str
    asked: dict[str, str]  # name in the code -> name in the program
    called: frozenset[str]  # those of them that are called


@dataclass(frozen=True, slots=True)
class Examples:
    """Tests as inputs and outputs."""

    inputs: list[Any]
    outputs: list[Any]
    function: str  # empty: the program reads lines and prints


def prepare(tests: str, program: str) -> Assertions | Examples:
    """What tests want run.

    Raises:
        Unjudgeable: they assert nothing, or need what there is not here.
    """
    return _prepared(tests, definitions(program))


@lru_cache(maxsize=1024)  # a problem's tests judge several programs
def _prepared(tests: str, defined: frozenset[str]) -> Assertions | Examples:
    if len(tests) > MAX_CHARACTERS:
        raise Unjudgeable("the tests are too long")
    examples = _examples(tests)
    if examples is not None:
        return examples
    try:
        tree = ast.parse(tests)
        tree = _Rewritten().visit(tree)
        tree.body += list(_calls(tree.body, defined))
        if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
            raise Unjudgeable("the tests assert nothing")
        asked = _asked(tree, defined)
        tree = _Counted(asked).visit(tree)
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        code = f"{COUNTER} = []\n{ast.unparse(ast.fix_missing_locations(tree))}\nlen({COUNTER})"
        return Assertions(code, asked, frozenset(called & asked.keys()) | (asked.keys() & defined))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as fault:
        raise Unjudgeable(f"the tests cannot be read: {type(fault).__name__}") from None


def definitions(program: str) -> frozenset[str]:
    """Functions and classes that a program defines on its top level; none where it is no Python."""
    try:
        body = ast.parse(program).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return frozenset()
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))


def _examples(tests: str) -> Examples | None:
    """Inputs and outputs, where the tests are JSON that holds them."""
    if not tests.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(tests)
    except (ValueError, RecursionError):
        return None
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise Unjudgeable("the tests are JSON without lists of inputs and outputs")
    if not inputs or len(inputs) != len(outputs):
        raise Unjudgeable(f"the tests have {len(inputs)} inputs and {len(outputs)} outputs")
    return Examples(inputs, outputs, str(found.get("fn_name") or ""))


def _calls(body: Sequence[ast.stmt], defined: frozenset[str]) -> Iterator[ast.stmt]:
    """What pytest would call, and `check` where nobody calls it."""
    called = {
        node.func.id
        for statement in body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name not in called:
            if node.name == "check" and len(node.args.args) == 1:
                yield from ast.parse(f"check({_candidate(defined)})").body
            elif node.name.startswith("test"):
                _is_plain(node, 0)
                yield from ast.parse(f"{node.name}()").body
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            if node.bases or node.decorator_list:
                raise Unjudgeable(f"the tests' class {node.name} needs a framework")
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name.startswith("test"):
                    _is_plain(method, 1)
                    yield from ast.parse(f"{node.name}().{method.name}()").body


def _candidate(defined: frozenset[str]) -> str:
    if len(defined) != 1:
        raise Unjudgeable("the tests check a candidate, and nothing says which function that is")
    return next(iter(defined))


def _is_plain(function: ast.FunctionDef, arguments: int) -> None:
    if function.decorator_list or len(function.args.args) != arguments:
        raise Unjudgeable(f"the tests' function {function.name} needs pytest's marks or fixtures")


def _asked(tree: ast.Module, defined: frozenset[str]) -> dict[str, str]:
    """The names that tests want of the program. A builtin is the judge's, unless there is no other
    name and the program defines just one that is called: "write a function sum".
    """
    loaded = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    bound = {
        name.name for name in ast.walk(tree) if isinstance(name, ast.FunctionDef | ast.ClassDef)
    }
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    bound |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    own = {name for name in loaded - bound if not hasattr(builtins, name)}
    if not own:
        own = {name for name in loaded - bound if name in defined}
        if len(own) != 1:
            raise Unjudgeable("the tests ask nothing of the program")
    return {RENAMED + name if hasattr(builtins, name) else name: name for name in own}


class _Rewritten(ast.NodeTransformer):
    """Without imports of the program and of pytest, whose `raises` becomes a try."""

    def visit_Import(self, node: ast.Import) -> ast.stmt | None:
        for alias in node.names:
            if alias.name.partition(".")[0] not in sys.stdlib_module_names | {"pytest"}:
                raise Unjudgeable(f"the tests import {alias.name}")
        node.names = [alias for alias in node.names if alias.name != "pytest"]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        module = (node.module or "").partition(".")[0]
        if module in sys.stdlib_module_names:
            return node
        if module == "pytest" or any(alias.asname for alias in node.names):
            raise Unjudgeable(f"the tests import from {node.module}")
        return None  # the program, under whatever name it was to be saved

    def visit_With(self, node: ast.With) -> ast.stmt:
        self.generic_visit(node)
        call = node.items[0].context_expr
        if len(node.items) > 1 or not (
            isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.raises"
        ):
            return node
        if len(call.args) != 1 or call.keywords or node.items[0].optional_vars:
            raise Unjudgeable("the tests look at what was raised")
        held = ast.parse("assert True").body
        failed = ast.parse("assert False").body
        handler = ast.ExceptHandler(type=call.args[0], name=None, body=held)
        return ast.Try(body=node.body, handlers=[handler], orelse=failed, finalbody=[])

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        name = ast.unparse(node)
        if name.startswith(("pytest.", "unittest.")) and name != "pytest.raises":
            raise Unjudgeable(f"the tests use {name}")
        self.generic_visit(node)
        return node


class _Counted(ast.NodeTransformer):
    """Counts each assertion once it has held, and renames what the program defines."""

    def __init__(self, asked: dict[str, str]) -> None:
        self.renamed = {theirs: ours for ours, theirs in asked.items() if ours != theirs}

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        self.generic_visit(node)
        return [node, *ast.parse(f"{COUNTER}.append(1)").body]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        node.id = self.renamed.get(node.id, node.id)
        return node
