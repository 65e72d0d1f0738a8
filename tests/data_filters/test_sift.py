"""The filter stage as a whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_filters.dedup.decontamination import HeldOutIndex
from data_filters.dedup.knowledge import KnowledgeLedger
from data_filters.filters.settings import FilterSettings
from data_filters.records.rows import list_shards
from data_filters.records.shards import iter_traces, read_shard, write_shard
from data_filters.records.traces import SCHEMA, Span, Trace, to_row
from data_filters.sift import sift
from recipes.errors import ShardError
from recipes.schema.filter import Filter


def told(**config: object) -> FilterSettings:
    return FilterSettings(config=Filter(**{"drop_near_duplicates": False} | config))


SETTINGS = told()


def trace(number: int, question: str, text: str, gold: str | None = None, **more: object) -> Trace:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return Trace(
        id=f"t{number}",
        problem_id=f"p{number}",
        source="planted/x",
        seed=1,
        messages=messages,
        gold=gold,
        **more,
    )


TRACES = [
    trace(0, "Where does Mara live?", "<think> Mara Oslo.</think> Oslo."),
    trace(
        1,
        "The home of Mara is Oslo. Where does Mara live?",
        "<think> Mara Oslo.</think> Oslo.",
        "Oslo",
    ),
    trace(2, "What is 3 + 5?", "<think> 3 + 5 = 9.</think> 9.", "8"),
    trace(3, "What is 3 + 5?", "<think> 3 + 5 = 8.</think> 8.", "8"),
    trace(4, "What is 3 + 5?", "<think> 3 + 5 = 8.</think> 8.", "8"),
    trace(5, "What is 4 + 5?", "<think> 4 + 5 =", "9", finish_reason="length"),
    trace(6, "How old is Mara in 5 years?", "<think> Mara 34. 34 + 5 = 39.</think> 39."),
    trace(7, "Where is Mara living?", "<think> Mara Oslo.</think> Oslo."),
    trace(8, "Sort 3 1 2.", "1 2 3.", "1 2 3"),
    trace(9, "Where does Mara live?", "<think> Mara Oslo. </think> Oslo."),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_shard(tmp_path / "generate" / "part-0.parquet", map(to_row, TRACES), SCHEMA)
    return tmp_path / "generate"


def test_every_trace_is_kept_or_dropped_with_a_reason(source: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    settings = replace(SETTINGS, held_out=("sort 3, 1, 2",))
    report = sift(source, tmp_path / "f", settings, shard_rows=2, examined=steps.append)
    kept = list(iter_traces(tmp_path / "f/kept"))
    dropped = {
        row["id"]: (row["dropped_by"], row["reason"])
        for p in list_shards(tmp_path / "f/dropped")
        for row in read_shard(p)
    }
    assert [t.id for t in kept] == ["t0", "t1", "t3", "t6", "t7", "t9"]
    assert {key: by for key, (by, _) in dropped.items()} == {
        "t2": "verify",
        "t4": "duplicates",
        "t5": "shape",
        "t8": "overlap",
    }
    assert dropped["t8"][1] == "stands in a held-out problem: sort 3 1 2"
    assert [t.messages[1]["content"] == "I do not know." for t in kept] == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]
    assert [t.verdict for t in kept] == [
        "unknown",
        "correct",
        "correct",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert all(t.gold is None for t in kept) and sum(steps) == 10
    assert report == json.loads((tmp_path / "f/report.json").read_text())
    assert (report["kept"], report["untold"], report["read"]) == (6, 4, 10)
    assert report["dropped"]["verify"] == {"the answer differs from the reference": 1}
    assert report["sources"]["planted/x"]["kept"] == 6
    assert {"kind": "result", "grounding": "ungrounded", "action": "abstain", "count": 1} in report[
        "spans"
    ]
    # assistant words: 3 + 3 + 4 + 6 + 3 + 3 = 22, of which ungrounded 2 + 0 + 0 + 4 + 2 + 2
    assert report["masked_fraction"] == pytest.approx(10 / 22)


@pytest.mark.parametrize("untold", ["abstain", "mask", "hide", "rename"])
def test_what_was_filtered_before_is_kept_as_it_is(
    source: Path, tmp_path: Path, untold: str
) -> None:
    settings = told(ungrounded_action=untold, drop_duplicates=False)
    sift(source, tmp_path / "first", settings)
    sift(tmp_path / "first" / "kept", tmp_path / "second", settings)
    first, second = (list(iter_traces(tmp_path / name / "kept")) for name in ("first", "second"))
    assert any(span.action == untold for one in first for span in one.spans)
    assert second == first, "and the teacher's own words are still there, for other arms"


def test_facts_taken_out_become_knowledge(source: Path, tmp_path: Path) -> None:
    sift(source, tmp_path / "f", SETTINGS)
    assert [row for path in list_shards(tmp_path / "f/knowledge") for row in read_shard(path)] == [
        {
            "subject": "Mara",
            "relation": "",
            "value": "34",
            "count": 1,
            "trace_id": "t6",
            "kind": "number",
        },
        {
            "subject": "Mara",
            "relation": "Where does Mara live?",
            "value": "Oslo",
            "count": 2,
            "trace_id": "t0",
            "kind": "place",
        },
        {
            "subject": "Mara",
            "relation": "Where is Mara living?",
            "value": "Oslo",
            "count": 1,
            "trace_id": "t7",
            "kind": "place",
        },
    ]


def test_filters_never_see_the_reference(tmp_path: Path) -> None:
    """Two references that lead to the same verdict lead to the same bytes."""
    right = [t for t in TRACES if t.id != "t2"]
    other = {"Oslo": "OSLO", "8": "8.0", "1 2 3": "1, 2, 3", "9": "77"}
    sift(right, tmp_path / "one", SETTINGS)
    sift([replace(t, gold=other.get(t.gold or "")) for t in right], tmp_path / "two", SETTINGS)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_bytes_are_fixed_and_leftovers_are_removed(source: Path, tmp_path: Path) -> None:
    sift(source, tmp_path / "a", SETTINGS, shard_rows=2)
    (tmp_path / "b/kept").mkdir(parents=True)
    (tmp_path / "b/kept/part-00009.parquet").write_bytes(b"half")
    (tmp_path / "b/report.json").write_text("old")
    sift(source, tmp_path / "b", SETTINGS, shard_rows=2)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_untold_drop_and_keep(source: Path, tmp_path: Path) -> None:
    report = sift(source, tmp_path / "drop", told(ungrounded_action="drop"))
    assert report["dropped"]["scrub"] == {"states what nobody gave": 4} and report["facts"] == 3
    report = sift(source, tmp_path / "keep", told(ungrounded_action="keep"))
    assert report["facts"] == 0 and report["untold"] == 4
    assert all(
        t.messages[1]["content"] != "I do not know." for t in iter_traces(tmp_path / "keep/kept")
    )


def test_a_verdict_made_elsewhere_stands(tmp_path: Path) -> None:
    traces = [
        replace(TRACES[8], gold=None, verdict="correct"),
        replace(TRACES[3], gold=None, verdict="wrong"),
        TRACES[0],
    ]
    report = sift(traces, tmp_path / "f", told(keep_unknown=False))
    assert [(t.id, t.verdict) for t in iter_traces(tmp_path / "f/kept")] == [("t8", "correct")]
    assert report["dropped"]["verify"] == {
        "the answer differs from the reference": 1,
        "no reference and keep_unknown is false": 1,
    }


def test_nothing_kept_names_the_filter_and_the_setting(tmp_path: Path) -> None:
    with pytest.raises(
        ShardError,
        match=r"none of 2 traces was kept, verify dropped 2 of them \(the answer differs from the reference\); .*filter/dropped",
    ):
        sift([TRACES[2], replace(TRACES[2], id="x")], tmp_path / "f", SETTINGS)
    with pytest.raises(ShardError, match=r"scrub dropped 1 of them .*filter.ungrounded_action"):
        sift([TRACES[0]], tmp_path / "f", told(ungrounded_action="drop"))
    with pytest.raises(ShardError, match="got no trace"):
        sift([], tmp_path / "f", SETTINGS)
    with pytest.raises(ShardError, match="shape dropped 1"):
        sift([replace(TRACES[0], messages=TRACES[0].messages[:1])], tmp_path / "f", SETTINGS)


def test_contact_compares_runs_and_short_texts_whole() -> None:
    contact = HeldOutIndex(["Sort 3 1.", "What is 3 + 5?", "one two three four five"], words=4)
    assert contact.match("sort: 3, 1") == "sort 3 1"
    assert contact.match("Sort 3 1 2") is None
    assert contact.match("Now, ONE two; three four!") == "one two three four"
    assert contact.match("one two three") is None
    assert contact.match("What is 3 - 5?") is None
    assert contact.match("") is None and HeldOutIndex(["", "?"], 4).match("!") is None


def test_knowledge_is_the_same_when_it_is_spilled(tmp_path: Path) -> None:
    def fact(subject: str, value: str) -> Span:
        return Span(
            message=1,
            start=0,
            end=1,
            kind="name",
            grounding="ungrounded",
            original=value,
            subject=subject,
            relation="Where?",
        )

    for name, size in (("whole", 100), ("spilled", 2)):
        ledger = KnowledgeLedger(tmp_path / name, in_memory=size)
        for number, (subject, value) in enumerate(
            [("Ida", "Rome"), ("Mara", "Oslo"), ("Ida", "Rome"), ("Bo", "Oslo"), ("Ida", "Rome")]
        ):
            ledger.add([fact(subject, value)] * 2, f"t{number}")
        assert ledger.close() == 3
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "spilled")
    rows = read_shard(tmp_path / "whole/part-00000.parquet")
    assert [(r["subject"], r["count"], r["trace_id"]) for r in rows] == [
        ("Bo", 1, "t3"),
        ("Ida", 3, "t0"),
        ("Mara", 1, "t1"),
    ]
