"""The command: answers at once, one line a fault, exit codes 0, 2, 130 and 1, and never a token."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.run import main, parser
from launch.runs.process import check_ranks, storage_fault, threads_per_process
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError, TrainingError
from recipes.load import load_recipe

ROOT = Path(__file__).parents[2]
SMOKE = "recipes/smoke.yaml"
LAUNCHER = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "ACCELERATE_MIXED_PRECISION",
)


def environment(**changed: str) -> dict[str, str]:
    """This environment as a plain shell has it, without a launcher's variables."""
    return {name: value for name, value in os.environ.items() if name not in LAUNCHER} | changed


def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.run", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**changed),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*LAUNCHER, "COGNITIVE_CORE_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


# --- before anything is loaded


def test_help_shows_how_to_call_it() -> None:
    done = run("--help")
    assert done.returncode == 0
    for shown in (
        "RECIPE",
        "key=value",
        "--show",
        "python -m launch.run recipes/smoke.yaml",
        "accelerate launch --config_file",
    ):
        assert shown in done.stdout
    assert "exit codes: 0 done, 2 something a person must fix" in done.stdout


def test_every_example_of_the_help_can_be_called() -> None:
    lines = [line.split("   ")[0].split() for line in (parser().epilog or "").splitlines()]
    calls = [line[line.index("launch.run") + 1 :] for line in lines if "launch.run" in line]
    assert len(calls) == 5
    for call in calls:
        assert parser().parse_intermixed_args(call).recipe.startswith("recipes/")
    machine = next(
        line[line.index("--config_file") + 1] for line in lines if "--config_file" in line
    )
    assert (ROOT / machine).is_file()


def test_show_prints_a_recipe_that_loads_to_the_same(tmp_path: Path) -> None:
    done = run(SMOKE, "--show", "distill.steps=7", "stages=generate,filter", f"runs={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "shown.yaml").write_text(done.stdout)
    shown = load_recipe(tmp_path / "shown.yaml")
    assert shown == load_recipe(
        ROOT / SMOKE, ["distill.steps=7", "stages=generate,filter", f"runs={tmp_path}"]
    )
    assert shown.stages == ["generate", "filter"]
    assert [path.name for path in tmp_path.iterdir()] == ["shown.yaml"], (
        "--show makes no run folder"
    )


def test_the_second_rank_does_not_show_it_again() -> None:
    done = run(SMOKE, "--show", RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "arguments", [[SMOKE, "--show"], [SMOKE, "distill.steps=x"], ["recipes/nowhere.yaml"]]
)
def test_an_answer_does_not_wait_for_torch(arguments: list[str]) -> None:
    heavy = {"torch", "transformers", "datasets"}
    code = f"import sys\nfrom launch.run import main\nmain({arguments!r})\nprint('heavy:', sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.endswith("heavy: []\n")


# --- faults that a person mends


def test_every_fault_of_a_recipe_is_a_line() -> None:
    done = run(SMOKE, "distill.stps=3", "seed=abc")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: command line: unknown key 'distill.stps'; did you mean 'distill.steps'?",
        "error: command line: seed is 'abc', expected a whole number",
    ]


def test_a_recipe_that_is_not_there() -> None:
    done = run("recipes/smok.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        "error: no recipe at recipes/smok.yaml; did you mean recipes/smoke.yaml?\n",
    )


def test_no_recipe_at_all() -> None:
    done = run()
    assert done.returncode == 2 and "the following arguments are required: RECIPE" in done.stderr


def test_only_the_main_rank_speaks_of_a_fault_of_all() -> None:
    """The other rank waits, and is ended by its launcher meanwhile; here nobody ends it, so that it
    speaks after all.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.run", SMOKE, "seed=abc"],
        cwd=ROOT,
        env=environment(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1"),
        stderr=subprocess.PIPE,
        text=True,
    )
    _, text = process.communicate(timeout=60)
    assert time.monotonic() - began > 3 and process.returncode == 2
    assert text == "error (rank 1): command line: seed is 'abc', expected a whole number\n"


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    done = run(SMOKE, f"runs={tmp_path}/runs")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path}/runs/smoke: the run folder cannot be written: Not a directory; free some space, make it writable, "
        "or choose another place with runs=FOLDER\n"
    )


def no_room() -> None:
    """From here on this process can write ten bytes into a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))


def test_a_disk_without_room_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launch.run", SMOKE, f"runs={tmp_path}"],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        preexec_fn=no_room,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        f"error: {tmp_path}/smoke: the run folder cannot be written: File too large; "
    )
    assert [path.name for path in (tmp_path / "smoke").iterdir()] == [".lock"]


def test_a_run_folder_of_another_recipe(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "smoke")
    work.claim("teacher", {"seed": 0}, leads=True, show=print)
    work.finish("teacher", {"seed": 0}, {})
    done = run(SMOKE, f"runs={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/smoke/teacher was made by another recipe: ")
    assert done.stderr.endswith(
        f"(it reuses what still fits), or delete {tmp_path}/smoke/teacher to make it again\n"
    )
    assert done.stderr.count("\n") == 1
    assert work.state("teacher", {"seed": 0}) == "done"


def test_a_second_launch_in_the_same_folder(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "smoke")
    work.open(load_recipe(ROOT / SMOKE, [f"runs={tmp_path}"]))
    done = run(SMOKE, f"runs={tmp_path}")
    ways_out = "wait for it or stop it, or start a variant with name=NEW"
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path}/smoke: another launch is at work in this run folder; {ways_out}\n",
    )


