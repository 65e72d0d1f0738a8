"""Who repeats whom: keys of 64 bits a unit, on disk, merged in order with bounded memory.

A pass over a unit writes the keys of its traces; the merge finds, for every key, which traces come
after the first so many. It needs no unit but as numbers, so units may be looked at in any order,
anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_filters.dedup.minhash import band_keys, hash64, mixed
from data_filters.dedup.skeletons import skeleton
from data_filters.records.files import replacing
from data_filters.records.traces import Trace

KEYS_AT_ONCE = 2_000_000  # held while merging, about 90 bytes each
# in a shorter question one other word ("tin" for "copper") makes another question, so all must
# agree
NEAR_WORDS = 20
KINDS = ("same", "near", "skeleton", "fact")


def fingerprint(trace: Trace) -> int:
    """64 bits of who said what; two different traces in a hundred million agree with a chance of
    0.03 %.
    """
    return hash64("\x1e".join(f"{m['role']}\x1f{m['content']}" for m in trace.messages))


def question_keys(trace: Trace, knows: Callable[[str], bool]) -> tuple[np.ndarray, np.ndarray]:
    """(keys of who asks nearly the same of the same values and answers alike, keys of who asks
    nearly the same of anything).
    """
    words, values = skeleton(
        "\n".join(m["content"] for m in trace.messages if m["role"] == "user"), knows
    )
    if not words:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    bands = band_keys(words)
    whole = np.array([hash64(" ".join(words))], np.uint64)
    about = hash64("\x1f".join([*values, "\x1e", (trace.answer or "").lower()]))
    return mixed((bands if len(words) >= NEAR_WORDS else whole) ^ np.uint64(about)), bands


@dataclass(slots=True)
class Keys:
    """The keys of one unit: for every kind, parallel arrays of keys and of the rows they belong to;
    a row has a name and a problem.
    """

    ids: np.ndarray
    owner: np.ndarray
    keys: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        named = {f"keys_{kind}": self.keys[kind] for kind in KINDS} | {
            f"rows_{kind}": self.rows[kind] for kind in KINDS
        }
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, ids=self.ids, owner=self.owner, **named)

    @classmethod
    def gather(
        cls,
        ids: Sequence[str],
        owners: Sequence[int],
        found: dict[str, list[tuple[int, np.ndarray]]],
    ) -> "Keys":
        """From (row, its keys) of each kind."""
        keys = {
            kind: np.concatenate([np.empty(0, np.uint64), *(keys for _, keys in found[kind])])
            for kind in KINDS
        }
        rows = {
            kind: np.concatenate(
                [np.empty(0, np.int64), *(np.full(len(k), row) for row, k in found[kind])]
            )
            for kind in KINDS
        }
        return cls(np.array(ids, str), np.array(owners, np.uint64), keys, rows)


def beyond(
    paths: Sequence[Path],
    kind: str,
    most: int,
    struck: list[np.ndarray],
    *,
    among_problems: bool = False,
    at_once: int = KEYS_AT_ONCE,
) -> tuple[np.ndarray, np.ndarray]:
    """(places, places of the first): traces that come after the first `most` with one of their
    keys. A place is unit << 32 | row.

    Args:
        paths: of the units' keys, in order.
        kind: which keys.
        most: traces that may share a key.
        struck: a truth value a row, of every unit: rows that count no more; what is found is added.
        among_problems: only what repeats another problem's trace counts: attempts at one problem
            are no repetitions.
        at_once: keys held in memory.
    """
    total = 0
    for path in paths:
        with np.load(path) as unit:
            total += len(unit[f"keys_{kind}"])
    parts = 1 + total // at_once
    late = [
        _late(*_part(paths, kind, part, parts, struck), most, among_problems)
        for part in range(parts)
    ]
    places, firsts = (np.concatenate(found) for found in zip(*late, strict=True))
    order = np.lexsort((firsts, places))
    places, at = np.unique(places[order], return_index=True)
    for unit, rows in by_unit(places):
        struck[unit][rows] = True
    return places, firsts[order][at]


def by_unit(places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(unit, its rows) of places in order."""
    units, starts = np.unique(places >> 32, return_index=True)
    if len(units):
        yield from zip(units.tolist(), np.split(places & 0xFFFFFFFF, starts[1:]), strict=True)


def names_of(paths: Sequence[Path], places: np.ndarray) -> np.ndarray:
    """The trace ids at these places, each unit read once."""
    wanted, back = np.unique(places, return_inverse=True)
    names = [np.empty(0, str)]
    for unit, rows in by_unit(wanted):
        with np.load(paths[unit]) as found:
            names.append(found["ids"][rows])
    return np.concatenate(names)[back]


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
    paths: Sequence[Path], kind: str, part: int, parts: int, struck: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys with this remainder, of all units: key, place (unit and row in one number), problem."""
    keys, places, owners = (
        [np.empty(0, np.uint64)],
        [np.empty(0, np.int64)],
        [np.empty(0, np.uint64)],
    )
    for number, path in enumerate(paths):
        with np.load(path) as unit:
            found, rows, owner = unit[f"keys_{kind}"], unit[f"rows_{kind}"], unit["owner"]
        mine = (found % np.uint64(parts) == part) & ~struck[number][rows]
        keys.append(found[mine])
        places.append(rows[mine] | (number << 32))
        owners.append(owner[rows[mine]])
    return np.concatenate(keys), np.concatenate(places), np.concatenate(owners)
