"""Progress for people: a bar that is never silent for long."""

import time
from collections.abc import Callable
from typing import Self

from tqdm import tqdm


def say(text: str) -> None:
    """Shows a line to people; a progress bar stays below it."""
    tqdm.write(text)


class Bar:
    """A progress bar that is never silent for long: things done, tokens/s, time left."""

    def __init__(self, label: str, total: int | None, unit: str, shown: bool) -> None:
        self.bar = tqdm(
            desc=label,
            total=total,
            unit=f" {unit}",
            mininterval=1.0,
            disable=not shown,
            unit_scale=False,
        )
        self.written, self.began = 0, time.monotonic()
        self.note, self.noted = "", 0.0

    def tokens(self, items: int, tokens: int) -> None:
        self.written += tokens
        rate = f"{self.written / (time.monotonic() - self.began):,.0f} tokens/s"
        self.bar.set_postfix_str(f"{rate}, {self.note}" if self.note else rate, refresh=False)
        self.bar.update(items)

    def items(self, items: int) -> None:
        self.bar.update(items)

    def say(self, note: Callable[[], str]) -> None:
        """Shows a note beside the rate; it is asked for once a second at most."""
        if time.monotonic() - self.noted >= 1.0:
            self.note, self.noted = note(), time.monotonic()

    def more(self, items: int) -> None:
        """Puts further items before it."""
        if self.bar.total is not None:
            self.bar.total += items

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
