"""Whoever can write into a run folder can change a result, but never make the filter run code."""

import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_filters.filters.settings import FilterSettings
from data_filters.sift import sift
from recipes.errors import ShardError

ROWS = 3
OLD_NAMES = ("job.pickle", "settled-00000.pickle", "settled-00001.pickle", "looked-00000.jsonl")


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.proof),)


class Stop(Exception):
    pass


def bombs(proof: Path) -> dict[str, bytes]:
    """A pickle, an array of objects, and an archive with one in place of every array."""
    one = np.array([Bomb(proof)], object)
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, one, allow_pickle=True)
    names = ("ids", "owner", "keys_duplicates", "rows_duplicates")
    np.savez(archive, **dict.fromkeys(names, one))
    plain = pickle.dumps(Bomb(proof))
    return {"pickle": plain, "array": array.getvalue(), "archive": archive.getvalue()}


def write_source(path: Path) -> Path:
    path.write_text(
        "".join(
            f'{{"messages": [{{"role": "user", "content": "What is {n} + 5?"}}, '
            f'{{"role": "assistant", "content": "{n + 5}."}}]}}\n'
            for n in range(2 * ROWS)
        )
    )
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended in the middle of its last pass: every kind of file of its is there."""
    folder = tmp_path_factory.mktemp("stopped")

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        sift(
            write_source(folder / "traces.jsonl"),
            folder / "filter",
            FilterSettings(),
            shard_rows=ROWS,
            written=stop,
        )
    return folder


def go_on(stopped: Path, out: Path, processes: int) -> None:
    """As the same command would; a damaged file may end it, in one line."""
    source = stopped / "traces.jsonl"
    try:
        sift(source, out, FilterSettings(), shard_rows=ROWS, processes=processes)
    except ShardError as fault:
        assert "\n" not in str(fault) and "run again" in str(fault)


def test_the_bombs_go_off_where_they_are_unpickled(tmp_path: Path) -> None:
    for name, data in bombs(tmp_path / "proof").items():
        if name == "pickle":
            pickle.loads(data)
        else:
            found = np.load(io.BytesIO(data), allow_pickle=True)
            found["ids"] if name == "archive" else None
        (tmp_path / "proof").rmdir()


@pytest.mark.parametrize("kind", ["pickle", "array", "archive"])
def test_nothing_planted_in_a_run_folder_is_run(stopped: Path, tmp_path: Path, kind: str) -> None:
    proof = tmp_path / "proof"
    data = bombs(proof)[kind]
    work = stopped / "filter" / "work"
    names = [path.name for path in sorted(work.iterdir()) if path.is_file()]
    assert {"plan.json", "job.json", "keys-00000.npz", "summary-00000.json"} <= set(names)
    for name in (*names, *OLD_NAMES):
        out = tmp_path / name
        shutil.copytree(stopped / "filter", out)
        (out / "work" / name).write_bytes(data)
        go_on(stopped, out, processes=1)
        assert not proof.exists(), name


def test_nothing_planted_is_run_in_other_processes(stopped: Path, tmp_path: Path) -> None:
    proof, out = tmp_path / "proof", tmp_path / "filter"
    shutil.copytree(stopped / "filter", out)
    data = bombs(proof)["pickle"]
    for path in (out / "work").glob("*-*"):
        path.write_bytes(data)
    for name in OLD_NAMES:
        (out / "work" / name).write_bytes(data)
    (out / "work" / "summary-00000.json").unlink()
    (out / "work" / "examined-00001.jsonl").unlink()
    go_on(stopped, out, processes=2)
    assert not proof.exists()
