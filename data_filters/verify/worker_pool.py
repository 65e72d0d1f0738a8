"""Calls that may hang or crash, run in processes of their own; one that does costs its own result
and nothing else.
"""

import fcntl
import importlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

Call = tuple[Callable[..., Any], tuple[Any, ...]]
CHUNK_CALLS = 32  # handed over at once: few enough to share out, enough to hide the way there
START_SECONDS = 120.0  # imports of a worker on a busy machine
_REFUSED = (
    *(
        "subprocess.",
        "shutil.",
        "socket.",
        "ctypes.",
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.kill",
    ),
    *(
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.chmod",
        "os.chown",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.putenv",
    ),
)  # audit events
_CHILD = "import sys; sys.path[:] = sys.argv[3:]; from data_filters.verify.worker_pool import serve; serve(*map(int, sys.argv[1:3]))"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a call: its value, or in one line why there is none."""

    value: Any = None
    fault: str = ""  # "timeout", "crash (signal 11)", "raised ValueError"


@dataclass(frozen=True, slots=True)
class _Start:
    """What a worker is told first."""

    imports: tuple[str, ...]
    memory_bytes: int
    locked: bool


class Killable:
    """A few processes that take batches of calls; started when first needed, gone when this one is,
    however it ends.

    For one thread at a time. Functions must be importable by name, not from the program's main
    module. A fork of this process that lives on keeps workers of a killed parent alive until it
    ends too.

    Args:
        workers: processes, 1 and above.
        timeout_seconds: wall clock of one call.
        imports: modules loaded before the clock of the first call starts.
        memory_gib: address space of one worker; beyond it a call raises MemoryError.
        locked: workers refuse to write files, to start programs and to speak to the network.
            Against accidents (some verifiers hand what they read to eval), not a boundary for
            somebody who means to break out.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout_seconds: float = 5.0,
        *,
        imports: Sequence[str] = (),
        memory_gib: float = 4.0,
        locked: bool = False,
    ) -> None:
        self.workers, self.timeout_seconds = workers, timeout_seconds
        self._start = _Start(tuple(imports), int(memory_gib * 2**30), locked)
        self._idle: list[_Worker] = []

    def __enter__(self) -> "Killable":
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; a later run starts new ones."""
        while self._idle:
            self._idle.pop().kill()

    def run(self, calls: Sequence[Call]) -> list[Done]:
        """What became of each call, in order.

        Raises:
            RuntimeError: a worker ended before it was ready.
            ValueError: a function of the main module, which a worker does not have.
        """
        if strange := next((call[0] for call in calls if call[0].__module__ == "__main__"), None):
            raise ValueError(
                f"{strange.__qualname__} is defined in the main module: move it to one that can be imported"
            )
        packed = [pickle.dumps(call) for call in calls]
        done: list[Done] = [Done(fault="never run")] * len(packed)
        waiting = deque(range(len(packed)))
        size = max(1, min(CHUNK_CALLS, -(-len(packed) // self.workers)))
        busy: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    busy.append(self._free_worker())
                    busy[-1].give(
                        [(i, packed[i]) for i in _take(waiting, size)], self.timeout_seconds
                    )
                self._collect(busy, waiting, done)
        except BaseException:
            for worker in busy:
                worker.kill()
            raise
        return done

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
            if worker.pipe in ready:
                fault = worker.receive(done, self.timeout_seconds)
            else:
                fault = (
                    "timeout"
                    if time.monotonic() > worker.deadline and not worker.pipe.poll()
                    else ""
                )
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
        self.pipe, theirs = Pipe()
        life, self._life = os.pipe()
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            _CHILD,
            str(theirs.fileno()),
            str(life),
            *sys.path,
        ]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno(), life],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ
                | {
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
            )
        finally:
            theirs.close()
            os.close(life)
        self._await_start(start)

    def _await_start(self, start: _Start) -> None:
        self.pipe.send(start)
        try:
            if self.pipe.poll(START_SECONDS) and self.pipe.recv() == "ready":
                return
        except EOFError:
            self._process.wait()
        self.kill()
        raise RuntimeError(
            f"a worker with imports {', '.join(start.imports) or 'none'} ended before it was ready: {self._ending()}"
        )

    def give(self, numbered: list[tuple[int, bytes]], timeout_seconds: float) -> None:
        self.todo.extend(number for number, _ in numbered)
        self.deadline = time.monotonic() + timeout_seconds
        with suppress(OSError):  # it died since: reading will say so
            self.pipe.send([call for _, call in numbered])

    def receive(self, done: list[Done], timeout_seconds: float) -> str:
        """Takes the answers that have come; says how the worker died if it did."""
        try:
            while self.todo and self.pipe.poll():
                done[self.todo[0]] = Done(*self.pipe.recv())
                self.todo.popleft()
                # the worker began its next call when it sent this
                self.deadline = time.monotonic() + timeout_seconds
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.wait()
            return f"crash ({self._ending()})"
        return ""

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        if self.pipe.closed:
            return
        self._process.kill()
        self._process.wait()
        self.pipe.close()
        os.close(self._life)

    def _ending(self) -> str:
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


# --- in the worker
# ------------------------------------------------------------------------------------------------------


def serve(pipe_number: int, life_number: int) -> None:
    """What a worker does until its parent is gone.

    The kernel kills it when the other end of the life pipe closes: also inside a C function that
    never returns, where no thread of this process would get to run.
    """
    fcntl.fcntl(life_number, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life_number, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life_number, fcntl.F_SETFL, fcntl.fcntl(life_number, fcntl.F_GETFL) | os.O_ASYNC)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Connection(pipe_number)
    try:
        start = pipe.recv()
        for module in start.imports:
            importlib.import_module(module)
        resource.setrlimit(resource.RLIMIT_AS, (start.memory_bytes, start.memory_bytes))
        if start.locked:
            sys.addaudithook(_refuse)
        pipe.send("ready")
        while True:
            for call in pipe.recv():
                pipe.send(_answer(call))
    except (EOFError, OSError):  # the parent is gone
        os._exit(0)


def _answer(call: bytes) -> tuple[Any, str]:
    """The value and no fault, or no value and the fault."""
    try:
        function, args = pickle.loads(call)
        value = function(*args)
        pickle.dumps(value)  # a value that cannot travel is the call's fault
        return value, ""
    except BaseException as fault:
        return None, f"raised {type(fault).__name__}"


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    writes = (
        event == "open"
        and isinstance(args[2], int)
        and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )
    if writes or event.startswith(_REFUSED):
        raise PermissionError(f"{event} is refused here")
