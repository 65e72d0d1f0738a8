"""Workers that hang, crash, swallow memory, or lose their parent."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from data_filters.verify.worker_pool import Done, Killable

ROOT = Path(__file__).parents[3]
ORPHANS = """
import os, sys, time, psutil
from data_filters.verify.worker_pool import Killable
from threading import Thread
pool = Killable(workers=2, timeout_seconds=100)
pool.run([(abs, (1,))] * 100)
Thread(target=pool.run, args=([(time.sleep, (90,)), (eval, ("7 ** 70_000_000",))],), daemon=True).start()
time.sleep(0.5)
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
time.sleep(90)
"""


def gone_within(seconds: float, gone: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not gone() and time.monotonic() < until:
        time.sleep(0.02)
    return gone()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_values_come_in_order_from_two_workers() -> None:
    with Killable(workers=2) as pool:
        assert pool.run([(math.sqrt, (i * i,)) for i in range(300)]) == [
            Done(value=float(i)) for i in range(300)
        ]
        assert pool.run([]) == []
        assert pool.run([(pow, (2, 5))]) == [Done(value=32)]


def test_a_call_that_hangs_costs_one_timeout() -> None:
    calls = [(time.sleep, (0.0,)), (abs, (-1,)), (time.sleep, (60,)), (abs, (-3,)), (abs, (-4,))]
    with Killable(timeout_seconds=0.5) as pool:
        began = time.monotonic()
        assert pool.run(calls) == [
            Done(),
            Done(value=1),
            Done(fault="timeout"),
            Done(value=3),
            Done(value=4),
        ]
        assert time.monotonic() - began < 20


def test_the_clock_is_for_one_call_not_for_all() -> None:
    with Killable(timeout_seconds=1.0) as pool:
        assert pool.run([(time.sleep, (0.2,))] * 8) == [Done()] * 8


def test_a_crash_is_one_result() -> None:
    calls = [
        (abs, (-1,)),
        (os._exit, (3,)),
        (os.abort, ()),
        (eval, ("[0] * 10**9",)),
        (sys.exit, ()),
        (int, ("x",)),
        (abs, (-2,)),
    ]
    faults = [
        "",
        "crash (exit code 3)",
        "crash (signal 6)",
        "raised MemoryError",
        "raised SystemExit",
        "raised ValueError",
        "",
    ]
    with Killable(memory_gib=2) as pool:
        done = pool.run(calls)
    assert [one.fault for one in done] == faults and done[-1].value == 2


def test_a_value_that_cannot_travel_is_a_fault() -> None:
    with Killable() as pool:
        assert pool.run([(eval, ("lambda: 1",)), (abs, (-1,))])[1] == Done(value=1)


def test_an_idle_worker_that_was_killed_is_replaced() -> None:
    with Killable() as pool:
        pool.run([(abs, (1,))])
        (child,) = psutil.Process().children()
        child.send_signal(signal.SIGKILL)
        gone_within(10, lambda: not alive(child.pid))
        assert pool.run([(abs, (-5,)), (abs, (-6,))]) == [Done(value=5), Done(value=6)]


def test_closing_ends_the_workers() -> None:
    with Killable() as pool:
        pool.run([(abs, (1,))])
        children = psutil.Process().children()
        assert children
    assert not any(child.is_running() for child in children)


def test_a_worker_without_its_imports_is_told() -> None:
    with (
        Killable(imports=["no_such_module_anywhere"]) as pool,
        pytest.raises(RuntimeError, match="no_such_module_anywhere"),
    ):
        pool.run([(abs, (1,))])


def test_workers_die_with_a_parent_that_was_killed() -> None:
    """One sleeps and one is deep in a C function that holds the interpreter lock."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        parent.kill()
    assert gone_within(10, lambda: not any(map(alive, pids)))


def test_workers_load_no_framework() -> None:
    code = "sorted({'torch', 'transformers'} & set(__import__('sys').modules))"
    with Killable(imports=["data_filters.verify.gym_scorers"]) as pool:
        assert pool.run([(eval, (code,))]) == [Done(value=[])]
