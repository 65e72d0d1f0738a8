"""What a column of a data set says, whatever form it has: a text, a message, an answer with its
aliases, a key into choices, tests. A form that has no plain reading is refused with the path to
name.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from recipes.errors import RecipeError

Row = Mapping[str, Any]
CHOICES = ("choices", "options")  # columns of a row that hold its choices
# columns that tests need beside them: what is called, what is run before them
ENTRY_POINT, SETUP = "entry_point", ("test_setup_code", "test_imports")
COMPANIONS = (*CHOICES, ENTRY_POINT, *SETUP)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TEXT_KEYS = ("text", "content", "value", "question", "problem", "answer", "ground_truth")
_ALIASES = ("aliases", "normalized_aliases")
_USERS = ("user", "human")
_CHECK = re.compile(r"^def check\(\w+(?::[^)]*)?\)", re.MULTILINE)
_CALLED = re.compile(r"^check\(", re.MULTILINE)


class Answer(NamedTuple):
    """A reference, and others as good as it; None: the row has none."""

    gold: str | None
    others: tuple[str, ...] = ()
    options: str = ""  # lettered lines of the choices that it is one of


def text_of(value: Any, column: str, where: str) -> str:
    """The text of a column that asks something; empty where it is null or blank.

    Args:
        value: a text, a number, one text in a list, messages with one of the user, an object with
            one text.
        column, where: for the fault.

    Raises:
        RecipeError: it holds something else; the message names a path.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple):
        if not value:
            return ""
        said = _said(value)
        if said is not None:
            return said
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
    choices = choices_of(value)
    if choices is not None:
        return _choices_text(choices[0])
    if isinstance(value, Mapping):
        texts = [name for name in _TEXT_KEYS if isinstance(value.get(name), str)]
        if len(texts) == 1:
            return str(value[texts[0]])
    raise _no_text(value, column, where)


def answer_of(value: Any, column: str, row: Row, where: str) -> Answer:
    """The reference of a column.

    Args:
        value: a text, a number, a list of texts each of which is right, an object such as
            {value, aliases}, or the key of one of the row's choices.
        column, where: for the fault.
        row: its choices, if it has some.

    Raises:
        RecipeError: it holds something else; the message names a path.
    """
    keyed = _keyed(value, row, column, where)
    if keyed is not None:
        return keyed
    found = _golds(value, column, where)
    kept = list(dict.fromkeys(text for text in found if text.strip()))
    return Answer(kept[0], tuple(kept[1:])) if kept else Answer(None)


