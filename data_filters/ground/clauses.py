"""Where a span stands: which named entities come before it in its clause, so that a value is tied
to its subject.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from data_filters.detect.candidates import NAMED, CandidateSpan
from data_filters.text.stem import stem
from data_filters.text.tokens import Sentence, Token

CLAUSE_WORDS = frozenset(
    "and or but nor not while whereas because so since then if unless that which who whose whom where when until than as".split()
)
_PRONOUNS = frozenset(map(stem, "he she it its his her they their".split()))
_OPENING = 3  # words
_MOST_TOKENS = 12  # of a span that are read
LIST_NAMES = 3  # so many names in a row are a list, not a note

Names = frozenset[str]
_Placed = tuple[int, CandidateSpan]  # with the number of its token in the sentence


class SpanContext(NamedTuple):
    """A span with its surroundings; names are sets of stems."""

    span: CandidateSpan
    tokens: tuple[Token, ...]  # of the span
    # the nearest entity before it in its clause, and those joined to it by "and"
    subjects: tuple[Names, ...]
    everybody: tuple[Names, ...]  # all entities before it in its sentence
    subject: str  # the nearest of them, as it stands
    direct: bool  # an entity stands directly before
    counted: bool  # another number stands between the nearest entity and this
    in_list: bool  # one of three or more names in a row
    concluding: bool  # part of the final answer
    sentence: int  # its number
    names: tuple[CandidateSpan, ...]  # the entities of its sentence, or of the one it goes on from


class _Place(NamedTuple):
    """What the spans of one sentence have in common."""

    sentence: int
    names: tuple[CandidateSpan, ...]
    own: tuple[CandidateSpan, ...]  # those of the sentence itself
    concluding: bool


def span_contexts(
    sentences: Sequence[Sentence], spans: Sequence[CandidateSpan]
) -> Iterator[SpanContext]:
    """Each span with its surroundings, in order. A text without a reasoning block concludes with
    its last sentence.
    """
    found_in = _by_sentence(sentences, spans)
    thought = any(not sentence.final for sentence in sentences)
    names: tuple[CandidateSpan, ...] = ()
    for number, (sentence, found) in enumerate(zip(sentences, found_in, strict=True)):
        own = tuple([one for _, one in found if one.kind in NAMED])
        names = own if own or not _goes_on(sentence) else names
        if found:
            concluding = sentence.final and (thought or number == len(sentences) - 1)
            place = _Place(number, names, own, concluding)
            yield from _contexts_in(sentence, place, found)


def _goes_on(sentence: Sentence) -> bool:
    """Whether a sentence opens with a pronoun, so that it is about the entities of the last one."""
    return any(token.key in _PRONOUNS for token in sentence.words[:_OPENING])


def _by_sentence(
    sentences: Sequence[Sentence], spans: Sequence[CandidateSpan]
) -> list[list[_Placed]]:
    """The spans of each sentence, with the number of the token that they begin with or in: in "$ 5"
    that is the number. Where another span begins, it stays.
    """
    by_start = {one.start: one for one in spans}
    found_in = _starting(sentences, by_start)
    if sum(map(len, found_in)) < len(by_start):  # some begin in the middle of a token
        _move_to_tokens(sentences, by_start)
        found_in = _starting(sentences, by_start)
    return found_in


def _starting(
    sentences: Sequence[Sentence], by_start: dict[int, CandidateSpan]
) -> list[list[_Placed]]:
    return [
        [
            (number, by_start[token.start])
            for number, token in enumerate(sentence.tokens)
            if token.start in by_start
        ]
        for sentence in sentences
    ]


def _move_to_tokens(sentences: Sequence[Sentence], by_start: dict[int, CandidateSpan]) -> None:
    tokens = [token for sentence in sentences for token in sentence.tokens]
    starts, ends = {token.start for token in tokens}, [token.end for token in tokens]
    for stray in [one for one in by_start.values() if one.start not in starts]:
        del by_start[stray.start]
        # the first token that ends behind the span's start
        number = bisect_right(ends, stray.start)
        if number < len(tokens) and tokens[number].start < stray.end:
            by_start.setdefault(tokens[number].start, stray)


def _contexts_in(
    sentence: Sentence, place: _Place, found: Sequence[_Placed]
) -> Iterator[SpanContext]:
    walk, behind, all_tokens = _Walk(), 0, sentence.tokens
    lists = _name_lists(place.own)
    for number, one in found:
        if number < behind:
            continue
        if place.own:  # without a name there is nobody to part the rest from
            for token in all_tokens[behind:number]:
                walk.passes(token)
        behind = number + 1
        while behind < len(all_tokens) and all_tokens[behind].start < one.end:
            behind += 1
        tokens = tuple(all_tokens[number : min(behind, number + _MOST_TOKENS)])
        yield SpanContext(
            one,
            tokens,
            tuple(walk.subjects),
            tuple(walk.everybody),
            walk.subject,
            walk.direct,
            walk.counted,
            one.start in lists,
            place.concluding,
            place.sentence,
            place.names,
        )
        walk.meets(one, tokens)


@dataclass(slots=True)
class _Walk:
    """The entities met on the way through a sentence; clause words and commas part them."""

    subjects: list[Names] = field(default_factory=list)
    # entities before an "and" or comma that another entity may follow
    joined: list[Names] = field(default_factory=list)
    everybody: list[Names] = field(default_factory=list)
    subject: str = ""
    direct: bool = False
    counted: bool = False

    def passes(self, token: Token) -> None:
        if token.kind == "pause" or token.key in CLAUSE_WORDS:
            if self.subjects:
                self.joined = self.subjects if self.direct else []
            self.subjects = []
        else:
            self.joined = []
        self.direct = False

    def meets(self, span: CandidateSpan, tokens: Sequence[Token]) -> None:
        self.direct = span.kind in NAMED
        if self.direct:
            names = frozenset(token.key for token in tokens)
            self.subjects = [*self.joined, names]
            self.everybody.append(names)
            self.counted = False
            self.subject = (
                " ".join(token.text for token in tokens).removesuffix("'s").removesuffix("\u2019s")
            )
        else:
            self.counted = self.counted or span.detector == "numbers"
        self.joined = []


def _name_lists(names: Sequence[CandidateSpan]) -> frozenset[int]:
    """Starts of the names that stand in a row of three or more, without a word between them."""
    if len(names) < LIST_NAMES:
        return frozenset()
    rows: list[list[CandidateSpan]] = []
    for one in names:
        if rows and one.start - rows[-1][-1].end <= 1:
            rows[-1].append(one)
        else:
            rows.append([one])
    return frozenset(one.start for row in rows if len(row) >= LIST_NAMES for one in row)
