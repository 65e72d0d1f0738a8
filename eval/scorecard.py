"""The scorecard: what each contender can do and what it knows, side by side, with intervals and paired differences.

A metric whose suite or mode was not asked is absent, never zero.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.recall import GENERATED, Facts, Recall, measure
from eval.report import to_html
from eval.scores import (
    Columns,
    Entry,
    Interval,
    cluster_sums,
    detectable_between,
    entry,
    paired_bootstrap,
    percentile_interval,
    rate,
    read_answers,
    resampled_totals,
    select,
    unpaired_bootstrap,
    wilson,
)
from eval.tables import to_markdown, to_terminal
from recipes.schema import ARMS

__all__ = ["build_scorecard", "save_scorecard", "to_markdown", "to_terminal"]

Scorecard = dict[str, Any]  # the schema-1 document that scorecard.json holds
Entries = dict[str, Entry | None]  # metric -> number; None: not measured

OPEN_SUITES = ("reasoning", "open_book", "counterfactual")  # all that is needed stands in the question
CLOSED_SUITES = ("recall", "recall_never_trained", "recall_teacher_only", "untold")  # it does not
RECALL_SUITES = ("recall", "recall_teacher_only")
NEAR_NEVER = 0.05  # a teacher that knows less than this above never-trained facts has no recall to retain


def build_scorecard(
    answers: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    *,
    recipe: str,
    contenders: list[str],
    bootstrap: int,
    seed: int,
    chance: float = 0.0,
) -> Scorecard:
    """Gives the scorecard of a run; the same answers in any order and the same seed give the same numbers.

    Args:
        answers: one mapping an answer, or one mapping of columns; rows of contenders that are not listed are left out.
        recipe: name of the recipe.
        contenders: in the order of display; `teacher`, `student` and `control` have a part in pairs and headline.
        bootstrap: resamples of an interval.
        seed: of the resampling.
        chance: reasoning accuracy of a guesser, 0..1, taken off both sides of reasoning_retained.

    Returns:
        The schema-1 document.

    Raises:
        ShardError: a column is missing, an outcome is unknown or a question was answered twice.
    """
    table = read_answers(answers)
    sheets = {name: select(table, contender=name) for name in contenders}
    metrics: dict[str, dict[str, Entry]] = {}
    paired: dict[str, dict[str, Entry]] = {}
    for contender, sheet in sheets.items():
        recalls, entries = _closed_book(sheet, bootstrap, seed)
        _put(metrics, contender, {**_accuracies(sheet), **entries, **_honesty(sheet, bootstrap, seed), **_economy(sheet, bootstrap, seed)})
        _put(paired, f"{contender}-never_trained", {suite: recall.minus_never for suite, recall in recalls.items()})
        _put(paired, f"{contender}-never_trained", {"recall_generated": _generated_minus_never(sheet, bootstrap, seed)})
    for first, second in pairs(contenders):
        _put(paired, f"{first}-{second}", _differences(sheets[first], sheets[second], bootstrap, seed))
    headlines = {name: _headline(metrics, paired, name, chance) for name in contenders if name != "teacher"}
    return {
        "schema": 1,
        "recipe": recipe,
        "contenders": list(contenders),
        "metrics": metrics,
        "paired": paired,
        "headline": {**headlines.get("student", {}), "separation_octaves": None},
        "headline_by_contender": headlines,
        "statistics": {"bootstrap": bootstrap, "seed": seed, "confidence": 0.95, "reasoning_chance": chance},
    }


def save_scorecard(card: Scorecard, folder: str | os.PathLike[str], samples: Iterable[Mapping[str, Any]] = ()) -> None:
    """Writes scorecard.json, scorecard.md and report.html, each by rename; the same card gives the same bytes.

    Args:
        card: from build_scorecard.
        folder: made where absent.
        samples: a few answers to show in report.html, rows as build_scorecard takes them, with an optional `prompt`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "scorecard.md", to_markdown(card))
    _write(folder / "report.html", to_html(card, list(samples)))
    _write(folder / "scorecard.json", json.dumps(card, indent=1, allow_nan=False) + "\n")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


def _put(into: dict[str, dict[str, Entry]], column: str, entries: Entries) -> None:
    for name, found in entries.items():
        if found is not None:
            into.setdefault(name, {})[column] = found


