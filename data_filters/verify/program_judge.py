"""Whether a program passes its tests, where it can touch neither them nor what they compare with.

The program has an interpreter of its own, the tests another. What they call of the program is
called over there with plain values, and plain values come back; equality, builtins and the count of
the assertions are out of its reach.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_monty import ClassInstance, MontyClassProxy, MontyClassTypeProxy

from data_filters.verify.assertions import (
    Assertions,
    Examples,
    Unjudgeable,
    definitions,
    prepare,
)
from data_filters.verify.sandbox import Sandbox, Session, Stopped

PROGRAM_MIB = 256
MAX_DEPTH = 100  # of lists in lists
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_REACH = """
def _reach(ask):
    def call(*given, **named):
        value, after = ask(given, named)
        if after is not None:
            for one, now in zip(given, after):
                if isinstance(one, list):
                    one[:] = now
                elif isinstance(one, (dict, set)):
                    one.clear()
                    one.update(now)
        return value
    return call
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """What tests say of a program: None where they cannot say it, with the reason."""

    right: bool | None
    why: str = ""


def judge_program(sandbox: Sandbox, program: str, tests: str, seconds: float) -> Judged:
    """Whether a program passes.

    Args:
        program: Python.
        tests: see assertions.
        seconds: of the program, of its tests, and of all that they call.
    """
    try:
        prepared = prepare(tests, program)
    except Unjudgeable as fault:
        return Judged(None, str(fault))
    if isinstance(prepared, Examples) and not prepared.function:
        return _by_output(sandbox, program, prepared, seconds)
    with sandbox.session(seconds=seconds, memory_mib=PROGRAM_MIB) as session:
        try:
            session.feed(program)
        except Stopped as fault:
            return _fault(fault)
        reached = _Reached(session, seconds)
        if isinstance(prepared, Examples):
            return _by_values(reached, prepared)
        with sandbox.session(seconds=2 * seconds, memory_mib=PROGRAM_MIB) as tester:
            return _by_assertions(reached, tester, prepared)


def _by_assertions(reached: "_Reached", tester: Session, tests: Assertions) -> Judged:
    outside: dict[str, Any] = {}
    binding = []
    for ours, theirs in tests.asked.items():
        if ours in tests.called:
            outside[f"_ask_{ours}"] = reached.function(theirs)
            binding.append(f"{ours} = _reach(_ask_{ours})")
        else:
            reached.look_up(theirs, ours, outside)
    try:
        held = tester.feed(f"{_REACH}{chr(10).join(binding)}\n{tests.code}", outside=outside)
    except Stopped as fault:
        return _fault(reached.fault or fault)
    if reached.fault is not None:
        return _fault(reached.fault)
    if not reached.calls:
        return Judged(None, "no assertion asked the program")
    return Judged(True) if held else Judged(None, "no assertion ran")


def _by_values(reached: "_Reached", tests: Examples) -> Judged:
    call = reached.function(tests.function)
    for given, wanted in zip(tests.inputs, tests.outputs, strict=True):
        try:
            value, _ = call(tuple(given) if isinstance(given, list) else (given,), {})
        except Exception as fault:  # whatever the program raised
            stopped = reached.fault or Stopped(f"{type(fault).__name__}: {fault}"[:300], "error")
            return _fault(stopped)
        value = _as_json(value)
        wrapped = isinstance(wanted, list) and len(wanted) == 1 and value == wanted[0]
        if value != wanted and not wrapped:
            return Judged(False, "another output")
    return Judged(True)


def _by_output(sandbox: Sandbox, program: str, tests: Examples, seconds: float) -> Judged:
    """Runs the whole program once an example, which it reads with input()."""
    for given, wanted in zip(tests.inputs, tests.outputs, strict=True):
        lines = iter(_text(given).split("\n"))
        read: list[str] = []
        with sandbox.session(
            seconds=seconds, memory_mib=PROGRAM_MIB, output_characters=len(_text(wanted)) + 10_000
        ) as session:
            try:
                session.feed(
                    program, outside={"input": lambda *_, of=lines, to=read: _next(of, to)}
                )
            except Stopped as fault:
                return _fault(fault)
            if not (read or session.output) and definitions(program):
                return Judged(None, "the tests are of a program that reads and prints")
            if session.cut or _lines(session.output) != _lines(_text(wanted)):
                return Judged(False, "another output")
    return Judged(True)


