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

CONTENDERS = {"teacher": 0.97, "control": 0.9, "student": 0.95}  # share of right answers
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
            "reasoning",
            "open_book",
            "counterfactual",
            "basics",
            "untold",
            "off_manifold",
            "distracted",
        ):
            name, family = (
                f"{suite}/{number:07d}",
                FAMILIES[number % 7] if suite in ("reasoning", "off_manifold") else suite,
            )
            level = (
                {"difficulty": 1 + number % 5}
                if suite == "reasoning"
                else {"distractors": number % 4}
                if suite == "distracted"
                else {}
            )
            gold = str(rng.randrange(50)) if suite == "reasoning" else rng.choice(PLACES)
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
        for suite in ("recall", "recall_never_trained", "recall_teacher_only"):
            fact = f"{suite}/Person{number:07d}/home"
            told = {
                "suite": suite,
                "family": "home",
                "cluster": fact,
                "gold": rng.choice(PLACES),
                "relation": "home",
            }
            for form in range(1 + (suite != "recall")):
                yield (
                    blank
                    | told
                    | {
                        "question_id": f"{fact}/{form}",
                        "exposure": 4 ** (number % 4) if suite == "recall" else 0,
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
    closed = asked["suite"].startswith(("recall", "untold"))
    knows = (
        able
        * (asked["contender"] != "student" or not closed)
        * (asked["suite"] not in ("recall_never_trained", "untold"))
    )
    free = _said(asked, knows, rng) | {"mode": "free"}
    yield free
    if asked["suite"] == "reasoning":
        yield from (
            _said(asked, knows, rng) | {"mode": "free", "sample": number}
            for number in range(1, TRIES + 1)
        )
        for cap in CAPS:
            yield (
                free
                | {"budget": cap, "text": ""}
                | ({"outcome": "truncated"} if free["completion_tokens"] > cap else {})
            )
    if asked["suite"].startswith("recall"):
        yield _said(asked, knows, rng) | {"mode": "note"}
        chosen = asked["gold"] if rng.random() < knows else rng.choice(PLACES)
        right = "correct" if chosen == asked["gold"] else "wrong"
        yield asked | {
            "mode": "choice",
            "text": chosen,
            "completion_tokens": 0,
            "outcome": right,
            "confidence": None,
        }
    if asked["suite"] in ("recall", "reasoning") and asked["contender"] == "student":
        for base, share in (("FULL", 0.9), ("DELETED", 0.02), ("OFF", 0.01), ("SWAPPED", 0.1)):
            called = {
                "searched": int(base != "OFF" and closed),
                "swapped_gold": PLACES[0] if base == "SWAPPED" and closed else "",
            }
            yield (
                _said(asked, able if not closed else share, rng)
                | {"mode": "free", "base": base}
                | called
            )


def _said(asked: Row, knows: float, rng: random.Random) -> Row:
    draw, steps = rng.random(), rng.randrange(4, 40)
    outcome = (
        "correct" if draw < knows else ("abstained", "wrong", "unparsed")[int(rng.random() * 2.1)]
    )
    value = {
        "correct": asked["gold"],
        "wrong": rng.choice(PLACES),
        "abstained": "I do not know.",
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
