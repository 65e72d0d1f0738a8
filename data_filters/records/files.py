"""Files written whole or not at all, and what a fault of theirs says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recipes.errors import ShardError


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
            f"{path}: cannot be written ({short(error)}); free space or mend the folder's rights, then run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def short(error: BaseException) -> str:
    """The first line of an error, clipped."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
