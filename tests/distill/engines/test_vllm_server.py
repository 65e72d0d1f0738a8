"""A server that stands in for vLLM: it starts, is waited for, fails in every way, and never
outlives us.
"""

import configparser
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from distill.engines import vllm_server as module
from distill.engines.vllm import VllmHiddenStates
from distill.engines.vllm_server import command_line, flag_words, last_fault, last_line, serving
from recipes.errors import ModelError
from recipes.schema import Model, Server

ROOT = Path(__file__).parents[3]
STAND_IN = """
import argparse, http.server, os, subprocess, sys, time
parser = argparse.ArgumentParser()
for flag in ("model", "served-model-name", "host", "dtype", "max-logprobs", "generation-config", "pids", "fault"):
    parser.add_argument("--" + flag)
parser.add_argument("--port", type=int)
parser.add_argument("--wait", type=float, default=0.0)
parser.add_argument("--disable-uvicorn-access-log", action="store_true")
parser.add_argument("--stubborn", action="store_true")
given = parser.parse_args(sys.argv[3:])  # after -m module
stay = "import signal, time; {} time.sleep(600)".format("signal.signal(signal.SIGTERM, signal.SIG_IGN);" if given.stubborn else "")
child = subprocess.Popen([sys.executable, "-c", "import subprocess, sys; subprocess.Popen([sys.executable, '-c', %r]); %s" % (stay, stay)])
leaver = subprocess.Popen([sys.executable, "-c", stay], start_new_session=True)
if given.pids:
    open(given.pids, "w").write(" ".join(str(pid) for pid in (os.getppid(), os.getpid(), child.pid, leaver.pid)))
if given.fault:
    print("(EngineCore pid=7) ERROR 11-24 11:54:08 [core.py:402] ValueError: " + given.fault, file=sys.stderr)
    print("RuntimeError: Engine core initialization failed. See root cause above.", file=sys.stderr)
    sys.exit(3)
print("INFO 11-24 11:54:08 [loader.py:1] Loading weights", flush=True)
time.sleep(given.wait)
class Well(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        if self.path == "/die":
            os._exit(9)
    def log_message(self, *_):
        pass
http.server.HTTPServer((given.host, given.port), Well).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path):
    """A Model whose server.python runs the stand-in, and the file with the ids of its processes."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/stand_in.py "$@"\n')
    python.chmod(0o755)

    def make(start_seconds: float = 30.0, **options: str) -> Model:
        there = {"pids": str(tmp_path / "pids")} | options
        return Model(
            path="x",
            engine="endpoint",
            serve=True,
            server=Server(python=str(python), start_seconds=start_seconds, options=there),
        )

    return make


def family(tmp_path: Path) -> list[psutil.Process]:
    """The lifeline, the server, its child, a grandchild, and one that left the session."""
    pids = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
    until = time.monotonic() + 20.0
    while True:  # the grandchild comes when its parent gets round to it
        found = [psutil.Process(pid) for pid in pids]
        whole = {*found, *(child for one in found for child in one.children(recursive=True))}
        if len(whole) >= 5 or time.monotonic() > until:
            return list(whole)
        time.sleep(0.05)


def ended(processes: list[psutil.Process], seconds: float) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_a_server_is_ready_and_goes_with_the_block(stand_in, tmp_path: Path) -> None:
    said: list[str] = []
    with serving(
        "folder", stand_in(), log=tmp_path / "logs" / "server.log", name="big", say=said.append
    ) as served:
        assert served.name == "big" and served.died() is None
        (url,) = served.urls
        with urllib.request.urlopen(url.removesuffix("/v1") + "/health", timeout=5) as answer:
            assert answer.status == 200
        processes = family(tmp_path)
        assert len(processes) >= 5 and all(one.is_running() for one in processes)
    assert ended(processes, 5.0)
    assert said[0].startswith("server of big: starting on port") and said[-1].startswith(
        "server of big: ready after"
    )


def test_it_goes_with_an_exception(stand_in, tmp_path: Path) -> None:
    processes = []
    with pytest.raises(ZeroDivisionError), serving("folder", stand_in(), log=tmp_path / "log"):
        processes += family(tmp_path)
        _ = 1 / 0
    assert len(processes) >= 5 and ended(processes, 5.0)


