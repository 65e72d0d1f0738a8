"""The scrubbing stack on texts of known truth: facts found, reasoning left whole, grounding told
apart, surrogates that collide with nobody."""

import argparse
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.scrub_corpus import KINDS, OPEN_PROMPTS, Planted, covered, fill, planted, templates
from benchmarks.scrub_entities import Values
from benchmarks.table import print_json, print_table
from benchmarks.verify import draw, solved
from data_filters.detect.gazetteer import load_gazetteer
from data_filters.records.traces import Span, Trace
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from data_filters.verify.checks import Check
from data_filters.verify.verifiers import Verifiers
from eval.scores.intervals import wilson
from recipes.vocabulary import Action, Grounding, Kind, Verdict

FACT_FREE = {  # texts without a fact
    name: Path(__file__).with_name(f"{name}.txt")
    for name in ("fact_free", "fact_free_second", "fact_free_third")
}
NUMERIC = frozenset((Kind.NUMBER, Kind.QUANTITY, Kind.DATE, Kind.RESULT))
PIECE = re.compile(r"\w+|[^\w\s]")
LEAD = (
    "Let me work through this. ",
    "Okay, so the question says: ",
    "First, I restate the problem. ",
    "Hmm, let me look at it again. ",
)


def main() -> None:
    args = _arguments()
    scrubber = Scrubber(
        detectors=("numbers", "names", "answer"),
        curriculum=load_curriculum(),
        ungrounded_action=Action.HIDE,
        models=_models(args.ner),
    )
    recall, n = planted_recall(scrubber, args.each, args.seed)
    damage = reasoning_damage(scrubber, args.families, args.items, args.seed)
    control = {f"{name}_control": fact_free(scrubber, path) for name, path in FACT_FREE.items()}
    errors = grounding_errors(scrubber, args.pairs, args.seed)
    renamed = surrogate_faults(scrubber, args.each, args.seed)
    print_json(
        {"recall": recall, "n": n, **damage, **control, "grounding_error": errors, **renamed}
    )


def _models(ner: bool) -> Sequence[Callable[..., Any]]:
    if not ner:
        return ()
    from data_filters.detect.ner import spacy_detector

    return (spacy_detector(),)


def conversation(prompt: str, text: str, name: str = "0") -> Trace:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return Trace(id=name, problem_id=name, source="benchmark", seed=0, messages=messages)


def ungrounded(spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span.grounding == Grounding.UNGROUNDED]


# --- planted facts


def planted_recall(scrubber: Scrubber, each: int, seed: int) -> tuple[dict[str, float], int]:
    """(share of facts on held-out templates of which every word is found ungrounded, by kind; how
    many); prints both halves.
    """
    found: Counter[tuple[str, bool]] = Counter()
    total: Counter[tuple[str, bool]] = Counter()
    words, seconds = 0, 0.0
    texts = list(planted(each, seed))
    traces = [conversation(one.prompt, one.text) for one in texts]
    began = time.perf_counter()
    by_text = scrubber.spans_of(traces)
    seconds = time.perf_counter() - began
    for one, spans in zip(texts, by_text, strict=True):
        words += len(one.text.split())
        ranges = [(span.start, span.end) for span in ungrounded(spans)]
        for fact in one.facts:
            key = fact.kind, one.template.held_out
            total[key] += 1
            found[key] += covered(one.text, fact, ranges)
    print_table(
        [
            {
                "kind": kind,
                "templates": "held out" if out else "seen",
                "facts": total[kind, out],
                "recall": found[kind, out] / total[kind, out],
                "low": wilson(found[kind, out], total[kind, out])[0],
            }
            for kind in KINDS.values()
            for out in (False, True)
        ]
    )
    held = sum(one.held_out for one in templates())
    print(
        f"{len(templates())} templates, {held} held out; {words} words, {words / seconds:.0f} words/s in short texts\n"
    )
    return {kind: round(found[kind, True] / total[kind, True], 4) for kind in KINDS.values()}, sum(
        total[kind, True] for kind in KINDS.values()
    )


