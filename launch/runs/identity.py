"""What a part of a run depends on, what its content is, and the one line that refuses a part made
by another recipe.
"""

import dataclasses
import fnmatch
import functools
import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recipes.errors import WorkspaceError
from recipes.schema import Recipe

Identity = dict[str, Any]  # dotted key -> JSON value: all that the content of a part depends on

MANIFEST, BEGUN, CHECKPOINTS = "manifest.json", "identity.json", "checkpoints"
NO_CONTENT = {MANIFEST, BEGUN, CHECKPOINTS}  # names that do not count as content, at any depth
# files that hold seconds: they differ between two runs of the same recipe
TIMED = ("metrics.jsonl",)
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "deepspeed", "peft", "pyarrow")
KEYS_SHOWN = 4  # in a refusal; the others are counted
LONG_VALUE = 72  # characters; a longer value is cut to the stretch around the first difference


def identity_of(section: Any, *, prefix: str, leave_out: Sequence[str] = ()) -> Identity:
    """A section of the recipe as flat dotted keys; lists and tables become JSON text.

    Args:
        section: a frozen dataclass, or a value in it.
        prefix: where it stands in the recipe, e.g. "models.teacher".
        leave_out: full dotted keys (of values or whole subsections) that do not change the content.
    """
    if prefix in leave_out:
        return {}
    if dataclasses.is_dataclass(section):
        found: Identity = {}
        for field in dataclasses.fields(section):
            found |= identity_of(
                getattr(section, field.name), prefix=f"{prefix}.{field.name}", leave_out=leave_out
            )
        return found
    if isinstance(section, list | tuple | dict):
        return {prefix: json.dumps(section, default=dataclasses.asdict, sort_keys=True)}
    return {prefix: section}


def recipe_identity(recipe: Recipe, *keys: str, leave_out: Sequence[str] = ()) -> Identity:
    """What a part depends on in the recipe: the seed, and these sections or single values.

    Args:
        keys: dotted, such as "models.teacher" or "evaluate.seed".
        leave_out: as in `identity_of`.
    """
    found: Identity = {"seed": recipe.seed}
    for dotted in keys:
        section: object = recipe
        for name in dotted.split("."):
            section = getattr(section, name)
        found |= identity_of(section, prefix=dotted, leave_out=leave_out)
    return found


def plain(identity: Identity) -> Identity:
    """The identity as JSON gives it back, so that it compares equal to what a file holds."""
    return dict(json.loads(json.dumps(identity)))


def refuse_if_changed(folder: Path, verb: str, old: Identity, identity: Identity) -> None:
    """Refuses a folder that belongs to another identity; a recipe's own keys are named before
    digests of what was read.

    Args:
        verb: what was done to the folder, "made" or "begun".

    Raises:
        WorkspaceError: one line with up to four differing keys, both values of each, and both ways
            out.
    """
    new = plain(identity)
    changed = [
        key
        for key in old.keys() | new.keys()
        if key not in old or key not in new or old[key] != new[key]
    ]
    if not changed:
        return
    changed.sort(key=lambda key: (key.startswith("input."), key))
    shown = [_change(key, old, new) for key in changed[:KEYS_SHOWN]]
    if len(changed) > KEYS_SHOWN:
        shown.append(f"and {len(changed) - KEYS_SHOWN} more")
    ways_out = f"start a variant with name=NEW (it reuses what still fits), or delete {folder} to make it again"
    raise WorkspaceError(f"{folder} was {verb} by another recipe: {'; '.join(shown)}; {ways_out}")


def _change(key: str, old: Identity, new: Identity) -> str:
    """KEY was OLD, is now NEW."""
    was, now = (_shown(values[key]) if key in values else "absent" for values in (old, new))
    if max(len(was), len(now)) > LONG_VALUE:
        same = next(
            (at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b),
            min(len(was), len(now)),
        )
        was, now = (_stretch(text, max(0, same - LONG_VALUE // 3)) for text in (was, now))
    return f"{key} was {was}, is now {now}"


def _stretch(text: str, start: int) -> str:
    end = start + LONG_VALUE - 10
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def content_files(folder: Path) -> Iterator[Path]:
    """All files that count as content, by name: no manifests, no checkpoints, nothing temporary."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not NO_CONTENT & set(parts) and not any(map(is_temporary, parts)):
            yield path


def is_temporary(name: str) -> bool:
    """Whether a file of this name is half written: .NAME..., tmp-..., NAME.tmp."""
    return name.startswith((".", "tmp-")) or name.endswith(".tmp")


def list_content(folder: Path, leave_out: Sequence[str] = TIMED) -> dict[str, tuple[int, str]]:
    """Size in bytes and SHA-256 of every file of a folder's content, by its name.

    Args:
        leave_out: names or patterns of further files that are no content.
    """
    found = {}
    for path in content_files(folder):
        name = path.relative_to(folder).as_posix()
        if not any(
            fnmatch.fnmatch(given, pattern) for pattern in leave_out for given in (name, path.name)
        ):
            found[name] = (path.stat().st_size, file_digest(path))
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(content: Mapping[str, tuple[int, str]]) -> str:
    """A digest of names and bytes, as `list_content` lists them."""
    whole = hashlib.sha256()
    for name, (_, digest) in content.items():
        whole.update(f"{name}\0{digest}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def content_digest(folder: Path, leave_out: Sequence[str] = TIMED) -> str:
    """A digest of the names and bytes of a folder's content: the same content gives the same digest
    wherever it lies.

    Args:
        leave_out: as in `list_content`.
    """
    return digest_of(list_content(folder, leave_out))


def provenance() -> dict[str, Any]:
    """What made a part: versions of the packages that shape the numbers, git commit if there is
    one, date (UTC).
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "versions": dict(_versions()),
        "commit": _commit(Path(__file__).parents[1]),
        "date": now,
    }


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


@functools.cache
def _commit(house: Path) -> str | None:
    """The commit of this repository; None for an installed copy, also when that lies inside some
    other repository.
    """
    command = ["git", "-C", str(house), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    return answer[1] if Path(answer[0]).resolve() == house.resolve() else None
