"""Who repeats whom: keys of 64 bits a unit, on disk, merged in order with bounded memory.

A pass over a unit writes the keys of its traces; the merge finds, for every key, which traces come
after the first so many. It needs no unit but as numbers, so units may be looked at in any order,
anywhere.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from data_filters.dedup.minhash import band_keys, hash64, mixed
from data_filters.dedup.skeletons import Skeleton
from data_filters.records.files import reading, replacing
from data_filters.records.traces import Trace

KEYS_AT_ONCE = 2_000_000  # held while merging, about 90 bytes each
# in a shorter question one other word ("tin" for "copper") makes another question, so all must
# agree
NEAR_WORDS = 20


def fingerprint(trace: Trace) -> int:
    """64 bits of who said what; two different traces in a hundred million agree with a chance of
    0.03 %.
    """
    return hash64("\x1e".join(f"{m['role']}\x1f{m['content']}" for m in trace.messages))


def near_keys(question: Skeleton, answer: str) -> np.ndarray:
    """Keys, uint64 [K], of who asks nearly the same of the same values and answers alike.

    Args:
        question: what is asked; without a word it has no key.
        answer: the final answer, in any case of letters.
    """
    words, values = question
    if not words:
        return np.empty(0, np.uint64)
    whole = np.array([hash64(" ".join(words))], np.uint64)
    about = hash64("\x1f".join([*values, "\x1e", answer.lower()]))
    found = band_keys(words) if len(words) >= NEAR_WORDS else whole
    return mixed(found ^ np.uint64(about))


def alike_keys(question: Skeleton) -> np.ndarray:
    """Keys, uint64 [K], of who asks nearly the same of any values."""
    return band_keys(question.words) if question.words else np.empty(0, np.uint64)


@dataclass(slots=True)
class Keys:
    """The keys of one unit: for every filter parallel arrays of keys and of the rows they belong
    to; a row has an id and a problem.
    """

    ids: list[str]
    owner: np.ndarray  # uint64, a row
    keys: dict[str, np.ndarray]  # by filter: uint64 [K]
    rows: dict[str, np.ndarray]  # by filter: int64 [K]

    def save(self, path: Path) -> None:
        """Writes numbers only, no object: reading them back runs nothing."""
        named = {f"keys_{name}": found for name, found in self.keys.items()}
        named |= {f"rows_{name}": found for name, found in self.rows.items()}
        ids = np.frombuffer(json.dumps(self.ids).encode(), np.uint8)
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, ids=ids, owner=self.owner, **named)

    @classmethod
    def gather(
        cls,
        ids: Sequence[str],
        owners: Sequence[int],
        found: Mapping[str, Sequence[tuple[int, np.ndarray]]],
    ) -> "Keys":
        """From (row, its keys) by filter."""
        keys = {
            name: np.concatenate([np.empty(0, np.uint64), *(keys for _, keys in by_row)])
            for name, by_row in found.items()
        }
        rows = {
            name: np.concatenate(
                [np.empty(0, np.int64), *(np.full(len(k), row) for row, k in by_row)]
            )
            for name, by_row in found.items()
        }
        return cls(list(ids), np.array(owners, np.uint64), keys, rows)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a unit's file; objects in it are refused."""
    with reading(path):
        unit = np.load(path, allow_pickle=False)
        if not isinstance(unit, NpzFile):
            raise ValueError("one array, expected several")
        with unit:
            yield unit


def num_rows(path: Path) -> int:
    """The rows of a unit, by its keys."""
    with _opened(path) as unit:
        return len(unit["owner"])


def find_repeats(
    paths: Sequence[Path],
    name: str,
    most: int,
    dropped: list[np.ndarray],
    *,
    among_problems: bool = False,
    at_once: int = KEYS_AT_ONCE,
) -> tuple[np.ndarray, np.ndarray]:
    """(places, places of the first): traces that come after the first `most` with one of their
    keys. A place is unit << 32 | row.

    Args:
        paths: of the units' keys, in order.
        name: of the filter whose keys they are.
        most: traces that may share a key.
        dropped: a truth value a row, of every unit: rows that count no more. What is found is
            added.
        among_problems: only what repeats another problem's trace counts: attempts at one problem
            are no repetitions.
        at_once: keys held in memory.
    """
    total = 0
    for path in paths:
        with _opened(path) as unit:
            total += len(unit[f"keys_{name}"])
    parts = 1 + total // at_once
    late = [
        _late(*_part(paths, name, part, parts, dropped), most, among_problems)
        for part in range(parts)
    ]
    places, firsts = (np.concatenate(found) for found in zip(*late, strict=True))
    order = np.lexsort((firsts, places))
    places, at = np.unique(places[order], return_index=True)
    for number, rows in by_unit(places):
        dropped[number][rows] = True
    return places, firsts[order][at]


def by_unit(places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(unit, its rows) of places in order."""
    units, starts = np.unique(places >> 32, return_index=True)
    if len(units):
        yield from zip(units.tolist(), np.split(places & 0xFFFFFFFF, starts[1:]), strict=True)


def ids_of(paths: Sequence[Path], places: np.ndarray) -> list[str]:
    """The trace ids at these places, each unit read once."""
    wanted, back = np.unique(places, return_inverse=True)
    names: list[str] = []
    for number, rows in by_unit(wanted):
        with _opened(paths[number]) as found:
            ids = json.loads(found["ids"].tobytes())
        names += [ids[row] for row in rows]
    return [names[place] for place in back]


def _late(
    keys: np.ndarray, places: np.ndarray, owners: np.ndarray, most: int, among_problems: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Places beyond the first `most` of their key, and the place of the first."""
    if not len(keys):
        return places, places
    order = np.lexsort((places, keys))
    keys, places, owners = keys[order], places[order], owners[order]
    opens = np.concatenate([[True], keys[1:] != keys[:-1]])
    start = np.maximum.accumulate(np.where(opens, np.arange(len(keys)), 0))
    late = np.arange(len(keys)) - start >= most
    if among_problems:
        late &= owners != owners[start]
    return places[late], places[start[late]]


def _part(
    paths: Sequence[Path], name: str, part: int, parts: int, dropped: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys with this remainder, of all units: key, place (unit and row in one number), problem."""
    keys, places, owners = (
        [np.empty(0, np.uint64)],
        [np.empty(0, np.int64)],
        [np.empty(0, np.uint64)],
    )
    for number, path in enumerate(paths):
        with _opened(path) as unit:
            found, rows, owner = unit[f"keys_{name}"], unit[f"rows_{name}"], unit["owner"]
        mine = (found % np.uint64(parts) == part) & ~dropped[number][rows]
        keys.append(found[mine])
        places.append(rows[mine] | (number << 32))
        owners.append(owner[rows[mine]])
    return np.concatenate(keys), np.concatenate(places), np.concatenate(owners)