# --- damage on reasoning


def reasoning_damage(
    scrubber: Scrubber, families: list[str] | None, items: int, seed: int
) -> dict[str, Any]:
    """Whether each family's own verifier still takes the reference after ungrounded spans were
    hidden; and the facts planted between its lines."""
    from reasoning_gym.factory import DATASETS

    drawn, _ = draw(families or sorted(DATASETS), items, seed)
    plants = [
        one
        for one in planted(2, seed + 1)
        if one.template.held_out and one.template.register in ("thinking", "textbook")
    ]
    cases = [
        case
        for family, entries in drawn.items()
        for case in _cases(family, entries, plants, random.Random(seed))
    ]
    with Verifiers(1, 5.0) as verifiers:
        rows = {
            name: _judged(
                scrubber, [case for case in cases if case["planted"] is planted_in], verifiers
            )
            for name, planted_in in (("plain", False), ("with planted facts", True))
        }
    worst = [dict(row.pop("worst")) for row in rows.values()]
    print_table([{"chains": name, **row} for name, row in rows.items()])
    print("lost, by family:", worst[0], "\n")
    plain, mixed = rows["plain"], rows["with planted facts"]
    return {
        "survival": plain["survival"],
        "survival_with_rollback": plain["rolled back"],
        "families": plain["families"],
        "items": plain["items"],
        "over_scrub_per_1000": plain["over-scrub"],
        "over_scrub_answers_per_1000": plain["in answers"],
        "planted_in_chains": {
            "survival": mixed["survival"],
            "over_scrub_per_1000": mixed["over-scrub"],
            "recall": mixed["recall"],
            "n": mixed["facts"],
        },
    }


def _cases(
    family: str, entries: list[dict[str, Any]], plants: list[Planted], rng: random.Random
) -> list[dict[str, Any]]:
    """A chain that restates the problem and gives the reference; once more with a fact in front of
    it and one behind.
    """
    made = []
    for entry in entries:
        gold = solved(family, entry)
        if gold is None:
            continue
        chain = rng.choice(LEAD) + entry["question"].strip()
        ends = f"\n</think>\n\n{gold}"
        check = Check(kind="reasoning_gym", family=family, gold=entry["answer"], entry=entry)
        made.append(
            {
                "family": family,
                "prompt": entry["question"],
                "text": f"<think>\n{chain}{ends}",
                "check": check,
                "planted": False,
                "facts": [],
            }
        )
        before, after = rng.sample(plants, 2)
        text, facts = "<think>\n", []
        for part in (before, chain, after):
            if isinstance(part, Planted):
                line = part.text.removeprefix("<think>\n").split("\n</think>")[0]
                shift = len(text) - (len("<think>\n") if part.text.startswith("<think>") else 0)
                facts += [
                    replace(fact, start=fact.start + shift, end=fact.end + shift)
                    for fact in part.facts
                ]
                text += line + "\n"
            else:
                text += part + "\n"
        made.append(
            {
                "family": family,
                "prompt": entry["question"],
                "text": text.rstrip() + ends,
                "check": check,
                "planted": True,
                "facts": facts,
            }
        )
    return made


