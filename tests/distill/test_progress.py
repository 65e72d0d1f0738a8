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


class Lines(logging.Handler):
    """Keeps what is logged; other tests in this process may have set up the logger their own way."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.mark.parametrize(("shown", "lines"), [(True, 2), (False, 0)])
def test_a_plain_line_now_and_then(
    shown: bool, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Lines()
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(progress.LOG, "handlers", [kept])
    monkeypatch.setattr(progress.LOG, "filters", [])
    monkeypatch.setattr(progress.LOG, "disabled", False)
    level = progress.LOG.level
    progress.LOG.setLevel(logging.INFO)
    with Bar("x", 2, "steps", shown) as bar:
        bar.items(1)
        bar.items(1)
    progress.LOG.setLevel(level)
    assert len(kept.said) == lines
    if shown:
        assert kept.said[-1] == "x: 2 of 2 steps, 0 min left"
