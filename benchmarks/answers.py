"""What scoring many answers costs: processor seconds and memory of a scorecard whose answers are
made up by rule.

    python -m benchmarks.answers                        700 and 7,000 questions a suite, as the
    demo's suites are; three contenders python -m benchmarks.answers --items 70 --card a.json    and
    the scorecard itself, to compare two versions of the code

Answers are made while they are read, so memory is what scoring holds. Every metric of the scorecard
has its answers, look-up included.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.table import (
    forget_peak,
    fresh_process,
    peak_rss_mb,
    print_json,
    print_table,
    rss_mb,
)
from eval.scorecard import build_scorecard
from recipes.vocabulary import AnswerMode, BaseState, Contender, Outcome, Suite

CONTENDERS = {
    Contender.TEACHER: 0.97,
    Contender.CONTROL: 0.9,
    Contender.STUDENT: 0.95,
}  # share of right answers
FAMILIES = ("sums", "story", "age", "reverse", "sort", "follow", "hop")
PLACES = tuple(f"Place{number}" for number in range(30))
TRIES, CAPS = 4, (12, 24, 36)
Row = dict[str, Any]


def questions(items: int) -> Iterator[Row]:
    """What all contenders are asked: the part of a row that is the question's."""
    rng = random.Random(items)
    for number in range(items):
        blank = {"relation": "", "exposure": 0, "difficulty": None, "distractors": None}
        for suite in (
            Suite.REASONING,
            Suite.OPEN_BOOK,
            Suite.COUNTERFACTUAL,
            Suite.BASICS,
            Suite.UNANSWERABLE,
            Suite.OFF_MANIFOLD,
            Suite.DISTRACTED,
        ):
            name, family = (
                f"{suite}/{number:07d}",
                FAMILIES[number % 7] if suite in (Suite.REASONING, Suite.OFF_MANIFOLD) else suite,
            )
            level = (
                {"difficulty": 1 + number % 5}
                if suite == Suite.REASONING
                else {"distractors": number % 4}
                if suite == Suite.DISTRACTED
                else {}
            )
            gold = str(rng.randrange(50)) if suite == Suite.REASONING else rng.choice(PLACES)
            yield (
                blank
                | {
                    "suite": suite,
                    "family": family,
                    "question_id": name,
                    "cluster": name,
                    "gold": gold,
                }
                | level
            )
        for suite in (Suite.RECALL, Suite.RECALL_NEVER_TRAINED, Suite.RECALL_TEACHER_ONLY):
            fact = f"{suite}/Person{number:07d}/home"
            told = {
                "suite": suite,
                "family": "home",
                "cluster": fact,
                "gold": rng.choice(PLACES),
                "relation": "home",
            }
            for form in range(1 + (suite != Suite.RECALL)):
                yield (
                    blank
                    | told
                    | {
                        "question_id": f"{fact}/{form}",
                        "exposure": 4 ** (number % 4) if suite == Suite.RECALL else 0,
                    }
                )


def answers(items: int) -> Iterator[Row]:
    """Answer rows of all contenders."""
    for contender, able in CONTENDERS.items():
        rng = random.Random(f"{contender}/{items}")
        for question in questions(items):
            yield from _answers(question | {"contender": contender}, able, rng)


