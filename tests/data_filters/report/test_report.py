"""What the filter stage tells people: canaries, diversity, damage, and the page."""

import json
import random
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from data_filters.dedup.minhash import hash64
from data_filters.filters.examined import Reason
from data_filters.filters.settings import FilterSettings
from data_filters.filters.shape import misshapen
from data_filters.passes.canaries import plant
from data_filters.records.traces import Span, Trace
from data_filters.report.diversity import SMALLEST, Distinct, Diversity
from data_filters.report.page import to_html
from data_filters.report.unit_summary import UnitSummary, interval
from data_filters.scrub.scrub import Scrubber
from data_filters.sift import sift
from data_filters.text.curriculum import load_curriculum

SCRUBBER = Scrubber(detectors=("numbers", "names", "answer"), curriculum=load_curriculum())


def trace(
    number: int,
    text: str = "<think> 3 + 5 = 8.</think> 8.",
    question: str = "What is 3 + 5?",
    **more: object,
) -> Trace:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return Trace(
        id=f"t{number}", problem_id=f"p{number}", source="x", seed=1, messages=messages, **more
    )


def test_canaries_show_what_a_filter_sees_and_what_it_does_not() -> None:
    def count(scrubber: Scrubber) -> Counter[tuple[str, str]]:
        return sum((plant(trace(n), scrubber.spans) for n in range(40)), Counter())

    whole, blind = count(SCRUBBER), count(replace(SCRUBBER, detectors=("names",)))
    assert whole["person", "found"] >= 38 and whole["organisation", "found"] >= 38
    assert (
        blind["person", "found"] >= 38
        and blind["quantity", "found"] == 0
        and blind["quantity", "missed"] == 40
    )
    assert sum(n for (_, fate), n in whole.items() if fate == "overdone") <= 2, (
        "twins that the prompt tells are left alone"
    )
    assert plant(trace(7), SCRUBBER.spans) == plant(trace(7), SCRUBBER.spans)


def test_a_worked_step_is_a_canary_that_must_stay() -> None:
    question = "A shelf has 24 books and 17 maps. How many things are on it?"
    traces = [trace(n, "<think> Many.</think> 41.", question) for n in range(30)]
    seeing = sum((plant(one, SCRUBBER.spans) for one in traces), Counter())
    assert seeing["worked step", "told"] == 30
    blind = sum((plant(one, everything) for one in traces), Counter())
    assert blind["worked step", "overdone"] == 30
    assert not any(
        kind == "worked step" for kind, _ in plant(trace(1, question="Why?"), everything)
    )


def everything(one: Trace) -> list[Span]:
    """A finder that calls all of the last message recalled."""
    end = len(one.messages[-1]["content"])
    return [Span(message=1, start=0, end=end, kind="name", grounding="ungrounded", original="x")]


def test_distinct_counts_are_exact_when_small_and_close_when_large() -> None:
    small, large = Distinct(), [Distinct(), Distinct()]
    for n in range(3000):
        small.add(hash64(str(n % 500)))
    for n in range(60_000):
        large[n % 2].add(hash64(str(n % 30_000)))
    assert small.count() == 500 and small.fraction() == pytest.approx(500 / 3000)
    large[0].merge(large[1])
    assert large[0].count() == pytest.approx(30_000, rel=0.12) and len(large[0].least) <= SMALLEST


def test_diversity_falls_when_everything_becomes_one_sentence() -> None:
    varied, same = Diversity(), Diversity()
    rng = random.Random(0)
    for n in range(200):
        varied.add(" ".join(f"w{rng.randrange(300)}" for _ in range(20)), ["what", f"s{n}"])
        same.add("I do not know.", ["what", "@1"])
    for one in (varied, same):
        one.close()
    before, after = varied.report(), same.report()
    assert before["distinct_3"] > 0.9 > 0.1 > after["distinct_3"]
    assert before["opening_entropy_bits"] > 6 and after["opening_entropy_bits"] == 0
    assert after["largest_skeleton"] == 1 and before["skeletons"] == 200 and after["skeletons"] == 1
    assert after["compressed"] < before["compressed"]


def test_summaries_merge_as_if_they_had_been_one() -> None:
    def told(numbers: range) -> UnitSummary:
        summary = UnitSummary()
        for n in numbers:
            fault = Reason("verify", f"bad: {n}") if n % 3 else None
            summary.counts.add(trace(n), fault, SCRUBBER.spans(trace(n)))
            summary.before.add(f"text {n}", ["q"])
            summary.canaries["place", "found" if n % 2 else "missed"] += 1
        return summary

    parts, whole = UnitSummary(), told(range(40))
    for start in range(0, 40, 10):
        part = told(range(start, start + 10))
        part.close()
        said = json.dumps(part.to_json())  # as it travels from a process
        parts.merge(UnitSummary.from_json(json.loads(said)))
    whole.close()
    found, wanted = parts.report(), whole.report()
    assert {k: v for k, v in found.items() if k != "diversity"} == {
        k: v for k, v in wanted.items() if k != "diversity"
    }
    assert found["diversity"]["before"]["distinct_2"] == wanted["diversity"]["before"]["distinct_2"]
    assert interval(0, 0) == {"n": 0} and interval(5, 10) == {
        "value": 0.5,
        "low": 0.2366,
        "high": 0.7634,
        "n": 10,
    }


def test_the_page_is_whole_and_harmless(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>\"'&\x0b"
    traces = [
        trace(1),
        trace(2, attack, gold="8"),
        replace(trace(3), source=attack),
        trace(4, "x" * 200),
    ]
    traces += [
        trace(
            5, "<think> Mara Oslo.</think> Oslo.", "The home of Mara is Oslo. Where does Mara live?"
        )
    ]
    report = sift(traces, tmp_path, FilterSettings())
    page = (tmp_path / "report.html").read_text()
    assert (
        page == to_html(report)
        and "<script" not in page
        and "http" not in page.replace("http-equiv", "")
    )
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    titles = [node.text for node in root.iter("h2")]
    assert titles == [
        "Dropped",
        "By source",
        "Spans",
        "Damage",
        "Planted canaries",
        "Exposure",
        "Diversity",
        "Samples",
    ]
    assert "control character" in page and "degenerate" in page and "Mara" in page


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8.", None),
        ("", "empty message: number 1"),
        ("8\x07.", "control character: U+0007"),
        ("a" * 3000, "too long"),
        ("dh" * 80, "degenerate"),
        ("tab\tand\nline.", None),
    ],
)
def test_shape(text: str, why: str | None) -> None:
    found = misshapen(trace(1, text), 2500)
    assert found is None if why is None else str(found).startswith(why)


def test_calls_of_tools_may_say_nothing() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": "[]"}
    messages = [{"role": "user", "content": "?"}, call, {"role": "assistant", "content": "8."}]
    assert misshapen(replace(trace(1), messages=messages), 100) is None
