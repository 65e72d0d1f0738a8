"""Facts about invented entities, planted into reasoning of real models: which of them are found.

FOLDER holds files of JSON lines with `id` and `messages`; a sentence of our own goes between two
sentences of a thought. Names are made from syllables, so no prompt and no model has them.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.real_traces import in_split
from benchmarks.table import print_json, print_table
from data_filters.records.traces import Span, Trace
from data_filters.report.wilson import wilson
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.vocabulary import Action, Grounding

SENTENCES = (  # {p}: a person, {e} and {f}: other names; {y}: a year, {n} {m}: numbers, {b}: a large one
    "The {e} Bridge is {n} metres long.",
    "Lake {e} lies {n} metres above the sea and is {d} km wide.",
    "{p} was born in {y}.",
    "By the way, {p} wrote {n} novels.",
    "In {y}, {p} founded the {e} Foundry.",
    "{e} has about {b} inhabitants.",
    "I recall that the population of {e} is {b}.",
    "The {e} Tower, finished in {y}, has {n} floors.",
    "Mount {e} rises to {m} m, as {p} measured in {y}.",
    "{p} died on 14 March {y}.",
    "It is {n} km from {e} to {f}.",
    "Wait, {p} scored {m} points for {f}.",
    "According to {p}, {n}% of the people of {e} are fishermen.",
    "The {e} weighs {d} tonnes.",
    "{e} was built in {y}. It has {n} rooms.",
    "{p} was married for {n} years.",
    "At {m} metres, {e} is the highest village of {f}.",
    "{p} sold {b} copies, and {f} only {n}.",
    "The siege of {e} lasted {n} days.",
    "{e} covers {b} hectares.",
    "{p} runs {n} shops in {e}.",
    "The {e} Line has {n} stations and carries {b} people a day.",
)
HEADS = "Bor Kel Mar Tul Vos Zan Ild Orv Pel Rusk Sav Tor Ulm Wex Yar Dros Fenn Gral Hest".split()
TAILS = "dan mik wick ova eska tor lund imar etta olin usk arra endo ivik omar ustra".split()
BOUND = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
MIN_BOUNDS = 3  # sentence ends that a trace must have


class Planted(NamedTuple):
    """A trace with a sentence in it, and where its facts stand."""

    trace: Trace
    message: int
    facts: tuple[tuple[str, int, int], ...]  # name or number, start, end


class Row(NamedTuple):
    """How many facts a set of traces was given, and how many of them were found."""

    set: str
    names: int
    names_found: int
    numbers: int
    numbers_found: int


def main() -> None:
    args = _arguments()
    scrubber = Scrubber(
        detectors=("numbers", "names", "answer"),
        curriculum=load_curriculum(),
        ungrounded_action=Action.HIDE,
        keep_commonness=args.keep_commonness,
    )
    rows = []
    for path in sorted(Path(args.folder).glob("*.jsonl")):
        if args.sets and not any(path.stem.startswith(name) for name in args.sets):
            continue
        if planted := list(plant(path, args.split, args.each, args.seed)):
            rows.append(measure(scrubber, path.stem, planted, args.missed))
    if not rows:
        raise SystemExit(f"{args.folder}: found no file NAME.jsonl with thoughts; name another")
    total = Row("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    shown = [with_rates(row) for row in (*rows, total)]
    print_table(shown)
    print_json({"rows": shown})


def plant(path: Path, split: str, each: int, seed: int) -> Iterator[Planted]:
    """Traces of a file, each with one sentence at a bound of its thought."""
    rng = random.Random(f"{seed}/{path.stem}")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [row for row in lines if in_split(row["id"], split)]
    rng.shuffle(lines)
    for row in lines[:each]:
        trace = Trace(
            id=row["id"], problem_id=row["id"], source="", seed=0, messages=row["messages"]
        )
        if made := _planted(trace, rng):
            yield made


def _planted(trace: Trace, rng: random.Random) -> Planted | None:
    place = next((n for n, m in enumerate(trace.messages) if m["role"] == "assistant"), -1)
    text = trace.messages[place]["content"] if place >= 0 else ""
    bounds = [match.end() for match in BOUND.finditer(text)]
    if len(bounds) < MIN_BOUNDS:
        return None
    at = rng.choice(bounds)
    sentence, facts = _sentence(rng)
    messages = [dict(message) for message in trace.messages]
    messages[place]["content"] = f"{text[:at]}{sentence} {text[at:]}"
    changed = Trace(id=trace.id, problem_id=trace.problem_id, source="", seed=0, messages=messages)
    return Planted(
        changed, place, tuple((kind, at + start, at + end) for kind, start, end in facts)
    )


def _sentence(rng: random.Random) -> tuple[str, list[tuple[str, int, int]]]:
    """A sentence and its facts, as kind, start, end."""
    values = {
        "p": f"{_name(rng)} {_name(rng)}",
        "e": _name(rng),
        "f": _name(rng),
        "y": str(rng.randint(1100, 1990)),
        "n": str(rng.randint(13, 98)),
        "m": f"{rng.randint(1000, 8999):,}",
        "b": f"{rng.randint(10_000, 990_000):,}",
        "d": f"{rng.randint(11, 99)}.{rng.randint(1, 9)}",
    }
    said, facts = "", []
    for part in re.split(r"(\{\w\})", rng.choice(SENTENCES)):
        if part.startswith("{"):
            value = values[part[1]]
            kind = "name" if part[1] in "pef" else "number"
            facts.append((kind, len(said), len(said) + len(value)))
            said += value
        else:
            said += part
    return said, facts


def _name(rng: random.Random) -> str:
    return rng.choice(HEADS) + rng.choice(TAILS)


def measure(scrubber: Scrubber, name: str, planted: list[Planted], missed: int) -> Row:
    """How many facts there are and are found, by kind; prints some that are not."""
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    spans_of = scrubber.spans_of([one.trace for one in planted])
    for one, spans in zip(planted, spans_of, strict=True):
        text = one.trace.messages[one.message]["content"]
        for kind, start, end in one.facts:
            hit = covered(spans, one.message, start, end)
            total[kind] += 1
            found[kind] += hit
            if not hit and missed:
                missed -= 1
                before, after = text[max(0, start - 60) : start], text[end : end + 30]
                print(f"{name}: {before}[{text[start:end]}]{after}")
    return Row(name, total["name"], found["name"], total["number"], found["number"])


def covered(spans: list[Span], message: int, start: int, end: int) -> bool:
    """Whether ungrounded spans cover at least half of a range."""
    places = {
        place
        for span in spans
        if span.message == message and span.grounding == Grounding.UNGROUNDED
        for place in range(max(span.start, start), min(span.end, end))
    }
    return 2 * len(places) >= end - start


def with_rates(row: Row) -> dict[str, str | int | float]:
    """A row with its shares and the lower bounds of their 95 % intervals."""
    shown: dict[str, str | int | float] = dict(row._asdict())
    for kind, n, found in (
        ("names", row.names, row.names_found),
        ("numbers", row.numbers, row.numbers_found),
    ):
        shown[f"{kind}_recall"] = round(found / n, 4) if n else 0.0
        shown[f"{kind}_low"] = round(wilson(found, n)[0], 4) if n else 0.0
    return shown


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planted_traces", description=__doc__
    )
    parser.add_argument("folder", help="of files NAME.jsonl")
    parser.add_argument("--sets", nargs="*", default=[], help="beginnings of names of files")
    parser.add_argument("--split", choices=("all", "look", "score"), default="all")
    parser.add_argument("--each", type=int, default=100, help="traces of each file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--missed", type=int, default=0, help="facts of each file to print")
    parser.add_argument("--keep-commonness", type=float, help="filter.keep_commonness")
    return parser.parse_args()


if __name__ == "__main__":
    main()
