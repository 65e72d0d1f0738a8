"""Files and hub data sets: columns, templates, blocks that read on, and faults that name their
line.
"""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_filters.verify.checks import Check
from data_filters.verify.verifiers import Verifiers
from distill.problems.dataset_problems import read_rows
from distill.problems.draw import draw_problems
from recipes.errors import PipelineError, RecipeError, ShardError
from recipes.schema import Source

ROWS = [
    {"question": f"What is {i} + 1?", "reply": str(i + 1), "other": "x" * 20} for i in range(30)
]


def draw(sources, world=None, **changes):
    return draw_problems(
        sources, world, **({"seed": 1, "start": 0, "count": 40, "split": "training"} | changes)
    )


def lines(path, rows, between="\n"):
    path.write_text(between.join(json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture(params=["jsonl", "blank lines", "jsonl.gz", "list", "parquet", "folder"])
def path(request, tmp_path):
    """The same rows, in every form they come in; the folder is read by the code that reads the
    hub.
    """
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "mine.parquet", row_group_size=7)
        return str(tmp_path / "mine.parquet")
    if request.param == "folder":
        pq.write_table(
            pa.Table.from_pylist(ROWS), tmp_path / "train-00000-of-00001.parquet", row_group_size=7
        )
        pq.write_table(pa.Table.from_pylist(ROWS[:3]), tmp_path / "test-00000-of-00001.parquet")
        return str(tmp_path)
    if request.param == "jsonl.gz":
        (tmp_path / "mine.jsonl.gz").write_bytes(
            gzip.compress("\n".join(map(json.dumps, ROWS)).encode())
        )
        return str(tmp_path / "mine.jsonl.gz")
    if request.param == "list":
        (tmp_path / "mine.json").write_text(json.dumps(ROWS, indent=1))
        return str(tmp_path / "mine.json")
    return lines(tmp_path / "mine.jsonl", ROWS, "\n" if request.param == "jsonl" else "\r\n \n\n")


def test_rows_come_once_and_in_order(path):
    found = draw([Source(name="mine", path=path, answer="reply")])
    assert [(p.prompt, p.gold, p.seed) for p in found] == [
        (row["question"], row["reply"], i) for i, row in enumerate(ROWS)
    ]
    assert {(p.verifier, p.source, p.family, p.entry, p.tests) for p in found} == {
        ("math", "mine", "", None, None)
    }


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 14, 29, 30, 99])
def test_a_file_is_read_from_any_row_on(path, start):
    rows = list(read_rows(Source(name="mine", path=path, answer="reply"), start, 9))
    assert [(row.number, row.prompt) for row in rows] == [
        (i, ROWS[i]["question"]) for i in range(start, min(start + 9, 30))
    ]


def test_blocks_read_a_file_on_where_the_last_one_stopped(tmp_path, world):
    rows = [{"question": "" if i % 5 == 3 else f"Question {i}?"} for i in range(200)]
    sources = [
        Source(name="mine", path=lines(tmp_path / "mine.jsonl", rows)),
        Source(name="planted/sums", weight=2.0),
    ]
    blocks = [draw(sources, world, start=start, count=30, block=30) for start in (0, 30, 60)]
    asked = [p.prompt for block in blocks for p in block if p.source == "mine"]
    assert (
        asked == [row["question"] for row in rows if row["question"]][: len(asked)]
        and len(asked) > 15
    )


def test_rows_without_a_prompt_are_left_out_and_counted(tmp_path, caplog):
    rows = [{"question": text} for text in ("One?", "", None, " \n", "Two?")]
    found = draw([Source(name="mine", path=lines(tmp_path / "mine.jsonl", rows))], count=5)
    assert [(p.prompt, p.seed) for p in found] == [("One?", 0), ("Two?", 4)]
    assert "source mine: 3 of 5 rows have no prompt, left out" in caplog.text


def test_a_missing_reference_is_none_and_not_a_word(tmp_path):
    rows = [
        {"question": f"{i}?", "answer": gold}
        for i, gold in enumerate((None, "", 7, "B", "Rome", 0))
    ]
    found = draw([Source(name="mine", path=lines(tmp_path / "mine.jsonl", rows), answer="answer")])
    assert [(p.gold, p.verifier) for p in found] == [
        (None, "none"),
        (None, "none"),
        ("7", "math"),
        ("B", "choice"),
        ("Rome", "answer"),
        ("0", "math"),
    ]


