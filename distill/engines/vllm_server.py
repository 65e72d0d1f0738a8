"""A vLLM server of our own: started, waited for, and gone when we are gone, however we went."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import BinaryIO

from recipes.errors import ModelError
from recipes.schema import Model, Server

HOST = "127.0.0.1"
LIFELINE = str(Path(__file__).with_name("lifeline.py"))
LOOK_SECONDS, SAY_SECONDS = 0.25, 10.0
STOP_SECONDS = 20.0  # for a server to end after it was asked to; the lifeline kills it long before
LOOKED_AT_BYTES = 1_000_000  # of the end of a log that may have grown for days
# what a launcher tells its ranks; vLLM would take itself for one of them
LAUNCHER_VARIABLES = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|(TORCHELASTIC|ACCELERATE)_.*"
)
PREFIX = re.compile(
    r"^(\([\w.= -]+\) )*((DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ )?(\[[\w.]+:\d+\] )?"
)
FAULT = re.compile(
    r"^([\w.]*(Error|Exception|Interrupt)\b.*|Value error, .*|.*\berror: .*|.*: No module named .*)$"
)
# they only point at a fault told before
ECHOES = ("Engine core initialization failed", "WorkerProc initialization failed")


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready, until the end of its `with`.

    Args:
        urls: base addresses up to and with /v1, as EndpointEngine takes them.
        name: the model name that it serves.
        died: one line where the server has ended on its own since, else None.
    """

    urls: list[str]
    name: str
    died: Callable[[], str | None]


@contextmanager
def serving(
    source: Path | str,
    model: Model,
    *,
    log: Path,
    name: str = "teacher",
    max_logprobs: int = 20,
    say: Callable[[str], None] = print,
) -> Iterator[Served]:
    """A ready server of `source`; it ends with the block, and with this process, SIGKILL included.

    Sampling defaults that a model brings (top_k, penalties) are left out, as in LocalEngine: only
    what a request says holds.

    Args:
        source: a model folder, or a hub id.
        model: dtype, revision, trust_remote_code and `server`: its python, options (they win over
            ours) and start_seconds.
        log: file that the server's output is added to.
        name: told to people, and the name it serves where server.model is null.
        max_logprobs: log-probabilities a token that may be asked for.
        say: a line for people; never silent for more than SAY_SECONDS.

    Raises:
        ModelError: it does not start, or it ended on its own and the block failed.
    """
    port = _port(model.server)
    command = command_line(source, model, port=port, name=name, max_logprobs=max_logprobs)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as out:
        began = out.tell()
        process = _start(command, model.server, out)

    def died() -> str | None:
        code = process.poll()
        return (
            None
            if code is None
            else f"server of {name} ended with code {code}: {last_fault(log, began)}; the whole log: {log}"
        )

    try:
        _wait(
            process,
            port,
            model.server,
            lambda: last_line(log, began),
            died,
            lambda line: say(f"server of {name}: {line}"),
            log,
        )
        try:
            yield Served([f"http://{HOST}:{port}/v1"], model.server.model or name, died)
        except Exception as fault:
            if (told := died()) is not None:
                raise ModelError(told) from fault
            raise
    finally:
        _stop(process)


def command_line(
    source: Path | str, model: Model, *, port: int, name: str, max_logprobs: int
) -> list[str]:
    """The server's command; the interpreter is server.python, or this one.

    Raises:
        ModelError: no such interpreter, or weights that vLLM does not read.
    """
    server, python = model.server, shutil.which(model.server.python or sys.executable)
    if python is None:
        raise ModelError(
            f"server.python {server.python!r} is not a program; name the python of an environment that has vLLM"
        )
    here = {
        "served-model-name": server.model or name,
        "host": HOST,
        "port": str(port),
        "disable-uvicorn-access-log": "",
    }
    # `vllm serve` is this module with a dispatcher before it, which some builds of vLLM ship broken
    flags = server_flags(source, model, max_logprobs=max_logprobs) | here | server.options
    return [python, "-m", "vllm.entrypoints.openai.api_server", *flag_words(flags)]


def server_flags(source: Path | str, model: Model, *, max_logprobs: int) -> dict[str, str]:
    """What vLLM is told of a model, served or in process.

    Raises:
        ModelError: weights that vLLM does not read.
    """
    if model.gguf_file:
        raise ModelError(
            f"gguf_file {model.gguf_file!r}: vLLM is not given GGUF files here; save the model as safetensors and name that"
        )
    flags = {
        "model": str(source),
        "dtype": model.dtype,
        "max-logprobs": str(max_logprobs),
        "generation-config": "vllm",
    }
    if model.revision and not Path(source).is_dir():
        flags |= {"revision": model.revision, "tokenizer-revision": model.revision}
    if model.trust_remote_code:
        flags["trust-remote-code"] = ""
    return flags


