"""The log of a training: one JSON line a step."""

import json
from pathlib import Path
from typing import Self


class Metrics:
    """One JSON line a step; lines after the checkpoint that a run resumes from are cut off first."""

    def __init__(self, path: Path, step: int, is_main: bool) -> None:
        self.path, self.step, self.is_main = path, step, is_main

    def __enter__(self) -> Self:
        if self.is_main:
            kept = self.path.read_text().splitlines(keepends=True)[: self.step] if self.path.exists() else []
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("".join(kept))
            self.file = self.path.open("a", buffering=1)
        return self

    def write(self, row: dict[str, float]) -> None:
        if self.is_main:
            self.file.write(json.dumps(row) + "\n")

    def __exit__(self, *_: object) -> None:
        if self.is_main:
            self.file.close()