def _judged(
    scrubber: Scrubber, cases: list[dict[str, Any]], verifiers: Verifiers
) -> dict[str, Any]:
    traces = [
        conversation(case["prompt"], case["text"], str(number)) for number, case in enumerate(cases)
    ]
    spans = scrubber.spans_of(traces)
    edited = [scrubber.act(trace, found) for trace, found in zip(traces, spans, strict=True)]
    good = verifiers.judge([(case["text"], case["check"]) for case in cases])
    after = verifiers.judge(
        [
            (trace.messages[1]["content"], case["check"])
            for trace, case in zip(edited, cases, strict=True)
        ]
    )
    kept, back, whole = Counter(), 0, Counter()
    for case, trace, done, before, now in zip(cases, traces, edited, good, after, strict=True):
        if before.verdict != Verdict.CORRECT:
            continue
        whole[case["family"]] += 1
        kept[case["family"]] += now.verdict == Verdict.CORRECT
        verdicts = {case["text"]: before.verdict, done.messages[1]["content"]: now.verdict}
        safe, _ = scrubber.verified(trace, done, verdicts.__getitem__)
        back += verdicts[safe.messages[1]["content"]] == Verdict.CORRECT
    outside = [_outside(case, found) for case, found in zip(cases, spans, strict=True)]
    pieces = sum(len(PIECE.findall(case["text"])) for case in cases)
    answers = [case["text"].rpartition("</think>") for case in cases]
    in_answer = sum(
        sum(span.start >= len(head) for span in one)
        for (head, _, _), one in zip(answers, outside, strict=True)
    )
    facts = [
        (case, fact, [(s.start, s.end) for s in ungrounded(found)])
        for case, found in zip(cases, spans, strict=True)
        for fact in case["facts"]
    ]
    hit = sum(covered(case["text"], fact, ranges) for case, fact, ranges in facts)
    lost = Counter(
        {family: whole[family] - kept[family] for family in whole if whole[family] > kept[family]}
    )
    total = whole.total()
    return {
        "families": len(whole),
        "items": total,
        "survival": round(kept.total() / total, 4),
        "rolled back": round(back / total, 4),
        "over-scrub": round(1000 * sum(map(len, outside)) / pieces, 3),
        "in answers": round(
            1000 * in_answer / max(sum(len(PIECE.findall(tail)) for _, _, tail in answers), 1), 3
        ),
        "facts": len(facts),
        "recall": round(hit / len(facts), 4) if facts else None,
        "worst": lost.most_common(12),
    }


def _outside(case: dict[str, Any], spans: list[Span]) -> list[Span]:
    """Ungrounded spans that are no numbers and touch no planted fact."""
    facts = case["facts"]
    return [
        s
        for s in ungrounded(spans)
        if s.kind not in NUMERIC and not any(f.start < s.end and s.start < f.end for f in facts)
    ]


