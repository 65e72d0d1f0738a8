"""Launching the real command, as a user would."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from launch.run import main

ROOT = Path(__file__).parents[2]
SMOKE = "recipes/smoke.yaml"


def command(*words, config=None):
    launcher = (
        ["accelerate.commands.launch", "--config_file", f"launch/accelerate/{config}.yaml", "-m"]
        if config
        else []
    )
    return [sys.executable, "-m", *launcher, "launch.run", *map(str, words)]


def environment():
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "COGNITIVE_CORE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def launch(*words, config=None, timeout=240, alone=False):
    """The finished command: its exit code and its output as text.

    It runs in this process, which saves the seconds in which a new one loads torch.

    Args:
        config: a file of launch/accelerate: the command gets processes of its own.
        alone: it gets a process of its own, as from a shell.
    """
    if config is None and not alone:
        return _in_this_process(command(*words)[3:])
    return subprocess.run(
        command(*words, config=config),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _in_this_process(arguments):
    shown, faults = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(faults),
    ):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, shown.getvalue(), faults.getvalue())


def succeed(*words, **how):
    done = launch(*words, **how)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def start(*words):
    """The process, at work."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command(*words), cwd=ROOT, env=environment(), start_new_session=True, **quiet
    )


def kill_when(sign: Path, *words, timeout=120):
    """SIGKILL as soon as a file is there; True if the run was still going."""
    process = start(*words)
    try:
        end = time.monotonic() + timeout
        while not list(sign.parent.glob(sign.name)) and process.poll() is None:
            assert time.monotonic() < end, f"{sign} never came"
            time.sleep(0.002)
        return process.poll() is None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def losses(folder: Path):
    return [
        json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def contents(run: Path):
    """Content digest of every finished part."""
    found = sorted(run.rglob("manifest.json"))
    return {
        str(path.parent.relative_to(run)): json.loads(path.read_text())["content"] for path in found
    }