@pytest.mark.parametrize(
    "forked", [False, True], ids=["pipe", "a fork of the parent holds the pipe open"]
)
def test_it_goes_when_we_are_killed(stand_in, tmp_path: Path, forked: bool) -> None:
    """SIGKILL, which nothing of ours can answer, and processes that will not be asked."""
    model = stand_in(stubborn="")
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(f"""
        import os, time
        from pathlib import Path
        from distill.engines.vllm_server import serving
        from recipes.schema import Model, Server
        server = Server(python={model.server.python!r}, options={model.server.options!r})
        with serving("folder", Model(path="x", engine="endpoint", serve=True, server=server), log=Path({str(tmp_path)!r}) / "log"):
            if {forked} and os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            print("here", flush=True)
            time.sleep(600)
        """)
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(parent)], env=env, stdout=subprocess.PIPE, text=True
    ) as run:
        assert any(line.strip() == "here" for line in run.stdout)
        processes = family(tmp_path)
        forks = [one for one in psutil.Process(run.pid).children() if one not in processes]
        assert len(processes) >= 5 and len(forks) == forked
        run.send_signal(signal.SIGKILL)
        try:
            assert ended(processes, 9.0)
        finally:
            for one in forks:
                one.kill()


@pytest.mark.parametrize("end", ["killed", "asked"])
def test_what_starts_under_guard_ends_with_us(tmp_path: Path, end: str) -> None:
    """Before, inside, and after the guard: only what started inside goes, with its children."""
    stay = "import time; time.sleep(60)"
    family = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {stay!r}]).pid, flush=True); time.sleep(60)"
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(f"""
        import os, subprocess, sys, time
        from distill.engines.vllm_server import guarded
        before = subprocess.Popen([sys.executable, "-c", {stay!r}])
        with guarded() as end:
            inside = subprocess.Popen([sys.executable, "-c", {family!r}], stdout=subprocess.PIPE, start_new_session=True)
            grandchild = int(inside.stdout.readline())
            time.sleep(1.0)
        after = subprocess.Popen([sys.executable, "-c", {stay!r}])
        print(inside.pid, grandchild, before.pid, after.pid, flush=True)
        if {end!r} == "asked":
            end()
            print("ended", flush=True)
        time.sleep(60)
        """)
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(parent)], env=env, stdout=subprocess.PIPE, text=True
    ) as run:
        inside, grandchild, before, after = (
            psutil.Process(int(pid)) for pid in run.stdout.readline().split()
        )
        try:
            if end == "asked":
                assert run.stdout.readline() == "ended\n"
            else:
                run.send_signal(signal.SIGKILL)
            gone, _ = psutil.wait_procs([grandchild], timeout=8.0)
            assert gone and (not inside.is_running() or inside.status() == psutil.STATUS_ZOMBIE)
            assert before.is_running() and after.is_running()
        finally:
            run.kill()
            for one in (before, after):
                one.kill()


def test_a_server_that_dies_while_starting_says_why(stand_in, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError) as fault,
        serving("folder", stand_in(fault="no room for 8 experts"), log=tmp_path / "log"),
    ):
        pytest.fail("never ready")
    said = str(fault.value)
    assert (
        "\n" not in said
        and "ended with code 3: ValueError: no room for 8 experts" in said
        and str(tmp_path / "log") in said
    )


def test_a_server_that_dies_in_the_block_is_the_fault(stand_in, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="ended with code 9"),
        serving("folder", stand_in(), log=tmp_path / "log") as served,
    ):
        with pytest.raises(OSError):
            urllib.request.urlopen(served.urls[0].removesuffix("/v1") + "/die", timeout=5).read(1)
        until = time.monotonic() + 10
        while served.died() is None and time.monotonic() < until:
            time.sleep(0.1)
        raise ConnectionError("whatever the client says")


