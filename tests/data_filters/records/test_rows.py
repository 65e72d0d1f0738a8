"""One reader for every kind of source, and records that are no rows or no traces."""

import datetime
import gzip
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_filters.filters.settings import FilterContext, FilterSettings
from data_filters.passes.examine import examine
from data_filters.records.adopt import MAX_DIGITS, trace_of
from data_filters.records.rows import records_of, rows_of
from data_filters.records.shards import write_shard
from data_filters.records.traces import SCHEMA, to_row
from data_filters.records.units import Refused, cut, read_unit
from data_filters.verify.verifiers import Verifiers
from recipes.errors import ShardError

ROWS = [{"n": n, "text": f"row {n}"} for n in range(10)]
LINES = "\n".join(map(json.dumps, ROWS)).encode()
FORMS = {
    "lines.jsonl": LINES + b"\n",
    "blank.ndjson": LINES.replace(b"\n", b"\r\n \n\n"),
    "marked.jsonl": b"\xef\xbb\xbf" + LINES,
    "zipped.jsonl.gz": gzip.compress(LINES, mtime=0),
    "list.json": json.dumps(ROWS, indent=1).encode(),
    "one_line.json": json.dumps(ROWS).encode(),
    "marked_list.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "zipped_list.json.gz": gzip.compress(json.dumps(ROWS).encode(), mtime=0),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(params=[*FORMS, "rows.parquet", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same rows in every form."""
    name = request.param
    if name in FORMS:
        return write(tmp_path / name, FORMS[name])
    if name == "folder":
        for first in (0, 6):
            part = pa.Table.from_pylist(ROWS[first : first + 6])
            pq.write_table(part, tmp_path / f"part-{first}.parquet", row_group_size=4)
        return tmp_path
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / name, row_group_size=3)
    return tmp_path / name


