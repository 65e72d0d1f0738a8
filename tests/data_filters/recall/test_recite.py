"""Runs of words that a model goes on with by itself. The texts are in the public domain; the model
here knows one of them by heart and makes up the rest.
"""

from collections.abc import Sequence

import pytest

from data_filters.recall.recite import (
    BEGUN_WORDS,
    NEW_TOKENS,
    Run,
    joined,
    recite,
    runs_of,
    share_equal,
)
from data_filters.recall.words import words_of
from data_filters.records.traces import Trace

PREAMBLE = (
    "We the People of the United States, in Order to form a more perfect Union, establish Justice, "
    "insure domestic Tranquility, provide for the common defence, promote the general Welfare, and "
    "secure the Blessings of Liberty to ourselves and our Posterity, do ordain and establish this "
    "Constitution for the United States of America."
)
THOUGHT = (
    "The baker starts early because the ovens need an hour before anything can go in, and then each "
    "tray takes as long as the one before, so by noon four trays are done and the shop may open "
    "while the last of the rolls are still cooling somewhere near the window."
)
Talk = list[dict[str, str]]


def trace(said: str, asked: str = "Go on.", name: str = "t") -> Trace:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(id=name, problem_id=name, source="x", seed=1, messages=messages)


def knower(talks: Sequence[Talk], begun: Sequence[str], most: int) -> list[tuple[str, int]]:
    """Knows the preamble, as far as it may write; everything else it goes on with as it likes."""
    said = []
    for start in begun:
        at = PREAMBLE.find(start)
        rest = PREAMBLE[at + len(start) :] if at >= 0 else " and so it went on" * 20
        said.append((start + " ".join(rest.split(" ")[:most]), 60))
    return said


def places(one: Trace) -> list[str]:
    (found,) = recite([one], knower, None).values()
    return [one.messages[n]["content"][start:end] for n, start, end in found.places]


def test_what_is_known_by_heart_is_named_and_thought_is_not() -> None:
    (span,) = places(trace(f"<think>I know it.</think>{PREAMBLE}"))
    assert PREAMBLE.startswith(span) and len(words_of(span).words) == 40
    assert places(trace(THOUGHT)) == []
    (both,) = recite([trace(f"{THOUGHT} {THOUGHT}")], knower, None).values()
    assert both.runs >= 1 and both.most < 0.2 and both.columns()["recite"] is False


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (PREAMBLE, f"What does this mean? {PREAMBLE}"),
        (" ".join(f"{n} times 7 is {7 * n}." for n in range(2, 40)), "Say the table of seven."),
        (f"```\n{PREAMBLE}\n```", "Print it."),
        ("one two three four five six seven eight nine ten " * 8, "Count."),
    ],
    ids=["given", "table", "code", "list"],
)
def test_what_anybody_could_go_on_with_is_not_asked(said: str, asked: str) -> None:
    assert list(runs_of(trace(said, asked))) == []


def test_a_share_counts_words_in_their_order() -> None:
    run = Run(1, "we the people", words_of(PREAMBLE).words[3:27], 0, 1)
    assert share_equal(run, PREAMBLE) == 1
    # a word more, a word less: 23 of 24 stand in order
    assert share_equal(run, PREAMBLE.replace("Justice, ", "")) == pytest.approx(23 / 24)
    assert share_equal(run, "we the people of the town") < 0.2
    assert share_equal(run, "") == 0


def test_no_run_lies_across_a_tag() -> None:
    half = PREAMBLE.split(" ")
    said = f"<think>{' '.join(half[:30])}</think>{' '.join(half[30:])}"
    assert all("think" not in said[run.start : run.end] for run in runs_of(trace(said * 2)))


def test_a_budget_is_kept() -> None:
    traces = [trace(PREAMBLE, name=f"t{n}") for n in range(30)]
    spent = []

    def say(talks: Sequence[Talk], begun: Sequence[str], most: int) -> list[tuple[str, int]]:
        spent.append(sum(len(start) // 3 + most for start in begun))
        return knower(talks, begun, most)

    some = recite(traces, say, 1000)
    assert 0 < len(some) < 30 and spent[0] <= 1000 and NEW_TOKENS > BEGUN_WORDS


def test_neighbours_become_one_place() -> None:
    assert joined([(1, 10, 20), (1, 22, 30), (1, 40, 50), (2, 51, 60)]) == [
        (1, 10, 30),
        (1, 40, 50),
        (2, 51, 60),
    ]
