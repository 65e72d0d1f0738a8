"""The scorecard: what each contender can do and what it knows, side by side, with intervals and
paired differences.

Answers become sheets, one a contender. Each family of scores counts on a sheet, `measured` says how
sure each number is, and the card holds them by metric and contender. A metric whose suite or mode
was not asked is absent, never zero.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from data_filters.records.files import replacing, short
from eval.report.html import to_html
from eval.report.tables import to_markdown, to_terminal
from eval.scores.answers.read import read_answers
from eval.scores.answers.sheet import Sheet
from eval.scores.calibration import calibration
from eval.scores.calibration_curves import confidence_curves
from eval.scores.differences import differences, pairs
from eval.scores.effort import effort, effort_curves
from eval.scores.intervals import Entry
from eval.scores.lookup_use import lookup_use
from eval.scores.measured import Bootstrap, Curve, Numbers, Points, measured, measured_curves
from eval.scores.outcomes import outcomes
from eval.scores.pass_at_k import several_tries, template_collapse
from eval.scores.recall.recall import recall_scores
from recipes.errors import ShardError
from recipes.metrics import in_order
from recipes.vocabulary import Contender

__all__ = [
    "add_sizes",
    "build_scorecard",
    "read_scorecard",
    "save_scorecard",
    "to_markdown",
    "to_terminal",
]

Scorecard = dict[str, Any]  # the schema-1 document that scorecard.json holds
Cell = TypeVar("Cell", Entry, Curve)
Table = dict[str, dict[str, Cell]]  # metric or curve -> contender or pair -> what was measured

# a teacher that knows less than this above never-trained facts has no recall to retain
NEAR_NEVER = 0.05
# what every scorecard has
HELD = {"schema", "recipe", "contenders", "metrics", "paired", "headline"}


def build_scorecard(
    answers: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    *,
    recipe: str,
    contenders: Sequence[str],
    bootstrap: int,
    seed: int,
    chance: float = 0.0,
) -> Scorecard:
    """Gives the scorecard of a run; the same answers in any order and the same seed give the same
    numbers.

    Args:
        answers: one mapping an answer, or one mapping of columns; rows of contenders that are not
            listed are left out.
        recipe: name of the recipe.
        contenders: in the order of display; `teacher`, `student` and `control` have a part in pairs
            and headline.
        bootstrap: resamples of an interval.
        seed: of the resampling.
        chance: reasoning accuracy of a guesser, 0..1, taken off both sides of reasoning_retained.

    Returns:
        The schema-1 document.

    Raises:
        ShardError: a column is missing, an outcome is unknown or a question was answered twice.
    """
    table, draws = read_answers(answers), Bootstrap(bootstrap, seed)
    sheets = {name: Sheet.of(table, name) for name in contenders}
    metrics: Table[Entry] = {}
    paired: Table[Entry] = {}
    curves: Table[Curve] = {}
    for name, sheet in sheets.items():
        teacher = None if name == Contender.TEACHER else sheets.get(Contender.TEACHER)
        recall = recall_scores(sheet.main, draws)
        _put(metrics, name, measured(_numbers(sheet, teacher), draws) | recall.metrics)
        _put(curves, name, measured_curves(_points(sheet, teacher), draws) | recall.curves)
        _put(paired, f"{name}-{Contender.NEVER_TRAINED}", recall.above_never)
    for first, second in pairs(contenders):
        apart = measured(differences(sheets[first], sheets[second]), draws)
        _put(paired, f"{first}-{second}", apart)
    headlines = {
        name: _headline(metrics, paired, name, chance)
        for name in contenders
        if name != Contender.TEACHER
    }
    return {
        "schema": 1,
        "recipe": recipe,
        "contenders": list(contenders),
        "metrics": metrics,
        "curves": curves,
        "paired": paired,
        "headline": {**headlines.get(Contender.STUDENT, {}), "separation_octaves": None},
        "headline_by_contender": headlines,
        "statistics": {
            "bootstrap": bootstrap,
            "seed": seed,
            "confidence": 0.95,
            "reasoning_chance": chance,
        },
    }


def _numbers(sheet: Sheet, teacher: Sheet | None) -> Numbers:
    """Every number of a contender but recall, family by family."""
    return chain(
        outcomes(sheet),
        calibration(sheet),
        effort(sheet),
        template_collapse(sheet),
        several_tries(sheet, teacher),
        lookup_use(sheet),
    )


def _points(sheet: Sheet, teacher: Sheet | None) -> Points:
    """Every point of a contender's curves but recall."""
    return chain(confidence_curves(sheet, teacher), effort_curves(sheet))


