"""Passages known by heart are found in any register and length; thought, formulas, code and the
prompt said again are none. The known texts are in the public domain.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_filters.filters.settings import FilterSettings
from data_filters.recall.known_texts import RUN_WORDS, KnownTexts, build, digest_of_texts
from data_filters.recall.passages import overlaid, passages
from data_filters.recall.words import run_hashes, words_of
from data_filters.records.shards import iter_traces, read_shard, write_shard
from data_filters.records.traces import Span, Trace
from data_filters.sift import sift
from recipes.errors import RecipeError, ShardError
from recipes.schema.filter import Filter

ADDRESS = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
    "conceived in Liberty, and dedicated to the proposition that all men are created equal.\n"
    "Now we are engaged in a great civil war, testing whether that nation, or any nation so "
    "conceived and so dedicated, can long endure."
)
SONNET = (
    "Shall I compare thee to a summer's day?\n  Thou art more lovely and more temperate:\n"
    "Rough winds do shake the darling buds of May,\n  And summer's lease hath all too short a date."
)
KNOWN = KnownTexts.of([ADDRESS, SONNET])


def trace(said: str, asked: str = "Go on.", name: str = "t") -> Trace:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return Trace(id=name, problem_id=name, source="x", seed=1, messages=messages)


def found(said: str, asked: str = "Go on.") -> list[str]:
    return [span.original for span in passages(trace(said, asked), KNOWN)]


@pytest.mark.parametrize(
    "said",
    [
        ADDRESS,
        ADDRESS.upper(),
        ADDRESS.replace("\n", " ").replace(", ", " "),
        ADDRESS.replace(" ", "\n"),
        SONNET.replace("'", "\u2019"),
        "\n".join("> " + line for line in SONNET.splitlines()),
    ],
    ids=["verbatim", "upper", "no commas", "lines", "apostrophes", "quoted"],
)
def test_a_passage_is_found_whole_in_whatever_form(said: str) -> None:
    (span,) = found(f"<think>I know this one. {said}\n\nThat is how it begins.</think> Done.")
    wanted = words_of(said).words
    assert words_of(span).words == wanted and len(wanted) > 30


def test_words_that_were_changed_on_the_way_belong_to_the_passage() -> None:
    changed = ADDRESS.replace("on this continent", "upon this land").replace("great ", "")
    (span,) = found(changed)
    assert words_of(span).words == words_of(changed).words


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("So he has 4 + 7 = 11 apples, and the answer is 11.", "Ann has 4 apples, Bo 7. Sum?"),
        ("The text says: " + SONNET, "What does this poem speak of?\n" + SONNET),
        ("Our fathers brought forth a nation long ago; that is all I can say.", "Go on."),
        ("Rough winds do shake the darling buds of", "Go on."),
    ],
    ids=["sum", "said again", "other words", "short"],
)
def test_what_is_no_passage(said: str, asked: str) -> None:
    assert found(said, asked) == []


def test_what_the_prompt_begins_is_given_and_what_follows_is_not() -> None:
    begun, rest = ADDRESS.split("\n")
    (span,) = found(f"{begun}\n{rest}", f"How does it go on? {begun}")
    assert words_of(rest).words[-10:] == words_of(span).words[-10:] and "continent" not in span


CODE = "for i in range(n):\n    for j in range(n - 1):\n        if row[j] > row[j + 1]:\n"
FORMULA = "x = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a} + \\sum_{k=0}^{n} \\binom{n}{k} a^k b^{n-k}"
NOTICE = "this program is free and comes without any warranty of whatever kind to whoever runs it"


def test_formulas_and_idioms_are_none_and_the_prose_of_a_comment_is() -> None:
    known = KnownTexts.of([CODE, FORMULA, NOTICE])
    for said in (f"```python\n{CODE}```", f"${FORMULA}$", CODE, FORMULA):
        assert passages(trace(said), known) == []
    (span,) = passages(trace(f"```python\n# {NOTICE}\n{CODE}```"), known)
    assert span.original == NOTICE


def test_a_whole_program_known_by_heart_is_a_passage() -> None:
    rng = random.Random(1)
    names = [f"{a}{b}" for a in ("row", "line", "sum", "edge") for b in ("count", "size", "sort")]
    lines = [f"def {rng.choice(names)}({name}): return {rng.choice(names)}" for name in names * 3]
    program = "\n".join(lines)
    known = KnownTexts.of([program])
    assert len(passages(trace(f"```\n{program}\n```"), known)) == 1
    assert passages(trace("```\n" + "\n".join(lines[:3]) + "\n```"), known) == []


def test_a_folder_is_read_whatever_its_files_are(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    (texts / "deep").mkdir(parents=True)
    (texts / "deep" / "address.txt").write_text(ADDRESS)
    (texts / "poems.jsonl").write_text(json.dumps({"text": SONNET}) + "\n")
    (texts / "picture.bin").write_bytes(b"\0\1" + NOTICE.encode())
    total = build([texts], tmp_path / "runs")
    known = KnownTexts.open(tmp_path / "runs")
    assert total == len(known.runs) == len(KNOWN.runs)
    assert (known.runs == KNOWN.runs).all() and list(tmp_path.glob(".*")) == []


def test_runs_go_across_the_pieces_in_which_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_filters.recall.known_texts._PIECE_CHARACTERS", 17)
    (tmp_path / "a.txt").write_text(ADDRESS)
    build([tmp_path / "a.txt"], tmp_path / "runs")
    whole = KnownTexts.of([ADDRESS])
    assert (KnownTexts.open(tmp_path / "runs").runs == whole.runs).all()


def test_faults_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"known_texts .*nowhere: no such file or folder; fix"):
        build([tmp_path / "nowhere"], tmp_path / "runs")
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(ShardError, match="no text of 8 words or more; name a folder"):
        build([tmp_path / "short.txt"], tmp_path / "runs")
    (tmp_path / "cut").write_bytes(b"12345")
    with pytest.raises(ShardError, match="multiple of 8"):
        KnownTexts.open(tmp_path / "cut")
    with pytest.raises(RecipeError, match="passage_words 5 is below 8"):
        Filter(passage_words=5)


def test_the_digest_follows_every_byte_and_name(tmp_path: Path) -> None:
    one = tmp_path / "a.txt"
    one.write_text(ADDRESS)
    first = digest_of_texts(tmp_path)
    one.write_text(ADDRESS + "!")
    second = digest_of_texts(tmp_path)
    one.rename(tmp_path / "b.txt")
    assert len({first, second, digest_of_texts(tmp_path)}) == 3


@given(st.lists(st.sampled_from("one two three four five".split()), max_size=40))
def test_a_run_is_known_by_its_words_and_their_order(words: list[str]) -> None:
    runs = run_hashes(words, RUN_WORDS)
    tuples = [tuple(words[n : n + RUN_WORDS]) for n in range(len(words) - RUN_WORDS + 1)]
    assert len(runs) == len(tuples) and len(set(runs.tolist())) == len(set(tuples))
    assert KnownTexts(np.unique(runs)).holds(runs).all()


def test_a_wider_span_takes_the_place_of_those_inside() -> None:
    def span(start: int, end: int) -> Span:
        return Span(message=1, start=start, end=end, kind="name", grounding="given")

    narrow = [span(0, 3), span(5, 9), span(20, 24)]
    assert overlaid(narrow, [span(4, 12)]) == [span(0, 3), span(4, 12), span(20, 24)]
    assert overlaid(narrow, [span(3, 5)]) == [span(0, 3), span(3, 5), *narrow[1:]]


@pytest.mark.parametrize("action", ["mask", "drop"])
def test_the_filter_masks_or_drops_and_keeps_thought(tmp_path: Path, action: str) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "address.md").write_text(ADDRESS)
    sums = [
        trace(f"<think>{n} + 1 = {n + 1}.</think> {n + 1}", f"{n} + 1?", f"s{n}") for n in range(9)
    ]
    told = [*sums, trace(f"<think>It goes so.</think> {ADDRESS}", "Say it.", "p")]
    config = Filter(known_texts=[str(tmp_path / "known")], passage_action=action, num_canaries=0)
    report = sift(told, tmp_path / "out", FilterSettings(config=config))
    kept = {one.id: one for one in iter_traces(tmp_path / "out" / "kept")}
    assert set(kept) >= {one.id for one in sums}
    if action == "drop":
        assert report["dropped"] == {"scrub": {"states what nobody gave": 1}} and "p" not in kept
        return
    (span,) = (s for s in kept["p"].spans if s.action != "keep")
    assert (span.kind, span.action, span.weight, span.original) == (
        "passage",
        "mask",
        0,
        ADDRESS[:-1],
    )
    assert kept["p"].messages[1]["content"].endswith(ADDRESS)
    assert not [r for r in read_shard(tmp_path / "out/knowledge/part-00000.parquet")]


def test_an_index_of_rows_with_messages(tmp_path: Path) -> None:
    write = [{"messages": [{"role": "assistant", "content": ADDRESS, "tool_calls": None}]}]
    import pyarrow as pa

    said = pa.struct([(name, pa.string()) for name in ("role", "content", "tool_calls")])
    write_shard(tmp_path / "rows.parquet", write, pa.schema([("messages", pa.list_(said))]))
    build([tmp_path], tmp_path / "runs")
    assert len(passages(trace(ADDRESS), KnownTexts.open(tmp_path / "runs"))) == 1