def started(runs: Path, *launcher: str) -> subprocess.Popen[str]:
    """A run that is in the middle of training its teacher."""
    command = [
        sys.executable,
        "-m",
        *launcher,
        "launch.run",
        SMOKE,
        f"runs={runs}",
        "teacher.steps=100000",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(COGNITIVE_CORE_THREADS="1"),
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores it, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    log = runs / "smoke" / "teacher" / "metrics.jsonl"
    # steps are taken; before, things are still being imported
    while not (log.exists() and log.read_text().count("\n") > 5):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    return process


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    process, text = started(tmp_path), None
    # Python loses an interrupt that comes inside a callback of C; a person presses again
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, text = process.communicate(timeout=60)
            break
    assert text is not None, "four interrupts, and it goes on"
    assert process.returncode == 130, text
    lines = text.replace("\r", "\n").splitlines()
    assert "interrupted; the same command continues where it stopped" in lines, text
    # so Python tells of one that it lost
    assert "Traceback" not in text or "Exception ignored" in text, text


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="elsewhere an orphan finishes the run; the lock keeps a second launch out",
)
def test_a_killed_launcher_takes_its_ranks_with_it(tmp_path: Path) -> None:
    launcher = started(
        tmp_path,
        "accelerate.commands.accelerate_cli",
        "launch",
        "--config_file",
        "launch/accelerate/cpu.yaml",
        "-m",
    )
    launcher.kill()
    launcher.communicate(timeout=30)  # its ranks hold the other end of the pipe
    work = Workspace(tmp_path / "smoke")
    work.open(load_recipe(ROOT / SMOKE, [f"runs={tmp_path}"]))
    assert not work.done("teacher")


# --- what the machine says


def test_fewer_ranks_than_the_machine_file_wants(plain: pytest.MonkeyPatch) -> None:
    check_ranks()
    plain.setenv("ACCELERATE_MIXED_PRECISION", "no")
    check_ranks()
    plain.setenv("MASTER_ADDR", "127.0.0.1")
    plain.setenv("MASTER_PORT", "29500")
    with pytest.raises(
        TrainingError,
        match="the accelerate config asks for several processes but only one was started",
    ):
        check_ranks()
    plain.setenv("WORLD_SIZE", "2")
    check_ranks()


def test_accelerate_really_starts_one_process_without_a_word(tmp_path: Path) -> None:
    """The case that check_ranks is for; when accelerate mends it, this test says so."""
    machine = tmp_path / "machine.yaml"
    settings = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_CPU",
        "use_cpu": True,
        "num_processes": 2,
    }
    machine.write_text(json.dumps(settings | {"mixed_precision": "no"}))
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        "-q",
        "--config_file",
        str(machine),
    ]
    done = subprocess.run(
        [*launch, "-m", "launch.run", SMOKE, f"runs={tmp_path}"],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert (
        "error: launch: the accelerate config asks for several processes but only one was started"
        in done.stderr
    )
    assert not (tmp_path / "smoke").exists()


def test_threads_are_shared_out(plain: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    assert threads_per_process() == cores
    plain.setenv("LOCAL_WORLD_SIZE", "2")
    assert threads_per_process() == max(1, cores // 2)
    plain.setenv("LOCAL_WORLD_SIZE", "1000")
    assert threads_per_process() == 1
    plain.setenv("COGNITIVE_CORE_THREADS", "3")
    assert threads_per_process() == 3


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "", "1.5"])
def test_a_wrong_number_of_threads_is_one_line(plain: pytest.MonkeyPatch, wanted: str) -> None:
    plain.setenv("COGNITIVE_CORE_THREADS", wanted)
    with pytest.raises(
        RecipeError,
        match=f"COGNITIVE_CORE_THREADS is {wanted!r}, expected a whole number of threads from 1 up",
    ):
        threads_per_process()


# --- disks


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(OSError) as fault, open("/dev/full", "w") as file:
        file.write("x" * 100_000)
    todo = "free some space or make it writable, then give the same command again: finished work is kept"
    line = f"runs/demo: No space left on device; {todo}"
    assert storage_fault(fault.value, "runs/demo") == line
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = ValueError("inner")
    wrapped.__cause__.__context__ = fault.value
    assert storage_fault(wrapped, "runs/demo") == line


def test_a_file_that_may_not_be_written_is_named() -> None:
    line = storage_fault(
        PermissionError(errno.EACCES, "Permission denied", "/data/x.parquet"), "runs/demo"
    )
    assert line is not None and line.startswith("/data/x.parquet: Permission denied; ")
    read_only = storage_fault(OSError(errno.EROFS, "Read-only file system"), "runs/demo")
    assert read_only is not None and read_only.startswith("runs/demo: Read-only file system; ")


SAYINGS = [
    "I/O error: No space left on device (os error 28)",
    "[enforce fail at x.cc:672] . unexpected pos 7 vs 5",
]


@pytest.mark.parametrize("text", SAYINGS)
def test_what_libraries_say_of_a_full_disk(text: str) -> None:
    line = storage_fault(RuntimeError(text), "runs/demo")
    assert line is not None and line.startswith(
        "runs/demo: the disk is full or cannot be written; "
    )


def test_a_bug_is_no_storage_fault() -> None:
    assert storage_fault(FileNotFoundError(errno.ENOENT, "No such file", "x"), "runs/demo") is None
    assert storage_fault(ValueError("shape mismatch"), "runs/demo") is None


# --- tokens


def test_no_token_is_printed(
    tmp_path: Path, plain: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    token = "hf_" + "Secret123" * 4
    plain.setenv("HF_TOKEN", token)
    (tmp_path / "smoke").write_text("a file in the way")
    assert main([str(ROOT / SMOKE), f"runs={tmp_path}"]) == 2
    assert main([str(ROOT / SMOKE), "--show"]) == 0
    told = capfd.readouterr()
    assert "Secret123" not in told.out + told.err and "the run folder cannot be written" in told.err
