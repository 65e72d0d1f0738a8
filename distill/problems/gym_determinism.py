"""What makes reasoning-gym give the same problem for the same seed, and an end to those that it
would never finish.
"""

import contextlib
import importlib
import io
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

# what one problem may take; the usual one takes less than a millisecond, a slow one seconds
PROBLEM_SECONDS = 60.0
# number_sequence drops terms over 1,000, and no rule brings a number over this back below them
_ENOUGH = 10**6


class TooSlow(BaseException):
    """One problem took too long. Not an Exception: some data sets catch those and try again."""


@contextlib.contextmanager
def steady(family: str, seed: int) -> Iterator[None]:
    """Inside, what a data set draws follows from its own seed and this one; outside, nothing has
    changed.

    Some data sets draw from the global generators (list_functions, pool_matrix), walk over sets of
    texts, whose order differs in every process (knight_swap, word_ladder), or print.

    Args:
        family: name of the data set.
        seed: of the global generators meanwhile.

    Raises:
        TooSlow: the block took more than PROBLEM_SECONDS; only where it runs in the main thread.
    """
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            _replaced(family),
            _limited(PROBLEM_SECONDS),
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def make_deterministic(family: str, dataset: Any) -> Any:
    """The data set, with what it keeps in sets put in order: the order of a set of texts differs in
    every process.
    """
    if family in ("isomorphic_strings", "ransom_note"):
        dataset.letters = _Letters(sorted(dataset.letters))
    if family == "polynomial_multiplication":
        unordered = dataset._get_monomials
        dataset._get_monomials = lambda rng: sorted(unordered(rng), key=str)
    return dataset


class _Letters(list[str]):
    def __sub__(self, other: set[str]) -> list[str]:
        return [letter for letter in self if letter not in other]


class _SortedSet(set[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__()))


class _SortedFrozenSet(frozenset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__()))


def _bounded(rule: type) -> type:
    """A rule of number_sequence that gives up early: one that squares four times a term counts to
    10^(16^8), and never ends.
    """

    class Bounded(rule):
        def apply(self, sequence: list[int], position: int) -> int:
            terms = sequence[: position + 1]
            for operation, parameter in zip(self.operations, self.parameters, strict=True):
                terms[-1] = rule([operation], [parameter], self.subrules).apply(terms, position)
                if abs(terms[-1]) > _ENOUGH:
                    # the data set draws another rule, as it does when it sees such a sequence
                    raise OverflowError
            return terms[-1]

    return Bounded


@contextlib.contextmanager
def _replaced(family: str) -> Iterator[None]:
    """Puts the bounded or ordered form of a class in the place of the one that the family's module
    uses.
    """
    places = {
        "number_sequence": ("cognition.number_sequences", "PatternRule"),
        "knight_swap": ("games.knight_swap", "frozenset"),
        "word_ladder": ("algorithmic.word_ladder", "set"),
    }
    if family not in places:
        yield
        return
    where, name = places[family]
    module = importlib.import_module(f"reasoning_gym.{where}")
    before = vars(module).get(name)
    setattr(
        module,
        name,
        {"frozenset": _SortedFrozenSet, "set": _SortedSet}.get(name)
        or _bounded(module.PatternRule),
    )
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """A signal ends the block; a timer that was running before goes on afterwards. Other threads
    get no signals: no limit there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TooSlow

    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    began = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001))


def plain(value: Any) -> Any:
    """The same value without numpy's types, so that it can be pickled, written and compared
    anywhere.
    """
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
        return kind(map(plain, value))
    return value
