"""Rows of any kind beside a good one: each ends in kept/ or in dropped/, and the good one is kept."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_filters.filters.settings import FilterSettings
from data_filters.records.rows import list_shards
from data_filters.records.shards import read_shard
from data_filters.sift import sift
from recipes.schema.filter import Filter

pytestmark = pytest.mark.fuzz
SETTINGS = FilterSettings(config=Filter(max_damage_fraction=1.0))
GOOD = {
    "id": "good",
    "problem_id": "good",
    "source": "sums",
    "seed": 1,
    "messages": [
        {"role": "user", "content": "What is 3 + 5?"},
        {"role": "assistant", "content": "<think> 3 + 5 = 8.</think> 8."},
    ],
    "gold": "8",
}
ODD_TEXTS = st.sampled_from(
    [
        "",
        "\x00",
        "\u202egnirts",
        "\x1b[2J",
        "half \ud83d",
        "1" * 5000,
        "1e999999999",
        "9" * 400 + " + 1 = " + "8" * 400,
        "<think>" * 50,
        "</think>",
        "$$" + "{" * 200,
        "```python\n" + "(" * 500,
        "<script>alert(1)</script>",
        "\\frac{" * 60,
        "2^(2^(2^(2^99999)))",
        "a" * 20_000,
        "e\u0301" * 300,
        "\u200b\u00ad" * 100,
        "{{ cycler.__init__.__globals__ }}",
        "The answer is " * 200,
    ]
)
TEXTS = ODD_TEXTS | st.text(max_size=60)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=True) | TEXTS
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": TEXTS},
        optional={"tool_calls": ANYTHING, "reasoning_content": ANYTHING, "name": ANYTHING},
    )
    | ANYTHING,
    max_size=5,
)
COLUMNS = sorted(
    {*GOOD, "tools", "usage", "finish_reason", "spans", "verdict", "score", "check", "prompt"}
    | {"response", "conversations", "answer", "problem", "solution", "teacher", "logprobs"}
)
ROWS = st.one_of(
    st.builds(lambda messages: GOOD | {"id": "odd", "messages": messages}, MESSAGES),
    st.builds(
        lambda name, value: GOOD | {"id": "odd", name: value}, st.sampled_from(COLUMNS), ANYTHING
    ),
    st.dictionaries(st.sampled_from(COLUMNS), ANYTHING, max_size=6),
)


@settings(
    max_examples=max(10, settings().max_examples // 5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_every_row_ends_somewhere_and_the_good_one_is_kept(
    rows: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    lines = [json.dumps(row) for row in [GOOD, *rows]]
    (folder / "traces.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sift(folder / "traces.jsonl", folder / "out", SETTINGS)
    kept, dropped = (
        [row for path in list_shards(folder / "out" / name) for row in read_shard(path)]
        for name in ("kept", "dropped")
    )
    assert len(kept) + len(dropped) == len(lines)
    assert sum(row["id"] == "good" for row in kept) == 1 or any(
        row["id"] == "good" and row["dropped_by"] == "duplicate" for row in dropped
    )
    assert "<script>alert" not in (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_the_good_row_alone_is_kept(tmp_path: Path) -> None:
    (tmp_path / "traces.jsonl").write_text(json.dumps(GOOD) + "\n")
    report = sift(tmp_path / "traces.jsonl", tmp_path / "out", SETTINGS)
    assert report["kept"] == 1
