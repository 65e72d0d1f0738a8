"""Where the lines of a run go: to the console and, with their time, to RUNS/NAME/run.log.

Keys and tokens are blotted out, control characters are taken out. A console that is closed or full
never stops a run: run.log has its lines.
"""

import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from distill.progress import LOG, has_terminal
from launch.runs.ranks import Ranks
from recipes.errors import PipelineError

HEARTBEAT_SECONDS = 60.0
SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SHORTEST_SECRET = 8  # characters; a shorter value of such a variable would blot out plain words
SECRET_SHAPES = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}|\bsk-[A-Za-z0-9_-]{8,}|(?<=Bearer )[^\s;,]+|(?<=://)[^/\s@'\"]+(?=@)"
)
# all but tab and line feed; and what turns the direction of writing round
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FILE_ONLY = {"file_only": True}  # for records that the console shows in another way


def clean(text: str) -> str:
    """The text without keys, tokens, passwords and control characters."""
    for name, value in os.environ.items():
        if SECRET_NAMES.search(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, "***")
    return CONTROL.sub("", SECRET_SHAPES.sub("***", text))


def write_line(text: str, stream: TextIO | None) -> None:
    """Writes a line as far as the stream takes it; a bar stays below it.

    A stream whose reader has gone (`| head -1`) or whose disk is full takes nothing from then on.
    """
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        tqdm.write(text, file=stream)
        stream.flush()
    except OSError:
        with suppress(OSError, io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except ValueError:  # closed
        pass


def say(*lines: str) -> None:
    """Writes lines to standard output as a terminal may have them: without control characters, and
    with escapes where its encoding lacks a letter. A reader that has gone ends nothing.
    """
    for line in lines:
        write_line(clean(line), sys.stdout)


class Console(logging.Handler):
    """Lines to standard output, faults to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        beside_a_bar = getattr(record, "beside", False) and has_terminal()
        if not (beside_a_bar or getattr(record, "file_only", False)):
            stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
            write_line(clean(record.getMessage()), stream)


class RunLog(logging.FileHandler):
    """A log file; one that cannot be written is done without."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk ends a run where its work is written, not here."""


def show_on_console() -> None:
    """Lets lines reach the console; calling it again changes nothing."""
    if not any(isinstance(handler, Console) for handler in LOG.handlers):
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
        LOG.addHandler(Console())


def show_once(text: str, ranks: Ranks) -> None:
    """Shows a line once for all ranks."""
    if ranks.is_main:
        LOG.info("%s", text)


@contextmanager
def logging_to(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Adds every line of this process to the log of a run, meanwhile; also the fault that ends it.

    The main rank writes run.log; another one writes run-N.log, as soon as it has something to say.
    """
    handler = RunLog(folder / ("run.log" if ranks.is_main else f"run-{ranks.index}.log"))
    LOG.addHandler(handler)
    try:
        yield
    except BaseException as fault:
        told = isinstance(fault, PipelineError | KeyboardInterrupt)
        why = str(fault) or type(fault).__name__
        LOG.error("stopped: %s", why, exc_info=None if told else fault, extra=FILE_ONLY)
        raise
    finally:
        LOG.removeHandler(handler)
        handler.close()


class _LastLine(logging.Handler):
    """Knows when the last line was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.at = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.at = time.monotonic()


@contextmanager
def heartbeat(name: str, seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Says that `name` is still being made, whenever no line was shown for some time meanwhile."""
    last, ended, began = _LastLine(), threading.Event(), time.monotonic()

    def beat() -> None:
        while not ended.wait(max(0.0, last.at + seconds - time.monotonic())):
            if time.monotonic() >= last.at + seconds:
                minutes = (time.monotonic() - began) / 60
                LOG.info(
                    "%s: still at work after %.0f min; nothing was completed for a while",
                    name,
                    minutes,
                )
                last.at = time.monotonic()

    thread = threading.Thread(target=beat, name=f"heartbeat of {name}", daemon=True)
    LOG.addHandler(last)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        LOG.removeHandler(last)
