"""Whether the files of a finished part are still those that it was finished with."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.runs.identity import MANIFEST, file_digest
from recipes.errors import WorkspaceError

SAMPLED_BYTES = 256 * 2**20  # read when a part is used: a fraction of a second
SHOWN = 3  # files in one line; the others are counted


@dataclass(frozen=True)
class Stored:
    """What a manifest says of one file: its size and the SHA-256 of its bytes."""

    num_bytes: int
    sha256: str


def own_files(folder: Path, content: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """The files of a part without those of parts inside it, which have manifests of their own.

    Args:
        content: size and digest of every file, by name.
    """
    inner = [path.parent for path in folder.rglob(MANIFEST) if path.parent != folder]
    return {
        name: stored
        for name, stored in content.items()
        if not any((folder / name).is_relative_to(part) for part in inner)
    }


def check_whole(folder: Path, manifest: Mapping[str, Any], *, every_byte: bool = False) -> None:
    """Compares a finished part with its manifest: all sizes, and the bytes of as many files as take
    no time to read, or of all.

    Args:
        manifest: of the part; one without a list of files, by an older version, passes.

    Raises:
        WorkspaceError: files are gone, cut off or changed; one line with their names and the way
            out.
    """
    listed = manifest.get("files", {})
    if not isinstance(listed, Mapping):
        raise WorkspaceError(f"{folder / MANIFEST} lists no files; {_way_out(folder)}")
    faults = list(_faults(folder, listed, SAMPLED_BYTES if not every_byte else None))
    if faults:
        more = f", and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise WorkspaceError(f"{folder}: {', '.join(faults[:SHOWN])}{more}; {_way_out(folder)}")


def _way_out(folder: Path) -> str:
    return f"delete the whole folder {folder} and give the same command again: it is made anew"


def _faults(folder: Path, listed: Mapping[str, Any], budget: int | None) -> Iterator[str]:
    """What is wrong with each file that differs; the files that are read are drawn anew each time."""
    whole = []
    for name, said in sorted(listed.items()):
        try:
            stored = Stored(int(said[0]), str(said[1]))
        except (TypeError, ValueError, IndexError, KeyError):
            yield f"{name} is listed as {said!r}"
            continue
        path = folder / name
        if not path.is_file():
            yield f"{name} is gone"
        elif (size := path.stat().st_size) != stored.num_bytes:
            yield f"{name} has {size:,} bytes, it was finished with {stored.num_bytes:,}"
        else:
            whole.append((path, stored))
    random.shuffle(whole)
    for path, stored in whole:
        if budget is not None and (budget := budget - stored.num_bytes) < 0:
            continue
        if file_digest(path) != stored.sha256:
            yield f"{path.relative_to(folder)} holds other bytes than it was finished with"
