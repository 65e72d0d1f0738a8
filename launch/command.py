"""The console command: cognitive-core run|doctor|chat|ladder|undo-edit ARGUMENTS."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

# command -> (module with a `main`, what it does)
COMMANDS = {
    "run": ("launch.run", "runs a recipe"),
    "doctor": (
        "launch.doctor",
        "checks a recipe and says what it takes, before any weight is loaded",
    ),
    "chat": ("launch.chat", "talks with a student of a finished run"),
    "ladder": ("launch.ladder", "trains the teacher of a recipe in several shapes"),
    "undo-edit": ("launch.undo_edit", "puts edited weights back"),
}
HELP = """usage: cognitive-core COMMAND ...

{commands}

cognitive-core COMMAND --help says more; `python -m launch.run` and so on do the same.
A recipe is a YAML file or the name of one of the package: {names}.
On several devices: accelerate launch --config_file {machines}/zero2_8gpu.yaml -m launch.run RECIPE
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return int(importlib.import_module(COMMANDS[words[0]][0]).main(words[1:]))
    asked = not words or words[0] in ("-h", "--help")
    if not asked:
        print(f"error: no command {words[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    print(help_text(), end="")
    return 0


def help_text() -> str:
    """What is shown for --help."""
    from recipes.find import recipe_names

    return HELP.format(
        commands="\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items()),
        names=", ".join(recipe_names()),
        machines=Path(__file__).parent / "accelerate",
    )


if __name__ == "__main__":
    sys.exit(main())
