"""Workers that hang, crash, swallow memory, lie, or lose their parent."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_filters.verify.worker_pool import Call, Done, WorkerPool

ROOT = Path(__file__).parents[3]
CALLS = "tests.data_filters.verify.worker_calls"
ORPHANS = """
import time, psutil
from data_filters.verify.worker_pool import WorkerPool
from threading import Thread
calls = "tests.data_filters.verify.worker_calls"
pool = WorkerPool(workers=2, timeout_seconds=100, modules=[calls])
pool.run([(f"{calls}.same", (1,))] * 100)
hang = [(f"{calls}.sleep", (90,)), (f"{calls}.count_long", ())]
Thread(target=pool.run, args=(hang,), daemon=True).start()
time.sleep(0.5)
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
time.sleep(90)
"""


def call(name: str, *arguments: Any) -> Call:
    return f"{CALLS}.{name}", arguments


def run(pool: WorkerPool, *calls: Call) -> Sequence[Done]:
    return pool.run(calls)


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


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(timeout_seconds=20, modules=[CALLS]) as opened:
        yield opened


def test_values_come_in_order_from_two_workers() -> None:
    with WorkerPool(workers=2, modules=[CALLS]) as pool:
        assert pool.run([call("square", i) for i in range(300)]) == [
            Done(value=i * i) for i in range(300)
        ]
        assert pool.run([]) == []
        assert pool.run([call("square", 5)]) == [Done(value=25)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "half an emoji: \ud83d, a line\nbreak",
        [1, (2.5, {3, 4}), frozenset([True])],
        {(0, 1): {"a": []}, 2: None},
        {"!kind": "tuple", "of": [1], "a": Fraction(-2, 3)},
        10**4000,
        "x" * 3_000_000,
    ],
    ids=lambda value: str(value)[:12].encode("ascii", "replace").decode(),
)
def test_plain_values_arrive_as_they_are(pool: WorkerPool, value: Any) -> None:
    assert run(pool, call("same", value)) == [Done(value=value)]


def test_what_cannot_travel_is_the_fault_of_its_call(pool: WorkerPool) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    given = [call("same", square) for square in (10**5000, deep, object())]
    faults = [done.fault for done in run(pool, *given, call("give_a_function"))]
    assert faults == [
        "raised ValueError",
        "raised RecursionError",
        "raised TypeError",
        "raised TypeError",
    ]


def test_only_public_functions_of_the_named_modules_are_called(pool: WorkerPool) -> None:
    names = ("os.getcwd", "builtins.eval", f"{CALLS}._hidden", f"{CALLS}.os", f"{CALLS}.Any", "x")
    assert {done.fault for done in run(pool, *((name, ()) for name in names))} == {
        "raised LookupError"
    }


def test_a_call_that_hangs_costs_one_timeout() -> None:
    calls = [
        call("sleep", 0.0),
        call("same", 1),
        call("sleep", 60),
        call("same", 3),
        call("same", 4),
    ]
    with WorkerPool(timeout_seconds=0.5, modules=[CALLS]) as pool:
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
    with WorkerPool(timeout_seconds=1.0, modules=[CALLS]) as pool:
        assert pool.run([call("sleep", 0.2)] * 8) == [Done()] * 8


def test_a_crash_is_one_result() -> None:
    calls = {
        call("same", -1): "",
        call("end", 3): "crash (exit code 3)",
        call("abort"): "crash (signal 6)",
        call("fill", 8 * 2**30): "raised MemoryError",
        call("leave"): "raised SystemExit",
        call("number", "x"): "raised ValueError",
        call("same", -2): "",
    }
    with WorkerPool(memory_gib=2, modules=[CALLS]) as pool:
        done = pool.run(list(calls))
    assert [one.fault for one in done] == list(calls.values()) and done[-1].value == -2


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("not a line of values\n", "crash (no line of values)"),
        ("[1]\n", "crash (no line of values)"),
        ('["x", {"a": 1}]\n', "crash (no line of values)"),
        ("[" * 200_000 + "\n", "crash (no line of values)"),
        ("\x80\x04cposix\nsystem\n", "crash (no line of values)"),
    ],
)
def test_a_worker_that_speaks_nonsense_costs_its_call(said: str, fault: str) -> None:
    with WorkerPool(timeout_seconds=20, modules=[CALLS]) as pool:
        assert run(pool, call("say", said), call("same", 7)) == [Done(fault=fault), Done(value=7)]


def test_half_a_line_does_not_hold_up_the_parent() -> None:
    with WorkerPool(timeout_seconds=0.5, modules=[CALLS]) as pool:
        done = run(pool, call("say", "[1"), call("same", 7))
    assert done == [Done(fault="crash (no line of values)"), Done(value=7)]


def test_a_result_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    with WorkerPool(timeout_seconds=20, modules=[CALLS]) as pool:
        run(pool, call("say", '[1,""]\n[2,""]\n[3,""]\n'))
        assert run(pool, call("same", 7)) == [Done(value=7)]


def test_a_worker_that_hangs_up_and_lives_on_is_ended() -> None:
    with WorkerPool(timeout_seconds=60, modules=[CALLS]) as pool:
        assert run(pool, call("close_all"), call("same", 7)) == [
            Done(fault="crash (closed its pipe)"),
            Done(value=7),
        ]


def test_an_idle_worker_that_was_killed_is_replaced() -> None:
    with WorkerPool(modules=[CALLS]) as pool:
        before = {child.pid for child in psutil.Process().children()}
        run(pool, call("same", 1))
        (child,) = [c for c in psutil.Process().children() if c.pid not in before]
        child.send_signal(signal.SIGKILL)
        gone_within(10, lambda: not alive(child.pid))
        assert run(pool, call("same", 5), call("same", 6)) == [Done(value=5), Done(value=6)]


def test_closing_ends_the_workers() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with WorkerPool(modules=[CALLS]) as pool:
        run(pool, call("same", 1))
        children = [c for c in psutil.Process().children() if c.pid not in before]
        assert children
    assert not any(child.is_running() for child in children)


def test_a_worker_without_its_modules_is_told() -> None:
    with (
        WorkerPool(modules=["no_such_module_anywhere"]) as pool,
        pytest.raises(RuntimeError, match="no_such_module_anywhere"),
    ):
        run(pool, call("same", 1))


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


def test_a_locked_worker_has_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    with WorkerPool(modules=[CALLS]) as pool:
        assert run(pool, call("environment"))[0].value["A_SECRET"] == "hidden"
    with WorkerPool(modules=[CALLS], locked=True) as pool:
        assert run(pool, call("environment")) == [Done(value={})]


def test_workers_load_no_framework() -> None:
    modules = [CALLS, "data_filters.verify.gym.scorers"]
    with WorkerPool(modules=modules, timeout_seconds=60) as pool:
        assert run(pool, call("loaded", ["torch", "transformers"])) == [Done(value=[])]
