"""Answers as columns of equal length, and selections of their rows."""

from collections.abc import Iterator, Mapping

import numpy as np

WIDE = {"i": np.int64, "f": np.float64, "b": np.bool_}


class Columns(Mapping[str, np.ndarray]):
    """Answers, one array a column, all of the same length; a selection has row numbers of its own
    and shares everything else.

    A text is held once, and in its rows its place among all texts of the column in sorted order; a
    number has the narrowest type that holds it. A column is text, or 64 bits wide, when it is asked
    for; until then it lies in parts as it was read, since one array of all would double the memory
    while it is made.
    """

    def __init__(
        self, cells: dict[str, list[np.ndarray]], texts: dict[str, np.ndarray], rows_N: np.ndarray
    ) -> None:
        self._cells, self._texts, self._rows_N = cells, texts, rows_N

    def __getitem__(self, name: str) -> np.ndarray:
        column_N = self.places(name)
        return (
            self._texts[name][column_N]
            if name in self._texts
            else column_N.astype(WIDE[column_N.dtype.kind])
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def clusters_N(self) -> np.ndarray:
        """The cluster of each answer; clusters of different suites are different clusters."""
        return pooled(self, "suite", "cluster")

    def kinds(self, name: str) -> int:
        """Gives how many texts a column of texts can hold."""
        return len(self._texts[name])

    def places(self, name: str) -> np.ndarray:
        """Gives what stands for the cells of a column: equal, and in the same order, where these
        are.
        """
        return np.concatenate(self._cells[name])[self._rows_N]

    def has(self, name: str, *values: str | int) -> np.ndarray:
        """Gives where a column holds any of the values."""
        if name in self._texts:
            return np.isin(self._texts[name], values)[self.places(name)]
        return np.isin(self.places(name), values)

    def at(self, chosen_N: np.ndarray) -> "Columns":
        """Gives the rows where `chosen_N` is true, or in the order of its indices."""
        return Columns(self._cells, self._texts, self._rows_N[chosen_N])

    def followed_by(self, other: "Columns") -> "Columns":
        """Gives the rows of two selections from the same answers, one behind the other."""
        return Columns(self._cells, self._texts, np.concatenate([self._rows_N, other._rows_N]))


def changes(rows: Columns, *names: str) -> np.ndarray:
    """Gives where a row differs from the one before it in any of these columns; the first does."""
    changes_N = np.zeros(len(rows.places("suite")), dtype=bool)
    changes_N[:1] = True
    for name in names:
        places_N = rows.places(name)
        changes_N[1:] |= places_N[1:] != places_N[:-1]
    return changes_N


def select(columns: Columns, **wanted: str | int | tuple[str, ...]) -> Columns:
    """Gives the rows whose columns equal the wanted values; a tuple means any of them."""
    keep_N = np.ones(len(columns.places("suite")), dtype=bool)
    for name, value in wanted.items():
        keep_N &= columns.has(name, *(value if isinstance(value, tuple) else (value,)))
    return columns.at(keep_N)


def pooled(rows: Columns, *names: str) -> np.ndarray:
    """Gives numbers that are equal where all these columns are, in their order; for rows of the
    same answers.
    """
    label_N = np.zeros(len(rows.places("suite")), dtype=np.int64)
    for name in names:
        label_N = label_N * rows.kinds(name) + rows.places(name)
    return label_N
