"""A finished part whose files were cut, lost or changed is named before anybody reads it."""

import json
from pathlib import Path

import pytest

from launch.doctor import verify
from launch.runs.run_folder import Workspace
from recipes.errors import WorkspaceError

IDENTITY = {"seed": 1}


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "run")
    for part, names in (("generate", ("a.bin", "b.bin")), ("distill/base", ("model.bin",))):
        folder = made.folder(part)
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(name.encode() * 50)
        made.finish(part, IDENTITY, {})
    return Workspace(made.root)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "a.bin has 100 bytes, it was finished with 250"),
        (flip, "a.bin holds other bytes than it was finished with"),
        (Path.unlink, "a.bin is gone"),
    ],
)
def test_a_damaged_part_is_one_line_with_the_way_out(work: Workspace, harm, said: str) -> None:
    folder = work.folder("generate")
    harm(folder / "a.bin")
    for use in (
        lambda: work.digest("generate"),
        lambda: work.claim("generate", IDENTITY, leads=True, show=print),
    ):
        with pytest.raises(WorkspaceError) as fault:
            use()
        assert str(fault.value) == (
            f"{folder}: {said}; delete the whole folder {folder} and give the same command again: "
            "it is made anew"
        )


def test_what_is_whole_passes_and_further_files_are_no_damage(work: Workspace) -> None:
    (work.folder("generate") / "notes.txt").write_text("mine")
    assert work.digest("generate").startswith("sha256:")
    assert list(work.damaged_parts()) == []


def test_every_byte_of_every_part_is_read_on_request(
    work: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(work) == 0
    flip(work.folder("distill/base") / "model.bin")
    assert verify(work) == 2
    said = capsys.readouterr().out
    assert "model.bin holds other bytes" in said
    assert "2 finished part(s) read, 1 fault(s)" in said


def test_a_part_inside_a_part_answers_for_its_own_files(work: Workspace) -> None:
    inner, outer = work.folder("evaluate/answers/one"), work.folder("evaluate")
    inner.mkdir(parents=True)
    (inner / "x.bin").write_bytes(b"x")
    work.finish("evaluate/answers/one", IDENTITY, {})
    (outer / "card.md").write_text("card")
    work.finish("evaluate", IDENTITY, {})
    assert set(json.loads((outer / "manifest.json").read_text())["files"]) == {"card.md"}


def test_a_manifest_of_an_older_version_lists_no_files_and_passes(work: Workspace) -> None:
    path = work.folder("generate") / "manifest.json"
    said = json.loads(path.read_text())
    del said["files"]
    path.write_text(json.dumps(said))
    assert work.digest("generate") == said["content"]


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[1]",
        "{}",
        "3",
        '"x"',
        '{"content": 3}',
        '{"identity": [], "content": "", "notes": {}}',
        "[" * 100_000,
    ],
)
def test_a_manifest_of_any_content_is_one_line(work: Workspace, text: str) -> None:
    path = work.folder("generate") / "manifest.json"
    path.write_text(text)
    with pytest.raises(WorkspaceError, match=r"cannot be read .* to make it again"):
        work.digest("generate")


@pytest.mark.parametrize("listed", [[1], {"a.bin": 3}, {"a.bin": ["x", "y"]}, {"a.bin": []}])
def test_a_list_of_files_of_any_content_is_one_line(work: Workspace, listed: object) -> None:
    path = work.folder("generate") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": listed}))
    with pytest.raises(WorkspaceError, match="is made anew"):
        work.digest("generate")