def test_a_slow_start_is_told_and_ends(
    stand_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAY_SECONDS", 0.5)
    said: list[str] = []
    with serving("folder", stand_in(wait="2"), log=tmp_path / "log", say=said.append):
        assert any(line.endswith("s, Loading weights") for line in said[1:-1])
    with (
        pytest.raises(
            ModelError,
            match=r"not ready after 2 s, its last line: Loading weights; raise server.start_seconds",
        ),
        serving("folder", stand_in(start_seconds=2.0, wait="60"), log=tmp_path / "log"),
    ):
        pytest.fail("never ready")


def test_a_port_in_use_is_told_before_anything_starts(stand_in, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(
                ModelError,
                match=rf"server.options.port {port}: Address already in use; name another",
            ),
            serving("folder", stand_in(port=port), log=tmp_path / "log"),
        ):
            pytest.fail("never ready")
    assert not (tmp_path / "pids").exists()


def test_the_launcher_is_not_passed_on(
    stand_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("A_KEY", "sesame")
    model = stand_in()
    model = Model(
        path="x",
        engine="endpoint",
        serve=True,
        server=Server(**vars_of(model.server) | {"api_key_env": "A_KEY"}),
    )
    with serving("folder", model, log=tmp_path / "log"):
        server = psutil.Process(int((tmp_path / "pids").read_text().split()[1]))
        told = server.environ()
    assert not {"RANK", "TORCHELASTIC_RUN_ID"} & set(told) and told["VLLM_API_KEY"] == "sesame"
    assert told["PATH"].split(":")[0] == str(tmp_path)


def vars_of(server: Server) -> dict:
    return {name: getattr(server, name) for name in ("python", "start_seconds", "options")}


def test_the_command_says_what_the_recipe_says(tmp_path: Path) -> None:
    options = {"tensor-parallel-size": "8", "enable-expert-parallel": "", "max-logprobs": "64"}
    model = Model(
        path="org/big",
        revision="abc",
        dtype="bfloat16",
        engine="endpoint",
        serve=True,
        server=Server(options=options),
    )
    words = command_line("org/big", model, port=8123, name="teacher", max_logprobs=20)
    assert words[1:3] == ["-m", "vllm.entrypoints.openai.api_server"] and Path(words[0]).samefile(
        sys.executable
    )
    flags = set(words[3:])
    assert {
        "--model=org/big",
        "--port=8123",
        "--dtype=bfloat16",
        "--revision=abc",
        "--tokenizer-revision=abc",
    } <= flags
    assert {
        "--tensor-parallel-size=8",
        "--enable-expert-parallel",
        "--max-logprobs=64",
        "--generation-config=vllm",
    } <= flags
    assert "--trust-remote-code" not in flags and "--max-logprobs=20" not in flags
    of_ours = command_line(tmp_path, model, port=1, name="teacher", max_logprobs=1)
    assert not any("revision" in word for word in of_ours), "a folder of a run has no revisions"


def test_what_cannot_be_served_is_refused() -> None:
    with pytest.raises(ModelError, match=r"server.python 'nowhere/python' is not a program"):
        command_line(
            "x",
            Model(path="x", server=Server(python="nowhere/python")),
            port=1,
            name="t",
            max_logprobs=1,
        )
    with pytest.raises(ModelError, match=r"gguf_file 'a.gguf'"):
        command_line("x", Model(path="x", gguf_file="a.gguf"), port=1, name="t", max_logprobs=1)


def test_flags_in_words() -> None:
    assert flag_words({"a-b": "1", "--c": "", "d": "-1"}) == ["--a-b=1", "--c", "--d=-1"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "api_server.py: error: unrecognized arguments: --foo\n",
            "api_server.py: error: unrecognized arguments: --foo",
        ),
        (
            "ERROR 11-24 11:54:08 [a.py:1] OSError: x is not a folder\nsome words\n",
            "OSError: x is not a folder",
        ),
        (
            "(APIServer pid=1) pydantic.ValidationError: 1 fault\n  Value error, y [type=value_error, input_value=1]\n",
            "Value error, y",
        ),
        ("only words\r 10 %|#  |\n\n", "10 %|#  |"),
        ("", "it has said nothing yet"),
    ],
)
def test_the_line_that_says_why(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "log").write_text("ValueError: of an earlier start\n" + text)
    assert last_fault(tmp_path / "log", len("ValueError: of an earlier start\n")) == wanted


def test_an_environment_without_vllm_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "python: Error while finding module specification (ModuleNotFoundError: No module named 'vllm')\n"
    )
    assert "set server.python" in last_fault(tmp_path / "log", 0)
    assert last_line(tmp_path / "log", 0).startswith("python: Error")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is here")
def test_an_engine_without_vllm_is_told() -> None:
    with pytest.raises(
        ModelError,
        match=r"engine vllm needs vLLM in this environment \(No module named 'vllm'\); install it",
    ):
        VllmHiddenStates("folder", Model(path="folder", engine="vllm"))
    assert not [
        one
        for one in psutil.Process().children(recursive=True)
        if "lifeline.py" in " ".join(one.cmdline())
    ]


def test_the_environment_of_vllm_has_what_the_pipeline_needs() -> None:
    """Installed with --no-deps, it has what launch/vllm_cpu.txt names; deepspeed is imported only
    where a launch asks for it.
    """
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = {
        re.split("[<>=[]", line)[0].strip()
        for line in setup["options"]["install_requires"].split("\n")
        if line.strip()
    }
    pinned = {
        line.partition("==")[0]
        for line in (ROOT / "launch" / "vllm_cpu.txt").read_text().splitlines()
        if "==" in line
    }
    plain = lambda names: {name.lower().replace("_", "-") for name in names}
    assert plain(needed) - plain(pinned) == {"torch", "deepspeed"}
