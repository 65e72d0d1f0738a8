"""Which process of a launch this is."""

import os
from dataclasses import dataclass

from recipes.errors import WorkspaceError


@dataclass(frozen=True)
class Ranks:
    """Which process of the launch this is; local_index counts within the machine."""

    index: int = 0
    count: int = 1
    local_index: int = 0

    @property
    def is_main(self) -> bool:
        return self.index == 0


def ranks_from_env() -> Ranks:
    """The ranks as torchrun and accelerate announce them; one process where nobody does.

    Raises:
        WorkspaceError: a variable holds no whole number.
    """
    said = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    for name, value in said.items():
        if value and not value.isdecimal():
            raise WorkspaceError(
                f"environment: {name} is {value!r}, expected a whole number as a launcher sets it; unset {name}"
            )
    return Ranks(int(said["RANK"] or 0), int(said["WORLD_SIZE"] or 1), int(said["LOCAL_RANK"] or 0))