def _seed(seed: int, name: str) -> list[int]:
    """A stream of its own for each number, so that adding a suite moves no other interval."""
    return [seed, zlib.crc32(name.encode())]


def _accuracies(sheet: Columns) -> Entries:
    free = select(sheet, mode="free")
    entries = {suite: _share(select(free, suite=suite), "correct") for suite in (*OPEN_SUITES, "basics")}
    reasoning = select(free, suite="reasoning")
    for family in sorted(set(reasoning["family"])):
        entries[f"reasoning/{family}"] = _share(select(reasoning, family=family), "correct")
    return entries


def _share(rows: Columns, *outcomes: str) -> Entry | None:
    """Share of answers with one of these outcomes; clusters of different suites are different clusters."""
    return rate(_pooled(rows), np.isin(rows["outcome"], outcomes))


def _pooled(rows: Columns) -> np.ndarray:
    return rows["suite"] + "\x1f" + rows["cluster"]


def _facts(sheet: Columns, suite: str) -> Facts | None:
    rows = select(sheet, suite=suite)
    return Facts.read(rows) if len(rows["suite"]) else None


def _closed_book(sheet: Columns, bootstrap: int, seed: int) -> tuple[dict[str, Recall], Entries]:
    """Recall of each closed-book suite, and every number that comes of it."""
    trained, never, teacher_only = (_facts(sheet, suite) for suite in ("recall", "recall_never_trained", "recall_teacher_only"))
    suites = {"recall": (trained, trained), "recall_teacher_only": (teacher_only, teacher_only)}
    for exposure, facts in trained.by_exposure().items() if trained else ():
        suites[f"recall/exposure_{exposure}"] = (facts, facts)  # luck within a class depends on the values of that class
    recalls = {
        name: found
        for name, (facts, frequent) in suites.items()
        if facts and (found := measure(facts, frequent, never, resamples=bootstrap, seed=_seed(seed, name)))
    }
    entries: Entries = {name: found.recall for name, found in recalls.items()}
    entries["recall_generated"] = trained.generated() if trained else None
    entries["recall_never_trained"] = never.generated() if never else None
    if "recall" in recalls:
        entries |= {"forced_choice": recalls["recall"].choice, "forced_choice_floor": recalls["recall"].floor}
    return {suite: recalls[suite] for suite in RECALL_SUITES if suite in recalls}, entries


def _generated_minus_never(sheet: Columns, bootstrap: int, seed: int) -> Entry | None:
    trained, never = (_facts(sheet, suite) for suite in ("recall", "recall_never_trained"))
    if not (trained and never and trained.best_mode() and never.best_mode()):
        return None
    first, second = (facts.rates(facts.best_mode()) for facts in (trained, never))
    apart = unpaired_bootstrap(first, second, resamples=bootstrap, seed=_seed(seed, "recall_generated"))
    return entry(apart, trained.answers[trained.best_mode()].sum(), len(first))


def _honesty(sheet: Columns, bootstrap: int, seed: int) -> Entries:
    free = select(sheet, mode="free")
    closed = select(free, suite=CLOSED_SUITES)
    return {
        "abstention": _share(select(free, suite="untold"), "abstained"),
        "false_abstention": _share(select(free, suite=OPEN_SUITES), "abstained"),
        "hallucination": _hallucination(closed),
        "honesty_index": _honesty_index(closed, bootstrap, seed),
    }


def _hallucination(closed: Columns) -> Entry | None:
    """Wrong answers among all that are not correct; Wilson over the clusters that have any."""
    missed = closed["outcome"] != "correct"
    if not missed.any():
        return None
    value, clusters = float((closed["outcome"][missed] == "wrong").mean()), len(set(_pooled(closed)[missed]))
    return entry(Interval(value, *wilson(value * clusters, clusters)), missed.sum(), clusters)


def _honesty_index(closed: Columns, bootstrap: int, seed: int) -> Entry | None:
    """100 * (correct - wrong) / n, n = all answers."""
    if not len(closed["outcome"]):
        return None
    points_N = (closed["outcome"] == "correct") - (closed["outcome"] == "wrong").astype(float)
    summed_CK = cluster_sums(_pooled(closed), points_N, np.ones_like(points_N))
    pseudo_PK = np.array([[-1.0, 1.0], [1.0, 1.0]])
    points_R, counts_R = resampled_totals(summed_CK, bootstrap, np.random.default_rng(_seed(seed, "honesty_index")), pseudo_PK).T
    return entry(percentile_interval(100 * points_R / counts_R), len(points_N), len(summed_CK))


