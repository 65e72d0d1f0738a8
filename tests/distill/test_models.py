"""Saving of models: whole files or none."""

from pathlib import Path

import pytest

from distill.models import replacing_files


def test_a_save_that_is_killed_leaves_every_file_whole(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("whole")
    with pytest.raises(OSError, match="full"), replacing_files(tmp_path) as half:
        (half / "config.json").write_text("")
        raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "whole"
    with replacing_files(tmp_path) as half:
        (half / "templates").mkdir()
        (half / "templates" / "tool_use.jinja").write_text("new")
        (half / "config.json").write_text("new")
    assert (tmp_path / "templates" / "tool_use.jinja").read_text() == "new"
    assert (tmp_path / "config.json").read_text() == "new"
