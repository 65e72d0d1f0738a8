"""What people see of work that takes long: lines, and progress as a bar or as a line now and then.

Lines go to the logger `cognitive_core`; the command decides where it writes. Records with `beside`
stand for a progress bar: a terminal that shows the bar leaves them out.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG = logging.getLogger("cognitive_core")
BESIDE = {"beside": True}
PLAIN_SECONDS = 30.0  # between two plain lines of a bar


def show(text: str) -> None:
    """Shows a line to people."""
    LOG.info(text)


def has_terminal() -> bool:
    """Whether bars can be drawn: standard error is a terminal."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


class Bar:
    """How far some work is: things done, tokens/s, time left.

    A bar on a terminal; a plain line every PLAIN_SECONDS in a log, as long as things are done.

    Args:
        label: what is done, such as "generate".
        total: things in all; None where nobody knows.
        unit: of the things, in the plural.
        shown: False: silent, as on all ranks but one.
        done: things that were done before.
    """

    def __init__(
        self, label: str, total: int | None, unit: str, shown: bool, *, done: int = 0
    ) -> None:
        self.label, self.unit, self.shown = label, unit, shown
        self.done, self.total, self.start = done, total, done
        self.written, self.began = 0, time.monotonic()
        self.noted, self.lined = 0.0, self.began
        self.note = ""
        self.bar = tqdm(
            desc=label,
            total=total,
            initial=done,
            unit=f" {unit}",
            mininterval=1.0,
            disable=not (shown and has_terminal()),
        )

    def items(self, items: int) -> None:
        """Some more things are done."""
        self.done += items
        if not self.bar.disable:
            self.bar.set_postfix_str(", ".join(self._beside()), refresh=False)
            self.bar.update(items)
        if self.shown and time.monotonic() - self.lined >= PLAIN_SECONDS:
            self.lined = time.monotonic()
            LOG.info(self.line(), extra=BESIDE)

    def tokens(self, items: int, tokens: int) -> None:
        """Some more things are done, with so many tokens in them."""
        self.written += tokens
        self.items(items)

    def each(self, things: Iterable[T]) -> Iterator[T]:
        """The things one by one; each is done when the next is asked for."""
        for thing in things:
            yield thing
            self.items(1)

    def remark(self, text: Callable[[], str]) -> None:
        """Shows a text beside the rate; it is asked for once a second at most."""
        if time.monotonic() - self.noted >= 1.0:
            self.note, self.noted = text(), time.monotonic()

    def expect(self, total: int) -> None:
        """Sets how many things there are in all."""
        self.total = self.bar.total = total

    def more(self, items: int) -> None:
        """Puts further things before it."""
        if self.total is not None:
            self.expect(self.total + items)

    def line(self) -> str:
        """Where it stands, as a line: "generate: 120 of 400 traces, 310 tokens/s, 2 min left"."""
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        texts = [f"{self.label}: {count} {self.unit}", *self._beside()]
        if self.total is not None and self.done > self.start:
            each = self._seconds() / (self.done - self.start)
            texts.append(f"{(self.total - self.done) * each / 60:,.0f} min left")
        return ", ".join(texts)

    def _beside(self) -> list[str]:
        rate = f"{self.written / self._seconds():,.0f} tokens/s" if self.written else ""
        return [text for text in (rate, self.note) if text]

    def _seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar off."""
        self.bar.close()
