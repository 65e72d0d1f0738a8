"""The knowledge base: what it finds, how it is edited, what it refuses to read."""

import json

import pytest

from data_filters.dedup.knowledge import KNOWLEDGE_SCHEMA
from data_filters.lookup.knowledge_base import KnowledgeBase, first_of, passage
from data_filters.records.shards import write_shard
from recipes.errors import ShardError

TEXTS = [
    "Where does Mara live? Oslo.",
    "What does Mara do? baker.",
    "Where does Ida live? Rome.",
    "The friend of Mara is Ida.",
]


def test_the_best_match_comes_first_and_what_shares_no_word_never_comes():
    base = KnowledgeBase(TEXTS)
    assert base.search("Where does Mara live?", 3) == [
        TEXTS[0],
        *base.search("Where does Mara live?", 3)[1:],
    ]
    assert base.search("the friend of Mara", 1) == [TEXTS[3]]
    assert base.search("Mara", 9) and all("Mara" in text for text in base.search("Mara", 9))
    assert (
        base.search("zebra", 3)
        == base.search("", 3)
        == base.search("?!", 3)
        == base.search("Mara", 0)
        == []
    )
    assert KnowledgeBase([]).search("Mara", 3) == KnowledgeBase(["?"]).search("Mara", 3) == []


def test_ties_go_by_the_order_of_the_base():
    base = KnowledgeBase([f"Mara {letter}" for letter in "abcdef"])
    assert base.search("Mara", 3) == ["Mara a", "Mara b", "Mara c"]


def test_an_edit_is_another_base_with_another_digest():
    base = KnowledgeBase(TEXTS)
    edited = base.edited({TEXTS[0]: "Where does Mara live? Paris.", TEXTS[1]: None})
    assert first_of(edited.search("Where does Mara live?", 1), "Where does Mara live?") == "Paris"
    assert (
        not any("baker" in text for text in edited.search("What does Mara do?", 9))
        and len(edited) == 3
    )
    assert base.digest != edited.digest and base.digest == KnowledgeBase(reversed(TEXTS)).digest
    assert len(base) == 4, "the base itself stays as it was"


def test_facts_and_texts_are_read_from_files(tmp_path):
    facts = [
        ("Mara", "Where does Mara live?", "Oslo", 3),
        ("Mara", "Where does Mara live?", "Rome", 1),
        ("Mara", "", "34", 2),
    ]
    rows = [
        {"subject": s, "relation": r, "value": v, "count": c, "trace_id": "x"}
        for s, r, v, c in facts
    ]
    write_shard(tmp_path / "knowledge" / "part-00000.parquet", rows, KNOWLEDGE_SCHEMA)
    base = KnowledgeBase.read(tmp_path / "knowledge")
    assert sorted(base.passages) == ["Mara 34.", "Where does Mara live? Oslo."], (
        "of two values the one stated more often"
    )
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    assert KnowledgeBase.read(tmp_path / "texts.jsonl").passages == tuple(TEXTS)


def test_what_is_no_base_is_refused_in_one_line(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"question": "x"}\n')
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "broken.jsonl").write_text('{"text": "x"\n')
    faults = {
        "odd": "got question",
        "list": "list.jsonl, item 1: no object: expected .*, got int",
        "broken": "broken.jsonl:1: no JSON",
        "none": "none.jsonl: no such file",
    }
    for name, found in faults.items():
        with pytest.raises(ShardError, match=found) as fault:
            KnowledgeBase.read(tmp_path / f"{name}.jsonl")
        assert "\n" not in str(fault.value)


def test_a_fact_is_a_passage_that_answers_its_question():
    assert passage("Mara", "Where does Mara live?", "Oslo") == TEXTS[0]
    assert (
        first_of(TEXTS, "Where does Mara live?") == "Oslo"
        and first_of(TEXTS[1:], "Where does Mara live?") is None
    )
