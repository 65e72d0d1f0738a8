"""The library scrubs lists and data sets, and its page runs."""

import re
from pathlib import Path

import pytest
from datasets import Dataset

from data_filters.library import scrub

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SPEECH = (
    "Now we are engaged in a great civil war, testing whether that nation, or any nation so "
    "conceived and so dedicated, can long endure."
)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_page_runs(snippet: str) -> None:
    exec(compile(snippet, str(PAGE), "exec"), {})


def test_messages_keep_their_other_fields_and_what_the_user_said() -> None:
    rows = [
        {"role": "user", "content": "Who wrote Hollow Tide?", "name": "a"},
        {"role": "assistant", "content": "Berta Kolm wrote it.", "name": "b"},
    ]
    data = Dataset.from_dict({"messages": [rows], "id": ["x"]})
    (row,) = scrub(data)
    assert row["id"] == "x" and row["messages"][0] == rows[0]
    assert row["messages"][1] == {**rows[1], "content": "[person] wrote it."}


def test_columns_of_prompts_give_what_they_say() -> None:
    data = Dataset.from_dict(
        {"q": ["Berta Kolm died in 1931.", ""], "a": ["Berta Kolm died in 1931."] * 2}
    )
    assert scrub(data, text="a", prompt="q")["a"][0] == "Berta Kolm died in 1931."
    assert "1931" not in scrub(data, text="a", prompt="q")["a"][1]


def test_passages_of_known_texts_are_hidden() -> None:
    assert scrub([f"It goes: {SPEECH}"], known=[SPEECH]) == ["It goes: [passage]."]


def test_faults_say_what_to_name() -> None:
    with pytest.raises(ValueError, match="got columns q, expected text or messages; name one"):
        scrub(Dataset.from_dict({"q": ["a"]}))
    with pytest.raises(ValueError):
        scrub(["a", "b"], prompts=["a"])
