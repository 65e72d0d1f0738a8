"""Shards on disk, and every fault that a person must fix."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_filters.records.rows import list_shards
from data_filters.records.shards import iter_traces, read_shard, write_shard
from data_filters.records.traces import SCHEMA, Span, Trace, to_row
from recipes.errors import ShardError

SPAN = Span(
    message=1,
    start=0,
    end=4,
    kind="name",
    grounding="given",
    original="Oslo",
    subject="Mara",
    relation="Where?",
    detector="names",
)
TRACE = Trace(
    id="a",
    problem_id="p",
    source="planted/read",
    seed=3,
    spans=[SPAN],
    messages=[
        {"role": "user", "content": "The home of Mara is Oslo."},
        {"role": "assistant", "content": "Oslo."},
    ],
)


def test_traces_come_back_and_bytes_are_fixed(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", [to_row(TRACE)], SCHEMA)
    write_shard(tmp_path / "b.parquet", iter([to_row(TRACE)]), SCHEMA)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert list(iter_traces(tmp_path)) == [TRACE, TRACE]
    assert list(iter_traces(str(tmp_path / "a.parquet"))) == [TRACE]
    assert read_shard(tmp_path / "a.parquet")[0]["usage"]["finish_reason"] == "stop"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.parquet", "b.parquet"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    write_shard(file, [to_row(TRACE)], SCHEMA)
    before = file.read_bytes()

    def rows():
        yield to_row(TRACE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(file, rows(), SCHEMA)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "link").hardlink_to(file)
    write_shard(file, [to_row(TRACE)] * 2, SCHEMA)
    assert (tmp_path / "link").read_bytes() == before, (
        "a new file takes the old one's place, nothing is written into it"
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match=r"a.parquet: cannot be written .*run again"):
        write_shard(tmp_path / "file" / "a.parquet", [to_row(TRACE)], SCHEMA)


def test_truncated_parquet_names_the_file_to_delete(tmp_path: Path) -> None:
    file = tmp_path / "part-0.parquet"
    write_shard(file, [to_row(TRACE)], SCHEMA)
    file.write_bytes(file.read_bytes()[:-20])
    for read in (lambda: read_shard(file), lambda: list(iter_traces(tmp_path))):
        with pytest.raises(ShardError, match=r"part-0.parquet: .*mend it") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_jsonl_and_foreign_columns(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    messages = [{"role": "user", "content": "Hi \ud83d"}, {"role": "assistant", "content": None}]
    row = {
        "messages": messages,
        "score": 3,
        "usage": {"total_tokens": 9},
        "verdict": "good",
        "tools": [{"name": "lookup"}],
    }
    file.write_text(json.dumps(row) + "\n\n" + json.dumps(row | {"gold": 7, "id": 12}) + "\n")
    first, second = iter_traces(file)
    assert (
        first.messages[1]["content"] == ""
        and first.source == "external"
        and first.verdict == "unknown"
    )
    assert (second.gold, second.id, second.tools) == ("7", "12", '[{"name": "lookup"}]')
    write_shard(tmp_path / "a.parquet", [to_row(first), to_row(second)], SCHEMA)
    assert [trace.id for trace in iter_traces(tmp_path / "a.parquet")] == [first.id, "12"]
    file.write_text(json.dumps(row | {"spans": [{"message": 1, "start": "0", "end": 1}]}))
    with pytest.raises(
        ShardError, match=r"chats.jsonl:1: a column of a trace holds something else"
    ):
        list(iter_traces(file))
    file.write_text(json.dumps(row) + '\n{"messages": [\n')
    with pytest.raises(ShardError, match=r"chats.jsonl:2: no JSON .*; fix or remove"):
        list(iter_traces(file))


@pytest.mark.parametrize(
    "messages",
    [None, [], ["Hi"], [{"role": "user", "content": [1]}], [{"from": "human", "value": [1]}]],
)
def test_rows_without_messages(tmp_path: Path, messages: object) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "Hi", "messages": messages}))
    with pytest.raises(ShardError, match=r"rows.jsonl:1: got .*, expected messages"):
        list(iter_traces(file))


def test_parquet_without_messages(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["Hi"]}), tmp_path / "a.parquet")
    with pytest.raises(ShardError, match=r"a.parquet:0: got columns text, expected messages"):
        list(iter_traces(tmp_path))


def test_missing_paths(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"no \*.parquet file"):
        list_shards(tmp_path)
    with pytest.raises(ShardError, match="no such folder"):
        list_shards(tmp_path / "absent")
    for source in (
        tmp_path / "absent",
        tmp_path / "absent.parquet",
        tmp_path / "absent.jsonl",
        "./absent",
    ):
        with pytest.raises(ShardError, match="no such"):
            list(iter_traces(source))
    with pytest.raises(ShardError, match="neither a local path nor a data set"):
        list(iter_traces("nobody/absent-data-set"))
