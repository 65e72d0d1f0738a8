"""A part of a run: a folder that is made once, with a manifest at its end.

A stage yields its parts, one after the other. The next one is asked for when the last is finished,
so that its identity can name the digest of what came before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from distill.progress import show
from launch.runs.identity import Identity
from launch.runs.run_folder import Workspace
from launch.runs.run_log import heartbeat, show_once

Notes = dict[str, Any]  # counts for people; they stand in the manifest and on the "done" line


@dataclass(frozen=True)
class Part:
    """What a part is, and how it is made.

    Args:
        name: its folder below the run, such as "distill/student".
        identity: all that its content depends on.
        write: fills the folder; gives the notes of this rank.
        who: "all" ranks together, the "main" rank alone, or the number of the rank that owns it.
    """

    name: str
    identity: Identity
    write: Callable[[Path], Notes]
    who: Literal["all", "main"] | int = "all"


class Stage(Protocol):
    """One stage of the street, seen from one rank."""

    def check(self) -> None:
        """Refuses what cannot work, before any weight is loaded."""

    def parts(self) -> Iterator[Part]:
        """Its parts in order; what stands after a `yield` runs when that part is finished."""


def make_part(part: Part, work: Workspace) -> None:
    """Makes a part unless it is finished or another run has it.

    Returns when the part is finished, except on ranks that do not own it: they go on at once.

    Raises:
        WorkspaceError: the folder was made by another recipe.
    """
    owned = isinstance(part.who, int)
    if owned and part.who != work.ranks.index:
        return
    leads, began = owned or work.ranks.is_main, time.monotonic()
    if not work.claim(
        part.name, part.identity, leads=leads, show=lambda text: show_once(text, work.ranks)
    ):
        return
    notes: Notes = {}
    if leads or part.who == "all":
        with heartbeat(part.name) if leads else nullcontext():
            notes = part.write(work.folder(part.name))
    if leads:
        seconds = round(time.monotonic() - began, 1)
        work.finish(part.name, part.identity, notes | {"seconds": seconds})
        show(f"{part.name}: done in {seconds:,.1f} s{_brief(notes)}")
    else:
        work.wait(part.name, part.identity)


def _brief(notes: Notes) -> str:
    shown = {name: value for name, value in notes.items() if isinstance(value, int | float | list)}
    texts = (f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    return f" ({', '.join(texts)})" if shown else ""
