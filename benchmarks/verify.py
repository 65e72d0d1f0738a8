"""The verifiers on reasoning-gym: whether each family's reference is accepted, how fast, and
whether a wrong answer is.
"""

import argparse
import json
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from data_filters.verify.checks import Check
from data_filters.verify.verifiers import Judgement, Verifiers
from data_filters.verify.worker_pool import WorkerPool
from recipes.vocabulary import Verdict

NO_ITEMS = {
    "composite": "made of other data sets",
    "codeio": "runs programs of its data; not a source",
}
NO_REFERENCE = ("boxnet", "rush_hour")
# in the metadata
EXAMPLES = {"propositional_logic": "example_answer", "rubiks_cube": "example_correct_answer"}
GENERATION_SECONDS = 120.0  # of one family, in a process that can be killed
WRITTEN: dict[str, Callable[[str], str]] = {
    "behind a thought": lambda gold: f"<think> x </think>\n\n{gold}",
    "The answer is": lambda gold: f"<think> x </think>\n\nThe answer is {gold}",
    "The answer is, with a period": lambda gold: f"The answer is {gold}.",
    "boxed": lambda gold: f"<think> x </think>\n\nSo it is \\boxed{{{gold}}}.",
    "in a code fence": lambda gold: f"Here it is:\n\n```\n{gold}\n```",
    "bare": lambda gold: gold,
}
ONE_LINE = ("The answer is", "The answer is, with a period", "boxed")
# what an exception is measured by; the others are shown
WANTED = ("behind a thought", "The answer is", "bare")


@dataclass(frozen=True, slots=True)
class Case:
    """A text of known truth."""

    family: str
    form: str
    text: str
    entry: dict[str, Any]

    @property
    def check(self) -> Check:
        return Check(
            kind="reasoning_gym", family=self.family, gold=self.entry["answer"], entry=self.entry
        )


@dataclass(slots=True)
class Family:
    """What was found out about one family."""

    name: str
    items: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # reference not accepted, by form
    right_forms: int = 0
    wrong_tried: dict[str, int] = field(default_factory=dict)  # by the way it is wrong
    wrong_taken: dict[str, int] = field(default_factory=dict)
    why: str = ""  # of an exception


def main() -> None:
    args = _arguments()
    families = args.families or _all_families()
    entries, faults = draw(families, args.items, args.seed)
    found = {
        name: Family(name, len(entries.get(name, [])), why=faults.get(name, ""))
        for name in families
    }
    with Verifiers(1, args.timeout) as verifiers:
        right = right_cases(entries)
        count(found, right, verifiers.judge([(case.text, case.check) for case in right]))
        wrong = wrong_cases(entries) + hedged_cases(entries)
        for case, said in zip(
            wrong, verifiers.judge([(case.text, case.check) for case in wrong]), strict=True
        ):
            family = found[case.family]
            family.wrong_tried[case.form] = family.wrong_tried.get(case.form, 0) + 1
            family.wrong_taken[case.form] = family.wrong_taken.get(case.form, 0) + (
                said.verdict == Verdict.CORRECT
            )
        fresh, _ = draw(
            [name for name in families if not found[name].why], args.items, args.seed + 1
        )
        rate, n = speed(verifiers, right_cases(fresh))
    report(found)
    exceptions = {family.name: family.why for family in found.values() if family.why}
    accepted = sum(not family.why for family in found.values())
    last = {
        "items_per_second": round(rate, 1),
        "families": len(families),
        "accepted": accepted,
        "exceptions": exceptions,
        "n": n,
    }
    print(json.dumps(last))


