"""The picture of the README, from a scorecard."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.picture import CONTENDERS, ROWS, main, picture

VALUES = {"teacher": 0.99, "base": 0.0, "control": 0.9, "student": 0.95}


def card(*names: str) -> dict:
    entry = {
        name: {"value": value, "low": max(value - 0.02, 0), "high": min(value + 0.02, 1), "n": 500}
        for name, value in VALUES.items()
    }
    return {"recipe": "a_run", "contenders": list(VALUES), "metrics": dict.fromkeys(names, entry)}


def test_it_is_one_drawing_that_needs_no_other_file() -> None:
    drawn = picture(card(*ROWS))
    ElementTree.fromstring(drawn)
    assert drawn == picture(card(*ROWS)) and drawn.isascii()
    assert "Scorecard of a_run" in drawn and "http" not in drawn.replace("http://www.w3.org", "")
    assert all(f">{name}<" in drawn for name in CONTENDERS) and ">base<" not in drawn
    assert all(f">{named}<" in drawn for named in ROWS.values())


def test_what_was_not_measured_is_left_out() -> None:
    drawn = picture(card("reasoning", "recall", "basics"))
    assert ">basics<" in drawn and ">reading<" not in drawn


def test_the_command_reads_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "scorecard.json").write_text(json.dumps(card(*ROWS)))
    to = tmp_path / "images" / "scorecard.svg"
    monkeypatch.setattr("sys.argv", ["picture", str(tmp_path), str(to)])
    main()
    assert to.read_text() == picture(card(*ROWS))
