"""Whether a scorer of reasoning-gym can be handed a model's text: one that evaluates text, or could
for all that is known, cannot.

The rule: of all that `score_answer` of a data set can reach by name (functions of reasoning-gym,
methods of that name in any class of it, and theirs), nothing may be called that runs text, opens
files or finds attributes by text, and nothing may come from a package outside of a short list. So a
new data set, or a known one whose scorer has changed, is refused until it passes or has a scorer in
own_scorers.
"""

import builtins
import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from data_filters.verify.gym.own_scorers import OWN_SCORERS

_HOME = "reasoning_gym"
# what scorers may use beside it: none of it runs, imports or unpickles text
_PACKAGES = frozenset(
    "abc builtins calendar collections copy dataclasses datetime dateutil decimal enum fractions "
    "functools itertools json magiccube math numpy operator pytz random re string typing".split()
)
# no matter what they are called on
_NAMES = frozenset(
    "__builtins__ __class__ __globals__ __import__ __loader__ __subclasses__ breakpoint compile "
    "delattr eval exec fromstring frombuffer genfromtxt getattr globals import_module input load "
    "locals memmap open parse_expr popen setattr sympify system vars".split()
)


@lru_cache(maxsize=256)
def why_not(family: str) -> str:
    """Why the scorer of a data set is not to be trusted with text; empty where it is, and where
    there is a scorer of ours.

    Args:
        family: name of a data set of reasoning-gym.

    Raises:
        KeyError: reasoning-gym has no such data set.
    """
    from reasoning_gym.factory import DATASETS

    return "" if family in OWN_SCORERS else why_not_class(DATASETS[family][0])


def why_not_class(data_set: type[Any]) -> str:
    """The same of the class of a data set."""
    seen: set[CodeType] = set()
    todo: list[FunctionType] = [data_set.score_answer]
    while todo:
        function = todo.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        for name, found in _used(function):
            if _is_forbidden(name, found):
                return f"{function.__qualname__} uses {name}"
            todo += _functions(found)
    return ""


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Every name in the code of a function, with what it may stand for; several for a method, since
    the class of what it is called on is not known.
    """
    for code in _codes(function.__code__):
        imported = {
            step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"
        }
        for name in code.co_names:
            if name in imported:
                yield name, sys.modules.get(name, name)
            elif name in function.__globals__:
                yield name, function.__globals__[name]
            else:
                yield name, vars(builtins).get(name)
                for method in _methods().get(name, ()):
                    yield name, method


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_forbidden(name: str, found: Any) -> bool:
    """Whether a name stands for something that text must not reach."""
    package = found if isinstance(found, str) else _package(found)
    if package == _HOME:
        return False
    return name in _NAMES or package.partition(".")[0] not in _PACKAGES


def _package(found: Any) -> str:
    module = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
    return (module if isinstance(module, str) else "builtins").partition(".")[0].lstrip("_")


def _functions(found: Any) -> list[FunctionType]:
    """What there is to follow: a function of reasoning-gym, or those of a class of it."""
    if _package(found) != _HOME:
        return []
    if isinstance(found, type):
        plain = [getattr(v, "__func__", getattr(v, "fget", v)) for v in vars(found).values()]
        return [f for f in plain if isinstance(f, FunctionType) and _package(f) == _HOME]
    found = getattr(found, "__wrapped__", found)
    return [found] if isinstance(found, FunctionType) else []


@lru_cache(maxsize=1)
def _methods() -> dict[str, list[FunctionType]]:
    """The methods of all classes of reasoning-gym, and the functions of its modules, by name."""
    found: dict[str, dict[int, FunctionType]] = {}
    for module in [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == _HOME]:
        for value in list(vars(module).values()):
            for function in _functions(value):
                found.setdefault(function.__name__, {})[id(function)] = function
    return {name: list(functions.values()) for name, functions in found.items()}
