"""Whether the grader judges answers as it should: references of exams said again and said with one
change, and answers that people have rated.

    python -m benchmarks.grader FOLDER            all of it
    python -m benchmarks.grader FOLDER --look     half of the rows, with what was missed

FOLDER holds `math500.jsonl` (question, answer) and `nq_open_rated.jsonl` (question, answer: a list,
def_correct_predictions, def_incorrect_predictions). Half of the rows, by the hash of the question,
are there to be looked at; the others are only scored.

Each reference is said in a box. A change flips one sign, bracket or digit, or puts a minus before
it. What people rated are predictions that no reference contains, so words in common cannot tell all
right ones: docs/log.md says how many.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import print_json, print_table
from data_filters.records.rows import rows_of
from data_filters.report.wilson import wilson
from data_filters.verify.checks import check_of
from data_filters.verify.verifiers import Verifiers
from eval.ask.grade import Answered, grade_all
from recipes.vocabulary import FinishReason, Outcome

FLIPPED = {"+": "-", "-": "+", "(": "[", "[": "(", ")": "]", "]": ")"}
BATCH = 200
Case = tuple[str, Answered, bool]  # measure, answer, whether it is right


def changed(reference: str) -> list[str]:
    """The reference with one sign, bracket or digit changed, or a minus before it.

    A zero with a minus is the same number, so it is left out.
    """
    found = []
    for place, letter in enumerate(reference):
        before = reference[place - 1 : place]
        new = str((int(letter) + 1) % 10) if letter.isdecimal() else FLIPPED.get(letter)
        if new is not None and before != "\\":
            found.append(reference[:place] + new + reference[place + 1 :])
    if reference.strip("0") and not reference.startswith("-"):
        found.append("-" + reference)
    return sorted(set(found))


def cases(folder: Path, split: str) -> Iterator[Case]:
    """Every answer to judge.

    Args:
        folder: with the two files.
        split: look, score or all.
    """
    for _, row in rows_of(folder / "math500.jsonl"):
        if _is_in(row, split):
            reference = str(row["answer"])
            yield "math_same", _boxed(reference, reference), True
            for other in changed(reference):
                yield "math_changed", _boxed(other, reference), False
    for _, row in rows_of(folder / "nq_open_rated.jsonl"):
        if _is_in(row, split):
            for right, name in ((True, "correct"), (False, "incorrect")):
                for said in row[f"def_{name}_predictions"]:
                    check = check_of(row["answer"][0], row["answer"][1:])
                    yield f"rated_{name}", Answered(said, FinishReason.STOP, check), right


def measure(found: Sequence[Case], show: bool) -> list[dict[str, Any]]:
    """A row a measure: the share that was judged as it should be, with Wilson's 95 % interval."""
    hits: dict[str, list[bool]] = {}
    with Verifiers(workers=1, timeout_seconds=20.0) as verifiers:
        for start in range(0, len(found), BATCH):
            part = found[start : start + BATCH]
            outcomes = grade_all([answer for _, answer, _ in part], verifiers)
            for (name, answer, right), outcome in zip(part, outcomes, strict=True):
                hit = (outcome == Outcome.CORRECT) == right
                hits.setdefault(name, []).append(hit)
                if show and not hit:
                    said = {"said": answer.text, "references": answer.check.references}
                    print(json.dumps({"measure": name, "outcome": outcome} | said))
    rows = []
    for name, each in hits.items():
        low, high = wilson(sum(each), len(each))
        share = sum(each) / len(each)
        rows.append({"measure": name, "share": share, "low": low, "high": high, "n": len(each)})
    return rows


def _boxed(said: str, reference: str) -> Answered:
    return Answered(f"So \\boxed{{{said}}}.", FinishReason.STOP, check_of(reference))


def _is_in(row: dict[str, Any], split: str) -> bool:
    looked = int(hashlib.sha256(str(row["question"]).encode()).hexdigest(), 16) % 2 == 0
    return split == "all" or looked == (split == "look")


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folder", type=Path)
    halves = made.add_mutually_exclusive_group()
    halves.add_argument("--look", action="store_true", help="one half, with its misses")
    halves.add_argument("--score", action="store_true", help="the other half, without")
    given = made.parse_args()
    split = "look" if given.look else "score" if given.score else "all"
    rows = measure(list(cases(given.folder, split)), given.look)
    print_table(
        [{k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()} for r in rows]
    )
    shares = {row["measure"]: round(row["share"], 4) for row in rows}
    print_json(shares | {"n": {row["measure"]: row["n"] for row in rows}})


if __name__ == "__main__":
    main()
