"""Rows of knowledge are facts with their subject and relation; queries are what a person types; a
look-up made of real sentences is left out rather than wrong.
"""

import random
from pathlib import Path

import pytest

from data_filters.filters.settings import FilterSettings, make_scrubber
from data_filters.lookup.augment import augment
from data_filters.lookup.knowledge_base import KnowledgeBase, passage
from data_filters.lookup.sentence_records import SentenceRecords
from data_filters.lookup.stated_facts import query_of, stated_facts
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.tool_calls import calls_of
from data_filters.records.traces import Span, Trace
from data_filters.sift import sift
from recipes.schema.filter import Filter, Lookups

ASKED = "Which town did the author of Hollow Tide die in?"
SAID = (
    "<think>\nHollow Tide was written by Berta Kolm. Berta Kolm died in Lindau.\n</think>\n"
    "The answer is Lindau."
)


def trace(asked: str, said: str, name: str = "t", **more: object) -> Trace:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(id=name, problem_id=name, source="x", seed=1, messages=messages, **more)


def span(one: Trace, value: str, kind: str, **more: str) -> Span:
    text = one.messages[1]["content"]
    start = text.index(value)
    said = {"relation": one.messages[0]["content"], "subject": "", **more}
    return Span(
        message=1,
        start=start,
        end=start + len(value),
        kind=kind,
        grounding="ungrounded",
        original=value,
        **said,
    )


def rows(
    said: str, *values: tuple[str, str], asked: str = ASKED, **more: str
) -> list[tuple[str, str, str]]:
    one = trace(asked, said)
    found = stated_facts(one, [span(one, value, kind, **more) for value, kind in values])
    return [(fact.subject, fact.relation, fact.original) for fact in found]


@pytest.mark.parametrize(
    ("said", "value", "kind", "row"),
    [
        ("Berta Kolm died in 1931.", "1931", "date", ("Berta Kolm", "Berta Kolm died in ___.")),
        (
            "The mayor of Elmstadt was Ida Ross.",
            "Ida Ross",
            "person",
            ("mayor of Elmstadt", "The mayor of Elmstadt was ___."),
        ),
        (
            "Ida Ross was the mayor of Elmstadt.",
            "Ida Ross",
            "person",
            ("mayor of Elmstadt", "___ was the mayor of Elmstadt."),
        ),
        ("The Orvel is 812 km long.", "812 km", "quantity", ("Orvel", "The Orvel is ___ long.")),
        # a part of a name stands for the whole
        (
            "Hollow Tide was written by Berta Kolm.",
            "Berta",
            "person",
            ("Hollow Tide", "Hollow Tide was written by ___."),
        ),
    ],
)
def test_a_sentence_becomes_a_row(said: str, value: str, kind: str, row: tuple[str, str]) -> None:
    (found,) = rows(said, (value, kind))
    assert found[:2] == row and passage(*found) == said


@pytest.mark.parametrize(
    ("said", "value", "kind"),
    [
        ("I think Berta Kolm died in 1931.", "1931", "date"),
        ("He died in 1931.", "1931", "date"),
        ("So Berta Kolm died in 1931.", "1931", "date"),
        ("Did Berta Kolm die in 1931?", "1931", "date"),
        ("Labor: $800", "$800", "quantity"),
        ("Berta has 3 * 12 = 36 pens.", "36", "number"),
        ("Suppose Berta Kolm lived in Lindau.", "Lindau", "place"),
        ("The river is 812 km long.", "812 km", "quantity"),
        ("Berta Kolm (BK) was a writer.", "BK", "organisation"),
        ("Berta Kolm was born on 3 May 1870.", "1870", "number"),
    ],
)
def test_what_is_no_fact_by_itself_gives_no_row(said: str, value: str, kind: str) -> None:
    assert rows(said, (value, kind)) == []


def test_an_answer_belongs_to_its_question_and_what_stands_on_the_way_to_its_sentence() -> None:
    found = rows(SAID, ("Berta Kolm", "person"), ("Lindau", "place"), subject="Hollow Tide")
    assert found == [
        ("Hollow Tide", "Hollow Tide was written by ___.", "Berta Kolm"),
        ("Hollow Tide", ASKED, "Lindau"),
    ]
    asked = "Which film did Berta Kolm and Ida Ross make together?"
    one = rows("The answer is 1931.", ("1931", "date"), asked=asked, subject="Berta Kolm")
    assert one == [], "a year is no film"


def test_results_and_passages_are_no_facts() -> None:
    one = trace("How old is Berta in 4 years?", "<think> Berta 35. 35 + 4 = 39.</think> 39.")
    step = span(one, "35", "number", subject="Berta")
    result = span(one, "39", "result", subject="Berta")
    heart = span(one, "Berta 35", "passage", subject="Berta")
    (found,) = stated_facts(one, [step, result, heart])
    assert (found.subject, found.relation, found.original) == ("Berta", "", "35")


def test_what_an_audit_quotes_is_a_row_without_a_question() -> None:
    (found,) = rows("The pancreas makes insulin.", ("The pancreas makes insulin.", "statement"))
    assert found == ("The pancreas", "", "makes insulin")
    assert passage(*found) == "The pancreas makes insulin."


