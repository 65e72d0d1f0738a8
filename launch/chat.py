"""A chat in the terminal with a student that looks things up: python -m launch.chat RUN.

Look-ups and programs are shown as they happen. The base can be switched off and edited in the
middle of the chat, and the answers follow.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.runs.process import complain
from launch.runs.ranks import Ranks
from launch.runs.run_log import say
from recipes.errors import PipelineError, RecipeError

EPILOG = """examples:
  python -m launch.chat runs/planted_world_lookup
  python -m launch.chat runs/planted_world_lookup --base off
  python -m launch.chat runs/planted_world_lookup --base passages.jsonl
  echo "Where does Mara live?" | python -m launch.chat runs/planted_world_lookup

commands:
  /base off | on         without tools at hand, and with them again
  /find WORDS            what a look-up gives
  /change OLD => NEW     another passage in its place; /change OLD => takes it out
  /new                   forgets what was said (with --history)
  /quit"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Chats until the input ends; gives the exit code."""
    given = parser().parse_args(arguments)
    try:
        folder, knowledge = places(given)
        return chat_loop(given, folder, knowledge)
    except PipelineError as fault:
        return complain(str(fault), Ranks())
    except KeyboardInterrupt:
        return 130


def places(given: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where the model lies and where the passages, before anything heavy is imported; None: there
    are no passages.

    Raises:
        RecipeError: one of them is not there.
    """
    run = Path(given.run)
    folder = run if (run / "config.json").exists() else run / given.model
    if not (folder / "config.json").exists():
        raise RecipeError(f"{folder}: no model there; name a finished run, or a model folder")
    named = Path(given.base) if given.base not in (None, "off") else None
    if named and not named.exists():
        raise RecipeError(
            f"--base {named}: not there; expected off, or passages: a folder, .parquet or .jsonl"
        )
    own = run / "filter" / "knowledge"
    return folder, named or (own if own.exists() else None)


def chat_loop(given: argparse.Namespace, folder: Path, knowledge: Path | None) -> int:
    """Reads questions and commands from standard input, writes answers to standard output."""
    from launch.runs.process import configure_torch, threads_per_process

    configure_torch(threads_per_process())
    from data_filters.lookup.knowledge_base import KnowledgeBase
    from data_filters.verify.sandbox import Sandbox
    from launch.chat_session import open_chat

    passages = KnowledgeBase.read(knowledge) if knowledge else KnowledgeBase([])
    how = {
        "snippets": given.snippets,
        "max_new_tokens": given.max_new_tokens,
        "max_calls": given.max_calls,
    }
    with Sandbox() as sandbox:
        chat = open_chat(folder, passages, sandbox, adapter=given.adapter, **how)
        chat.history, asking = given.history, sys.stdin.isatty()
        say(*chat.switch("off" if given.base == "off" else "on"))
        while True:
            try:
                line = input("> " if asking else "").strip()
            except EOFError:
                return 0
            if line == "/quit":
                return 0
            if line and not asking:
                say(f"> {line}")
            for said in chat.answer(line) if line else ():
                say(said)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m launch.chat",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Talks with a student of a finished run, or with any model folder; shows what it looks up.",
    )
    made.add_argument(
        "run", metavar="RUN", help="a run folder, e.g. runs/planted_world_lookup, or a model folder"
    )
    made.add_argument(
        "--model",
        default="distill/student",
        help="which model of the run (default: distill/student)",
    )
    made.add_argument(
        "--base",
        help="off, or passages: a folder, .parquet or .jsonl (default: RUN/filter/knowledge)",
    )
    made.add_argument(
        "--adapter", help="a LoRA adapter to put on it, e.g. RUN/distill/sleep/adapter"
    )
    made.add_argument("--snippets", type=int, default=3, help="passages that a look-up gives")
    made.add_argument("--max-new-tokens", type=int, default=96, help="of a turn")
    made.add_argument("--max-calls", type=int, default=4, help="that are run for one question")
    made.add_argument(
        "--history", action="store_true", help="questions follow each other in one conversation"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
