"""Exact repetitions of a prompt with its answer, remembered in eight bytes a trace."""

import hashlib

import numpy as np

from data_filters.traces import Trace

_RECENT = 1 << 16  # fingerprints held in a Python set before they are merged into the sorted array


def fingerprint(trace: Trace) -> int:
    """64 bits of who said what; two different traces in a hundred million agree with a chance of 0.03 %."""
    said = "\x1e".join(f"{m['role']}\x1f{m['content']}" for m in trace.messages)
    return int.from_bytes(hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


class Seen:
    """A set of 64-bit numbers that grows by eight bytes a number."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, number: int) -> bool:
        """Whether the number is new; it is remembered from now on."""
        if number in self._recent or self._holds(number):
            return False
        self._recent.add(number)
        if len(self._recent) >= max(_RECENT, len(self._sorted) // 8):  # merging stays linear in the whole
            merged = np.concatenate([self._sorted, np.fromiter(self._recent, np.uint64, len(self._recent))])
            merged.sort()
            self._sorted, self._recent = merged, set()
        return True

    def _holds(self, number: int) -> bool:
        wanted = np.uint64(number)
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and self._sorted[place] == wanted
