"""An index of texts that nobody should know by heart: every run of eight words, as 64 bits, sorted
in one file.

The file is read where it lies (memory-mapped) and takes eight bytes a word of the texts. Building it
holds a piece of text and a 256th of the runs in memory, whatever the size of the folder.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from data_filters.recall.words import run_hashes, words_of
from data_filters.records.files import reading, replacing
from data_filters.records.rows import is_lines, is_parquet, rows_of
from recipes.errors import ShardError

RUN_WORDS = 8
_PIECE_CHARACTERS = 1 << 22  # read at once
_PARTS = 256  # by the highest eight bits, so that parts follow one another in order
_PROBED_BYTES = 8192  # a file with a zero among them is no text


class KnownTexts:
    """Whether runs of words stand in the known texts.

    Args:
        runs: uint64 [N], sorted, each once.
    """

    def __init__(self, runs: np.ndarray) -> None:
        self.runs = runs

    @classmethod
    def of(cls, texts: Iterable[str]) -> "KnownTexts":
        """An index in memory, for a few texts."""
        found = [run_hashes(words_of(text).words, RUN_WORDS) for text in texts]
        return cls(np.unique(np.concatenate([np.empty(0, np.uint64), *found])))

    @classmethod
    def open(cls, path: Path) -> "KnownTexts":
        """What `build` wrote.

        Raises:
            ShardError: the file is not there, or not whole.
        """
        with reading(path):
            size = path.stat().st_size
            if size % 8:
                raise ValueError(f"{size} bytes, expected a multiple of 8")
            return cls(np.memmap(path, np.uint64, "r") if size else np.empty(0, np.uint64))

    def holds(self, runs: np.ndarray) -> np.ndarray:
        """Whether each run stands in a known text, bool [K].

        Args:
            runs: uint64 [K], as `run_hashes` gives them.
        """
        if not len(self.runs) or not len(runs):
            return np.zeros(len(runs), bool)
        order = np.argsort(runs)  # neighbours lie on the same page of the file
        places = np.minimum(np.searchsorted(self.runs, runs[order]), len(self.runs) - 1)
        found = np.empty(len(runs), bool)
        found[order] = self.runs[places] == runs[order]
        return found


def build(sources: Sequence[str | Path], path: Path) -> int:
    """Writes the index of all texts of some folders or files; gives the number of its runs.

    Args:
        sources: files of text or code, of rows with `text` (.parquet, .jsonl, .json), or folders of
            them at any depth. Other files are passed over.
        path: of the index.

    Raises:
        ShardError: a source is not there, a file cannot be read, or none holds any text.
    """
    work = path.with_name(f".{path.name}.parts")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for source in sources:
        for runs in _runs_of(Path(source).expanduser()):
            _share_out(runs, work)
    total = 0
    with replacing(path) as partial, partial.open("wb") as file:
        for part in range(_PARTS):
            if (piece := work / f"{part:03d}").exists():
                runs = np.unique(np.fromfile(piece, np.uint64))
                runs.tofile(file)
                total += len(runs)
    shutil.rmtree(work)
    if not total:
        named = ", ".join(map(str, sources))
        raise ShardError(
            f"filter.known_texts {named}: no text of {RUN_WORDS} words or more; "
            "name a folder of .txt, .md or .jsonl files"
        )
    return total


def digest_of_texts(source: str | Path) -> str:
    """16 hex digits that change with any name or byte of a file or folder of known texts.

    Raises:
        ShardError: it is not there, or a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in _files(Path(source).expanduser()):
        digest.update(file.name.encode())
        with reading(file), file.open("rb") as raw:
            digest.update(hashlib.file_digest(raw, "sha256").digest())
    return digest.hexdigest()[:16]


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise ShardError(f"filter.known_texts {source}: no such file or folder; fix the path")
    return sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]


def _share_out(runs: np.ndarray, work: Path) -> None:
    runs = np.unique(runs)
    bounds = np.searchsorted(runs >> np.uint64(56), np.arange(_PARTS + 1, dtype=np.uint64))
    for part, (start, end) in enumerate(pairwise(bounds.tolist())):
        if end > start:
            with (work / f"{part:03d}").open("ab") as file:
                runs[start:end].tofile(file)


def _runs_of(source: Path) -> Iterator[np.ndarray]:
    """The runs of every text of a source, piece by piece."""
    for file in _files(source):
        if is_lines(file) or is_parquet(file):
            for _, row in rows_of(file):
                yield from (run_hashes(words_of(text).words, RUN_WORDS) for text in _texts(row))
        else:
            yield from _file_runs(file)


def _texts(row: dict[str, Any]) -> list[str]:
    """What a row says: its text, or its messages."""
    said = [row.get("text"), *(m.get("content") for m in row.get("messages") or [])]
    return [text for text in said if isinstance(text, str)]


def _file_runs(file: Path) -> Iterator[np.ndarray]:
    """Of a file of text; a run may lie across two pieces."""
    with reading(file), file.open("rb") as raw:
        if b"\0" in raw.read(_PROBED_BYTES):
            return
    before: list[str] = []
    cut = ""
    with reading(file), file.open(encoding="utf-8", errors="replace") as text:
        while piece := text.read(_PIECE_CHARACTERS):
            piece = cut + piece
            end = max(piece.rfind(" "), piece.rfind("\n")) + 1 or len(piece)
            piece, cut = piece[:end], piece[end:]  # no word is cut in two
            words = before + words_of(piece).words
            yield run_hashes(words, RUN_WORDS)
            before = words[-RUN_WORDS + 1 :]
    yield run_hashes(before + words_of(cut).words, RUN_WORDS)
