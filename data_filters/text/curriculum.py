"""The minimum curriculum: words and constants that are tools of thought, whoever wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from data_filters.text.stem import stem
from recipes.errors import ShardError

DEFAULT_CURRICULUM = Path(__file__).with_name("minimum_curriculum.txt")
NAMES = ("stand-ins", "eponyms")  # detected like any name, and no facts in an example or a law
NEVER_FACTS = ("function words", "sentence starters", "logic", "maths", "proper words")


@dataclass(frozen=True, slots=True)
class Curriculum:
    """What needs no source.

    `ordinary` words are never a fact; `common` words are none unless a text notes them about a
    named entity. All hold stems. `proper` words are capitalised by themselves and make no name of
    their neighbours, `units` serve quantities, `epithets` may open a name ("New York"), `terms`
    close the name of a tool of thought ("Initial Velocity").
    `stand_ins` are people of examples ("Alice"), `eponyms` name a law or theorem ("Hooke's law").
    `constants` maps a number to stems of which one must stand in the prompt; `worked` to stems of
    which one must stand there or in the sentence, where something is worked out.
    """

    ordinary: frozenset[str]
    common: frozenset[str]
    proper: frozenset[str]
    units: frozenset[str]
    epithets: frozenset[str]
    terms: frozenset[str]
    constants: Mapping[int | Fraction, frozenset[str]]
    worked: Mapping[int | Fraction, frozenset[str]] = field(default_factory=dict)
    stand_ins: frozenset[str] = frozenset()
    eponyms: frozenset[str] = frozenset()

    def knows(self, key: str) -> bool:
        """Whether a stem is in any section."""
        return key in self.ordinary or key in self.common


def load_curriculum(path: str | Path | None = None) -> Curriculum:
    """The curriculum in an editable text file; None: the one that ships with the room.

    Raises:
        ShardError: the file is missing, or one of its lines cannot be read.
    """
    file = Path(path) if path else DEFAULT_CURRICULUM
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(
            f"{file}: the curriculum cannot be read ({error}); fix filter.curriculum_file or set it to null"
        ) from error
    sections: dict[str, set[str]] = {}
    constants: dict[str, dict[int | Fraction, frozenset[str]]] = {"constant": {}, "worked": {}}
    section = ""
    for number, raw in enumerate(lines, start=1):
        line = raw.split("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[]").lower()
        elif line.startswith(("constant:", "worked:")):
            kind, _, said = line.partition(":")
            value, units = _constant(said, line, f"{file}:{number}")
            constants[kind][value] = constants[kind].get(value, frozenset()) | units
        elif line:
            sections.setdefault(section, set()).update(stem(word) for word in line.split())
    return _curriculum(sections, constants["constant"], constants["worked"])


def _curriculum(
    sections: Mapping[str, set[str]],
    constants: Mapping[int | Fraction, frozenset[str]],
    worked: Mapping[int | Fraction, frozenset[str]],
) -> Curriculum:
    ordinary = frozenset().union(
        *(words for name, words in sections.items() if name in NEVER_FACTS)
    )
    common = frozenset().union(
        *(words for name, words in sections.items() if name not in (*NEVER_FACTS, *NAMES))
    )
    units, terms, *opening = (
        frozenset(sections.get(name, ()))
        for name in ("units", "terms", "directions", "colours", "qualities")
    )
    proper = frozenset().union(
        *(sections.get(name, ()) for name in ("proper words", "weekdays", "months"))
    )
    return Curriculum(
        ordinary,
        common - ordinary,
        proper,
        units,
        frozenset().union(*opening),
        terms,
        constants,
        worked,
        *(frozenset(sections.get(name, ())) for name in NAMES),
    )


def _constant(said: str, line: str, where: str) -> tuple[int | Fraction, frozenset[str]]:
    value, _, units = said.partition("=")
    try:
        number = Fraction(value.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise ShardError(
            f"{where}: got {line!r}, expected 'constant: NUMBER = word word'; fix the line"
        ) from error
    if not units.split():
        raise ShardError(
            f"{where}: found {line!r} without words after '='; name the words that make it common"
        )
    return (int(number) if number.denominator == 1 else number), frozenset(
        stem(word) for word in units.split()
    )
