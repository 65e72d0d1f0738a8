"""The knowledge base that a student looks things up in: passages of text, ranked by BM25, in this
process, versioned by digest.

Passages are the facts that scrubbing took out (filter/knowledge), or any Parquet or JSONL of texts.
It can be edited: an entry taken out or changed is one line, and no weight of any model.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from data_filters.lookup.stated_facts import BLANK
from data_filters.records.rows import rows_of
from recipes.errors import ShardError

_WORD = re.compile(r"\w+")


class KnowledgeBase:
    """Passages and their index.

    Args:
        passages: texts; of those that are the same, one stays.
    """

    def __init__(self, passages: Iterable[str]) -> None:
        self.passages = tuple(dict.fromkeys(passages))

    @classmethod
    def read(cls, path: str | Path) -> "KnowledgeBase":
        """From a folder of Parquet shards, or whatever else `rows_of` takes.

        Raises:
            ShardError: nothing readable there, or rows that are neither texts nor facts.
        """
        return cls(passages_of((row for _, row in rows_of(path)), str(path)))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name what it holds."""
        return hashlib.sha256("\x1e".join(sorted(self.passages)).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.passages)

    @cached_property
    def _index(self) -> bm25s.BM25 | None:
        words = [_words(text) for text in self.passages]
        if not any(words):
            return None
        index = bm25s.BM25(method="lucene")
        index.index(words, show_progress=False)
        return index

    def search(self, query: str, count: int) -> list[str]:
        """The passages that match best, best first; none that shares no word with the query. Ties
        go by their order in the base.
        """
        words = _words(query)
        if self._index is None or not words or count < 1:
            return []
        scores_N = self._index.get_scores(words)
        count = min(count, len(scores_N))
        floor = np.partition(scores_N, len(scores_N) - count)[len(scores_N) - count]
        near = np.flatnonzero((scores_N >= floor) & (scores_N > 0))
        best = near[np.argsort(-scores_N[near], kind="stable")][:count]
        return [self.passages[n] for n in best]

    def edited(self, changes: Mapping[str, str | None]) -> "KnowledgeBase":
        """Another base: these passages in place of those; None takes one out."""
        kept = (changes.get(text, text) for text in self.passages)
        return KnowledgeBase(text for text in kept if text is not None)


def passage(subject: str, relation: str, value: str) -> str:
    """A fact as a text. The relation is the question that it answers, or a sentence with a blank;
    without one the fact is only said of its subject.
    """
    if BLANK in relation:
        return relation.replace(BLANK, value)
    return f"{relation} {value}." if relation else f"{subject} {value}."


def passages_of(rows: Iterable[Mapping[str, Any]], where: str) -> Iterator[str]:
    """Texts of rows with `text`, or of facts with `subject`, `relation` and `value`: of a
    question's values the one stated most often.

    Raises:
        ShardError: rows of another kind.
    """
    facts: list[tuple[str, str, int, str]] = []
    for number, row in enumerate(rows):
        if isinstance(row.get("text"), str):
            yield row["text"]
        elif {"subject", "relation", "value"} <= set(row):
            facts.append((row["relation"], row["subject"], -(row.get("count") or 1), row["value"]))
        else:
            found = ", ".join(map(str, row)) or "nothing"
            raise ShardError(
                f"{where}, row {number}: got {found}; expected text, or subject, relation and value"
            )
    for (relation, subject), same in groupby(sorted(facts), key=lambda fact: fact[:2]):
        for _, _, _, value in list(same)[: 1 if relation else None]:
            yield passage(subject, relation, value)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def first_of(results: Sequence[str], relation: str) -> str | None:
    """The value that the first result gives as the answer to exactly this question; None where it
    does not.
    """
    start = f"{relation} "
    return (
        results[0].removeprefix(start).removesuffix(".")
        if results and results[0].startswith(start)
        else None
    )
