"""Words of the vocabulary are plain text wherever they are written, and unknown words say so."""

import json
import pickle
from enum import EnumType

import numpy as np
import pyarrow as pa
import pytest

from data_filters.records.traces import SCHEMA, Trace, from_row, span_of, to_row
from recipes import vocabulary
from recipes.vocabulary import FACT_KINDS, Action, Grounding, Kind, Outcome, Suite, Verdict, Word

ENUMS = [one for one in vars(vocabulary).values() if isinstance(one, EnumType) and one is not Word]


@pytest.mark.parametrize("words", ENUMS, ids=lambda words: words.__name__)
def test_a_word_is_its_text(words: type[Word]) -> None:
    for word in words:
        plain = str(word)
        assert type(plain) is str and word == plain and hash(word) == hash(plain)
        assert f"{word} {word!r}" == f"{plain} {plain!r}"
        assert json.dumps({word: [word]}) == json.dumps({plain: [plain]})
        assert pickle.loads(pickle.dumps(word)) is word is words(plain)


def test_parquet_holds_plain_text() -> None:
    table = pa.Table.from_pylist([{"a": Verdict.WRONG}], schema=pa.schema([("a", pa.string())]))
    assert table.to_pylist() == [{"a": "wrong"}]


def test_columns_of_text_are_compared_and_searched_with_words() -> None:
    said_N = np.array(["correct", "wrong", "else"], dtype=object)
    assert (said_N == Outcome.CORRECT).tolist() == [True, False, False]
    assert np.isin(said_N, (Outcome.CORRECT, Outcome.WRONG)).tolist() == [True, True, False]
    assert np.isin(np.array(["recall"]), (Suite.RECALL,)).tolist() == [True]


def test_an_unknown_word_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"got 'right', expected one of correct, wrong, unknown"):
        Verdict("right")


def test_fact_kinds_end_where_pieces_of_conversations_begin() -> None:
    assert Kind.ANSWER in FACT_KINDS and Kind.MESSAGE not in FACT_KINDS and len(FACT_KINDS) == 11


def test_words_of_a_row_come_back_as_members() -> None:
    span = {
        "message": 1,
        "start": 0,
        "end": 4,
        "kind": "place",
        "grounding": "ungrounded",
        "action": "mask",
    }
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Oslo"}]
    trace = Trace(
        id="1",
        problem_id="1",
        source="",
        seed=0,
        messages=talk,
        verdict=Verdict.CORRECT,
        spans=[span_of(span)],
    )
    row = pa.Table.from_pylist([to_row(trace)], schema=SCHEMA).to_pylist()[0]
    assert row["verdict"] == "correct" and row["spans"][0]["grounding"] == "ungrounded"
    back = from_row(row)
    assert back.verdict is Verdict.CORRECT and back.spans[0].grounding is Grounding.UNGROUNDED
    assert back.spans[0].action is Action.MASK
    with pytest.raises(ValueError, match="got 'asserted', expected one of given"):
        span_of(span | {"grounding": "asserted"})
