"""The log of a training: one JSON line a step, and the trackers that the recipe names."""

import importlib
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator


class Metrics:
    """One JSON line a step; lines after the checkpoint that a run resumes from are cut off first.

    Args:
        path: of metrics.jsonl; probes go to probes.jsonl beside it.
        step: steps of the checkpoint.
    """

    def __init__(self, path: Path, step: int, is_main: bool) -> None:
        self.path, self.step, self.is_main = path, step, is_main
        self.probes = path.with_name("probes.jsonl")

    def __enter__(self) -> Self:
        if self.is_main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for path in (self.path, self.probes):
                self._cut(path)
            self.file = self.path.open("a", buffering=1)
        return self

    def _cut(self, path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        path.write_text("".join(line for line in whole if json.loads(line)["step"] <= self.step))

    def write(self, row: dict[str, Any]) -> None:
        if self.is_main:
            self.file.write(json.dumps(row) + "\n")

    def write_probe(self, row: dict[str, Any]) -> None:
        if self.is_main:
            with self.probes.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def __exit__(self, *_: object) -> None:
        if self.is_main:
            self.file.close()
            if not self.probes.read_text():
                self.probes.unlink()


class Trackers:
    """accelerate's trackers, started when the training starts and ended with it.

    Args:
        run: project and name there, e.g. planted_world/student; empty: none.
        config: the knobs of the training, shown there.
    """

    def __init__(self, accelerator: Accelerator, run: str, config: dict[str, Any]) -> None:
        self.accelerator, self.on = accelerator, bool(run and accelerator.log_with)
        if self.on:
            project, _, name = run.partition("/")
            plain = {
                key: value if isinstance(value, int | float | str | bool) else str(value)
                for key, value in config.items()
            }
            with redirect_stdout(io.StringIO()):  # trackio greets in five lines
                accelerator.init_trackers(
                    project,
                    plain,
                    {"trackio": {"name": name, "resume": "allow"}, "wandb": {"name": name}},
                )

    def write(self, row: dict[str, Any], step: int, prefix: str = "") -> None:
        if self.on:
            numbers = {
                prefix + key: value
                for key, value in row.items()
                if isinstance(value, int | float) and key != "step"
            }
            self.accelerator.log(numbers, step=step)

    def close(self) -> None:
        """Accelerator.end_training would also end the process group, which the next training of
        this launch needs.
        """
        if self.on and self.accelerator.is_main_process:
            with redirect_stdout(io.StringIO()):
                for tracker in self.accelerator.trackers:
                    # accelerate ends the run, but leaves it the current one: it would be ended
                    # again at exit
                    if tracker.name == "trackio":
                        importlib.import_module("trackio").finish()
                    else:
                        tracker.finish()
        self.on = False