@pytest.mark.parametrize(
    ("row", "tests"),
    [
        ({"tests": ["assert f(1) == 2", "assert f(2) == 3"]}, "assert f(1) == 2\nassert f(2) == 3"),
        ({"tests": {"inputs": ["1"], "outputs": ["2"]}}, '{"inputs": ["1"], "outputs": ["2"]}'),
        ({"tests": "def check(c):\n    assert c(1)"}, "def check(c):\n    assert c(1)"),
        (
            {"tests": "def check(c):\n    assert c(1)", "entry_point": "f"},
            "def check(c):\n    assert c(1)\n\ncheck(f)\n",
        ),
        (
            {"tests": "def check(c):\n    assert c(1)\ncheck(g)", "entry_point": "f"},
            "def check(c):\n    assert c(1)\ncheck(g)",
        ),
        ({"tests": "assert f(1)", "entry_point": "f"}, "assert f(1)"),
        ({"tests": []}, None),
        ({"tests": None}, None),
    ],
)
def test_a_column_of_tests_becomes_tests_that_run(tmp_path, row, tests):
    source = Source(
        name="mine",
        path=lines(tmp_path / "mine.jsonl", [{"text": "Write f."} | row]),
        question="text",
        tests="tests",
    )
    assert [found.tests for found in read_rows(source, 0, 1)] == [tests]


def test_tests_make_a_program(tmp_path):
    rows = [
        {"question": "Write f.", "test_code": "assert f(1) == 2"},
        {"question": "Write g.", "test_code": None},
    ]
    (first, second) = draw(
        [Source(name="mine", path=lines(tmp_path / "mine.jsonl", rows), tests="test_code")]
    )
    assert (first.verifier, first.tests) == ("program", "assert f(1) == 2")
    assert (second.verifier, second.tests) == ("none", None)


def test_templates_take_columns_and_what_lies_in_them(tmp_path):
    rows = [
        {
            "text": "Why?",
            "messages": [{"role": "user", "content": "Hello"}],
            "meta": {"a": {"b": 3}},
            "a.b": "dotted",
        },
        {
            "text": "{text}",
            "messages": [{"role": "user", "content": ""}],
            "meta": {"a": {"b": 4}},
            "a.b": "",
        },
        {
            "text": "",
            "messages": [{"role": "user", "content": ""}],
            "meta": {"a": {"b": None}},
            "a.b": "",
        },
    ]
    path = lines(tmp_path / "mine.jsonl", rows)
    asked = [
        p.prompt
        for p in draw(
            [
                Source(
                    name="mine",
                    path=path,
                    prompt="Box it in \\boxed{{}}, {messages.0.content}: {text} {a.b}",
                )
            ]
        )
    ]
    # a row's text is not filled in again
    assert asked == ["Box it in \\boxed{}, Hello: Why? dotted", "Box it in \\boxed{}, : {text}"]
    assert [
        p.prompt for p in draw([Source(name="mine", path=path, question="messages.0.content")])
    ] == ["Hello"]
    assert [
        p.gold for p in draw([Source(name="mine", path=path, question="text", answer="meta.a.b")])
    ] == ["3", "4"]
    assert [
        p.prompt for p in draw([Source(name="mine", path=path, prompt="Say {} and {text}!")])
    ] == [
        "Say {} and Why?!",
        "Say {} and {text}!",
    ]


