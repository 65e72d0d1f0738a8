"""The working folder of a filter run: what its passes leave for each other, and what a killed run
can go on from.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from data_filters.records.files import replacing
from data_filters.records.traces import Trace
from data_filters.records.units import Unit, cut
from recipes.errors import ShardError

MADE = ("kept", "dropped", "knowledge", "exposure")
WORK = "work"


class Workplace:
    """Paths by unit number under out/work; the folder goes when the stage is done."""

    def __init__(self, out: Path, digest: str) -> None:
        self.out, self.folder, self.digest = Path(out), Path(out) / WORK, digest
        self.struck = self.folder / "struck"

    def units(self, source: str | Path | Iterable[Trace], rows: int) -> list[Unit]:
        """The units of the source: those of a killed run of the same settings and files, or new
        ones in an emptied folder.
        """
        plan = self.folder / "plan.json"
        try:
            noted = json.loads(plan.read_text(encoding="utf-8"))
            units = [Unit(**unit) for unit in noted["units"]]
            if isinstance(source, str | Path) and noted["key"] == self._key(
                str(source), rows, units
            ):
                return units
        except (OSError, ValueError, TypeError, KeyError):
            pass
        self._clear()
        units = cut(source, self.folder / "copied", rows)
        with replacing(plan) as partial:
            partial.write_text(
                json.dumps(
                    {
                        "key": self._key(str(source), rows, units),
                        "units": [asdict(unit) for unit in units],
                    }
                )
            )
        return units

    def looked(self, number: int) -> Path:
        return self.folder / f"looked-{number:05d}.jsonl"

    def keys(self, number: int) -> Path:
        return self.folder / f"keys-{number:05d}.npz"

    def strikes(self, number: int) -> Path:
        return self.folder / f"strikes-{number:05d}.json"

    def strike(self, number: int, rows: dict[int, tuple[str, str]]) -> None:
        """Notes which rows of a unit go: by which filter, and the name of the first of their
        kind.
        """
        with replacing(self.strikes(number)) as partial:
            partial.write_text(json.dumps(list(rows.items())), encoding="ascii")

    def struck_rows(self, number: int) -> dict[int, tuple[str, str]]:
        return {
            row: (name, first)
            for row, (name, first) in json.loads(self.strikes(number).read_text(encoding="ascii"))
        }

    def settled(self, number: int) -> Path:
        return self.folder / f"settled-{number:05d}.pickle"

    def ledger(self, number: int) -> Path:
        return self.folder / f"ledger-{number:05d}.jsonl"

    def fresh(self, name: str) -> Path:
        """A folder of the stage without what a killed merge left in it."""
        shutil.rmtree(self.out / name, ignore_errors=True)
        return self.out / name

    def close(self) -> None:
        """What the passes left is needed no more, nor the half-written files of those that were
        killed.

        The plan goes first: nobody may go on from a folder that is half gone.
        """
        (self.folder / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        for partial in self.out.rglob(".*.partial"):
            partial.unlink(missing_ok=True)

    def _key(self, source: str, rows: int, units: list[Unit]) -> str:
        """Settings, and size and time of every file."""
        files = sorted({unit.path for unit in units})
        seen = [(path, os.path.getsize(path), os.stat(path).st_mtime_ns) for path in files]
        return hashlib.sha256(json.dumps([self.digest, source, rows, seen]).encode()).hexdigest()

    def _clear(self) -> None:
        try:
            for name in (*MADE, WORK):
                if (self.out / name).exists():
                    shutil.rmtree(self.out / name)
            self.out.mkdir(parents=True, exist_ok=True)
            for name in ("report.json", "report.html"):
                (self.out / name).unlink(missing_ok=True)
        except OSError as error:
            raise ShardError(
                f"{self.out}: an unfinished filter stage cannot be removed ({error}); delete it by hand and run again"
            ) from error
