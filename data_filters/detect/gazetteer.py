"""Lists of names: the places that ship with the room, and lists or knowledge graphs of the
user's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from data_filters.detect.candidates import NAMED
from data_filters.text.language.normal import fold
from data_filters.text.stem import stem
from recipes.errors import ShardError
from recipes.vocabulary import Kind

PLACES = Path(__file__).with_name("gazetteer.txt")
_KINDS = NAMED | {"country", Kind.QUANTITY, Kind.DATE, Kind.ANSWER}
_MAX_CHARACTERS = 200
Phrase = tuple[str, ...]  # stems


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """Names that are known; compared by identity.

    `known` tells kinds of names that were found otherwise, and supplies evidence; `terms` are
    always found, in any case of letters, by their first word. `faults` are rows of files that could
    not be used, each with its place and the reason.
    """

    known: Mapping[Phrase, str]
    terms: Mapping[str, tuple[tuple[Phrase, str], ...]] = field(default_factory=dict)
    faults: Sequence[str] = ()

    def kind(self, words: Iterable[str]) -> str:
        """place, country or what a list says; empty where no list has it."""
        return self.known.get(tuple(stem(fold(word)) for word in words), "")

    def names(self, words: Iterable[str]) -> bool:
        """Whether some list has this name: a surrogate must not be one."""
        return tuple(stem(fold(word)) for word in words) in self.known


@lru_cache(maxsize=8)
def load_gazetteer(files: tuple[str, ...] = ()) -> Gazetteer:
    """The places that ship with the room and the terms of the user's files.

    A file has one name a line; behind a tab its kind; or a knowledge graph's subject, relation and
    value, of which subject and value are taken. A row that cannot be used is left out and told in
    `faults`.

    Raises:
        ShardError: a file cannot be read, or has no row that can be used.
    """
    known: dict[Phrase, str] = {}
    for line in PLACES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, kind = line.partition("\t")
            known.setdefault(_phrase(name), kind)
    terms: dict[str, dict[Phrase, str]] = {}
    faults: list[str] = []
    for path in files:
        rows = 0
        for phrase, kind in _read(Path(path), faults):
            terms.setdefault(phrase[0], {})[phrase] = kind
            known[phrase] = kind
            rows += 1
        if not rows:
            raise ShardError(
                f"{path}: no row can be used ({faults[-1] if faults else 'it is empty'}); fix it or leave it out of filter.gazetteer"
            )
    ordered = {
        first: tuple(sorted(found.items(), key=lambda one: -len(one[0])))
        for first, found in terms.items()
    }
    return Gazetteer(known, ordered, tuple(faults))


def _read(path: Path, faults: list[str]) -> Iterator[tuple[Phrase, str]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ShardError(
            f"{path}: the gazetteer cannot be read ({error}); fix filter.gazetteer"
        ) from error
    for number, line in enumerate(raw.splitlines(), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            faults.append(f"{path}:{number}: not UTF-8")
            continue
        if not text.strip() or text.startswith("#"):
            continue
        names, kind, fault = _row(text)
        phrases = [_phrase(name) for name in names]
        if not fault and not all(phrases):
            fault = "a name without a letter"
        if fault:
            faults.append(f"{path}:{number}: {fault}")
            continue
        yield from ((phrase, kind) for phrase in phrases)


def _row(text: str) -> tuple[list[str], str, str]:
    """(names, kind, fault) of a line."""
    cells = [cell.strip() for cell in text.split("\t")]
    if any(not character.isprintable() for cell in cells for character in cell):
        return [], "", "control characters"
    if len(cells) > 3:
        return (
            [],
            "",
            f"{len(cells)} columns, expected a name, a name and its kind, or subject, relation and value",
        )
    names = [cells[0], cells[2]] if len(cells) == 3 else cells[:1]
    if any(not 2 <= len(name) <= _MAX_CHARACTERS for name in names):
        return [], "", f"a name is not 2 to {_MAX_CHARACTERS} characters long"
    kind = cells[1] if len(cells) == 2 else Kind.NAME
    return (
        names,
        kind,
        "" if kind in _KINDS else f"kind {kind!r}, expected one of {', '.join(sorted(_KINDS))}",
    )


def _phrase(name: str) -> Phrase:
    return tuple(
        stem(fold(word))
        for word in name.replace("-", " ").replace(",", " ").split()
        if any(map(str.isalnum, word))
    )
