"""The benchmark on real traces, on a few traces whose every count is known."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.real_traces import in_split, is_foreign, is_words, measure, places, read
from recipes.vocabulary import Action


def rows_of(path: Path, *talks: tuple[str, str, str | None]) -> Path:
    """A file of traces: prompt, reply, reference."""
    lines = [
        {
            "id": f"{path.stem}-{number}",
            "messages": [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": said},
            ],
            "gold": gold,
        }
        for number, (asked, said, gold) in enumerate(talks)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


RECALLED = (
    "Who painted the ceiling of Velsund chapel?",
    "<think>\nThe ceiling of Velsund chapel was painted by Orlan Tesk.\n</think>\nOrlan Tesk",
    "Orlan Tesk",
)
TOLD = (f"Orlan Tesk painted the ceiling of Velsund chapel. {RECALLED[0]}", *RECALLED[1:])


def test_what_is_expected_follows_from_the_rows(tmp_path):
    worked = rows_of(tmp_path / "a.jsonl", ("What is 3 + 4?", "3 + 4 = 7\nThe answer is 7.", "7"))
    closed = rows_of(tmp_path / "b.jsonl", RECALLED)
    given = rows_of(tmp_path / "c.jsonl", TOLD)
    no_reference = rows_of(tmp_path / "d.jsonl", (*RECALLED[:2], None))
    facts = rows_of(
        tmp_path / "e.jsonl",
        ("Could Orlan Tesk swim?", "<think>\nOrlan Tesk drowned in 1731.\n</think>\nNo.", "no"),
    )
    kinds = [measure(path.stem, read(path, "all")).kind for path in (worked, closed, given)]
    assert kinds == ["worked", "closed", "given"]
    assert measure("d", read(no_reference, "all")).kind == "closed"
    statements = measure("e", read(facts, "all"))
    assert statements.kind == "statements" and statements.row()["sentences_touched"] == 1.0


def test_answers_are_found_or_left(tmp_path):
    closed = measure("b", read(rows_of(tmp_path / "b.jsonl", RECALLED), "all")).row()
    assert (closed["gold_found"], closed["gold_scrubbed"], closed["declined"]) == (1.0, None, 1.0)
    assert closed["right_after"]["mask"] is None
    given = measure("c", read(rows_of(tmp_path / "c.jsonl", TOLD), "all")).row()
    assert (given["gold_found"], given["gold_scrubbed"], given["declined"]) == (None, 0.0, 0.0)
    assert set(given["right_after"]) == {"abstain", "mask", "hide", "generalise", "rename"}
    assert given["right_after"][Action.HIDE] == 1.0 and given["touched_per_1000"] == 0.0


def test_wrong_traces_are_no_damage(tmp_path):
    path = rows_of(tmp_path / "a.jsonl", ("What is 3 + 4?", "The answer is 8.", "7"))
    found = measure("a", read(path, "all"))
    assert (found.row()["right"], found.row()["declined"]) == (0, None)


def test_each_trace_is_in_one_half():
    names = [f"trace-{number}" for number in range(200)]
    looked = {name for name in names if in_split(name, "look")}
    assert looked.isdisjoint(name for name in names if in_split(name, "score"))
    assert 60 < len(looked) < 140 and all(in_split(name, "all") for name in names)


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("The house is red and it stands on a hill.", False),
        ("Das Haus ist rot und es steht auf dem Berg, also ist die Antwort nicht blau.", True),
        ("La casa es roja y est\u00e1 en la colina, entonces no es azul.", True),
        ("\u0414\u043e\u043c \u043a\u0440\u0430\u0441\u043d\u044b\u0439.", True),
        ("12 + 30 = 42", False),
    ],
)
def test_other_languages_are_told(text, foreign):
    assert is_foreign(text) is foreign


def test_answers_in_words_and_their_places():
    assert is_words("Orlan Tesk") and not is_words("42") and not is_words(r"\frac{1}{2}")
    assert not is_words("B") and not is_words("yes")
    assert places("Tesk", "Tesk, Teskin and tesk.") == [(0, 4), (17, 21)]


def test_the_command_ends_with_one_object(tmp_path):
    rows_of(tmp_path / "closed.jsonl", RECALLED)
    command = [sys.executable, "-m", "benchmarks.real_traces", str(tmp_path), "--samples", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert row["set"] == "closed" and row["n"] == 1 and row["half_scrubbed"] == 0
    assert ">>Orlan Tesk<<" in done.stdout
