"""The folder of a run: which part of it is done, by whom it was made, and how ranks meet through
it.

A part is a folder that can be resumed on its own (teacher, generate, distill/student,
evaluate/answers/teacher, ...). identity.json is written when it begins and manifest.json, by
rename, when it is complete. Ranks meet by these two files.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from launch.runs.identity import (
    BEGUN,
    CHECKPOINTS,
    MANIFEST,
    TIMED,
    Identity,
    content_files,
    digest_of,
    is_temporary,
    list_content,
    plain,
    provenance,
    refuse_if_changed,
)
from launch.runs.integrity import check_whole, own_files
from launch.runs.ranks import Ranks
from recipes.errors import WorkspaceError
from recipes.load import to_yaml
from recipes.schema import Recipe

State = Literal["done", "unfinished", "new"]

POLL_SECONDS = 0.2
STALE_SECONDS = 60.0  # with several ranks, a younger temporary file may be in use


class Workspace:
    """A run folder, seen from one rank.

    Args:
        root: RUNS/NAME; `open` makes it.
        ranks: one process where not given.
    """

    def __init__(self, root: Path, ranks: Ranks | None = None) -> None:
        self.root, self.ranks = Path(root), ranks or Ranks()
        self._recipe_yaml, self._lock = "", -1
        self._whole: set[str] = set()  # parts whose files were compared with their manifest

    def open(self, recipe: Recipe) -> None:
        """Makes the folder, locks it against a second launch and notes the resolved recipe, all on
        the main rank.

        An earlier recipe.yaml stays until the first part is begun: a run that is refused leaves the
        folder as it was.

        Raises:
            WorkspaceError: the folder cannot be written, its disk is full, or another launch is at
                work in it.
        """
        self._recipe_yaml = to_yaml(recipe)
        if not self.ranks.is_main:
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if not (self.root / "recipe.yaml").exists():
                self.record_recipe()
        except OSError as fault:
            why = f"{fault.strerror or fault}; free some space, make it writable, or choose another place with runs=FOLDER"
            raise WorkspaceError(f"{self.root}: the run folder cannot be written: {why}") from fault

    def record_recipe(self) -> None:
        """Writes RUNS/NAME/recipe.yaml, itself a valid recipe; main rank only."""
        if self.ranks.is_main and self._recipe_yaml:
            _write(self.root / "recipe.yaml", self._recipe_yaml)

    def folder(self, part: str) -> Path:
        """The folder of a part, made or not."""
        return self.root / part

    def state(self, part: str, identity: Identity) -> State:
        """What there is of a part: done, unfinished (to be continued), or new.

        A part that was begun and holds nothing yet belongs to nobody: whoever mends a fault in the
        recipe is not refused for it.

        Raises:
            WorkspaceError: it was made, or begun, under another identity; one line with the keys
                and both ways out.
        """
        folder = self.folder(part)
        manifest = _manifest(folder)
        if manifest is not None:
            refuse_if_changed(folder, "made", manifest["identity"], identity)
            return "done"
        begun = _read(folder / BEGUN)
        if begun is None or (begun != plain(identity) and _is_untouched(folder)):
            return "new"
        refuse_if_changed(folder, "begun", begun, identity)
        return "unfinished"

    def claim(
        self, part: str, identity: Identity, *, leads: bool, show: Callable[[str], None]
    ) -> bool:
        """Settles whether a part has to be made: False where it is done or was reused from another
        run.

        The leading rank decides and notes it on disk; the others wait for that note.

        Args:
            leads: exactly one rank passes True, the main rank or the owner of the part.
            show: called with "PART: done, skipped" or "PART: reused from RUN".

        Raises:
            WorkspaceError: as `state`.
        """
        state = self.state(part, identity)
        while not leads and state == "new":
            time.sleep(POLL_SECONDS)
            state = self.state(part, identity)
        if not leads:
            return state != "done"
        if state == "done":
            self._check_whole(part)
            show(f"{part}: done, skipped")
        elif state == "new" and (source := self.adopt(part, identity)):
            state = "done"
            show(f"{part}: reused from {source}")
        else:
            self._begin(part, identity)
        return state != "done"

    def adopt(self, part: str, identity: Identity) -> Path | None:
        """Brings a finished part of the same identity over from another run beside this one, by
        hard links.

        Returns:
            the run folder it came from; None where there is none, or where this run has something
            there already.
        """
        target = self.folder(part)
        if not _is_untouched(target):
            return None
        for manifest in sorted(self.root.parent.glob(f"*/{part}/{MANIFEST}")):
            source = manifest.parent
            if source != target and (_read(manifest, strict=False) or {}).get("identity") == plain(
                identity
            ):
                _link_tree(source, target)
                return self.root.parent / source.relative_to(self.root.parent).parts[0]
        return None

    def finish(
        self, part: str, identity: Identity, notes: dict[str, Any], leave_out: Sequence[str] = TIMED
    ) -> str:
        """Declares a part complete: its manifest appears, by rename, after everything else; then
        its checkpoints go.

        Args:
            notes: counts and seconds for people; versions, commit, ranks and date are added. No
                part of the identity.
            leave_out: names or patterns of files that are no content, such as files that hold
                seconds.

        Returns:
            the content digest.
        """
        folder = self.folder(part)
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder, older_than_seconds=self._stale_seconds())
        content = list_content(folder, leave_out)
        manifest = {
            "identity": plain(identity),
            "content": digest_of(content),
            "files": own_files(folder, content),
            "notes": notes | {"ranks": self.ranks.count} | provenance(),
        }
        _write(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        # a finished part is never resumed
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        self._whole.add(part)
        return str(manifest["content"])

    def done(self, part: str) -> bool:
        """Whether the part is complete, under whatever identity."""
        return (self.folder(part) / MANIFEST).exists()

    def digest(self, part: str) -> str:
        """The content digest of a finished part, whose files are compared with its manifest.

        Raises:
            WorkspaceError: the part is not finished, or was damaged since.
        """
        manifest = _manifest(self.folder(part))
        if manifest is None:
            stage = part.partition("/")[0]
            raise WorkspaceError(
                f"{self.folder(part)} is not finished; run the stage {stage!r} first (stages=... names those that run)"
            )
        self._check_whole(part)
        return str(manifest["content"])

    def damaged_parts(self) -> Iterator[str]:
        """Reads every byte of every finished part; one line for each that is not as it was
        finished.
        """
        for path in sorted(self.root.rglob(MANIFEST)):
            try:
                check_whole(path.parent, _manifest(path.parent) or {}, every_byte=True)
            except WorkspaceError as fault:
                yield str(fault)

    def _check_whole(self, part: str) -> None:
        if self.ranks.is_main and part not in self._whole:
            check_whole(self.folder(part), _manifest(self.folder(part)) or {})
            self._whole.add(part)

    def wait(self, part: str, identity: Identity) -> None:
        """Returns when another rank has finished the part; silent, and without a time limit: a
        stage may take days.

        Raises:
            WorkspaceError: what is there has another identity.
        """
        while self.state(part, identity) != "done":
            time.sleep(POLL_SECONDS)

    def wait_for(self, path: Path) -> None:
        """Returns when the file is there."""
        while not Path(path).exists():
            time.sleep(POLL_SECONDS)

    def _begin(self, part: str, identity: Identity) -> None:
        """Notes what the part will be, clears what a killed run left half written, and says which
        recipe the folder now follows.
        """
        folder = self.folder(part)
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder, older_than_seconds=self._stale_seconds())
        self.record_recipe()
        _write(folder / BEGUN, json.dumps(plain(identity), indent=1, sort_keys=True) + "\n")

    def _stale_seconds(self) -> float:
        return STALE_SECONDS if self.ranks.count > 1 else 0.0

    def _take_lock(self) -> None:
        """A record lock: it goes with this process, however that ends, and no child inherits it."""
        self._lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as fault:
            ways_out = "wait for it or stop it, or start a variant with name=NEW"
            raise WorkspaceError(
                f"{self.root}: another launch is at work in this run folder; {ways_out}"
            ) from fault


def remove_stale_temporaries(folder: Path, *, older_than_seconds: float = 0.0) -> None:
    """Removes files that a killed run left half written (.NAME..., tmp-..., NAME.tmp); checkpoints
    are left to the training loop.

    Args:
        older_than_seconds: spares younger ones, which another rank may be writing; by this
            machine's clock.
    """
    limit = time.time() - older_than_seconds
    for path in list(folder.rglob("*")):
        ours = is_temporary(path.name) and CHECKPOINTS not in path.relative_to(folder).parts
        if ours and path.is_file() and path.stat().st_mtime <= limit:
            path.unlink(missing_ok=True)


def _link_tree(source: Path, target: Path) -> None:
    """Content and manifests, linked or else copied; one rename makes all of it appear at once."""
    half = target.with_name(f".{target.name}.adopting")
    shutil.rmtree(half, ignore_errors=True)
    notes = (path for name in (BEGUN, MANIFEST) for path in source.rglob(name))
    for path in (*content_files(source), *notes):
        copy = half / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, copy)
        except OSError:
            shutil.copy2(path, copy)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(half, target)


def _is_untouched(folder: Path) -> bool:
    """Whether nothing was made there yet (also where it does not exist): at most begun, with half
    written files.
    """
    return all(
        path.is_dir() or path == folder / BEGUN or is_temporary(path.name)
        for path in folder.rglob("*")
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a part; None where it has none.

    Raises:
        WorkspaceError: it holds something else.
    """
    manifest = _read(folder / MANIFEST)
    kinds = {"identity": dict, "content": str, "notes": dict}
    if manifest is not None and not all(
        isinstance(manifest.get(key), kind) for key, kind in kinds.items()
    ):
        raise WorkspaceError(_unreadable(folder / MANIFEST, "it is no manifest"))
    return manifest


def _read(path: Path, *, strict: bool = True) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file (or, if not strict, nothing
    readable).
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as fault:
        if not strict:
            return None
        raise WorkspaceError(_unreadable(path, fault)) from fault


def _unreadable(path: Path, why: object) -> str:
    return f"{path} cannot be read ({why}); delete {path.parent} to make it again"


def _write(path: Path, text: str) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
