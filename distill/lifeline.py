"""Runs a command that must not outlive the process which asked for it, nor leave anything behind.

    python lifeline.py PARENT_PID command ...

It is the head of a session of its own and ends when its standard input closes, when the parent is gone, however it went (SIGKILL too), or
when the command ends. Whatever the command has started, at any depth, goes with it: first asked (SIGTERM), then killed. A signal on a
parent's death would reach the command alone and not its children. Imports the standard library only, so that it starts at once.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 5.0  # between asking and killing
LOOK_SECONDS = 0.5
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>: who loses its parent becomes a child of ours, and stays in sight


def main() -> int:
    """The command's exit code."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as fault:
        print(f"{command[0]}: {fault.strerror}", file=sys.stderr)
        return 127
    # a child of the parent's that was forked while the pipe was open holds it open too: hence also the look at the parent
    while child.poll() is None and not asked and os.getppid() == parent:
        if select.select([0], [], [], LOOK_SECONDS)[0] and not os.read(0, 1):
            break
    end_all(child)
    return child.returncode


def end_all(child: subprocess.Popen[bytes]) -> None:
    """Ends every process below this one."""
    deadline = time.monotonic() + GRACE_SECONDS
    send(signal.SIGTERM)
    while below() and time.monotonic() < deadline:
        reap(child)
        time.sleep(0.05)
    while below():  # again and again: one that forks while it is killed leaves a child
        send(signal.SIGKILL)
        reap(child)
        time.sleep(0.02)
    child.wait()


def send(what: signal.Signals) -> None:
    for pid in below():
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def reap(child: subprocess.Popen[bytes]) -> None:
    """Takes note of who has ended; the command first, whose exit code is wanted."""
    child.poll()
    if child.returncode is not None:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def below() -> list[int]:
    """Every process that descends from this one and has not ended; without /proc, every other one of its group."""
    parents: dict[int, int] = {}
    try:
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{entry}/stat") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]  # the name before it may hold spaces and brackets
                if state != "Z" or int(parent) == os.getpid():
                    parents[int(entry)] = int(parent)
    except FileNotFoundError:
        listed = subprocess.run(["pgrep", "-g", str(os.getpgrp())], capture_output=True, text=True, check=False).stdout.split()
        return [int(pid) for pid in listed if int(pid) != os.getpid()]
    found, frontier = [], [os.getpid()]
    while frontier:
        frontier = [pid for pid, parent in parents.items() if parent in frontier]
        found += frontier
    return found


if __name__ == "__main__":
    sys.exit(main())
