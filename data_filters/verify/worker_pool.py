"""Calls that may hang or crash, run in processes of their own; one that does costs its own result
and nothing else.

Parent and worker speak lines of JSON over a socket: the name of a function with its arguments one
way, a value or a fault the other. Nothing that comes back is run, imported or unpickled.
"""

import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from data_filters.verify.json_values import from_json, to_json

# the dotted name of a function, and what it is called with: plain values, see json_values
Call = tuple[str, Sequence[Any]]
CHUNK_CALLS = 32  # handed over at once: few enough to share out, enough to hide the way there
START_SECONDS = 120.0  # imports of a worker on a busy machine
SEND_SECONDS = 60.0  # for a worker to take a chunk
CLOSING_SECONDS = 5.0  # between the end of a worker's pipe and its own
MAX_LINE_BYTES = 256 * 2**20  # of one result
MAX_FAULT_CHARACTERS = 200
_CHILD = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from data_filters.verify.worker import serve; serve(*map(int, sys.argv[1:3]))"
)
# all that a locked worker gets of the environment
_EMPTY = {"LC_ALL": "C.UTF-8", "PATH": os.defpath}
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_log = logging.getLogger(__name__)
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a call: its value, or in one line why there is none."""

    value: Any = None
    fault: str = ""  # "timeout", "crash (signal 11)", "raised ValueError"


@dataclass(frozen=True, slots=True)
class _Start:
    """What a worker is told first."""

    modules: tuple[str, ...]
    memory_bytes: int
    locked: bool


class WorkerPool:
    """A few processes that take batches of calls; started when first needed, gone when this one is,
    however it ends.

    For one thread at a time. A fork of this process that lives on keeps workers of a killed parent
    alive until it ends too.

    Example: `WorkerPool(modules=["math"]).run([("math.sqrt", (4.0,))])` gives `[Done(value=2.0)]`.

    Args:
        workers: processes, 1 and above.
        timeout_seconds: wall clock of one call.
        modules: imported before the clock of the first call starts; functions of theirs can be
            called, no others.
        memory_gib: address space of one worker; beyond it a call raises MemoryError.
        locked: workers get no environment, and after their imports no rights to write files, start
            processes, send signals or speak to the network; see confinement. A kernel that lacks
            the means is named in one warning.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout_seconds: float = 5.0,
        *,
        modules: Sequence[str],
        memory_gib: float = 4.0,
        locked: bool = False,
    ) -> None:
        self.workers, self.timeout_seconds = workers, timeout_seconds
        self._start = _Start(tuple(modules), int(memory_gib * 2**30), locked)
        self._idle: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; a later run starts new ones."""
        while self._idle:
            self._idle.pop().kill()

    def run(self, calls: Sequence[Call]) -> list[Done]:
        """What became of each call, in order; arguments that cannot travel are its fault.

        Raises:
            RuntimeError: a worker ended before it was ready.
        """
        done: list[Done] = [Done(fault="never run")] * len(calls)
        lines: list[bytes] = [b""] * len(calls)
        waiting: deque[int] = deque()
        for i, (name, arguments) in enumerate(calls):
            try:
                lines[i] = to_json([name, list(arguments)]).encode() + b"\n"
                waiting.append(i)
            except (TypeError, ValueError, RecursionError) as fault:
                done[i] = Done(fault=f"raised {type(fault).__name__}")
        self._run(lines, waiting, done)
        return done

    def _run(self, lines: list[bytes], waiting: deque[int], done: list[Done]) -> None:
        size = max(1, min(CHUNK_CALLS, -(-len(waiting) // self.workers)))
        busy: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    busy.append(self._free_worker())
                    chunk = [(i, lines[i]) for i in _take(waiting, size)]
                    busy[-1].give(chunk, self.timeout_seconds)
                self._collect(busy, waiting, done)
        except BaseException:
            for worker in busy:
                worker.kill()
            raise

    def _free_worker(self) -> "_Worker":
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            worker.kill()
        return _Worker(self._start)

    def _collect(self, busy: list["_Worker"], waiting: deque[int], done: list[Done]) -> None:
        """Takes what is there; workers that have finished become idle, those over their time are
        killed.
        """
        patience = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        ready = set(wait([worker.pipe for worker in busy], patience))
        for worker in list(busy):
            fault = ""
            if worker.pipe in ready:
                fault = worker.receive(done, self.timeout_seconds)
            if not fault and worker.todo and time.monotonic() > worker.deadline:
                fault = "timeout"
            if fault:
                busy.remove(worker)
                worker.kill()
                done[worker.todo.popleft()] = Done(fault=fault)
                waiting.extendleft(reversed(worker.todo))
            elif not worker.todo:
                busy.remove(worker)
                self._idle.append(worker)


def _take(waiting: deque[int], size: int) -> list[int]:
    return [waiting.popleft() for _ in range(min(size, len(waiting)))]


class _Worker:
    """One process and the calls it has not answered yet."""

    def __init__(self, start: _Start) -> None:
        self.todo: deque[int] = deque()
        self.deadline = 0.0
        self._buffer = bytearray()
        self.pipe, theirs = socket.socketpair()
        life, self._life = os.pipe()
        inherited = _EMPTY if start.locked else dict(os.environ)
        paths = [os.path.abspath(path) for path in sys.path]
        numbers = [str(theirs.fileno()), str(life)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _CHILD, *numbers, *paths],
                pass_fds=[theirs.fileno(), life],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=inherited | _ONE_THREAD,
            )
        finally:
            theirs.close()
            os.close(life)
        self._await_start(start)

    def _await_start(self, start: _Start) -> None:
        told = [list(start.modules), start.memory_bytes, start.locked]
        self.pipe.settimeout(START_SECONDS)
        with suppress(OSError, EOFError, ValueError):
            self.pipe.sendall(to_json(told).encode() + b"\n")
            while not (lines := self._lines(self.pipe.recv(2**16))):
                pass
            ready, missing = from_json(lines[0])
            if ready == "ready":
                self.pipe.setblocking(False)
                _warn(missing)
                return
        self._process.kill()
        code = self._process.wait()
        self.kill()
        raise RuntimeError(
            f"a worker for {', '.join(start.modules) or 'no module'} ended before it was ready: "
            f"{_ending(code)}"
        )

    def give(self, numbered: list[tuple[int, bytes]], timeout_seconds: float) -> None:
        self.todo.extend(number for number, _ in numbered)
        self.deadline = time.monotonic() + timeout_seconds
        self.pipe.settimeout(SEND_SECONDS)
        with suppress(OSError):  # it died since: reading will say so
            self.pipe.sendall(b"".join(line for _, line in numbered))
        self.pipe.setblocking(False)

    def receive(self, done: list[Done], timeout_seconds: float) -> str:
        """Takes the results that have come; says what ended the worker if it did."""
        try:
            # what is there, without waiting for more: half a line must not hold up the others
            read = self.pipe.recv(2**20)
            for line in self._lines(read):
                if not self.todo:  # more than was asked for: nothing it says is to be trusted
                    self.kill()
                    return ""
                value, fault = from_json(line)
                done[self.todo[0]] = Done(value, _clean(fault))
                self.todo.popleft()
                # the worker began its next call when it sent this
                self.deadline = time.monotonic() + timeout_seconds
        except (OSError, EOFError):
            return f"crash ({self._died()})"
        except (ValueError, TypeError, RecursionError):
            return "crash (no line of values)"
        return ""

    def _died(self) -> str:
        """How the process ended; one that closed its end and lives on is killed."""
        try:
            return _ending(self._process.wait(timeout=CLOSING_SECONDS))
        except subprocess.TimeoutExpired:
            return "closed its pipe"

    def _lines(self, read: bytes) -> list[bytes]:
        """The whole lines that have come.

        Raises:
            EOFError: the other end is closed.
            ValueError: a line is longer than any result.
        """
        if not read:
            raise EOFError
        self._buffer += read
        if b"\n" not in read:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ValueError("too long a line")
            return []
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        return lines

    def alive(self) -> bool:
        """Whether it waits for calls, and has said nothing that it was not asked."""
        if self._buffer or self._process.poll() is not None:
            return False
        try:
            self.pipe.recv(1, socket.MSG_PEEK)  # the end of the pipe, or more than was asked for
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def kill(self) -> None:
        if self.pipe.fileno() < 0:
            return
        self._process.kill()
        self._process.wait()
        self.pipe.close()
        os.close(self._life)


def _clean(fault: Any) -> str:
    """A fault as one printable line."""
    if not isinstance(fault, str):
        raise TypeError("a fault is a text")
    return "".join(c for c in fault[:MAX_FAULT_CHARACTERS] if c.isprintable())


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _warn(missing: list[str]) -> None:
    """Names, once, each protection that this kernel does not have."""
    for name in missing:
        if name not in _warned:
            _warned.add(name)
            _log.warning("verifiers run without %s: this kernel does not have it", name)
