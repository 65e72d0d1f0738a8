"""Files written whole or not at all, and what a fault of theirs says."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zipfile import BadZipFile

from recipes.errors import ShardError

_PLAIN_FAULTS = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError)
_UNREADABLE = (*_PLAIN_FAULTS, BadZipFile, zlib.error)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its place when the block ends well, and is gone when it does
    not.

    Raises:
        ShardError: the block or the renaming raises OSError.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be written ({short(error)}); free space or fix the folder's rights, "
            "then run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says in one line that a file which an earlier step left behind is not what it left.

    Raises:
        ShardError: the block cannot read or understand the file.
    """
    try:
        yield
    except ShardError:
        raise
    except _UNREADABLE as error:
        raise ShardError(
            f"{path}: not as it was written ({short(error)}); delete {path.parent} and run again"
        ) from error


def mend(path: Path) -> str:
    """What to do about a file that cannot be read: one that a run wrote is written again, one of
    the user's own is mended.
    """
    for folder in list(path.absolute().parents)[:3]:
        if (folder / "manifest.json").exists() or (folder / "identity.json").exists():
            return "delete this file and run again, then its stage writes it anew"
    return "mend it, or name another file"


def short(error: BaseException) -> str:
    """The first line of an error, clipped."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