def _put(table: Table[Cell], column: str, found: Mapping[str, Cell]) -> None:
    """Adds what was measured of one contender, or of one pair."""
    for name, one in found.items():
        table.setdefault(name, {})[column] = one


def _headline(
    metrics: Table[Entry], paired: Table[Entry], contender: str, chance: float
) -> dict[str, float]:
    """What a contender kept of the teacher's reasoning and of its recall, as fractions of the
    teacher's.
    """
    retained = {}
    own, teacher = _both(metrics.get("reasoning", {}), contender, Contender.TEACHER)
    if own and teacher and teacher["value"] > chance:
        retained["reasoning_retained"] = (own["value"] - chance) / (teacher["value"] - chance)
    columns = (f"{name}-{Contender.NEVER_TRAINED}" for name in (contender, Contender.TEACHER))
    own, teacher = _both(paired.get("recall", {}), *columns)
    if own and teacher and teacher["value"] >= NEAR_NEVER:
        retained["recall_retained"] = own["value"] / teacher["value"]
    return {name: round(value, 6) for name, value in retained.items()}


def _both(row: Mapping[str, Entry], first: str, second: str) -> tuple[Entry | None, Entry | None]:
    return row.get(first), row.get(second)


def add_sizes(card: Scorecard, sizes: dict[str, Any]) -> None:
    """Puts equivalent sizes into a scorecard; the headline is how many octaves farther apart the
    student is than the reference.

    Args:
        card: from build_scorecard.
        sizes: from equivalent_sizes.
    """
    change = sizes["octaves"].get(Contender.STUDENT, {}).get("change")
    card["sizes"] = sizes
    card["headline"]["separation_octaves"] = change and change["value"]


def read_scorecard(path: str | os.PathLike[str]) -> Scorecard:
    """Gives a scorecard that save_scorecard wrote.

    Args:
        path: of scorecard.json.

    Raises:
        ShardError: no scorecard can be read there.
    """
    path = Path(path)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card, dict) or not card.keys() >= HELD:
            raise ValueError(f"expected an object with {', '.join(sorted(HELD))}")
    except (OSError, ValueError, RecursionError) as fault:
        raise ShardError(
            f"{path}: no scorecard can be read there ({short(fault)}); delete "
            f"{path.with_name('manifest.json')} and run the stage evaluate: it scores the answers "
            "anew"
        ) from fault
    return card


def save_scorecard(
    card: Scorecard, folder: str | os.PathLike[str], samples: Iterable[Mapping[str, Any]] = ()
) -> None:
    """Writes scorecard.json, scorecard.md and report.html, each by rename; the same card gives the
    same bytes.

    Args:
        card: from build_scorecard; its metrics are written in the order in which tables show them.
        folder: made where absent.
        samples: a few answers to show in report.html, rows as build_scorecard takes them, with an
            optional `prompt`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ordered = {
        part: {name: card[part][name] for name in in_order(card[part])}
        for part in ("metrics", "paired")
    }
    text = json.dumps(card | ordered, indent=1, allow_nan=False) + "\n"
    for name, content in (
        ("scorecard.md", to_markdown(card)),
        ("report.html", to_html(card, list(samples))),
        ("scorecard.json", text),
    ):
        with replacing(folder / name) as half:
            half.write_text(content, encoding="utf-8", newline="\n")