def test_nested_columns_of_parquet(tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": f"Hello {i}"}], "extra": {"gold": i}, "rest": "x"}
        for i in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    source = Source(
        name="mine",
        path=str(tmp_path / "mine.parquet"),
        prompt="Answer: {messages.0.content}",
        answer="extra.gold",
    )
    assert [(p.prompt, p.gold) for p in draw([source])] == [
        (f"Answer: Hello {i}", str(i)) for i in range(5)
    ]


def test_a_folder_has_splits_and_subsets(tmp_path):
    for subset in ("easy", "hard"):
        (tmp_path / subset).mkdir()
        for split, count in (("train", 6), ("validation", 2)):
            rows = [{"q": f"{subset} {split} {i}"} for i in range(count)]
            pq.write_table(
                pa.Table.from_pylist(rows), tmp_path / subset / f"{split}-00000-of-00001.parquet"
            )
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("easy", "hard"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    how = {"name": "mine", "path": str(tmp_path), "question": "q"}
    assert [p.prompt for p in draw([Source(**how, subset="hard", split="validation")])] == [
        "hard validation 0",
        "hard validation 1",
    ]
    assert len(draw([Source(**how, subset="easy")])) == 6
    for wrong in ({"subset": "easy", "split": "test"}, {"subset": "medium"}, {}):
        with pytest.raises(
            ShardError, match=f"^source mine: {tmp_path}.*, split .*: .*(test|medium|easy)"
        ) as caught:
            draw([Source(**how, **wrong)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says", "kind"),
    [
        (
            '{"question": "a"}\n\n{"question": "b}\n',
            r"mine.jsonl:3: no JSON \(Unterminated string starting, column 14\); fix or remove",
            ShardError,
        ),
        ('{"question": "a"}\n{"question": "b"', r"mine.jsonl:2: no JSON", ShardError),
        (
            '{"question": "a"}\n"b"\n',
            r"mine.jsonl:2: no object: expected one such as {...}, got str",
            ShardError,
        ),
        (
            '{"question": "a"}\n{"questions": "b"}\n',
            r"mine.jsonl:2: no column 'question'; did you mean 'questions'\?; it has questions",
            RecipeError,
        ),
        (b'{"question": "\xe9t\xe9"}\n', r"mine.jsonl:1: invalid UTF-8: ", ShardError),
        ("[1, 2]", r"mine.jsonl, item 1: no object: .*got int", ShardError),
        ('[{"question": "a"},\n{]', r"mine.jsonl:2: no JSON", ShardError),
    ],
)
def test_a_broken_line_is_named(tmp_path, text, says, kind):
    (tmp_path / "mine.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PipelineError, match=f"^source mine: .*{says}") as caught:
        draw([Source(name="mine", path=str(tmp_path / "mine.jsonl"))])
    assert isinstance(caught.value, kind) and "\n" not in str(caught.value)


def test_a_broken_line_hurts_only_the_block_it_is_in(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join([*map(json.dumps, ROWS), "{"]))
    source = Source(name="mine", path=str(path))
    assert len(list(read_rows(source, 0, 30))) == 30
    with pytest.raises(ShardError, match=r"mine.jsonl:31: no JSON"):
        list(read_rows(source, 28, 10))


def test_a_broken_parquet_file_is_named(tmp_path):
    (tmp_path / "mine.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ShardError, match=r"source mine: .*mine.parquet: no readable Parquet"):
        draw([Source(name="mine", path=str(tmp_path / "mine.parquet"))])


def test_bad_columns_and_paths_say_what_is_wrong(path, tmp_path):
    with pytest.raises(
        RecipeError,
        match=r"no column 'questoin'; did you mean 'question'\?; it has question, reply, other",
    ):
        draw([Source(name="mine", path=path, question="questoin")])
    with pytest.raises(RecipeError, match=r"no column 'text'; it has question, reply, other"):
        draw([Source(name="mine", path=path, prompt="Explain: {text}")])
    with pytest.raises(RecipeError, match=r"no column 'question.0'; did you mean 'question'"):
        draw([Source(name="mine", path=path, answer="question.0")])
    with pytest.raises(ShardError, match=r"source mine: .*absent.jsonl: no such file"):
        draw([Source(name="mine", path=str(tmp_path / "absent.jsonl"))])
    with pytest.raises(ShardError, match=r"source mine: .*no/such-set, split train: neither"):
        draw([Source(name="mine", path="no/such-set")])
    (tmp_path / "mine.xlsx").write_text("")
    with pytest.raises(
        ShardError,
        match=r"mine.xlsx: unknown kind of file; expected .parquet, .jsonl or .json, a folder or",
    ):
        draw([Source(name="mine", path=str(tmp_path / "mine.xlsx"))])


def test_a_subset_is_for_hub_data_sets(tmp_path):
    with pytest.raises(RecipeError, match="subset 'main' is for hub data sets"):
        draw([Source(name="mine", path=lines(tmp_path / "mine.jsonl", ROWS), subset="main")])


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path):
    row = json.dumps({"question": "What?", "rest": "x" * 500}) + "\n"
    (tmp_path / "mine.jsonl").write_text(row * 40_000)  # 21 MB
    source = Source(name="mine", path=str(tmp_path / "mine.jsonl"))
    tracemalloc.start()
    assert sum(1 for _ in read_rows(source, 20_000, 10_000)) == 10_000
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**20


# --- data sets as they stand on the hub


def row_of(tmp_path, row, **source):
    path = lines(tmp_path / "mine.jsonl", [row])
    (found,) = read_rows(Source(name="mine", path=path, **source), 0, 1)
    return found


@pytest.mark.parametrize(
    ("value", "gold", "others"),
    [
        ("Ann has 4*2=<<4*2=8>>8 eggs.\n#### 8", "8", ()),
        ("So the sum is \\boxed{\\frac{1}{3}}.", "\\frac{1}{3}", ()),
        ("Adding both gives 9.\nThe answer is: 9", "9", ()),
        (["Ann Lee", "A. Lee"], "Ann Lee", ("A. Lee",)),
        ({"value": "Oslo", "aliases": ["Kristiania", "Oslo"]}, "Oslo", ("Kristiania",)),
        ({"text": ["1 May", "May 1"], "answer_start": [3, 9]}, "1 May", ("May 1",)),
        ({"ground_truth": "12", "style": "rule"}, "12", ()),
        (12, "12", ()),
        (2.0, "2", ()),
        (0.5, "0.5", ()),
        (True, "yes", ("true",)),
        (None, None, ()),
        (float("nan"), None, ()),
        ([], None, ()),
        ("  ", None, ()),
    ],
)
def test_references_of_every_form(tmp_path, value, gold, others):
    found = row_of(tmp_path, {"question": "q", "answer": value}, answer="answer")
    assert (found.gold, found.others) == (gold, others)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([{"role": "user", "content": "What is 1 + 1?"}], "What is 1 + 1?"),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "Why?"}], "Why?"),
        ([{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}], "Why?"),
        ({"text": "Why?", "id": 3}, "Why?"),
        (["Why?"], "Why?"),
        (7, "7"),
    ],
)
def test_prompts_of_every_form(tmp_path, value, text):
    assert row_of(tmp_path, {"prompt": value}, question="prompt").prompt == text


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "prompt.0.content"),
        ({"text": "a", "content": "b"}, "prompt.text"),
        ({"body": {"title": "a"}}, "prompt.body.title"),
    ],
)
def test_what_is_no_text_is_refused_with_the_path_to_name(tmp_path, value, path):
    with pytest.raises(RecipeError, match=path.replace(".", "\\.")):
        row_of(tmp_path, {"prompt": value}, question="prompt")