@pytest.mark.parametrize("start", [0, 1, 3, 7, 10, 99])
def test_every_form_gives_the_same_rows_from_any_row_on(source: Path, start: int) -> None:
    assert [row for _, row in rows_of(source, start)] == ROWS[start:]


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"n": 1}\n\n{"n": 2}\n')
    assert [where for where, _ in rows_of(path)] == [f"{path}:1", f"{path}:3"]
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=3)
    assert [where for where, _ in rows_of(tmp_path / "a.parquet", 8)] == [
        f"{tmp_path / 'a.parquet'}:{row}" for row in (8, 9)
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b'{"n": 1}\n{"n":\n', "a.jsonl:2: no JSON .*; fix or remove the line"),
        ("a.json", b'[{"n": 1},\n{]', "a.json:2: no JSON"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "a.jsonl.gz: cannot be read"),
        ("a.jsonl.gz", b"plain", "a.jsonl.gz: cannot be read"),
        ("a.parquet", b"PAR1", "a.parquet: no readable Parquet .*mend it"),
        ("a.txt", b"x", "a.txt: unknown kind of file"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    with pytest.raises(ShardError, match=says) as caught:
        list(records_of(write(tmp_path / name, data)))
    assert "\n" not in str(caught.value)


def test_a_record_that_is_no_row_costs_itself(tmp_path: Path) -> None:
    lines = (
        b'{"n": 0}',
        b"7",
        b'{"n": "\xe9"}',
        b'{"n": ' + b"9" * (MAX_DIGITS + 1) + b"}",
        b'{"n": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"n": 5}',
    )
    found = list(records_of(write(tmp_path / "a.jsonl", b"\n".join(lines))))
    assert [record.row for record in found if not record.fault] == [{"n": 0}, {"n": 5}]
    assert [record.fault.split(":")[0] for record in found if record.fault] == [
        "no object",
        "invalid UTF-8",
        "JSON that cannot be read",
        "JSON that cannot be read",
    ]
    with pytest.raises(ShardError, match=r"a.jsonl:2: no object: .*got int; fix or remove it"):
        list(rows_of(tmp_path / "a.jsonl"))


def test_times_that_python_does_not_have_cost_a_row(tmp_path: Path) -> None:
    times = pa.array([0, 2**50, 1], pa.timestamp("s"))
    pq.write_table(pa.table({"at": times}), tmp_path / "a.parquet")
    found = list(records_of(tmp_path / "a.parquet"))
    epoch = datetime.datetime(1970, 1, 1)
    assert [record.row.get("at") for record in found if not record.fault] == [
        epoch,
        epoch.replace(second=1),
    ]
    assert [bool(record.fault) for record in found] == [False, True, False]


# --- records that are no traces

TALK = [
    {"role": "user", "content": "What is 3 + 5?"},
    {"role": "assistant", "content": "<think> 3 + 5 = 8.</think> 8."},
]
LONG = "9" * (MAX_DIGITS + 1)
BAD = [
    {"messages": TALK[1:]},
    {"messages": [{"role": None, "content": "x"}, TALK[1]]},
    {"messages": [TALK[0], {"role": "assistant", "content": f"It is {LONG}."}]},
    {"messages": [{"role": "user", "content": "1," * (MAX_DIGITS + 1)}, TALK[1]]},
    {"messages": [*TALK, {"role": "to\ud83dol", "content": "x"}]},
    {"messages": [TALK[0], TALK[1] | {"tool_calls": "\ud83d"}]},
    {"gold": "\ud83d"},
    {"gold": LONG},
    {"answer": LONG},
    {"id": "\ud83d"},
    {"seed": "abc"},
    {"seed": 2**63},
    {"seed": True},
    {"finish_reason": 7},
    {"usage": "7"},
    {"usage": {"prompt_tokens": "7"}},
    {"usage": {"completion_tokens": 2**31}},
    {"spans": "x"},
    {"spans": [7]},
    {"spans": [{"begin": 1}]},
    {"spans": [{"message": "1", "start": 0, "end": 1, "kind": "name", "grounding": "given"}]},
    {"spans": [{"message": 1, "start": 0, "end": 1, "kind": 5, "grounding": "given"}]},
    {"spans": [{"message": 1, "start": 0, "end": 99, "kind": "name", "grounding": "given"}]},
    {
        "spans": [
            {
                "message": 1,
                "start": 0,
                "end": 1,
                "kind": "name",
                "grounding": "given",
                "weight": float("nan"),
            }
        ]
    },
]


def test_a_damaged_record_costs_itself_and_can_be_written_down(tmp_path: Path) -> None:
    rows = [{"id": "good", "messages": TALK, "gold": "8"}]
    ours = {"problem_id": "p", "verdict": "unknown", "messages": TALK}  # a row that we wrote
    rows += [ours | {"id": f"bad {n}"} | bad for n, bad in enumerate(BAD)]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    records = [one for unit in cut(path, tmp_path / "copied", 100) for one in read_unit(unit)]
    assert [isinstance(record, Refused) for record in records] == [False] + [True] * len(BAD)
    found = [one for one, _ in examine(records, FilterContext(FilterSettings()), Verifiers())]
    assert {one.reason.by for one in found if one.reason} == {"read"}
    write_shard(tmp_path / "a.parquet", [to_row(one.trace) for one in found], SCHEMA)


@pytest.mark.parametrize("name", ["list.json", "zipped.jsonl.gz", "marked.jsonl", "list.json.gz"])
def test_traces_are_read_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = [{"id": f"t{n}", "messages": TALK} for n in range(5)] + [[7]]
    data = (
        json.dumps(rows).encode() if "list" in name else "\n".join(map(json.dumps, rows)).encode()
    )
    data = b"\xef\xbb\xbf" + data if "marked" in name else data
    path = write(tmp_path / name, gzip.compress(data) if name.endswith(".gz") else data)
    units = cut(path, tmp_path / "copied", 2)
    found = [record for unit in units for record in read_unit(unit)]
    assert len(units) == 3
    assert [one.reason if isinstance(one, Refused) else one.id for one in found] == [
        *(f"t{n}" for n in range(5)),
        "no object: expected one such as {...}, got list",
    ]


def test_what_a_shard_cannot_hold_is_one_line(tmp_path: Path) -> None:
    row = to_row(trace_of({"id": "a", "messages": TALK}))
    for wrong in ({"seed": "abc"}, {"seed": 2**70}, {"gold": "\ud83d"}, {"usage": 7}):
        with pytest.raises(ShardError, match=r"a.parquet: a row cannot be stored") as caught:
            write_shard(tmp_path / "a.parquet", [row | wrong], SCHEMA)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_data_set_of_the_hub_is_opened_once_for_all_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    folder = tmp_path / "set"
    folder.mkdir()
    rows = "".join(json.dumps({"n": n}) + "\n" for n in range(12))
    (folder / "train.jsonl").write_text(rows)
    opened: list[str] = []
    load = datasets.load_dataset

    def counting(name: str, *more: object, **named: object) -> object:
        opened.append(name)
        return load(name, *more, **named)

    monkeypatch.setattr(datasets, "load_dataset", counting)

    def block(start: int, count: int) -> list[int]:
        found = itertools.islice(rows_of(folder, start, split="train"), count)
        return [row["n"] for _, row in found]

    assert [block(0, 3), block(3, 3), block(8, 2)] == [[0, 1, 2], [3, 4, 5], [8, 9]]
    assert len(opened) == 1
    assert block(2, 2) == [2, 3]  # backwards it is opened again
    assert block(4, 20) == list(range(4, 12))
    assert len(opened) == 2
    assert block(11, 2) == [11]  # it was at its end
    assert len(opened) == 3