def flag_words(flags: dict[str, str]) -> list[str]:
    """Words of a command line; an empty value is a flag without one."""
    return [
        f"--{flag.lstrip('-')}" + (f"={value}" if value != "" else "")
        for flag, value in flags.items()
    ]


def last_line(log: Path, began: int) -> str:
    """What a server said last, without the names of processes and times."""
    return next(reversed(_lines(log, began)), "it has said nothing yet")


def last_fault(log: Path, began: int) -> str:
    """The line that says best why a server ended: its last exception that is told first hand, else
    what it said last.
    """
    faults = [
        line
        for line in _lines(log, began)
        if FAULT.match(line) and not any(echo in line for echo in ECHOES)
    ]
    # pydantic repeats the whole input there
    found = re.sub(r" \[type=.*", "", faults[-1]) if faults else last_line(log, began)
    missing = re.search(r"No module named '?vllm", found)
    return found + (
        "; set server.python to the interpreter of an environment that has vLLM" if missing else ""
    )


def _lines(log: Path, began: int) -> list[str]:
    with open(log, "rb") as file:
        file.seek(max(began, log.stat().st_size - LOOKED_AT_BYTES))
        text = file.read().decode(errors="replace")
    stripped = (
        PREFIX.sub("", line.strip(), count=1).strip() for line in re.split(r"[\r\n]+", text)
    )
    return [line for line in stripped if re.search(r"\w", line)]


def _port(server: Server) -> int:
    """A free port, or the one that the recipe names.

    Raises:
        ModelError: that one is taken.
    """
    asked = server.options.get("port", "0")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(asked)))
        except (OSError, ValueError, OverflowError) as fault:
            raise ModelError(
                f"server.options.port {asked}: {getattr(fault, 'strerror', None) or fault}; name another, or none for a free one"
            ) from fault
        return probe.getsockname()[1]


@contextmanager
def guarded() -> Iterator[Callable[[], None]]:
    """Everything that this process starts inside, and what that starts, ends at the latest with
    this process, SIGKILL included.

    Gives a function that ends what is left of it now. Linux only; elsewhere nothing is guarded.
    """
    # of multiprocessing: it is there before, ends itself with us, and cleans up after the others
    resource_tracker.ensure_running()
    lifeline = subprocess.Popen(
        [sys.executable, LIFELINE, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert lifeline.stdin is not None and lifeline.stdout is not None
    with lifeline.stdout as said:
        said.readline()  # it has taken stock of what was there before
    try:
        yield lambda: _stop(lifeline)
    except BaseException:
        _stop(lifeline)
        raise
    lifeline.stdin.write(b".")
    lifeline.stdin.flush()


def _start(command: list[str], server: Server, out: BinaryIO) -> subprocess.Popen[bytes]:
    kept = {
        name: value for name, value in os.environ.items() if not LAUNCHER_VARIABLES.fullmatch(name)
    }
    # ninja and the like lie beside python
    programs = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)])
    key = os.environ.get(server.api_key_env) if server.api_key_env else None
    # its 5 s would close connections that a client is just about to use again
    ours = {"DO_NOT_TRACK": "1", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "3600"}
    env = (
        ours
        | kept
        | {"PATH": programs, "PYTHONUNBUFFERED": "1"}
        | ({"VLLM_API_KEY": key} if key else {})
    )
    lifeline = [sys.executable, LIFELINE, str(os.getpid()), *command]
    return subprocess.Popen(
        lifeline,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )


def _wait(
    process: subprocess.Popen[bytes],
    port: int,
    server: Server,
    latest: Callable[[], str],
    died: Callable[[], str | None],
    say: Callable[[str], None],
    log: Path,
) -> None:
    """Until the server says that it is well."""
    began = time.monotonic()
    say(f"starting on port {port}, may take {server.start_seconds:.0f} s; its log: {log}")
    told = began
    while not _well(port):
        if (fault := died()) is not None:
            raise ModelError(fault)
        passed = time.monotonic() - began
        if passed > server.start_seconds:
            raise ModelError(
                f"the server is not ready after {passed:.0f} s, its last line: {latest()}; raise server.start_seconds, or see {log}"
            )
        if time.monotonic() - told >= SAY_SECONDS:
            say(f"{passed:.0f} s, {latest()}")
            told = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
    say(f"ready after {time.monotonic() - began:.0f} s")


def _well(port: int) -> bool:
    # not urllib: it would go through a proxy
    connection = http.client.HTTPConnection(HOST, port, timeout=SAY_SECONDS / 2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Closes the lifeline and waits until everything behind it has ended."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
