"""Answers read into columns: what is refused, what stays, and which answer is the main one."""

import tracemalloc

import numpy as np
import pytest

from eval.scores.answers.columns import select
from eval.scores.answers.read import BATCH_ROWS, COLUMNS, FEATURES, OPTIONAL, read_answers
from eval.scores.answers.sheet import Sheet, main_answers
from recipes.errors import ShardError


def _row(**changed):
    blank = dict.fromkeys(COLUMNS, "") | {
        "exposure": 0,
        "completion_tokens": 3,
        "outcome": "correct",
        "mode": "free",
    }
    return blank | {"contender": "student", "suite": "basics", "question_id": "q"} | changed


def test_rows_and_columns_read_the_same():
    rows = [_row(question_id="b", gold=None), _row(question_id="a", outcome="wrong")]
    from_rows = read_answers(iter(rows))
    from_columns = read_answers({name: [row[name] for row in rows] for name in COLUMNS})
    assert from_rows["question_id"].tolist() == ["a", "b"]
    assert from_rows["gold"].tolist() == ["", ""]
    assert set(from_rows) == set(COLUMNS) - {"text"} | set(FEATURES) | set(OPTIONAL) - {
        "swapped_gold"
    } | {"swapped"}
    for name, column in from_rows.items():
        np.testing.assert_array_equal(column, from_columns[name])
    assert read_answers(from_rows) is from_rows, "columns that were read are given back"
    assert select(from_rows, outcome="wrong")["question_id"].tolist() == ["a"]
    assert select(from_rows, outcome=("wrong", "correct"))["question_id"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([_row(), _row()], "student/basics/free/q was answered twice"),
        ([_row(outcome="right")], r"outcomes \['right'\]"),
        (
            [{name: value for name, value in _row().items() if name != "cluster"}],
            r"columns \['cluster'\] are missing",
        ),
        (
            {name: [value] for name, value in _row().items() if name != "mode"},
            r"columns \['mode'\] are missing",
        ),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(rows, told):
    with pytest.raises(ShardError, match=told):
        read_answers(rows)


def test_columns_that_nobody_told_are_filled_in():
    columns = read_answers(
        [
            _row(),
            _row(question_id="r", confidence=0.5, difficulty=2, sample=None, searched=0, base=None),
        ]
    )
    assert columns["confidence"].tolist()[1] == 0.5 and np.isnan(columns["confidence"][0])
    assert (
        np.isnan(columns["difficulty"][0])
        and np.isnan(columns["searched"][0])
        and columns["searched"][1] == 0
    )
    assert all(columns[name].tolist() == [0, 0] for name in ("sample", "distractors", "budget"))
    assert (
        columns["base"].tolist() == ["", ""]
        and not columns["swapped"].any()
        and not columns["follows"].any()
    )


def test_what_stays_of_an_answer_does_not_grow_with_its_text():
    rows = [
        _row(question_id=str(n), text=f"<think> {n} " + "x" * 100_000 + "</think> 7.")
        for n in range(3)
    ]
    columns = read_answers(iter(rows))
    assert sum(column.nbytes for column in columns.values()) < 3 * 250
    assert len(set(columns["answer_digest"])) == 1, "the same final answer"
    assert len(set(columns["template_digest"])) == 1, "numbers aside, the same text"
    assert columns["choice"].tolist() == ["", "", ""]
    assert read_answers([_row(mode="choice", text=" Oslo ")])["choice"].tolist() == ["Oslo"]


def test_many_rows_are_read_like_few():
    rows = [
        _row(question_id=f"{n:05d}", outcome="wrong" if n % 3 else "correct")
        for n in range(2 * BATCH_ROWS + 5)
    ]
    columns = read_answers(iter(rows[::-1]))
    assert columns["question_id"].tolist() == [row["question_id"] for row in rows]
    assert columns["outcome"].tolist() == [row["outcome"] for row in rows]


def test_what_stays_of_an_answer_is_small():
    tracemalloc.start()
    columns = read_answers(
        _row(question_id=f"{n // 8:06d}", sample=n % 8, text=f"{n}", confidence=0.5)
        for n in range(5 * BATCH_ROWS)
    )
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 75 * len(columns["suite"]), (
        "an eighth of a question's name and its place, and the row"
    )


def test_the_same_question_in_other_ways_is_not_the_same_answer():
    ways = [
        {},
        {"sample": 1},
        {"base": "OFF"},
        {"budget": 64},
        {"distractors": 3},
        {"mode": "note"},
    ]
    columns = read_answers([_row(**way) for way in reversed(ways)])
    assert len(columns["suite"]) == len(ways)
    main = main_answers(columns)
    assert main["mode"].tolist() == ["free", "note"]
    with pytest.raises(
        ShardError, match="student/basics/free/q/sample 1/base OFF was answered twice"
    ):
        read_answers([_row(sample=1, base="OFF")] * 2)


def test_the_main_answer_has_the_fewest_distractors_it_was_asked_with():
    columns = read_answers(
        [_row(distractors=count, completion_tokens=count) for count in (8, 2, 4)]
    )
    assert main_answers(columns)["completion_tokens"].tolist() == [2]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"base": "full"}, r"bases \['full'\]"),
        ({"confidence": 1.5}, "confidence 1.5 is not within 0..1"),
        ({"confidence": "sure"}, "column confidence holds what it cannot hold"),
        ({"completion_tokens": "many"}, "column completion_tokens holds what it cannot hold"),
        ({"sample": 2**70}, "column sample holds what it cannot hold"),
        ({"cluster": ["a"]}, r"column cluster holds what it cannot hold \(\['a'\] is not a text\)"),
    ],
)
def test_strange_optional_cells_are_refused(changed, told):
    with pytest.raises(ShardError, match=told):
        read_answers([_row(**changed)])


def test_a_sheet_gives_free_answers_in_one_state_of_the_base():
    rows = [
        _row(),
        _row(mode="note"),
        _row(sample=1),
        _row(base="OFF", completion_tokens=9),
        _row(base="OFF", budget=8),
        _row(contender="other"),
    ]
    sheet = Sheet.of(read_answers(rows), "student")
    assert len(sheet.answers["suite"]) == 5
    assert sheet.main["mode"].tolist() == ["free", "note"]
    assert sheet.free()["completion_tokens"].tolist() == [3]
    assert sheet.free("OFF")["completion_tokens"].tolist() == [9]
    assert len(Sheet.of(read_answers(rows), "nobody").main["suite"]) == 0
