"""Whether the files of a model folder hold its weights, said before and after they are loaded."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from recipes.errors import ModelError

_POINTER = b"version https://git-lfs"
SHOWN = 3  # names of weights in a line


def check_files(folder: Path) -> None:
    """Opens the header of every safetensors file of a folder; a folder without any passes.

    Raises:
        ModelError: a file holds no weights, for instance a pointer that git-lfs left, or the first
            half of a download.
    """
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as fault:
            raise ModelError(_no_weights(file, fault)) from fault


def check_names(source: str, report: Mapping[str, Collection[Any]]) -> None:
    """Refuses a model some of whose weights were not in its files: they would be random.

    Args:
        source: of the model, for the message.
        report: what `from_pretrained(..., output_loading_info=True)` says.

    Raises:
        ModelError: weights are missing, or have other shapes.
    """
    missing = sorted(map(str, report.get("missing_keys", ())))
    others = sorted(map(str, report.get("unexpected_keys", ())))
    if not missing:
        return
    what = f"{len(missing)} weights are not in its files, such as {_few(missing)}"
    if any(".lora_" in name or name.startswith("base_model.") for name in others):
        todo = (
            "these are weights of an adapter: merge it (merge_and_unload) and save the whole model"
        )
    elif others:
        todo = f"the files name {_few(others)} instead: is it the model of this config?"
    else:
        todo = "download the folder again"
    raise ModelError(f"model {source}: {what}; {todo}")


def _no_weights(file: Path, fault: Exception) -> str:
    with file.open("rb") as opened:
        is_pointer = opened.read(len(_POINTER)) == _POINTER
    if is_pointer:
        return (
            f"{file} is a pointer of git-lfs and holds no weights; run `git lfs pull` in its folder"
        )
    return f"{file} holds no weights that can be read ({str(fault).splitlines()[0]}); download it again"


def _few(names: Collection[str]) -> str:
    shown = list(names)[:SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > SHOWN else "")
