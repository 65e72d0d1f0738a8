"""Python that somebody else wrote, run where it reaches nothing: no files, no network, bounded
time, memory and output.
"""

import builtins
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pydantic_monty

Stop = Literal["", "error", "time limit", "memory limit", "not in the sandbox", "crash"]
KILL_AFTER_SECONDS = 1.0  # beyond the limit: for an operation that does not look at the clock
_MISSING_TYPE = re.compile(r"cannot create '(\w+)' instances")
_MISSING_ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
_MISSING_NAME = re.compile(r"(?:name '(\w+)' is not defined|cannot import name)")
_MISSING_MODULE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    output: str  # what it printed, cut at the limit
    value: str | None  # repr of the last part's last line, where that is an expression with a value
    error: str  # one line, "ValueError: ..."; empty where it ran through
    # "not in the sandbox": it asked for a part of Python, a module, a file that is not there
    stop: Stop
    cut: bool = False  # it printed more than was kept

    @property
    def timed_out(self) -> bool:
        """It ran into the time limit."""
        return self.stop == "time limit"


class Stopped(Exception):
    """A part of a program did not run through.

    Args:
        error: one line, "ValueError: ...".
        stop: what kind of end it was.
        raised: the exception that the program raised, for "error"; of a class of Python's own.
    """

    def __init__(self, error: str, stop: Stop, raised: BaseException | None = None) -> None:
        super().__init__(error)
        self.error, self.stop, self.raised = error, stop, raised


class Session:
    """One interpreter with its names; parts fed to it run one after the other, as if typed."""

    def __init__(self, session: pydantic_monty.MontySession, output_characters: int) -> None:
        self._session, self._kept = session, _Kept(output_characters)

    def feed(
        self,
        part: str,
        inputs: Mapping[str, Any] | None = None,
        outside: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value of the part's last line, where that is an expression.

        Args:
            inputs: names that are bound first, to plain values.
            outside: what names mean that are not known inside; functions of this process, called
                with plain values.

        Raises:
            Stopped: it did not run through.
        """
        try:
            return self._session.feed_run(
                part,
                inputs=dict(inputs or {}),
                external_lookup=dict(outside or {}),
                print_callback=self._kept,
            )
        except pydantic_monty.MontyError as fault:
            stop = _stop(fault)
            raised = fault.exception() if stop == "error" else None
            raise Stopped(_one_line(fault), stop, raised) from None
        except (ValueError, RecursionError, OverflowError) as fault:  # a value that cannot travel
            raise Stopped(f"{type(fault).__name__}: {fault}"[:300], "error") from None

    @property
    def output(self) -> str:
        """What was printed so far, cut at the limit."""
        return self._kept.text

    @property
    def cut(self) -> bool:
        """Whether more was printed than was kept."""
        return self._kept.cut


class Sandbox:
    """Runs programs in an interpreter for a subset of Python, in processes of its own.

    They end with this one; if this one is killed in the middle of a program, then when the program
    has used up its time. The subset (pydantic-monty 1.4) lacks generators, inheritance, `del`,
    properties and most of the standard library. Sleeping takes no time and `random` starts from the
    same seed, so that a verdict can be repeated.

    Args:
        workers: programs at the same time, by as many threads of the caller; each may have two
            sessions, one for itself and one for its tests.
    """

    def __init__(self, workers: int = 1) -> None:
        self._pool = pydantic_monty.Monty(
            max_processes=2 * workers,
            min_processes=0,
            feed_duration_limit_grace=KILL_AFTER_SECONDS,
        )

    def __enter__(self) -> "Sandbox":
        self._pool.__enter__()
        return self

    def __exit__(self, *fault: object) -> None:
        self._pool.__exit__(None, None, None)

    @contextmanager
    def session(
        self, *, seconds: float, memory_mib: int, output_characters: int = 10_000
    ) -> Iterator[Session]:
        """A fresh interpreter.

        Args:
            seconds: of each part.
            memory_mib: of the interpreter's heap, 2**20 bytes.
            output_characters: kept of what is printed; the rest is thrown away and the program goes
                on.
        """
        with self._pool.checkout(
            limits={"max_feed_duration_secs": seconds, "max_memory": memory_mib * 2**20},
            os_policy={"sleep": "zero", "random_start": {"seed": 0}},
            assert_message_annotations=False,
        ) as session:
            yield Session(session, output_characters)

    def run(
        self,
        *parts: str,
        seconds: float = 5.0,
        memory_mib: int = 256,
        output_characters: int = 10_000,
    ) -> Ran:
        """How a program ended; its parts run one after the other in one session.

        Args:
            parts: a program, or a program and what follows it: what comes later cannot be swallowed
                by an open bracket before it.
            seconds, memory_mib, output_characters: see session.
        """
        with self.session(
            seconds=seconds, memory_mib=memory_mib, output_characters=output_characters
        ) as session:
            try:
                value = None
                for part in parts:
                    value = session.feed(part)
                shown = None if value is None else repr(value)[:output_characters]
            except Stopped as fault:
                return Ran(session.output, None, fault.error, fault.stop, session.cut)
            except (ValueError, RecursionError, MemoryError) as fault:
                # a number of more than 4,300 digits, or lists in lists in lists
                error = f"{type(fault).__name__}: the value cannot be written out"
                return Ran(session.output, None, error, "error", session.cut)
            return Ran(session.output, shown, "", "", session.cut)


def run(
    program: str, *, seconds: float = 5.0, memory_mib: int = 256, output_characters: int = 10_000
) -> Ran:
    """How one program ended, in a sandbox of its own; see Sandbox.run."""
    with Sandbox() as sandbox:
        return sandbox.run(
            program, seconds=seconds, memory_mib=memory_mib, output_characters=output_characters
        )


class _Kept:
    """The first characters that a program printed."""

    def __init__(self, characters: int) -> None:
        self.characters, self.text, self.cut = characters, "", False

    def __call__(self, stream: str, text: str) -> None:
        room = self.characters - len(self.text)
        self.text += text[:room]
        self.cut = self.cut or len(text) > room


def _one_line(fault: pydantic_monty.MontyError) -> str:
    spoken = pydantic_monty.MontyRuntimeError | pydantic_monty.MontySyntaxError
    message = fault.display("type-msg") if isinstance(fault, spoken) else str(fault)
    return " ".join(message.split())[:300]


def _stop(fault: pydantic_monty.MontyError) -> Stop:
    if isinstance(fault, pydantic_monty.MontyCrashedError):
        return "time limit" if fault.timed_out else "crash"
    inner, message = fault.exception(), str(fault)
    if isinstance(inner, TimeoutError) and "time limit exceeded" in message:
        return "time limit"
    if isinstance(inner, MemoryError) and "limit exceeded" in message:
        return "memory limit"
    return "not in the sandbox" if _lacking(inner, message) else "error"


def _lacking(inner: BaseException, message: str) -> bool:
    """Whether Python itself would have gone on here: the interpreter says what it lacks with the
    errors that Python has for mistakes.
    """
    if isinstance(inner, ImportError | PermissionError) or (
        isinstance(inner, NotImplementedError) and "monty" in message
    ):
        return True
    if found := _MISSING_MODULE.search(message):
        module = sys.modules.get(found[1])
        return module is None or hasattr(module, found[2])
    if found := _MISSING_ATTRIBUTE.search(message):
        return found[2].startswith("__") or hasattr(getattr(builtins, found[1], None), found[2])
    if found := _MISSING_NAME.search(message) or _MISSING_TYPE.search(message):
        return found[1] is None or hasattr(builtins, found[1])
    return False