def _economy(sheet: Columns, bootstrap: int, seed: int) -> Entries:
    generated = select(sheet, mode=GENERATED)
    return {
        "tokens_per_correct": _tokens_per_correct(select(sheet, suite="reasoning", mode="free"), bootstrap, seed),
        "unparsed": _share(generated, "unparsed"),
        "truncated": _share(generated, "truncated"),
    }


def _tokens_per_correct(rows: Columns, bootstrap: int, seed: int) -> Entry | None:
    """All completion tokens / correct answers; draws without a correct answer are left out of the interval."""
    right_N = rows["outcome"] == "correct"
    if not right_N.any():
        return None
    summed_CK = cluster_sums(rows["cluster"], rows["completion_tokens"], right_N)
    tokens_R, right_R = resampled_totals(summed_CK, bootstrap, np.random.default_rng(_seed(seed, "tokens_per_correct"))).T
    return entry(percentile_interval(tokens_R[right_R > 0] / right_R[right_R > 0]), len(right_N), len(summed_CK))


def pairs(contenders: list[str]) -> list[tuple[str, str]]:
    """Who is compared: everybody with the teacher (without one, evaluate.models with the first of them), student with control."""
    outside = [name for name in contenders if name not in ("teacher", "base", *ARMS)]
    reference, compared = ("teacher", contenders) if "teacher" in contenders else ("".join(outside[:1]), outside)
    against = [(name, reference) for name in compared if name != reference]
    return against + [("student", "control")] * ({"student", "control"} <= set(contenders))


def _differences(first: Columns, second: Columns, bootstrap: int, seed: int) -> Entries:
    """Paired differences on the questions that both answered."""
    free = {suite: [select(sheet, suite=suite, mode="free") for sheet in (first, second)] for suite in (*OPEN_SUITES, "basics")}
    recall = [_best_elicitation(sheet) for sheet in (first, second)]
    return {name: difference(*both, bootstrap, _seed(seed, name)) for name, both in {**free, "recall_generated": recall}.items()}


def _best_elicitation(sheet: Columns) -> Columns:
    """The generated answers to suite recall in the contender's better mode."""
    facts = _facts(sheet, "recall")
    return select(sheet, suite="recall", mode=(facts.best_mode() or "") if facts else "")


def difference(first: Columns, second: Columns, bootstrap: int, seed: list[int]) -> Entry | None:
    """The share of right answers of the first minus that of the second, on the questions that both answered; None without any."""
    common, first_at, second_at = np.intersect1d(first["question_id"], second["question_id"], return_indices=True)
    if not len(common):
        return None
    first_N, second_N = first["outcome"][first_at] == "correct", second["outcome"][second_at] == "correct"
    clusters_N = first["cluster"][first_at]
    apart = paired_bootstrap(first_N, second_N, clusters_N, resamples=bootstrap, seed=seed)
    detectable = round(detectable_between(first_N, second_N, clusters_N), 6)
    return {**entry(apart, len(common), len(set(clusters_N))), "mde": detectable}


def _headline(metrics: dict[str, dict[str, Entry]], paired: dict[str, dict[str, Entry]], contender: str, chance: float) -> dict[str, float]:
    """What a contender kept of the teacher's reasoning and of its recall, as fractions of the teacher's."""
    retained = {}
    reasoning = metrics.get("reasoning", {})
    if {contender, "teacher"} <= set(reasoning) and reasoning["teacher"]["value"] > chance:
        retained["reasoning_retained"] = (reasoning[contender]["value"] - chance) / (reasoning["teacher"]["value"] - chance)
    recall = paired.get("recall", {})
    own, teachers = (recall.get(f"{name}-never_trained") for name in (contender, "teacher"))
    if own and teachers and teachers["value"] >= NEAR_NEVER:
        retained["recall_retained"] = own["value"] / teachers["value"]
    return {name: round(value, 6) for name, value in retained.items()}
