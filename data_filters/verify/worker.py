"""What a process of a WorkerPool does: answer calls, one line of JSON each, until its parent is
gone.
"""

import fcntl
import importlib
import os
import resource
import signal
from typing import Any

from data_filters.verify.confinement import confine
from data_filters.verify.json_values import from_json, to_json


def serve(pipe_number: int, life_number: int) -> None:
    """Answers calls until the parent is gone.

    The kernel kills this process when the other end of the life pipe closes: also inside a C
    function that never returns, where no thread of this process would get to run.

    Args:
        pipe_number, life_number: file descriptors of a socket and of a pipe's reading end.
    """
    fcntl.fcntl(life_number, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life_number, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life_number, fcntl.F_SETFL, fcntl.fcntl(life_number, fcntl.F_GETFL) | os.O_ASYNC)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # as a file: a locked worker may read and write, but not receive and send
    lines = os.fdopen(pipe_number, "rb", closefd=False)
    try:
        modules, missing = _prepare(lines.readline(), pipe_number)
        os.write(pipe_number, to_json(["ready", missing]).encode() + b"\n")
        while line := lines.readline():
            _send(pipe_number, _answer(line, modules) + b"\n")
    except OSError:  # the parent is gone
        pass
    os._exit(0)


def _prepare(line: bytes, pipe_number: int) -> tuple[dict[str, Any], list[str]]:
    """(modules whose functions may be called, protections that are missing)."""
    names, memory_bytes, locked = from_json(line)
    modules = {name: importlib.import_module(name) for name in names}
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    return modules, confine(pipe_number) if locked else []


def _send(number: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]


def _answer(line: bytes, modules: dict[str, Any]) -> bytes:
    """The value and no fault, or no value and the fault."""
    try:
        name, arguments = from_json(line)
        return to_json([_function(name, modules)(*arguments), ""]).encode()
    except BaseException as fault:
        return to_json([None, f"raised {type(fault).__name__}"]).encode()


def _function(name: str, modules: dict[str, Any]) -> Any:
    """A public function that one of the modules defines itself.

    Raises:
        LookupError: there is none.
    """
    module, _, attribute = name.rpartition(".")
    found = vars(modules[module]).get(attribute) if module in modules else None
    own = callable(found) and getattr(found, "__module__", None) == module
    if not own or attribute.startswith("_") or isinstance(found, type):
        raise LookupError(name)
    return found
