"""Memory on, memory off: python -m launch.undo_edit RUN/edit/student OUT writes the model with its
delta added.

An edited model's delta.safetensors turns it into the model that was edited, to the bit, and that
one back into the edited one.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.runs.process import complain, configure_torch, threads_per_process
from launch.runs.ranks import Ranks
from launch.runs.run_log import say
from recipes.errors import ModelError, PipelineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the other model; gives the exit code."""
    made = argparse.ArgumentParser(prog="python -m launch.undo_edit", description=__doc__)
    made.add_argument(
        "model", type=Path, help="a model folder, e.g. runs/planted_world_edit/edit/student"
    )
    made.add_argument("out", type=Path, help="a folder that is not there yet")
    made.add_argument("--delta", type=Path, help="default: delta.safetensors in the model folder")
    given = made.parse_args(arguments)
    try:
        configure_torch(threads_per_process())
        say(switch(given.model, given.delta or given.model / "delta.safetensors", given.out))
        return 0
    except PipelineError as fault:
        return complain(str(fault), Ranks())


def switch(folder: Path, delta: Path, out: Path) -> str:
    """Writes the model of a folder with a delta added to `out`, and the delta beside it; gives
    memory_on or memory_off.

    Raises:
        ModelError: no model or no delta there, the delta belongs to another model, or `out` is
            there already.
    """
    from distill.edit.delta import add_back
    from distill.models import load_config, load_model, load_tokenizer, save_model
    from recipes.schema import Model

    if not delta.is_file():
        raise ModelError(
            f"{delta}: no such delta; expected delta.safetensors of an edit, name it with --delta"
        )
    if out.exists():
        raise ModelError(f"{out} is there already; name a folder that is not")
    dtype = str(load_config(Model(path=str(folder)), folder).dtype).removeprefix("torch.")
    spec = Model(path=str(folder), dtype=dtype)  # type: ignore[arg-type]
    model = load_model(spec, folder)
    side = add_back(model, delta)
    half = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    save_model(model, load_tokenizer(spec, folder), half)
    shutil.copy2(delta, half / "delta.safetensors")
    half.replace(out)
    return side


if __name__ == "__main__":
    sys.exit(main())
