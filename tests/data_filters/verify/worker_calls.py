"""What the tests of the worker pool have a worker do."""

import os
import sys
import time
from typing import Any


def same(value: Any) -> Any:
    return value


def square(x: float) -> float:
    return x * x


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def number(text: str) -> int:
    return int(text)


def end(code: int) -> None:
    os._exit(code)


def abort() -> None:
    os.abort()


def leave() -> None:
    sys.exit()


def fill(bytes_: int) -> None:
    bytearray(bytes_)


def count_long() -> int:
    """Deep in a C function that holds the interpreter lock."""
    return 7**70_000_000


def give_a_function() -> Any:
    return square


def environment() -> dict[str, str]:
    return dict(os.environ)


def loaded(names: list[str]) -> list[str]:
    return sorted(set(names) & set(sys.modules))


def say(data: str) -> None:
    """Writes to the pipe what nobody asked for: the way a broken verifier would forge a result."""
    for place in range(3, 1024):  # a parent with many open files hands on high numbers
        try:
            os.write(place, data.encode("latin-1"))
        except OSError:
            continue


def close_all() -> None:
    os.closerange(3, 1024)
    time.sleep(60)


def _hidden() -> int:
    return 1


def run_as_code(text: str) -> str:
    """What no verifier does: runs an answer, for want of a worker that holds it."""
    return str(eval(text))
