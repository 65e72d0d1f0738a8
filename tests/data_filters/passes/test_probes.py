"""Probes, asked of two models whose minds are known: one that reads the prompt, one that knows the
answers by heart.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from data_filters.filters.settings import FilterSettings
from data_filters.passes.probe_answers import ask_about, probe_answers_path, read_probe_answers
from data_filters.passes.probes import NO_THOUGHT, closed_book, premise, renames
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.traces import Trace
from data_filters.sift import sift
from data_filters.text.curriculum import load_curriculum
from data_filters.text.stem import stem
from recipes.schema.filter import Filter, Probes

CURRICULUM = load_curriculum()
HOMES = {"Mara": "Oslo", "Ida": "Rome", "Bo": "Kyiv", "Tovin": "Elm"}
Talk = list[dict[str, str]]


def knows(word: str) -> bool:
    return CURRICULUM.knows(stem(word))


def trace(name: str, question: str, text: str) -> Trace:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return Trace(id=name, problem_id=name, source="x", seed=1, messages=messages)


def homes() -> list[Trace]:
    """Eight traces: four whose prompt tells where somebody lives, four whose prompt only asks."""
    return [
        trace(
            f"{kind} {who}",
            f"{told.format(who, home)}Where does {who} live?",
            f"<think> {who} {home}.</think> {home}.",
        )
        for kind, told in (("told", "The home of {} is {}. "), ("asked", ""))
        for who, home in HOMES.items()
    ]


def reader(conversations: Sequence[Talk], prefixes: Sequence[str]) -> list[str]:
    """Copies what the prompt says; without room to think, or without a statement, it has
    nothing.
    """
    said = []
    for talk, prefix in zip(conversations, prefixes, strict=True):
        found = re.search(r"The home of (\w+) is (\w+)\. Where does \1 live", talk[-1]["content"])
        said.append(
            f"<think> {found[1]} {found[2]}.</think> {found[2]}."
            if found and not prefix
            else "I do not know."
        )
    return said


def knower(conversations: Sequence[Talk], prefixes: Sequence[str]) -> list[str]:
    """Says by heart where people live, whatever the prompt says."""
    who = (re.search(r"Where does (\w+) live", talk[-1]["content"]) for talk in conversations)
    return [
        f"{prefix}{HOMES.get(found[1], 'Nowhere')}."
        for found, prefix in zip(who, prefixes, strict=True)
        if found
    ]


@pytest.mark.parametrize(("mind", "recall"), [(reader, False), (knower, True)])
def test_the_probes_tell_the_two_apart(tmp_path: Path, mind: object, recall: bool) -> None:
    traces = homes()
    ask_about(
        traces,
        probe_answers_path(tmp_path, 0),
        ("closed_book", "premise", "rename"),
        mind,
        knows,
        None,
        3.0,
    )
    said = read_probe_answers(tmp_path, 0)
    for one in traces[:4]:
        assert said[one.id] == {
            "closed_book": recall,
            "premise": recall,
            "rename": recall,
            "surprise": None,
            "audit": None,
            "recite": None,
        }
    assert all(said[one.id]["premise"] is None for one in traces[4:]), (
        "nothing can be taken away from a bare question"
    )
    probes = Probes(premise="drop", closed_book="report")
    settings = FilterSettings(config=Filter(detectors=[], probes=probes))
    report = sift(traces, tmp_path / "out", settings, probe_answers=tmp_path)
    assert report["dropped"] == ({"probes": {"recall, says premise": 4}} if recall else {})
    assert len(list(iter_traces(tmp_path / "out/kept"))) == 8 - 4 * recall


def test_what_is_asked() -> None:
    one = homes()[0]
    assert (
        closed_book(one).prefix == NO_THOUGHT and closed_book(one).conversation == one.messages[:1]
    )
    assert premise(one).conversation[0]["content"] == "Where does Mara live?"
    assert closed_book(trace("bare", "What is 3 + 5?", "8.")) is None, "no reasoning to take away"
    assert premise(trace("math", "What is 3 + 5?", "<think></think> 8.")) is None
    assert (
        premise(trace("order", "Add 3 and 5. Then stop.", "8.")).conversation[0]["content"]
        == "Then stop."
    )
    assert closed_book(trace("open", "What?", "<think> never closed")) is None


def test_names_come_from_another_question_of_the_same_words() -> None:
    traces = homes()[:4]
    for one, ask in zip(traces, renames(traces, knows), strict=True):
        who, home = re.findall(r"The home of (\w+) is (\w+)\.", ask.conversation[0]["content"])[0]
        assert who in HOMES and home in HOMES.values() and HOMES[who] != home, (
            "from two others, so that no memory helps"
        )
        assert who not in one.messages[0]["content"] and ask.wanted == home
    alone = renames(traces[:1], knows)[0]
    assert not {"Mara", "Oslo"} & set(re.findall(r"\w+", alone.conversation[0]["content"])), (
        "made-up names where there is no other"
    )
    assert renames([trace("math", "What is 3 + 5?", "8.")], knows) == [None]
    assert renames(traces, knows)[0] == renames(traces, knows)[0]


def test_units_that_were_cut_off_or_wrong_are_not_asked_about(tmp_path: Path) -> None:
    traces = [
        homes()[0],
        replace(homes()[1], finish_reason="length"),
        replace(homes()[2], verdict="wrong"),
    ]
    ask_about(
        traces,
        probe_answers_path(tmp_path, 3),
        ("premise",),
        reader,
        knows,
        lambda found: [[(0, 3, 4.0)] for _ in found],
        3.0,
    )
    rows = read_shard(probe_answers_path(tmp_path, 3))
    assert [(row["id"], row["premise"], row["closed_book"], row["surprise"]) for row in rows] == [
        ("told Mara", False, None, True)
    ]
