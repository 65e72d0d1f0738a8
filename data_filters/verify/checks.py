"""What an answer is checked against, as a record that travels with a problem, a trace and a
question, so that each is judged alike wherever it is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from data_filters.verify.json_values import from_json, to_json
from data_filters.verify.reading.references import Kind, final_reference, verifier_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a problem's answer is checked against."""

    kind: Kind
    gold: str | None = None  # the reference; LaTeX is fine for math
    others: tuple[str, ...] = ()  # further references, each as good as gold
    family: str = ""  # reasoning_gym only: name of its data set
    # reasoning_gym only: question, answer, metadata, as the data set gave it
    entry: dict[str, Any] | None = None
    tests: str | None = None  # program only: see assertions.py for the forms

    def __post_init__(self) -> None:
        if self.kind == "reasoning_gym" and (not self.family or self.entry is None):
            raise ValueError("a reasoning_gym check needs the family and the entry")

    @property
    def references(self) -> tuple[str, ...]:
        """The final answer of each reference."""
        return tuple(final_reference(each) for each in (self.gold or "", *self.others))

    def note(self) -> str | None:
        """What `check_of_note` needs beside the reference; None where the reference is enough, and
        where an entry holds what JSON cannot.
        """
        if self == check_of(self.gold):
            return None
        said: dict[str, Any] = {
            "kind": self.kind,
            "others": list(self.others),
            "family": self.family,
        }
        said |= {"entry": self.entry, "tests": self.tests}
        try:
            return to_json({name: value for name, value in said.items() if value})
        except (TypeError, ValueError, RecursionError):
            return None


def check_of(
    gold: str | None,
    others: Sequence[str] = (),
    *,
    tests: str | None = None,
    asked: Literal["auto"] | Kind = "auto",
) -> Check:
    """What an answer is judged against where all that is known is a reference, or tests.

    Args:
        gold: the reference, with or without its working; None: there is none.
        others: as good as gold.
        tests: of a program.
        asked: the kind, or auto: by the look of the reference.
    """
    final = None if gold is None else final_reference(gold)
    kind = verifier_of(asked, final, tests)
    return Check(kind=kind, gold=final, tests=tests, others=tuple(map(final_reference, others)))


def check_of_note(gold: str | None, note: str | None) -> Check:
    """The check of a trace or question that was stored with its reference and `Check.note`."""
    if note is None:
        return check_of(gold)
    try:
        said = {"kind": check_of(gold).kind} | cast(dict[str, Any], from_json(note))
        return Check(gold=gold, **said | {"others": tuple(said.get("others", ()))})
    except (ValueError, TypeError, AttributeError, RecursionError):  # a column of somebody else
        return check_of(gold)
