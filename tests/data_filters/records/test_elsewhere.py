"""Conversations in the forms that other data sets have."""

import json
from collections import Counter
from pathlib import Path

import pytest

from data_filters.records.adopt import adopted, trace_of
from data_filters.records.elsewhere import with_thought
from data_filters.records.shards import iter_traces
from data_filters.records.units import Refused, cut, read_unit
from data_filters.verify.checks import check_of_note
from recipes.errors import ShardError
from recipes.schema.filter import Filter

ASKED, THOUGHT, SAID = "What is 6 * 2?", "Six and six.", "It is 12."
WHOLE = f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"
USER = {"role": "user", "content": ASKED}
HARMONY = (
    f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>"
    f"{SAID}<|return|>"
)
MARKED = f"<|begin_of_thought|>\n{THOUGHT}\n<|end_of_thought|>\n<|begin_of_solution|>{SAID}<|end_of_solution|>"


def talk(reply: object, **more: object) -> dict[str, object]:
    return {"messages": [USER, {"role": "assistant", "content": reply} | more]}


@pytest.mark.parametrize(
    "row",
    [
        talk(WHOLE),
        *(
            talk(SAID, **{name: THOUGHT})
            for name in ("reasoning_content", "thinking", "reasoning", "thought")
        ),
        talk([{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": SAID}]),
        talk(HARMONY),
        talk(MARKED),
        talk(f"<thinking>{THOUGHT}</thinking>\n{SAID}"),
        talk(f"[THINK]{THOUGHT}[/THINK]{SAID}"),
        {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": WHOLE}]},
        {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": MARKED}]},
        {"prompt": ASKED, "response": WHOLE},
        {"prompt": [USER], "completion": [{"role": "assistant", "content": WHOLE}]},
        {"problem": ASKED, "solution": SAID, "reasoning": THOUGHT},
        {"problem": ASKED, "deepseek_solution": SAID, "deepseek_reasoning": THOUGHT},
        {"question": ASKED, "thinking": THOUGHT, "answer": SAID},
        {"instruction": "What is", "input": "6 * 2?", "output": WHOLE},
    ],
)
def test_a_thought_is_taken_wherever_it_stands(row: dict[str, object]) -> None:
    messages = trace_of(row).messages
    assert messages[-1] == {"role": "assistant", "content": WHOLE}
    assert messages[0]["role"] == "user"
    assert messages[0]["content"].replace("\n\n", " ") == ASKED


def test_thoughts_stay_where_they_are() -> None:
    assert with_thought(WHOLE, "another") == WHOLE
    assert with_thought(SAID) == SAID
    assert with_thought("a <b> c", " ") == "a <b> c"


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        (talk(SAID) | {"gold": "12"}, "12"),
        (talk(SAID) | {"answer": 12}, "12"),
        (talk(SAID) | {"ground_truth": "12"}, "12"),
        (talk(SAID) | {"reward_model": {"ground_truth": "12", "style": "rule"}}, "12"),
        ({"problem": ASKED, "solution": SAID, "answer": "12"}, "12"),
        ({"question": ASKED, "answer": SAID}, None),
        (talk(SAID) | {"answer": None}, None),
        (talk(SAID) | {"answer": float("nan")}, None),
        (talk(SAID) | {"answer": "12", "verdict": "correct", "problem_id": "p"}, None),
    ],
)
def test_references_of_traces(row: dict[str, object], gold: str | None) -> None:
    assert trace_of(row).gold == gold


def test_several_references_are_each_as_good() -> None:
    trace = trace_of(talk(SAID) | {"gold": {"value": "twelve", "aliases": ["12", "a dozen"]}})
    assert check_of_note(trace.gold, trace.check).references == ("twelve", "12", "a dozen")


@pytest.mark.parametrize(
    ("more", "ignored"),
    [
        ({"seed": "abc"}, ("seed",)),
        ({"seed": "7"}, ()),
        ({"seed": 2**80}, ("seed",)),
        ({"usage": [3]}, ("usage",)),
        ({"usage": {"prompt_tokens": "31", "cost": 0.1}}, ()),
        ({"usage": {"completion_tokens": {}}}, ("completion_tokens",)),
        ({"finish_reason": 0}, ("finish_reason",)),
        ({"finish_reason": "end_turn"}, ()),
        ({"tools": "abacus"}, ("tools",)),
        ({"tools": [{"name": "abacus"}]}, ()),
        ({"spans": [{"begin": 3}]}, ("spans",)),
        ({"id": 5, "source": 6}, ()),
        ({"source": ["a"]}, ("source",)),
        ({"verdict": 1}, ()),
    ],
)
def test_columns_of_our_names_are_converted_or_ignored(
    more: dict[str, object], ignored: tuple[str, ...]
) -> None:
    trace, passed = adopted(talk(WHOLE) | more)
    assert passed == ignored
    assert trace.messages[-1]["content"] == WHOLE


def test_calls_that_are_none_are_left_out() -> None:
    _, passed = adopted(talk(SAID, tool_calls="None"))
    assert passed == ("tool_calls",)
    calls = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    for given in (calls, json.dumps(calls)):
        trace, passed = adopted(talk("", tool_calls=given))
        assert (json.loads(trace.messages[-1]["tool_calls"]), passed) == (calls, ())


def test_ends_of_texts_in_other_words() -> None:
    for said, ours in (("length", "length"), ("max_tokens", "length"), ("eos", "stop")):
        assert trace_of(talk(SAID) | {"finish_reason": said}).finish_reason == ours


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a"},
        {"messages": [{"role": "user", "content": {"a": [1]}}]},
        {"messages": "hello"},
        {"conversations": [3]},
        {"prompt": ASKED},
        {"prompt": {"a": 1}, "response": SAID},
    ],
)
def test_rows_without_a_conversation_are_told(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"filter\.trace_columns"):
        trace_of(row)


def test_columns_of_other_names_are_read_and_ignored_ones_counted(tmp_path: Path) -> None:
    rows = [{"task": ASKED, "reply": SAID, "why": THOUGHT, "key": "12", "seed": "x"}] * 3
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"task": ASKED}]))
    columns = {"prompt": "task", "response": "reply", "thinking": "why", "gold": "key"}
    ignored = Counter[str]()
    (unit,) = cut(path, tmp_path / "copied", 10)
    found = list(read_unit(unit, columns, ignored))
    traces = [one for one in found if not isinstance(one, Refused)]
    assert [(t.messages[-1]["content"], t.gold) for t in traces] == [(WHOLE, "12")] * 3
    assert [one.reason for one in found if isinstance(one, Refused)] == [
        "no trace: no column 'reply'; it has task"
    ]
    assert ignored == {"seed": 3}


def test_a_map_of_columns_names_columns_of_a_trace() -> None:
    assert Filter(trace_columns={"prompt": "task"}).trace_columns == {"prompt": "task"}
    with pytest.raises(ValueError, match=r"'promt' is no column of a trace"):
        Filter(trace_columns={"promt": "task"})


def test_rows_that_are_no_traces_are_left_out_and_told(tmp_path: Path, caplog) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(talk(WHOLE)) + "\n" + json.dumps({"text": "a"}) + "\n")
    assert len(list(iter_traces(path))) == 1
    assert "1 of 2 rows are no traces and left out" in caplog.text
    path.write_text(json.dumps({"text": "a"}) + "\n")
    with pytest.raises(ShardError, match="got columns text"):
        list(iter_traces(path))
