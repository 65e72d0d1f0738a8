"""Programs that somebody else wrote: what they can do, and what they cannot."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data_filters.verify.sandbox import Ran, Sandbox, run
from tests.data_filters.verify.test_worker_pool import alive, gone_within

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as opened:
        yield opened


def test_output_value_and_error(sandbox: Sandbox) -> None:
    assert sandbox.run("print('a', 1)\n[x * x for x in range(3)]") == Ran(
        "a 1\n", "[0, 1, 4]", "", ""
    )
    assert sandbox.run("x = 1") == Ran("", None, "", "")
    assert sandbox.run("print(1)\n1 / 0") == Ran(
        "1\n", None, "ZeroDivisionError: division by zero", "error"
    )
    assert sandbox.run("def f(:").stop == "error"
    assert run("1 + 1").value == "2"


def test_parts_share_names_and_later_ones_cannot_be_swallowed(sandbox: Sandbox) -> None:
    assert sandbox.run("def f(x): return x + 1", "assert f(1) == 2").stop == ""
    for opening in ("if False:\n  pass", "x = '''", "f = (", "raise SystemExit"):
        assert sandbox.run(opening, "assert 1 == 2").stop == "error"


def test_nothing_is_left_for_the_next_program(sandbox: Sandbox) -> None:
    sandbox.run("secret = 7")
    assert sandbox.run("secret").error == "NameError: name 'secret' is not defined"


def test_limits(sandbox: Sandbox) -> None:
    def stop(program: str, seconds: float = 0.3) -> str:
        return sandbox.run(program, seconds=seconds, memory_mib=32).stop

    assert stop("while True: pass") == "time limit"
    assert stop("try:\n  while True: pass\nexcept BaseException:\n  pass") == "time limit"
    # one operation that never looks at the clock: killed
    assert stop("x = 7 ** (10 ** 7)\nlen(str(x))") == "time limit"
    assert stop("x = [0] * 10**9", 30) == "memory limit"
    assert stop("x = []\nwhile True: x.append('a' * 1000)", 30) == "memory limit"
    assert stop("def f(n): return f(n + 1)\nf(0)") == "error"
    assert sandbox.run("while True: pass", seconds=0.1).timed_out
    assert sandbox.run("1 + 1").value == "2"


@pytest.mark.parametrize(
    "program",
    [
        "3**10000",
        "import math\nmath.factorial(2000)",
        "x = []\nfor i in range(2000): x = [x]\nx",
    ],
)
def test_a_value_that_cannot_be_written_out_is_the_fault_of_its_program(
    sandbox: Sandbox, program: str
) -> None:
    ran = sandbox.run("print(1)", program)
    assert (ran.output, ran.value, ran.stop) == ("1\n", None, "error")
    assert ran.error.endswith("Error: the value cannot be written out")


def test_output_is_cut_and_the_program_goes_on(sandbox: Sandbox) -> None:
    ran = sandbox.run("for i in range(100000): print('x')\n7", output_characters=10)
    assert ran == Ran("x\n" * 5, "7", "", "", cut=True)


def test_sleeping_takes_no_time_and_chance_is_the_same_each_time(sandbox: Sandbox) -> None:
    began = time.monotonic()
    assert sandbox.run("import time\ntime.sleep(100)").stop == ""
    assert time.monotonic() - began < 30
    assert sandbox.run("import random\nrandom.random()") == sandbox.run(
        "import random\nrandom.random()"
    )


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos.system('ls')",
        "import os\nos.listdir('/')",
        "from os import system",
        "open('/etc/passwd').read()",
        "open('made_by_a_program', 'w').write('x')",
        "import pathlib\npathlib.Path('/etc/passwd').read_text()",
        "import socket",
        "import urllib.request",
        "import subprocess",
        "import ctypes",
        "().__class__.__base__.__subclasses__()",
        "getattr((), '__class__')",
        "(lambda: 0).__globals__",
        "__import__('os')",
        "input()",
        "def g():\n  yield 1",
        "class A(int): pass",
        "'abc'.translate({})",
    ],
)
def test_what_is_not_in_the_sandbox(sandbox: Sandbox, program: str) -> None:
    ran = sandbox.run(program)
    assert ran.stop == "not in the sandbox" and ran.value is None and ran.error


@pytest.mark.parametrize(
    "program",
    [
        "undefined",
        "import math\nmath.squareroot(2)",
        "'abc'.shout()",
        "raise NotImplementedError('later')",
    ],
)
def test_mistakes_are_not_taken_for_gaps(sandbox: Sandbox, program: str) -> None:
    assert sandbox.run(program).stop == "error"


def test_an_environment_is_not_handed_over(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    assert "hidden" not in str(sandbox.run("import os\nos.environ.get('A_SECRET')"))


def test_a_program_whose_parent_was_killed_ends_when_its_time_is_up() -> None:
    code = """
import psutil, time
from threading import Thread
from data_filters.verify.sandbox import run
Thread(target=run, args=("while True: pass",), kwargs={"seconds": 3}, daemon=True).start()
time.sleep(1)
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert pids and all(map(alive, pids))
        parent.kill()
    died = gone_within(15, lambda: not any(map(alive, pids)))
    for pid in filter(alive, pids):
        psutil.Process(pid).kill()
    assert died
