"""Python's collector of cycles, put off while texts are read."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is collected inside; also a decorator. Tokens and spans hold no cycles, so they go when nobody has them, and passes over
    millions of them are a tenth of the filter stage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
