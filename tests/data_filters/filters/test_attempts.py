"""Which traces of a problem are taught, and text that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.filters.attempts import compare_attempts, not_selected, solve_rate_of
from data_filters.filters.examined import Examined, Reason
from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.records.traces import Trace
from data_filters.text.repetition import degenerate
from recipes.errors import RecipeError
from recipes.schema import Filter


def tried(problem, *outcomes):
    """Traces of one problem: (verdict, tokens), or length for one that was cut off."""
    return [
        Trace(
            id=f"{problem}/{n}",
            problem_id=problem,
            source="s",
            seed=0,
            messages=[],
            verdict="unknown" if verdict == "length" else verdict,
            completion_tokens=tokens,
            finish_reason="length" if verdict == "length" else "stop",
        )
        for n, (verdict, tokens) in enumerate(outcomes)
    ]


def selected(traces, rate=(0.0, 1.0), shortest=0, reason=lambda trace: None):
    """(trace, why it is not taught) of the attempts at one problem."""
    found = [Examined(trace, reason=reason(trace)) for trace in traces]
    compare_attempts(found)
    config = Filter(solve_rate=list(rate), num_shortest=shortest)
    context = FilterContext(FilterSettings(config=config))
    return [(one.trace, one.reason or not_selected(one, context)) for one in found]


def kept(*problems, **how):
    return [one.id for traces in problems for one, why in selected(traces, **how) if why is None]


HALF = tried("half", ("correct", 9), ("wrong", 5), ("correct", 7), ("length", 99))
EASY = tried("easy", ("correct", 3), ("correct", 2))
OPEN = tried("open", ("unknown", 3))


def test_problems_are_chosen_by_how_often_they_are_solved():
    assert [solve_rate_of(traces) for traces in (HALF, EASY, OPEN)] == [0.5, 1.0, None]
    assert kept(HALF, EASY, OPEN, rate=(0.2, 0.9)) == [t.id for t in (*HALF, *OPEN)]
    ((_, reason),) = selected(EASY[:1], (0.2, 0.9))
    assert reason == "solve rate outside 0.2..0.9: 1.00"


def test_the_shortest_right_ones_stay_and_the_unjudged_are_not_compared():
    wrong = lambda trace: Reason("verify", "wrong") if trace.verdict == "wrong" else None
    assert kept(HALF, shortest=1, reason=wrong) == ["half/2", "half/3"]
    assert kept(EASY, OPEN, shortest=1) == ["easy/1", "open/0"]
    assert kept(EASY, shortest=2) == ["easy/0", "easy/1"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["correct", "wrong", "unknown", "length"]), st.integers(1, 50)),
        max_size=8,
    ),
    st.integers(0, 4),
)
def test_nothing_is_lost_and_order_stays(outcomes, shortest):
    traces = tried("p", *outcomes)
    found = selected(traces, shortest=shortest)
    assert [trace for trace, _ in found] == traces
    right = [trace for trace, why in found if why is None and trace.verdict == "correct"]
    assert len(right) == min(shortest or 8, sum(trace.verdict == "correct" for trace in traces))


@pytest.mark.parametrize("rate", [[0.5], [0.9, 0.1], [-0.1, 1.0]])
def test_a_solve_rate_is_a_range(rate):
    with pytest.raises(
        RecipeError, match=r"filter.solve_rate .* is not a range; expected \[from, to\] inside 0..1"
    ):
        Filter(solve_rate=rate)


PROSE = (
    "The first bag holds three red stones and the second one four blue ones. Together they hold seven. Since every child gets one stone, "
    "seven children are served, and nobody is left without. What remains is to say which colour is more frequent: blue, by a single stone."
)


NOISE = [
    "dh" * 60,
    "I think. " + "dhdhdhdh" * 20,
    "0" * 120,
    "Wait, let me check that again. " * 40,
    "a b " * 200,
]
SEVENS = "\n".join(f"{n} * 7 = {n * 7}" for n in range(60))


@pytest.mark.parametrize("text", NOISE)
def test_degenerate_text_is_told(text):
    assert degenerate(text)


@pytest.mark.parametrize(
    "text", [PROSE, "", "7", "-" * 99 + PROSE, "1 + 1 = 2\n" * 3, "1" + "0" * 60, SEVENS]
)
def test_text_is_no_noise(text):
    assert degenerate(text) is None