def tests_of(value: Any, row: Row) -> str | None:
    """A column of tests as one text: assertions line by line, inputs and outputs as JSON.

    Tests that check a candidate get the call that the row's entry_point names, and what the row
    says is to be run first.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        value = "\n".join(value)
    elif isinstance(value, list | tuple | Mapping):
        value = json.dumps(_examples(value), default=str)
    text = "" if value is None else str(value)
    name = str(row.get(ENTRY_POINT) or "")
    if _CHECK.search(text) and not _CALLED.search(text) and name.replace(".", "").isidentifier():
        text += f"\n\ncheck({name})\n"
    first = [_lines(row.get(name)) for name in SETUP] if not text.lstrip().startswith("{") else []
    return "\n".join([*filter(None, first), text]) if text.strip() else None


def _lines(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(str(item) for item in value)
    return value if isinstance(value, str) else ""


def _examples(value: Any) -> Any:
    """Inputs and outputs in the one form that the judge reads: {"inputs": [...], "outputs": [...]}."""
    if isinstance(value, Mapping) and {"input", "output"} <= set(value):
        return {"inputs": value["input"], "outputs": value["output"]}
    if isinstance(value, list) and all(
        isinstance(item, Mapping) and {"input", "output"} <= set(item) for item in value
    ):
        return {name + "s": [item[name] for item in value] for name in ("input", "output")}
    return value


def _said(messages: Sequence[Any]) -> str | None:
    """What the user says in a list of messages, where there is one message of the user."""
    found = []
    for message in messages:
        if not isinstance(message, Mapping):
            return None
        role = message.get("role", message.get("from"))
        said = message.get("content", message.get("value"))
        if role in _USERS and isinstance(said, str):
            found.append(said)
    return found[0] if len(found) == 1 else None


def _golds(value: Any, column: str, where: str) -> list[str]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, bool):
        return ["yes", "true"] if value else ["no", "false"]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return [str(int(value))]
    if isinstance(value, str | int | float):
        return [str(value)]
    if isinstance(value, list | tuple) and all(isinstance(item, str | None) for item in value):
        return [item for item in value if item is not None]
    if isinstance(value, Mapping):
        aliases = [v for name in _ALIASES for v in value.get(name) or () if isinstance(v, str)]
        texts = [name for name in _TEXT_KEYS if value.get(name) is not None]
        if len(texts) == 1 and not isinstance(value[texts[0]], Mapping):
            return _golds(value[texts[0]], f"{column}.{texts[0]}", where) + aliases
    raise _no_text(value, column, where)


def _no_text(value: Any, column: str, where: str) -> RecipeError:
    inside: Any = value
    path = [column]
    while isinstance(inside, Mapping | list | tuple) and inside:
        keys = list(inside) if isinstance(inside, Mapping) else list(range(len(inside)))
        named = [key for key in keys if str(key) in _TEXT_KEYS]
        path.append(str((named or keys)[0]))
        inside = inside[(named or keys)[0]]
    kind = "an object" if isinstance(value, Mapping) else "a list"
    return RecipeError(
        f"{where}: column {column!r} holds {kind} ({ascii(value)[:60]}), expected a text; name the "
        f"text inside it, such as {'.'.join(path)}"
    )


# --- choices


def _keyed(value: Any, row: Row, column: str, where: str) -> Answer | None:
    """The choice that a key names; None where the value is no key."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    name = next((name for name in CHOICES if row.get(name)), None)
    found = None if name is None or name == column else choices_of(row[name])
    if found is None:
        return None
    texts, labels = found
    said = str(value).strip().strip("().")
    if said in texts and not isinstance(value, int):
        place = texts.index(said)
        clash = said in labels and labels.index(said) != place
        if clash:
            raise RecipeError(
                f"{where}: column {column!r} is {said!r}, which is both a choice and the key of "
                "another one; name a column that holds the text, or letters"
            )
    elif said in labels:
        place = labels.index(said)
    elif said.isdigit() and int(said) < len(texts):
        place = int(said)
    else:
        return None
    letter = LETTERS[place] if place < len(LETTERS) else str(place)
    return Answer(f"({letter}) {texts[place]}", (), _choices_text(texts))


def choices_of(value: Any) -> tuple[list[str], list[str]] | None:
    """(texts, labels) of a column of choices: texts, {text, label} objects, or an object of both
    lists.
    """
    if isinstance(value, Mapping):
        texts = value.get("text") or value.get("texts")
        labels = value.get("label") or value.get("labels")
        if not isinstance(texts, list) and all(
            isinstance(v, str) and str(k) in LETTERS for k, v in value.items()
        ):
            texts, labels = list(value.values()), list(value)
        if isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels):
            return [str(text).strip() for text in texts], [str(label) for label in labels]
        return None
    if isinstance(value, list | tuple) and len(value) > 1:
        if all(isinstance(item, str | int | float) for item in value):
            return [str(item).strip() for item in value], list(LETTERS[: len(value)])
        if all(isinstance(item, Mapping) and "text" in item for item in value):
            labels = [str(item.get("label", LETTERS[n])) for n, item in enumerate(value)]
            return [str(item["text"]).strip() for item in value], labels
    return None


def _choices_text(texts: Sequence[str]) -> str:
    """A lettered line for each choice. Labels of the data set are not shown: an answer names a
    letter.
    """
    return "\n".join(f"{LETTERS[n]}. {text}" for n, text in enumerate(texts[: len(LETTERS)]))
