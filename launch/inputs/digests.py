"""Short digests that identify what a part read from outside the run."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from data_filters.records.rows import list_shards


def digest_texts(texts: Iterable[str]) -> str:
    """16 hex digits of the texts in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def digest_source(source: str) -> str:
    """16 hex digits: of the content of local files or shards, of the name of a hub data set."""
    path = Path(source)
    files = list_shards(path) if path.is_dir() else [path] if path.is_file() else []
    whole = hashlib.sha256(source.encode() if not files else b"")
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]