def _answers(asked: Row, able: float, rng: random.Random) -> Iterator[Row]:
    """Free, then as the suite has it: several tries and caps, the note begun and a forced choice,
    or the states of a base.
    """
    closed = asked["suite"].startswith((Suite.RECALL, Suite.UNANSWERABLE))
    knows = (
        able
        * (asked["contender"] != Contender.STUDENT or not closed)
        * (asked["suite"] not in (Suite.RECALL_NEVER_TRAINED, Suite.UNANSWERABLE))
    )
    free = _said(asked, knows, rng) | {"mode": AnswerMode.FREE}
    yield free
    if asked["suite"] == Suite.REASONING:
        yield from (
            _said(asked, knows, rng) | {"mode": AnswerMode.FREE, "sample": number}
            for number in range(1, TRIES + 1)
        )
        for cap in CAPS:
            yield (
                free
                | {"budget": cap, "text": ""}
                | ({"outcome": Outcome.TRUNCATED} if free["completion_tokens"] > cap else {})
            )
    if asked["suite"].startswith(Suite.RECALL):
        yield _said(asked, knows, rng) | {"mode": AnswerMode.NOTE}
        chosen = asked["gold"] if rng.random() < knows else rng.choice(PLACES)
        right = Outcome.CORRECT if chosen == asked["gold"] else Outcome.WRONG
        yield asked | {
            "mode": AnswerMode.CHOICE,
            "text": chosen,
            "completion_tokens": 0,
            "outcome": right,
            "confidence": None,
        }
    if (
        asked["suite"] in (Suite.RECALL, Suite.REASONING)
        and asked["contender"] == Contender.STUDENT
    ):
        for base, share in (
            (BaseState.FULL, 0.9),
            (BaseState.DELETED, 0.02),
            (BaseState.OFF, 0.01),
            (BaseState.SWAPPED, 0.1),
        ):
            called = {
                "searched": int(base != BaseState.OFF and closed),
                "swapped_gold": PLACES[0] if base == BaseState.SWAPPED and closed else "",
            }
            yield (
                _said(asked, able if not closed else share, rng)
                | {"mode": AnswerMode.FREE, "base": base}
                | called
            )


def _said(asked: Row, knows: float, rng: random.Random) -> Row:
    draw, steps = rng.random(), rng.randrange(4, 40)
    outcome = (
        Outcome.CORRECT
        if draw < knows
        else (Outcome.ABSTAINED, Outcome.WRONG, Outcome.UNPARSED)[int(rng.random() * 2.1)]
    )
    value = {
        Outcome.CORRECT: asked["gold"],
        Outcome.WRONG: rng.choice(PLACES),
        Outcome.ABSTAINED: "I do not know.",
    }.get(outcome, "")
    text = f"<think> {' '.join(str(step) for step in range(steps))} </think> {value}."
    return asked | {
        "text": text,
        "outcome": outcome,
        "completion_tokens": steps + 6,
        "confidence": rng.randrange(1, 4096) / 4096,
    }


def scored(items: int, card_to: Path | None) -> dict[str, float]:
    """Processor seconds, and memory above what the process held before, MB of 2**20 bytes; a tiny
    scorecard comes first, as a warm-up.
    """
    how = {"recipe": "answers", "contenders": list(CONTENDERS), "bootstrap": 2000, "seed": 1}
    build_scorecard(answers(8), **how)
    forget_peak()
    count, before_mb, began = sum(1 for _ in answers(items)), rss_mb(), time.process_time()
    card = build_scorecard(answers(items), **how)
    passed = time.process_time() - began
    if card_to:
        card_to.write_text(json.dumps(card, indent=1), encoding="utf-8")
    return {
        "items": items,
        "answers": count,
        "seconds": round(passed, 1),
        "rise_mb": round(peak_rss_mb() - before_mb, 1),
    }


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--items", type=int, nargs="+", default=[700, 7000], help="questions of a suite"
    )
    made.add_argument(
        "--card", type=Path, help="write the scorecard there (with one number of items)"
    )
    made.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.one or given.card:
        return print_json(scored(given.items[0], given.card))
    rows = [
        fresh_process("benchmarks.answers", ["--one", "--items", str(items)])
        for items in given.items
    ]
    print_table(rows)
    few, many = rows[0], rows[-1]
    each = 1024 * (many["rise_mb"] - few["rise_mb"]) / max(1, many["answers"] - few["answers"])
    print_json({"kb_an_answer": round(each, 3), "rows": rows})


if __name__ == "__main__":
    main()