def fact_free(scrubber: Scrubber, path: Path) -> dict[str, float]:
    """Ungrounded spans in reasoning that states no fact, written for this; per 1,000 pieces, those
    that are no numbers (with Wilson's interval), and all."""
    lines = [
        line.split(" | ", 1)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    traces = [
        conversation(prompt, text.replace("\\n", "\n"), str(number))
        for number, (prompt, text) in enumerate(lines)
    ]
    found = [span for spans in scrubber.spans_of(traces) for span in ungrounded(spans)]
    pieces = sum(len(PIECE.findall(trace.messages[1]["content"])) for trace in traces)
    wrong = [span for span in found if span.kind not in NUMERIC]
    low, high = wilson(len(wrong), pieces)
    print(
        f"{path.name}: {len(traces)} texts, {pieces} pieces; found wrongly: {[span.original for span in found]}\n"
    )
    return {
        "over_scrub_per_1000": round(1000 * len(wrong) / pieces, 3),
        "low": round(1000 * low, 3),
        "high": round(1000 * high, 3),
        "with_numbers_per_1000": round(1000 * len(found) / pieces, 3),
        "pieces": pieces,
    }


# --- grounding pairs


def grounding_errors(scrubber: Scrubber, pairs: int, seed: int) -> dict[str, float]:
    """Shares of facts decided wrongly: a part of one called ungrounded though the prompt gives it
    in another form, or no part of one though the prompt says the same of other entities only."""
    values, rng = Values(seed + 2), random.Random(seed + 2)
    wrong, total = Counter(), Counter()
    chosen = [
        one
        for one in templates()
        if one.held_out and one.register in ("encyclopaedic", "news", "textbook")
    ]
    while min(total["given"], total["ungrounded"]) < pairs:
        template = rng.choice(chosen)
        text, facts = fill(template, values)
        other, _ = fill(template, values)
        said = text
        for fact in reversed(facts):
            said = (
                said[: fact.start]
                + reworded(text[fact.start : fact.end], fact.kind, rng)
                + said[fact.end :]
            )
        for name, told in (("given", said), ("ungrounded", other)):
            spans = scrubber.spans(conversation(f"{told} {rng.choice(OPEN_PROMPTS)}", text))
            ranges = [(span.start, span.end) for span in ungrounded(spans)]
            for fact in facts:
                if text[fact.start : fact.end].lower() in told.lower() and name == "ungrounded":
                    continue  # drawn twice
                touched = any(start < fact.end and fact.start < end for start, end in ranges)
                total[name] += 1
                wrong[name] += touched is (name == "given")
    rates = {name: round(wrong[name] / total[name], 4) for name in ("given", "ungrounded")}
    print_table(
        [
            {
                "pairs": name,
                "facts": total[name],
                "error": rates[name],
                "high": wilson(wrong[name], total[name])[1],
            }
            for name in rates
        ]
    )
    print()
    return rates


def reworded(value: str, kind: str, rng: random.Random) -> str:
    """The same value in another form: case, possessive, the order of a date, a number written
    out.
    """
    if kind == Kind.DATE:
        for form in ("%d %B %Y", "%B %d, %Y"):
            try:
                day = datetime.strptime(value, form)
            except ValueError:
                continue
            return rng.choice(
                [
                    f"{day:%Y-%m-%d}",
                    f"{day.day} {day:%B %Y}",
                    f"{day:%B} {day.day}, {day.year}",
                    f"the {day.day}th of {day:%B %Y}",
                ]
            )
        return value
    if kind == Kind.QUANTITY:
        return (
            value.replace(",", "")
            if re.fullmatch(r"[\d,]+ [a-z ]+", value) and rng.random() < 0.5
            else value
        )
    return rng.choice([value, value, value.upper(), value.removeprefix("the "), f"{value}'s"])


# --- surrogates


def surrogate_faults(scrubber: Scrubber, each: int, seed: int) -> dict[str, int]:
    """Over the planted texts: names that a list has, texts that a second pass changes, texts that
    another run renames otherwise.
    """
    renamer, gazetteer = (
        replace(scrubber, ungrounded_action=Action.RENAME, models=()),
        load_gazetteer(),
    )
    counts = Counter(surrogates=0, collisions=0, not_idempotent=0, not_repeated=0)
    for number, one in enumerate(planted(max(each // 4, 1), seed + 3)):
        trace = conversation(one.prompt, one.text, str(number))
        done = renamer.scrub(trace)
        counts["not_idempotent"] += renamer.scrub(done) != done
        counts["not_repeated"] += renamer.scrub(trace) != done
        for span in done.spans:
            if span.action == Action.RENAME:
                new = done.messages[1]["content"][span.start : span.end]
                counts["surrogates"] += 1
                counts["collisions"] += gazetteer.names(new.split()) or new == span.original
    print(", ".join(f"{name} {count}" for name, count in counts.items()), "\n")
    return {
        "surrogates": counts["surrogates"],
        "collisions": counts["collisions"],
        "not_idempotent": counts["not_idempotent"],
        "not_repeated": counts["not_repeated"],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrub", description=__doc__)
    parser.add_argument("--each", type=int, default=40, help="texts of each template")
    parser.add_argument("--families", nargs="+", help="reasoning-gym data sets; default: all")
    parser.add_argument("--items", type=int, default=8, help="of each family")
    parser.add_argument("--pairs", type=int, default=1000, help="facts each way in grounding pairs")
    parser.add_argument("--ner", action="store_true", help="spaCy besides")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
