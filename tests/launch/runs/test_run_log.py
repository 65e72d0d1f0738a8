"""run.log has every line, with its time and without secrets; a closed console stops nothing."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill.progress import LOG, show
from launch.runs.parts import Part, make_part
from launch.runs.ranks import Ranks
from launch.runs.run_folder import Workspace
from launch.runs.run_log import clean, heartbeat, logging_to, say, show_on_console, write_line
from recipes.errors import RecipeError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def console():
    show_on_console()
    yield
    LOG.handlers.clear()
    LOG.propagate = True


def lines(folder: Path, name: str = "run.log") -> list[str]:
    """The lines of a log without their times, which every line must have."""
    text = (folder / name).read_text()
    found = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (.*)$", text, re.MULTILINE)
    assert len(found) == text.count("\n")
    return found


def test_every_line_goes_to_the_console_and_to_the_log(tmp_path, capsys):
    with logging_to(tmp_path, Ranks()):
        show("made 3")
        LOG.error("error: no room")
    show("after the run")
    assert lines(tmp_path) == ["made 3", "error: no room"]
    assert capsys.readouterr() == ("made 3\nafter the run\n", "error: no room\n")


def test_a_second_rank_has_a_log_of_its_own_if_it_says_something(tmp_path):
    with logging_to(tmp_path, Ranks(1, 2)):
        pass
    assert list(tmp_path.iterdir()) == []
    with logging_to(tmp_path, Ranks(1, 2)):
        show("mine")
    assert lines(tmp_path, "run-1.log") == ["mine"]


def test_the_fault_that_ends_a_run_stands_in_its_log(tmp_path, capsys):
    with pytest.raises(RecipeError), logging_to(tmp_path, Ranks()):
        raise RecipeError("seed: expected a number")
    assert lines(tmp_path) == ["stopped: seed: expected a number"]
    with pytest.raises(ZeroDivisionError), logging_to(tmp_path, Ranks()):
        _ = 1 / 0
    log = (tmp_path / "run.log").read_text()
    assert "Traceback" in log and log.endswith("ZeroDivisionError: division by zero\n")
    assert capsys.readouterr() == ("", "")


def test_no_secret_and_no_control_character(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_API_KEY", "open-sesame-77")
    monkeypatch.setenv("SHORT_TOKEN", "the")
    secrets = (
        "key open-sesame-77",
        "hf_abcdefghijkl",
        "sk-abcdef123456",
        "Authorization: Bearer xyz.123",
        "http://ann:pass@host/v1",
    )
    with logging_to(tmp_path, Ranks()):
        show("; ".join(secrets) + "\x1b[31m the end\x07")
    told = "key ***; ***; ***; Authorization: Bearer ***; http://***@host/v1[31m the end"
    assert lines(tmp_path) == [told] and capsys.readouterr().out == told + "\n"
    assert clean("a\tb\nc") == "a\tb\nc"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_is_said_holds_no_escape_and_fits_the_terminal(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say("\x1b[31mred\x07\r", "caf\u00e9 \u202etxt.exe", "two\nlines")
    shown = stream.buffer.getvalue().decode(encoding)
    lines = shown.splitlines()
    assert lines[0] == "[31mred" and lines[2:] == ["two", "lines"]
    assert lines[1] == ("caf\\xe9 txt.exe" if encoding == "ascii" else "caf\u00e9 txt.exe")


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    (tmp_path / "run.log").mkdir()
    with logging_to(tmp_path, Ranks()):
        show("goes on")
    assert capsys.readouterr() == ("goes on\n", "")


def test_a_console_of_another_alphabet():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    write_line("caf\u00e9", stream)
    assert stream.buffer.getvalue() == b"caf\\xe9\n"


@pytest.mark.parametrize("closed", [None, "closed"])
def test_a_console_that_is_closed(closed):
    stream = io.StringIO() if closed else None
    if stream:
        stream.close()
    write_line("x", stream)


def test_a_reader_that_goes_away_stops_nothing(tmp_path):
    code = (
        "from launch.runs.run_log import *\nfrom launch.runs.run_folder import Ranks\n"
        "show_on_console()\n"
        f"with logging_to(Path({str(tmp_path)!r}), Ranks()):\n"
        "    for number in range(500): LOG.info('line %d', number)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(tmp_path)[-1] == "line 499"


def test_a_heartbeat_when_nothing_is_completed(tmp_path):
    with logging_to(tmp_path, Ranks()), heartbeat("generate", seconds=0.02):
        while not (tmp_path / "run.log").exists():
            pass
    assert lines(tmp_path)[0] == (
        "generate: still at work after 0 min; nothing was completed for a while"
    )


def test_no_heartbeat_while_lines_come(tmp_path):
    with logging_to(tmp_path, Ranks()), heartbeat("generate"):
        show("made 1")
    assert lines(tmp_path) == ["made 1"]


# --- parts


def test_a_part_is_made_once(tmp_path, capsys):
    work, made = Workspace(tmp_path), []

    def write(folder: Path) -> dict[str, int]:
        made.append(folder)
        return {"answers": 3}

    for _ in range(2):
        make_part(Part("evaluate/answers/base", {"seed": 1}, write), work)
    assert made == [tmp_path / "evaluate/answers/base"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("evaluate/answers/base: done in ") and first.endswith(" (answers 3)")
    assert second == "evaluate/answers/base: done, skipped"


def test_a_part_belongs_to_the_rank_that_owns_it(tmp_path):
    part = Part("answers", {"seed": 1}, lambda folder: {}, who=1)
    make_part(part, Workspace(tmp_path, Ranks(0, 2)))
    assert not Workspace(tmp_path).done("answers")
    make_part(part, Workspace(tmp_path, Ranks(1, 2)))
    assert Workspace(tmp_path).done("answers")
