"""The working folder of a filter run: what its passes leave for each other, and what a killed run
can go on from.

JSON and arrays of numbers only: whoever can write to the folder can change a result, but never make
this program run something.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.passes.probe_answers import ProbeAnswers, read_probe_answers
from data_filters.recall.known_texts import KnownTexts, build
from data_filters.records.files import reading, replacing
from data_filters.records.traces import Trace
from data_filters.records.units import Unit, cut
from recipes.errors import ShardError

MADE = ("kept", "dropped", "knowledge", "exposure")
WORK = "work"
KNOWN_RUNS = "known_runs.u64"


class Job(NamedTuple):
    """What every pass over a unit needs, as each process builds it once."""

    context: FilterContext
    units: list[Unit]
    out: Path
    probes: Path | None
    known: KnownTexts | None  # None: there are none

    def probe_answers(self, number: int) -> ProbeAnswers:
        """What the probes said of the traces of a unit."""
        return read_probe_answers(self.probes, number)


class Scratch:
    """Paths by unit number under out/work; the folder goes when the stage is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder.parent
        self.merged = folder / "merged"  # there: pass 2 is done

    @classmethod
    def of_stage(cls, out: Path) -> "Scratch":
        """The working folder of a stage that writes to `out`."""
        return cls(Path(out) / WORK)

    def units(self, source: str | Path | Iterable[Trace], rows: int, settings: str) -> list[Unit]:
        """The units of the source: those of a killed run of the same settings and files, or new
        ones in an emptied folder.

        Args:
            source: what `cut` takes.
            rows: traces in a unit, about.
            settings: a digest of them.
        """
        plan = self.folder / "plan.json"
        try:
            noted = json.loads(plan.read_text(encoding="utf-8"))
            units = [Unit(**unit) for unit in noted["units"]]
            key = _key(settings, str(source), rows, units)
            if isinstance(source, str | Path) and noted["key"] == key:
                return units
        except (OSError, ValueError, TypeError, LookupError):
            pass
        self._clear()
        units = cut(source, self.folder / "copied", rows)
        key = _key(settings, str(source), rows, units)
        _write_json(plan, {"key": key, "units": [asdict(unit) for unit in units]})
        return units

    def write_job(self, settings: FilterSettings, units: list[Unit], probes: Path | None) -> None:
        """Notes what every pass needs, in plain values; each start writes it anew."""
        said = {
            "settings": settings.to_json(),
            "units": [asdict(unit) for unit in units],
            "probes": None if probes is None else str(probes),
        }
        _write_json(self.folder / "job.json", said)

    def index_known_texts(self, sources: Sequence[str]) -> None:
        """Writes the index of the known texts, once."""
        path = self.folder / KNOWN_RUNS
        if sources and not path.exists():
            build(sources, path)

    def job(self) -> Job:
        """What `write_job` noted, with the filters built; read once by each process."""
        path = self.folder / "job.json"
        with reading(path):
            noted = path.read_bytes()
        return _job(path, noted)

    def examined(self, number: int) -> Path:
        """What pass 1 found of each trace of a unit."""
        return self.folder / f"examined-{number:05d}.jsonl"

    def keys(self, number: int) -> Path:
        """The keys of a unit's traces."""
        return self.folder / f"keys-{number:05d}.npz"

    def summary(self, number: int) -> Path:
        """What pass 3 counted in a unit, and the facts that it took out."""
        return self.folder / f"summary-{number:05d}.json"

    def write_ignored(self, number: int, ignored: Mapping[str, int]) -> None:
        """Notes how many traces of a unit have a column of our name with another meaning."""
        _write_json(self._ignored(number), dict(ignored))

    def ignored(self, number: int) -> dict[str, int]:
        """What `write_ignored` noted."""
        path = self._ignored(number)
        with reading(path):
            return {str(k): int(v) for k, v in json.loads(path.read_text("ascii")).items()}

    def _ignored(self, number: int) -> Path:
        return self.folder / f"ignored-{number:05d}.json"

    def exposure(self, number: int) -> Path:
        """How often the traces of a unit state each fact."""
        return self.folder / f"exposure-{number:05d}.jsonl"

    def write_repeats(self, number: int, rows: Mapping[int, tuple[str, str]]) -> None:
        """Notes which rows of a unit go: by which filter, and the id of the first of their kind."""
        _write_json(self._repeats(number), list(rows.items()))

    def repeats(self, number: int) -> dict[int, tuple[str, str]]:
        """What `write_repeats` noted."""
        path = self._repeats(number)
        with reading(path):
            noted = json.loads(path.read_text(encoding="ascii"))
            return {int(row): (str(name), str(first)) for row, (name, first) in noted}

    def _repeats(self, number: int) -> Path:
        return self.folder / f"repeats-{number:05d}.json"

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
                f"{self.out}: an unfinished filter stage cannot be removed ({error}); delete it by "
                "hand and run again"
            ) from error


def _key(settings: str, source: str, rows: int, units: list[Unit]) -> str:
    """Settings, and size and time of every file."""
    files = sorted({unit.path for unit in units})
    seen = [(path, os.path.getsize(path), os.stat(path).st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([settings, source, rows, seen]).encode()).hexdigest()


@lru_cache(maxsize=1)
def _job(path: Path, noted: bytes) -> Job:
    with reading(path):
        said = json.loads(noted)
        settings = FilterSettings.from_json(said["settings"])
        units = [Unit(**unit) for unit in said["units"]]
        probes = None if said["probes"] is None else Path(said["probes"])
        index = path.parent / KNOWN_RUNS
        known = KnownTexts.open(index) if settings.config.known_texts else None
    return Job(FilterContext(settings), units, path.parent.parent, probes, known)


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value), encoding="ascii")
