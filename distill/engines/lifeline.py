"""Ends processes that must not outlive the process which asked for it, however that one went.

    python lifeline.py PARENT_PID command ...    runs the command, and ends it and all that it has
    started, at any depth python lifeline.py PARENT_PID                ends all that the parent
    starts from now until it writes a byte, and what those start

A lifeline is the head of a session of its own. It acts when its standard input closes or the parent
is gone (SIGKILL too), the first kind also when the command has ended: first it asks (SIGTERM), then
it kills. A signal on a parent's death would reach its own children and not theirs. Wants Linux for
what has left the command's group. Imports the standard library only, so that it starts at once.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_SECONDS = 5.0  # between asking and killing
LOOK_SECONDS, LOOK_AROUND_SECONDS = 0.5, 10.0
# PR_SET_CHILD_SUBREAPER of <linux/prctl.h>: who loses its parent becomes a child of ours, and stays
# in sight
ADOPT_ORPHANS = 36

# of each process, its parent and when it began: an id may be given to another one later
Table = dict[int, tuple[int, str]]


def main() -> int:
    """The command's exit code, or 0."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    asked: list[int] = []
    for what in (signal.SIGTERM, signal.SIGINT):
        signal.signal(what, lambda number, _: asked.append(number))
    return run(parent, command, asked) if command else guard(parent, asked)


def run(parent: int, command: list[str], asked: list[int]) -> int:
    """Runs the command until it, or the parent, has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as fault:
        print(f"{command[0]}: {fault.strerror}", file=sys.stderr)
        return 127
    while child.poll() is None and not asked and heard(parent) is None:
        pass

    def left() -> set[int]:
        if child.poll() is not None:  # before that, its exit code might be taken from under it
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        return below({os.getpid()}, table())

    end(left)
    return child.wait()


def guard(parent: int, asked: list[int]) -> int:
    """Follows what the parent starts until it says that it has started."""
    before, starting, looked = below({parent}, table()) | {os.getpid()}, True, 0.0
    known: dict[int, str] = {}
    print("ready", flush=True)
    while not asked:
        if starting or time.monotonic() - looked > LOOK_AROUND_SECONDS:
            looked, there = time.monotonic(), table()
            new = below({parent}, there) - before if starting else below(alive(known, there), there)
            known |= {pid: there[pid][1] for pid in new}
        word = heard(parent)
        if word == b"":
            break
        starting = starting and not word

    def left() -> set[int]:
        there = table()
        known.update({pid: there[pid][1] for pid in below(alive(known, there), there)})
        return alive(known, there)

    end(left)
    return 0


def heard(parent: int) -> bytes | None:
    """What the parent has said, waiting a moment; nothing (b"") where it has closed the line or is
    gone.
    """
    if os.getppid() != parent:  # a fork of the parent's may hold the line open for it
        return b""
    return os.read(0, 1) if select.select([0], [], [], LOOK_SECONDS)[0] else None


def end(left: Callable[[], set[int]]) -> None:
    """Asks, waits, and kills again and again: one that forks while it is killed leaves a child."""
    deadline, what = time.monotonic() + GRACE_SECONDS, signal.SIGTERM
    while pids := left():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        while left() and time.monotonic() < deadline:
            time.sleep(0.05)
        what = signal.SIGKILL
        time.sleep(0.02)


def table() -> Table:
    """Every process that has not ended, and the ended children of this one; without /proc, the rest
    of this one's group as its children.
    """
    found: Table = {}
    try:
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{entry}/stat", errors="replace") as stat:
                # the name before it may hold spaces and brackets
                words = stat.read().rpartition(")")[2].split()
                if words[0] != "Z" or int(words[1]) == os.getpid():
                    found[int(entry)] = int(words[1]), words[19]
    except FileNotFoundError:
        listed = subprocess.run(
            ["pgrep", "-g", str(os.getpgrp())], capture_output=True, text=True, check=False
        ).stdout.split()
        return {int(pid): (os.getpid(), "") for pid in listed if int(pid) != os.getpid()}
    return found


def below(roots: set[int], there: Table) -> set[int]:
    """Every process that descends from one of them."""
    found: set[int] = set()
    frontier = roots
    while frontier:
        frontier = {pid for pid, (parent, _) in there.items() if parent in frontier} - found
        found |= frontier
    return found


def alive(known: dict[int, str], there: Table) -> set[int]:
    """Those of the known that are still the same."""
    return {pid for pid, began in known.items() if pid in there and there[pid][1] == began}


if __name__ == "__main__":
    sys.exit(main())
