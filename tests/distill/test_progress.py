"""A bar says where it stands, as a line where there is no terminal."""

import logging

import pytest

from distill import progress
from distill.progress import Bar


def test_a_line_says_how_far_it_is() -> None:
    bar = Bar("generate", 400, "traces", True, done=100)
    bar.tokens(20, 6_000)
    bar.more(80)
    start, rest = bar.line().split(" traces, ")
    assert start == "generate: 120 of 480"
    assert rest.endswith(" min left") and " tokens/s, " in rest
    bar.close()


def test_nobody_knows_how_many_are_left() -> None:
    with Bar("filter", None, "traces", True) as bar:
        bar.items(1_500)
        bar.remark(lambda: "kept 3")
        assert bar.line() == "filter: 1,500 traces, kept 3"


@pytest.mark.parametrize(("shown", "lines"), [(True, 2), (False, 0)])
def test_a_plain_line_now_and_then(
    shown: bool, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(progress.LOG, "propagate", True)
    with caplog.at_level(logging.INFO, "cognitive_core"), Bar("x", 2, "steps", shown) as bar:
        bar.items(1)
        bar.items(1)
    assert len(caplog.messages) == lines
    if shown:
        assert caplog.messages[-1] == "x: 2 of 2 steps, 0 min left"
