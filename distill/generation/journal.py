"""What a server has answered, written down as it comes: nothing is paid for twice after a crash."""

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Self

from distill.engines.protocol import Completion
from recipes.errors import ShardError
from recipes.vocabulary import FinishReason

SYNC_SECONDS = 0.5


class Journal:
    """Completions by key, appended to a file as JSON lines.

    A line survives a kill of the process as soon as add() returns, and a power cut half a second
    later. Only where lines begin is held in memory. A line that a crash cut off is cut away when
    the file is opened again.

    Args:
        path: made if it is not there.

    Raises:
        ShardError: the file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._lock, self._closed, self._unsynced = threading.Lock(), threading.Event(), False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._end = self._read_places(self._file)
        except OSError as fault:
            raise ShardError(
                f"{path}: {fault.strerror or fault}; fix the folder's rights or free space, then run again"
            ) from fault
        self._syncing = threading.Thread(target=self._sync_often, daemon=True)
        self._syncing.start()

    @property
    def count(self) -> int:
        """Completions in it."""
        return len(self._places)

    def get(self, key: str) -> Completion | None:
        """The completion under this key, read from the file; None where it is not there, or is none
        that a shard can hold.
        """
        with self._lock:
            if key not in self._places:
                return None
            self._file.seek(self._places[key])
            found = _completion(_line(self._file))
            if found is None:
                del self._places[key]
            return found

    def add(self, key: str, completion: Completion) -> None:
        """Writes one line; a key that is there already keeps its first completion."""
        line = (json.dumps({"key": key} | asdict(completion)) + "\n").encode()
        with self._lock:
            if key in self._places:
                return
            try:
                self._file.write(line)
            except OSError as fault:
                raise ShardError(
                    f"{self.path}: {fault.strerror or fault}; free space, then run again: answers so far are kept"
                ) from fault
            self._places[key] = self._end
            self._end += len(line)
            self._unsynced = True

    def close(self) -> None:
        self._closed.set()
        self._syncing.join()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_places(self, file: BinaryIO) -> int:
        """Notes where each key's line begins; gives the end of the last whole line, behind which
        the file is cut.
        """
        file.seek(0)
        place = 0
        for line in _whole_lines(file):
            key = _key(line)
            if key is not None:
                self._places[key] = place
            place += len(line)
        if place and not self._places:
            raise ShardError(
                f"{self.path}: no line of it is one of a journal; delete the file to ask again for what it held"
            )
        file.truncate(place)
        return place

    def _sync_often(self) -> None:
        while not self._closed.wait(SYNC_SECONDS):
            self._sync()
        self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            self._unsynced = False
            os.fsync(self._file.fileno())


def _key(line: bytes) -> str | None:
    """The key of a line; None for a line that is damaged, whose completion is asked for again."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key = found.get("key") if isinstance(found, dict) else None
    return key if isinstance(key, str) else None


def _completion(line: bytes) -> Completion | None:
    """What a line holds; None where a shard could not hold it."""
    try:
        found = json.loads(line)
        del found["key"]
        said = [dict(message) for message in found.get("said") or ()]
        one = Completion(**found | {"said": tuple(said)})
        texts = [one.text, *(text for message in said for text in message.values())]
        _ = [text.encode() for text in texts]
        FinishReason(one.finish_reason)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    counts = (one.prompt_tokens, one.completion_tokens)
    return one if all(type(count) is int and 0 <= count < 2**31 for count in counts) else None


def _whole_lines(file: BinaryIO, block: int = 1 << 20) -> Iterable[bytes]:
    """Lines that end in a newline; the file is unbuffered, so it is read in blocks."""
    rest = b""
    while data := file.read(block):
        *lines, rest = (rest + data).split(b"\n")
        yield from (line + b"\n" for line in lines)


def _line(file: BinaryIO, block: int = 1 << 14) -> bytes:
    parts = []
    while data := file.read(block):
        before, found, _ = data.partition(b"\n")
        parts.append(before)
        if found:
            break
    return b"".join(parts)