def draw(
    families: list[str], items: int, seed: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Items by family, and why a family gave none."""
    entries: dict[str, list[dict[str, Any]]] = {}
    faults = {name: why for name, why in NO_ITEMS.items() if name in families}
    asked = [name for name in families if name not in NO_ITEMS]
    module = "distill.problems.gym_problems"
    with WorkerPool(1, GENERATION_SECONDS, modules=[module]) as pool:
        calls = [(f"{module}.first_entries", (name, items, seed)) for name in asked]
        for name, done in zip(asked, pool.run(calls), strict=True):
            if done.fault:
                faults[name] = f"generation: {done.fault}"
            else:
                entries[name] = done.value
    return entries, faults


def _all_families() -> list[str]:
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


# --- texts of known truth


def right_cases(entries: dict[str, list[dict[str, Any]]]) -> list[Case]:
    """Every reference in every form that it can be written in."""
    cases = []
    for family, drawn in entries.items():
        for entry in drawn:
            solution = solved(family, entry)
            if solution is None:
                continue
            forms = [form for form in WRITTEN if "\n" not in solution or form not in ONE_LINE]
            cases += [Case(family, form, WRITTEN[form](solution), entry) for form in forms]
    return cases


def wrong_cases(entries: dict[str, list[dict[str, Any]]]) -> list[Case]:
    """The reference of another item of the family, where it differs, and the item's own with its
    last digit changed.
    """
    cases = []
    for family, drawn in entries.items():
        solutions = [solved(family, entry) for entry in drawn]
        for i, entry in enumerate(drawn):
            mine = solutions[i]
            others = [
                other
                for other in solutions[i + 1 :] + solutions[:i]
                if other is not None and other != mine
            ]
            cases += [
                Case(family, "another's", WRITTEN["behind a thought"](other), entry)
                for other in others[:3]
            ]
            if mine is not None and (digits := list(re.finditer(r"\d", mine))):
                place = digits[-1].start()
                near = f"{mine[:place]}{(int(mine[place]) + 5) % 10}{mine[place + 1 :]}"
                cases.append(Case(family, "near", WRITTEN["behind a thought"](near), entry))
    return cases


def hedged_cases(entries: dict[str, list[dict[str, Any]]]) -> list[Case]:
    """The reference is mentioned, then another answer is given."""
    cases = []
    for family, drawn in entries.items():
        solutions = [solved(family, entry) for entry in drawn]
        for i, entry in enumerate(drawn):
            mine = solutions[i]
            other = next(
                (
                    other
                    for other in solutions[i + 1 :] + solutions[:i]
                    if other is not None and other != mine
                ),
                None,
            )
            if mine is not None and other is not None:
                cases.append(
                    Case(
                        family,
                        "hedged",
                        f"First I thought it was\n{mine}\nbut no.\nThe answer is {other}",
                        entry,
                    )
                )
    return cases


def solved(family: str, entry: dict[str, Any]) -> str | None:
    """The reference, or a solution that is easily found where the family gives none; None where it
    is not.
    """
    if entry["answer"] is not None:
        return str(entry["answer"])
    if family == "graph_color":
        return json.dumps(coloured(entry["metadata"]["puzzle"]))
    if family in EXAMPLES:
        return str(entry["metadata"][EXAMPLES[family]]).strip()
    return None


def coloured(puzzle: dict[str, Any]) -> dict[str, int] | None:
    """A colouring by trying in turn; None where there is none."""
    near: dict[Any, set[Any]] = {vertex: set() for vertex in puzzle["vertices"]}
    for one, other in puzzle["edges"]:
        near[one].add(other)
        near[other].add(one)

    def extend(done: dict[Any, int], left: list[Any]) -> dict[Any, int] | None:
        if not left:
            return done
        free = (
            c
            for c in puzzle["color_options"]
            if all(done.get(other) != c for other in near[left[0]])
        )
        return next(
            (full for c in free if (full := extend({**done, left[0]: c}, left[1:])) is not None),
            None,
        )

    found = extend({}, sorted(near, key=lambda vertex: -len(near[vertex])))
    return None if found is None else {str(vertex): colour for vertex, colour in found.items()}


# --- counting


def count(found: dict[str, Family], cases: list[Case], verdicts: list[Judgement]) -> None:
    """Notes refusals; a family with a refused wanted form, or without a case, becomes an
    exception.
    """
    for case, said in zip(cases, verdicts, strict=True):
        family = found[case.family]
        family.right_forms += 1
        if said.verdict != Verdict.CORRECT:
            family.refused[case.form] = family.refused.get(case.form, 0) + 1
            if case.form in WANTED and not family.why:
                family.why = f"reference refused, written {case.form}: {said.why or said.verdict} (score {said.score:.2f})"
    for family in found.values():
        if not family.right_forms and not family.why:
            family.why = (
                "no reference, and no solution that is easily found"
                if family.name in NO_REFERENCE
                else "no items"
            )


def speed(verifiers: Verifiers, cases: list[Case]) -> tuple[float, int]:
    """(items a second, items): one form of every item, shuffled over the families, judged for the
    first time; the scorers are loaded.
    """
    items = [(case.text, case.check) for case in cases if case.form == "behind a thought"]
    random.Random(0).shuffle(items)
    began = time.perf_counter()
    verifiers.judge(items)
    return len(items) / (time.perf_counter() - began), len(items)


def report(found: dict[str, Family]) -> None:
    """The table: families where something is to be seen, then totals."""
    print(
        f"{'family':24} {'items':>5}  {'wrong accepted':34} exception, or forms of the reference that were refused"
    )
    for family in found.values():
        taken = ", ".join(
            f"{form} {n}/{family.wrong_tried[form]}" for form, n in family.wrong_taken.items() if n
        )
        refused = ", ".join(f"{form} {n}" for form, n in family.refused.items())
        if taken or refused or family.why:
            print(f"{family.name:24} {family.items:5}  {taken:34} {family.why or refused}")
    tried, taken = (
        sum(sum(getattr(f, what).values()) for f in found.values())
        for what in ("wrong_tried", "wrong_taken")
    )
    print(
        f"{sum(f.right_forms for f in found.values())} right texts; of {tried} wrong ones {taken} accepted"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--families", nargs="+", help="data sets; default: all")
    parser.add_argument("--items", type=int, default=8, help="of each family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds of one verdict")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
