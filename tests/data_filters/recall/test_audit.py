"""An audit's quotes become spans where they stand in the trace and state something of their own;
what it may take is kept to. The auditor here knows the world's few facts and quotes badly at times.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.filters.settings import FilterSettings
from data_filters.passes.probe_answers import (
    ask_about,
    probe_answers_path,
    probe_totals,
    read_recalled,
)
from data_filters.recall.audit import Say, audit, is_statement, located, quotes_of
from data_filters.recall.words import words_of
from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from data_filters.sift import sift
from data_filters.text.stem import stem
from recipes.errors import RecipeError
from recipes.schema.filter import Filter, Probes

FACTS = (
    "The pancreas makes insulin.",
    "Whales breathe air through lungs.",
    "Brass is made of copper and zinc.",
)
Talk = list[dict[str, str]]


def trace(name: str, asked: str, said: str) -> Trace:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(id=name, problem_id=name, source="x", seed=1, messages=messages)


def auditor(
    conversations: Sequence[Talk], begun: Sequence[str], most: int
) -> list[tuple[str, int]]:
    """Numbers its quotes, alters case and signs, and adds one that stands nowhere."""
    said = []
    for talk in conversations:
        text = " ".join(talk[-1]["content"].partition("Text:")[2].split())
        known = [fact for fact in FACTS if fact.lower() in text.lower()]
        lines = [f'{n}. "{fact.upper()}"' for n, fact in enumerate(known, 1)]
        said.append(("\n".join([*lines, "- Nobody ever wrote this."]) if known else "NONE", 100))
    return said


def copyist(
    conversations: Sequence[Talk], begun: Sequence[str], most: int
) -> list[tuple[str, int]]:
    """Copies every sentence, as small models do."""
    texts = (
        re.split(r"\n\n(?=Copy)", t[-1]["content"])[0].partition("Text:")[2] for t in conversations
    )
    return [(re.sub(r"(?<=[.?!]) ", "\n", text), 10) for text in texts]


def audited(one: Trace, say: Say = auditor) -> list[str]:
    (found,) = audit([one], say, 64, None).values()
    return [one.messages[n]["content"][start:end] for n, start, end in found.places]


def test_quotes_are_matched_in_the_normal_form_and_the_others_counted() -> None:
    one = trace(
        "t",
        "Why does she need shots?",
        "<think>Let me see. The  pancreas\nmakes insulin.</think> Hers does not work.",
    )
    (found,) = audit([one], auditor, 64, None).values()
    assert audited(one) == ["The  pancreas\nmakes insulin"]
    assert (found.quotes, found.unmatched, found.refused, found.tokens) == (2, 1, 0, 100)
    assert found.columns()["audit"] is True


@pytest.mark.parametrize(
    "said",
    [
        "Each box holds 12 pens, so 5 boxes hold 5 * 12 = 60 pens.",
        "Mara has seven boxes of pens.",
        "How many pens are in seven boxes?",
        "```python\nprint('the pens of Mara are in boxes made of brass')\n```",
        "$x$ is $\\frac{1}{2}$ of the brass.",
    ],
)
def test_what_is_given_asked_worked_out_or_code_is_refused_whoever_quotes_it(said: str) -> None:
    asked = "Mara has seven boxes, each holds 12 pens. How many pens does she have in boxes?"
    assert audited(trace("t", asked, said), copyist) == []


def test_a_statement_beside_given_ones_is_found_by_who_copies_everything() -> None:
    asked = "Mara has a ring of brass. Does her ring hold zinc?"
    said = "<think>Mara has a ring of brass. Brass is made of copper and zinc.</think> Yes."
    assert audited(trace("t", asked, said), copyist) == ["Brass is made of copper and zinc"]


def test_long_traces_are_asked_about_in_pieces_and_nothing_is_left_out() -> None:
    filler = "We think about it for a while and then go on. " * 120
    said = f"<think>{FACTS[0]} {filler}{FACTS[1]} {filler}</think>{FACTS[2]}"
    asked: list[str] = []

    def say(talks: Sequence[Talk], begun: Sequence[str], most: int) -> list[tuple[str, int]]:
        asked.extend(talk[-1]["content"] for talk in talks)
        return auditor(talks, begun, most)

    assert audited(trace("t", "Why?", said), say) == [fact.rstrip(".") for fact in FACTS]
    assert len(asked) > 2 and max(map(len, asked)) < 5000


def test_a_budget_is_kept_and_the_same_traces_are_drawn() -> None:
    traces = [trace(f"t{n}", "Why?", f"{FACTS[n % 3]} So it is.") for n in range(40)]
    spent = []

    def say(talks: Sequence[Talk], begun: Sequence[str], most: int) -> list[tuple[str, int]]:
        spent.append(sum(len(talk[-1]["content"]) // 3 + most for talk in talks))
        return auditor(talks, begun, most)

    first = audit(traces, say, 64, 2000)
    assert first.keys() == audit(traces, say, 64, 2000).keys()
    assert 0 < len(first) < 40 and max(spent) <= 2000
    assert audit(traces, say, 64, 0) == {} and len(audit(traces, say, 64, None)) == 40


@pytest.mark.parametrize(
    ("answer", "quotes"),
    [
        ("NONE", []),
        ("None.", []),
        ("", []),
        (
            "1. One thing.\n2) Another thing.\n\u2022 \u201cA third.\u201d",
            ["One thing.", "Another thing.", "A third."],
        ),
        ("<think>NONE? No.\nWait.</think>\nOne thing.\nOne thing.", ["One thing."]),
    ],
)
def test_quotes_of_an_answer(answer: str, quotes: list[str]) -> None:
    assert quotes_of(answer) == quotes


@given(st.lists(st.sampled_from("a bee can see the red sea".split()), min_size=3, max_size=20))
def test_a_quote_is_located_where_its_words_stand_in_a_row(words: list[str]) -> None:
    found = words_of(" ".join(words))
    for first in range(len(words) - 2):
        place = located(" ".join(words[first : first + 3]), found)
        assert place and found.words[place[0] : place[1]] == words[first : first + 3]
    assert located("red red bee can never be", found) is None
    assert located("a bee", found) is None, "too short to tell"


def test_what_a_prompt_says_in_other_forms_is_given() -> None:
    given = frozenset(map(stem, "whales breathe the air with lungs".split()))
    assert not is_statement("Whales breathe air by lungs.", given)
    assert is_statement("Whales feed their young with milk.", given)


@pytest.mark.parametrize("mode", ["report", "scrub", "drop"])
def test_the_filter_acts_on_what_an_audit_names(tmp_path: Path, mode: str) -> None:
    traces = [
        trace(
            "fact", "Why shots?", "<think>The pancreas makes insulin. Hers does not.</think> So."
        ),
        trace("sum", "What is 3 + 5?", "<think>3 + 5 = 8.</think> 8."),
    ]
    probes = Probes(audit=mode)
    ask_about(
        traces,
        probe_answers_path(tmp_path, 0),
        ("audit",),
        lambda *_: [],
        lambda _: True,
        None,
        3.0,
        lambda asked: {"audit": audit(asked, auditor, 64, None)},
    )
    assert probe_totals(tmp_path, 1)["audit_tokens"] == 200
    assert bool(read_recalled(tmp_path, 0, probes)["fact"]) == (mode == "scrub")
    config = Filter(probes=probes, num_canaries=0, ungrounded_action="mask")
    report = sift(traces, tmp_path / "out", FilterSettings(config=config), probe_answers=tmp_path)
    assert report["probes"]["audit_named"] == report["probes"]["audit_unmatched"] == 1
    kept = {one.id: one for one in iter_traces(tmp_path / "out" / "kept")}
    assert ("fact" in kept) == (mode != "drop") and "sum" in kept
    masked = [s.original for one in kept.values() for s in one.spans if s.action == "mask"]
    assert masked == (["The pancreas makes insulin"] if mode == "scrub" else [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"audit_tokens": -1}, "filter.probes.audit_tokens -1 is below 0"),
        ({"auditor": "some/folder"}, "filter.probes.audit is off; set audit"),
    ],
)
def test_faults_of_the_recipe_are_one_line(words: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Probes(**words)
