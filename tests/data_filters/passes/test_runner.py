"""The filter stage over units: any number of processes, killed at any moment, the same bytes; and
records that are no traces.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_filters.filters.settings import FilterSettings
from data_filters.records.rows import list_shards
from data_filters.records.shards import iter_traces, read_shard, write_shard
from data_filters.records.traces import SCHEMA, VERSION_KEY, Span, Trace, to_row
from data_filters.records.units import UNIT_BYTES, Refused, cut, read_unit
from data_filters.sift import sift
from data_filters.text.tokens import uncollected
from recipes.errors import ShardError
from recipes.schema.filter import Filter

ROOT = Path(__file__).parents[3]
SETTINGS = FilterSettings()
NAMES = ("Mara", "Ida", "Bo", "Tovin", "Ragna")
RUN = """
import sys
from pathlib import Path
from tests.data_filters.passes.test_runner import SETTINGS
from data_filters.sift import sift
sift(Path(sys.argv[1]), Path(sys.argv[2]), SETTINGS, processes=int(sys.argv[3]), shard_rows=50)
"""


def trace(number: int) -> Trace:
    said = number % 300  # the last hundred repeat the first
    who, place = NAMES[said % 5], ("Oslo", "Rome", "Kyiv")[said % 3]
    told = f"The home of {who} is {place}. " if said % 4 else ""
    question, text = (
        f"{told}It was asked {said // 2} times. Where does {who} live?",
        f"<think> {who} {place}.</think> {place}.",
    )
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return Trace(
        id=f"t{number}", problem_id=f"p{number // 2}", source="planted/x", seed=1, messages=messages
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    for shard in range(8):
        write_shard(
            folder / f"traces-{shard:05d}.parquet",
            (to_row(trace(n)) for n in range(50 * shard, 50 * shard + 50)),
            SCHEMA,
        )
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def unbroken(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("out")
    report = sift(source, out, SETTINGS, shard_rows=50)
    assert (
        report["read"] == 400
        and report["dropped"]["duplicates"]
        and report["exposure"]["facts"]["stated"] == 15
    )
    return bytes_of(out)


def test_processes_change_no_byte(source: Path, unbroken: dict[str, bytes], tmp_path: Path) -> None:
    sift(source, tmp_path, SETTINGS, processes=3, shard_rows=50)
    assert bytes_of(tmp_path) == unbroken


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_any_moment_the_bytes_are_the_same(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path, processes: int
) -> None:
    """Killed as soon as each kind of file is there; what a dead run's processes still write changes
    nothing.
    """
    killed = 0
    for sign in (
        "work/examined-00002.jsonl",
        "work/merged",
        "kept/part-00003.parquet",
        "knowledge",
        "report.json",
    )[processes - 1 :]:
        command = [sys.executable, "-c", RUN, str(source), str(tmp_path), str(processes)]
        run = subprocess.Popen(
            command, cwd=ROOT, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        while not (tmp_path / sign).exists() and run.poll() is None:
            time.sleep(0.001)
        killed += run.poll() is None
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        if run.returncode == 0:
            break
    assert killed >= 2
    sift(source, tmp_path, SETTINGS, processes=processes, shard_rows=50)
    assert bytes_of(tmp_path) == unbroken


def test_a_resumed_run_does_not_do_whole_units_again(
    source: Path, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    done: list[int] = []

    def stop(traces: int) -> None:
        done.append(traces)
        if len(done) == 5:
            raise Stop

    with pytest.raises(Stop):
        sift(source, tmp_path, SETTINGS, shard_rows=50, examined=stop)
    again: list[int] = []
    sift(source, tmp_path, SETTINGS, shard_rows=50, examined=again.append)
    assert sum(done) == 250 and sum(again) == 150
    assert bytes_of(tmp_path) == unbroken


def test_other_settings_or_other_traces_start_anew(source: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("[logic]\nif then\n")
    other = FilterSettings(config=Filter(drop_duplicates=False))
    lists = FilterSettings(config=Filter(curriculum_file=str(words)))
    before = lists.digest()
    words.write_text("[logic]\nif then else\n")
    same = FilterSettings(config=Filter(num_processes=4, traces="elsewhere"))
    different = (SETTINGS, other, replace(SETTINGS, seed=1), replace(SETTINGS, held_out=("x",)))
    assert len({before, lists.digest(), *(one.digest() for one in different)}) == 6
    assert same.digest() == SETTINGS.digest()
    with pytest.raises(RuntimeError):
        sift(source, tmp_path, SETTINGS, shard_rows=50, examined=_raise)
    assert "duplicates" not in sift(source, tmp_path, other, shard_rows=50)["dropped"]


def _raise(_: int) -> None:
    raise RuntimeError


def test_a_fault_in_a_process_keeps_its_words(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "traces"
    for path in list_shards(source):
        write_shard(broken / path.name, read_shard(path), SCHEMA)
    with pytest.raises(ShardError, match=r"traces-00004.parquet: no readable Parquet .*mend it"):
        last = broken / "traces-00004.parquet"
        data = bytearray(last.read_bytes())
        data[100:400] = bytes(300)  # the footer is whole: it shows only when the rows are read
        last.write_bytes(data)
        sift(broken, tmp_path / "out", SETTINGS, processes=2, shard_rows=50)


# --- bad input


def reasons(folder: Path) -> list[tuple[str, str]]:
    return [
        (row["dropped_by"], row["reason"])
        for path in list_shards(folder / "dropped")
        for row in read_shard(path)
    ]


def test_bad_records_are_dropped_by_name_and_the_run_goes_on(tmp_path: Path) -> None:
    good = json.dumps(to_row(trace(1)))
    talk = to_row(trace(2))["messages"]

    def said(text: str, role: int = 1) -> str:
        return json.dumps(
            {"messages": [m | {"content": text} if n == role else m for n, m in enumerate(talk)]}
        )

    lines = [
        good.encode(),
        said("caf\udce9").encode().replace(b"\\udce9", b"\xe9"),  # Latin-1 in a UTF-8 file
        json.dumps({"messages": talk, VERSION_KEY: 2}).encode(),
        b'{"text": "Hi"}',
        b"[1, 2]",
        said("Oslo\x00.").encode(),
        said("  \n").encode(),
        said("", role=0).encode(),
        said("word and other " * 700_000).encode(),
        json.dumps(
            {
                "messages": talk,
                "spans": [
                    {**vars_of(Span(message=1, start=0, end=999, kind="name", grounding="given"))}
                ],
            }
        ).encode(),
        json.dumps({"messages": talk, "spans": [{"message": 1, "start": "0", "end": 1}]}).encode(),
        json.dumps({"messages": talk, "gold": "Rome"}).encode(),
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n\n")
    report = sift(tmp_path / "in.jsonl", tmp_path / "out", SETTINGS, shard_rows=4)
    assert [name for name, _ in reasons(tmp_path / "out")] == ["read"] * 4 + ["shape"] * 4 + [
        "read"
    ] * 2 + ["verify"]
    wanted = (
        "invalid UTF-8: ",
        "another schema version: trace_version 2, expected 1",
        "no trace: got columns text",
        "no object: expected one such as {...}, got list",
        "control character: U+0000 in message 1",
        "empty message: number 1, of the assistant",
        "empty message: number 0, of the user",
        "too long: 10,500",
        "a span past the end of its message: 0..999 in message 1",
        "no trace: a column of a trace holds something else",
        "the answer differs",
    )
    for (_, reason), begins in zip(reasons(tmp_path / "out"), wanted, strict=True):
        assert reason.startswith(begins)
    assert report["read"] == 12 and report["kept"] == 1
    assert report["dropped"]["read"] == {
        "invalid UTF-8": 1,
        "another schema version": 1,
        "no trace": 2,
        "no object": 1,
        "a span past the end of its message": 1,
    }


def vars_of(span: Span) -> dict[str, object]:
    return {name: getattr(span, name) for name in Span.__slots__}


def test_parquet_of_another_version_and_with_bad_text(tmp_path: Path) -> None:
    rows = [to_row(trace(n)) for n in range(3)]
    later = SCHEMA.with_metadata({VERSION_KEY: "2"})
    pq.write_table(pa.Table.from_pylist(rows, schema=later), tmp_path / "a.parquet")
    binary = SCHEMA.set(SCHEMA.get_field_index("source"), pa.field("source", pa.binary()))
    table = pa.Table.from_pylist(
        [row | {"source": b"x\xff" if n == 1 else b"x"} for n, row in enumerate(rows)],
        schema=binary,
    )
    column = table["source"].chunk(0)
    text = pa.StringArray.from_buffers(len(column), column.buffers()[1], column.buffers()[2])
    pq.write_table(
        table.set_column(table.schema.get_field_index("source"), "source", text),
        tmp_path / "b.parquet",
    )
    found = [
        record for unit in cut(tmp_path, tmp_path / "copied", 100) for record in read_unit(unit)
    ]
    said = [record.reason if isinstance(record, Refused) else record.id for record in found]
    assert said[:3] == ["another schema version: trace_version 2, expected 1"] * 3
    assert said[3] == "t0" and said[4].startswith("invalid UTF-8") and said[5] == "t2"


def test_a_broken_file_stops_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(to_row(trace(1))) + '\n{"messages": [\n')
    with pytest.raises(ShardError, match=r"in.jsonl:2: no JSON"):
        sift(tmp_path / "in.jsonl", tmp_path / "out", SETTINGS)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError, match=r"x.parquet: no readable Parquet .*mend it"):
        sift(tmp_path / "x.parquet", tmp_path / "out", SETTINGS)


def test_units_hold_all_rows_once_and_no_more_than_a_process_can(tmp_path: Path) -> None:
    rows = [to_row(trace(n)) for n in range(100)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, tmp_path / "small.parquet", row_group_size=7)
    pq.write_table(table, tmp_path / "one.parquet")
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, least, most in (("small.parquet", 5, 8), ("one.parquet", 5, 5), ("l.jsonl", 5, 5)):
        units = cut(tmp_path / name, tmp_path / "copied", 20)
        assert least <= len(units) <= most
        assert [record.id for unit in units for record in read_unit(unit)] == [
            f"t{n}" for n in range(100)
        ]
    assert "copied" in cut(tmp_path / "one.parquet", tmp_path / "copied", 20)[0].path, (
        "a row group that is too large is copied"
    )
    long = to_row(
        replace(trace(0), messages=[{"role": "user", "content": "x" * (UNIT_BYTES // 3)}])
    )
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(long) + "\n" for _ in range(10)))
    assert len(cut(tmp_path / "long.jsonl", tmp_path, 1000)) == 4


def test_report_only_changes_nothing_and_says_all(source: Path, tmp_path: Path) -> None:
    report = sift(
        source, tmp_path, FilterSettings(config=Filter(mode="report_only")), shard_rows=50
    )
    kept = list(iter_traces(tmp_path / "kept"))
    assert [(t.id, t.messages) for t in kept] == [(f"t{n}", trace(n).messages) for n in range(400)]
    assert all(span.action == "keep" for t in kept for span in t.spans) and not reasons(tmp_path)
    assert (
        report["kept"] < 400
        and report["dropped"]["duplicates"]
        and report["untold"] > 0
        and report["mode"] == "report_only"
    )


def test_collecting_is_put_off_inside_and_goes_on_behind_it_whatever_happens():
    @uncollected()
    def broken():
        assert not gc.isenabled()
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            broken()
        assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled(), "who turned it off keeps it off"
    finally:
        gc.enable()