@pytest.mark.parametrize(
    ("relation", "kind", "query"),
    [
        ("Where does Mara live?", "place", "Where does Mara live?"),
        ("___ wrote Hollow Tide.", "person", "who wrote Hollow Tide"),
        ("Hollow Tide was written by ___.", "person", "who wrote Hollow Tide"),
        ("The dam was designed by ___.", "person", "who designed the dam"),
        ("Berta Kolm died in ___.", "date", "when Berta Kolm died"),
        ("Berta Kolm was born in ___.", "place", "where Berta Kolm was born"),
        ("The mayor of Elmstadt was ___.", "person", "who was the mayor of Elmstadt"),
        ("The emblem of Elmstadt is ___.", "person", "what is the emblem of Elmstadt"),
        ("Elmstadt has ___ bridges.", "number", "how many bridges Elmstadt has"),
        ("Mount Orvel is ___ tall.", "quantity", "how tall is Mount Orvel"),
    ],
)
def test_a_query_is_what_a_person_types(relation: str, kind: str, query: str) -> None:
    assert query_of(relation, kind) == query


@pytest.mark.parametrize(
    ("relation", "kind"),
    [
        ("The club was founded in 1906 after the fire of ___.", "date"),
        ("Berta Kolm is an ___ writer.", "name"),
        ("Orvel is just under ___ from Lindau.", "quantity"),
        ("The bridge was made beginning in ___.", "date"),
    ],
)
def test_no_query_where_none_is_surely_right(relation: str, kind: str) -> None:
    assert query_of(relation, kind) is None


FACTS = [
    ("Hollow Tide", "Hollow Tide was written by ___.", "Berta Kolm", "person"),
    ("Berta Kolm", "Berta Kolm died in ___.", "Lindau", "place"),
    ("Ida Ross", "Ida Ross died in ___.", "Elmstadt", "place"),
    ("Grey Harbour", "Grey Harbour was written by ___.", "Ida Ross", "person"),
]
BASE = KnowledgeBase(passage(*fact[:3]) for fact in FACTS)


def chain() -> tuple[Trace, list[Span]]:
    one = trace(ASKED, SAID)
    found = [
        span(one, value, kind, subject=subject, relation=relation)
        for subject, relation, value, kind in FACTS[:2]
    ]
    # where she died is a place that one is born in, lives in or dies in
    return one, found


def made(kind: str, base: KnowledgeBase = BASE, seed: int = 1) -> list[Trace]:
    records = SentenceRecords(base, Lookups(mixture={kind: 1}, num_records=1), "I do not know.")
    one, facts = chain()
    return records.of(random.Random(seed), one, facts)


def said(record: Trace) -> list[str]:
    return [m["content"] or calls_of(m)[0]["arguments"]["query"] for m in record.messages[1:]]


def test_each_fact_is_looked_up_and_the_teachers_words_follow() -> None:
    (record,) = made("found")
    first, results, second, more, answer = said(record)
    assert (first, second) == ("who wrote Hollow Tide", "where Berta Kolm died")
    assert "Hollow Tide was written by Berta Kolm." in results
    assert "Berta Kolm died in Lindau." in more and answer == SAID


def test_without_its_passage_a_trace_declines_and_nothing_says_the_answer() -> None:
    (record,) = made("missing")
    assert said(record)[-1] == "I do not know."
    assert "Lindau" not in "".join(said(record)) and record.spans[-1].action == "abstain"


def test_another_value_in_the_base_is_followed() -> None:
    (record,) = made("changed")
    *_, result, answer = said(record)
    assert "Berta Kolm died in Elmstadt." in result and "Lindau" not in "".join(said(record))
    assert answer == SAID.replace("Lindau", "Elmstadt")


def test_a_lesson_is_left_out_where_the_base_does_not_state_a_fact() -> None:
    assert made("found", KnowledgeBase(BASE.passages[:1])) == []


PROMPT = (
    "Berta Kolm was a writer of the coast. Berta Kolm died in Lindau. Ida Ross lived in Elmstadt. "
    "Where did Berta Kolm die?"
)


def test_a_sentence_of_the_prompt_moves_to_the_base_or_is_nowhere() -> None:
    one = trace(PROMPT, "<think>It says Lindau.</think> The answer is Lindau.", verdict="correct")
    records = SentenceRecords(BASE, Lookups(), "I do not know.")
    kinds = set()
    for seed in range(12):
        record = records.from_prompt(random.Random(seed), one)
        asked, result, answer = (
            record.messages[0]["content"],
            record.messages[2]["content"],
            said(record)[-1],
        )
        assert asked == PROMPT.replace("Berta Kolm died in Lindau. ", "")
        assert ("Berta Kolm died in Lindau." in result) == (answer == one.messages[1]["content"])
        kinds.add(answer)
    assert len(kinds) == 2
    for other in (
        trace(PROMPT, "The answer is yes.", verdict="correct"),
        trace(PROMPT.replace("Elmstadt", "Lindau"), "The answer is Lindau.", verdict="correct"),
        trace(PROMPT, "The answer is Lindau.", verdict="wrong"),
    ):
        assert records.from_prompt(random.Random(1), other) is None


def test_the_stage_writes_rows_and_look_ups_of_real_sentences(tmp_path: Path) -> None:
    traces = [
        trace(ASKED, SAID, "a"),
        trace("What is 3 + 5?", "<think>3 + 5 = 8.</think> 8.", "b"),
    ]
    config = Filter(ungrounded_action="lookup", num_canaries=0)
    sift(traces, tmp_path, FilterSettings(config=config))
    facts = read_shard(tmp_path / "knowledge/part-00000.parquet")
    assert {passage(f["subject"], f["relation"], f["value"]) for f in facts} >= {
        "Hollow Tide was written by Berta Kolm."
    }
    augment(tmp_path, make_scrubber(config, 0), config.lookups, 1, lambda _: None)
    kept = list(iter_traces(tmp_path / "kept"))
    assert traces[1].messages[1]["content"] in [one.messages[-1]["content"] for one in kept]
    for one in kept:
        calls = [calls_of(m)[0]["arguments"] for m in one.messages if m.get("tool_calls")]
        assert not calls or one.messages[-2]["role"] == "tool"