@pytest.mark.parametrize("value", [[1, 2], [["a"]], {"spans": ["a"]}, {"number": 3, "date": {}}])
def test_references_without_a_plain_reading_are_refused(tmp_path, value):
    with pytest.raises(RecipeError, match=r"name the text inside it"):
        row_of(tmp_path, {"question": "q", "answer": value}, answer="answer")


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (["red", "blue"], "B"),
        (["red", "blue"], 1),
        (["red", "blue"], "1"),
        (["red", "blue"], "blue"),
        ({"text": ["red", "blue"], "label": ["1", "2"]}, "2"),
        ({"text": ["red", "blue"], "label": ["A", "B"]}, "(B)"),
        ([{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}], "B"),
        ({"A": "red", "B": "blue"}, "B"),
    ],
)
def test_keys_of_choices(tmp_path, choices, answer):
    row = {"question": "Which?", "choices": choices, "answer": answer}
    found = row_of(tmp_path, row, answer="answer")
    assert (found.gold, found.prompt) == ("(B) blue", "Which?\nA. red\nB. blue")
    templated = row_of(tmp_path, row, answer="answer", prompt="{question}\n\n{choices}")
    assert templated.prompt == "Which?\n\nA. red\nB. blue"


def test_choices_that_the_question_shows_are_not_said_twice(tmp_path):
    row = {"question": "Is it red or blue?", "options": ["red", "blue"], "answer": 0}
    assert row_of(tmp_path, row, answer="answer").prompt == "Is it red or blue?"


def test_a_number_that_is_a_choice_and_the_key_of_another_is_refused(tmp_path):
    row = {
        "question": "Which?",
        "choices": {"text": ["2", "1"], "label": ["1", "2"]},
        "answer": "1",
    }
    with pytest.raises(RecipeError, match="both a choice and the key"):
        row_of(tmp_path, row, answer="answer")


def test_references_without_a_marked_end_are_counted(tmp_path, caplog):
    working = "first we add these and those, then we take away what was there before " * 4
    rows = [{"question": "a", "answer": working}, {"question": "b", "answer": "#### 4"}]
    path = lines(tmp_path / "mine.jsonl", rows)
    found = list(read_rows(Source(name="mine", path=path, answer="answer"), 0, 2))
    assert [row.gold for row in found] == [None, "4"]
    assert "1 of 2 rows have a reference in column answer" in caplog.text


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"tests": ["assert twice(4) == 8"], "test_setup_code": "import math"}, True),
        ({"tests": '["assert twice(4) == 8"]'}, True),
        ({"tests": {"inputs": [[4]], "outputs": [8], "fn_name": "twice"}}, True),
        ({"tests": '{"inputs": ["4"], "outputs": ["8"]}'}, False),
        ({"tests": [{"input": "4", "output": "8"}]}, False),
        ({"tests": {"input": ["4"], "output": ["8"]}}, False),
    ],
)
def test_tests_of_data_sets_are_run(tmp_path, row, right):
    """Functions are called; programs read and print, so a function alone says nothing there."""
    found = row_of(tmp_path, {"question": "Write twice."} | row, tests="tests")
    function = "def twice(x):\n    return 2 * x\n"
    program = "print(2 * int(input()))\n"
    with Verifiers(timeout_seconds=20.0) as verifiers:
        check = Check(kind="program", tests=found.tests)
        texts = [f"```python\n{code}```" for code in (function, program, "print('hello')\n")]
        said = [one.verdict for one in verifiers.judge([(text, check) for text in texts])]
    assert said == (["correct", "unknown", "wrong"] if right else ["unknown", "correct", "wrong"])