class _Reached:
    """The program, as its tests reach it."""

    def __init__(self, session: Session, seconds: float) -> None:
        self.session, self.deadline = session, time.monotonic() + seconds
        self.calls = 0
        self.objects = 0
        self.fault: Stopped | None = None  # that no test may catch

    def function(self, name: str) -> Callable[..., tuple[Any, Any]]:
        """Calls a function of the program: (its value, the arguments after it, if it changed
        them).
        """

        def ask(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
            return self.call(name, given, named)

        return ask

    def call(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        if not (_is_plain(given) and _is_plain(named)):
            raise self.stop("the tests hand over what cannot travel", "not in the sandbox")
        value, after = self.feed(
            f"_kept = {name}(*_given, **_named)\n(_kept, _given)", _given=given, _named=named
        )
        return self.taken(value), after if after != given else None

    def feed(self, code: str, **inputs: Any) -> Any:
        """The value of code in the program's interpreter.

        Raises:
            Exception: as the program raised it.
        """
        self.calls += 1
        if self.fault is not None:
            raise RuntimeError("it has stopped")
        if time.monotonic() > self.deadline:
            raise self.stop("time limit", "time limit")
        try:
            return self.session.feed(code, inputs)
        except Stopped as fault:
            if fault.stop != "error":
                self.fault = fault
            raise (fault.raised or RuntimeError(fault.error)) from None

    def stop(self, error: str, kind: Any) -> Exception:
        self.fault = Stopped(error, kind)
        return RuntimeError(error)

    def taken(self, value: Any) -> Any:
        """A value for the tests: plain, or an object whose parts are asked for over there."""
        if isinstance(value, MontyClassProxy):
            self.objects += 1
            name = f"_object_{self.objects}"
            self.session.feed(f"{name} = _kept")
            return _Object(name, self)
        if not _is_plain(value):
            raise self.stop("the program gives what cannot travel", "not in the sandbox")
        return value

    def look_up(self, theirs: str, ours: str, found: dict[str, Any]) -> None:
        """Adds what a name of the program stands for, where it is a plain value."""
        try:
            value = self.session.feed(theirs)
        except Stopped:
            return
        self.calls += 1
        if not isinstance(value, MontyClassTypeProxy):
            found[ours] = self.taken(value) if _is_plain(value) else None


class _Object(ClassInstance):
    """An object of the program, in the hands of its tests."""

    def __init__(self, name: str, reached: _Reached) -> None:
        super().__init__(reached, lazy_attrs=())
        self.name, self.reached = name, reached

    def call_method(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value, _ = self.reached.call(f"{self.name}.{name}", args, kwargs)
        return value

    def lookup_lazy_attrs(self, name: str) -> Any:
        return self.reached.taken(self.reached.feed(f"_kept = {self.name}.{name}\n_kept"))


def _fault(fault: Stopped) -> Judged:
    if fault.stop in ("not in the sandbox", "crash"):
        return Judged(None, f"{fault.stop}: {fault.error}")
    return Judged(False, fault.error if fault.stop == "error" else fault.stop)


def _is_plain(value: Any, depth: int = 0) -> bool:
    if type(value) in _PLAIN:
        return True
    if depth > MAX_DEPTH:
        return False
    if type(value) in (list, tuple, set, frozenset):
        return all(_is_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(_is_plain(k, depth + 1) and _is_plain(v, depth + 1) for k, v in value.items())
    return False


def _as_json(value: Any) -> Any:
    """A value as JSON would hold it: lists for tuples, keys as text."""
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(k): _as_json(v) for k, v in value.items()}
    return value


def _text(lines: Any) -> str:
    return "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines)


def _lines(text: str) -> list[str]:
    """Printed lines without what surrounds them."""
    return [" ".join(line.split()) for line in text.strip().split("\n")]


def _next(lines: Iterator[str], read: list[str]) -> str:
    """The next line, which is also noted in `read`."""
    line = next(lines, None)
    read.append(line or "")
    if line is None:
        raise EOFError("EOF when reading a line")
    return str(line)
