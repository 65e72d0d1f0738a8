"""Problems: seeded, split by hash, from worlds, reasoning-gym and files."""

import json

import pytest

from distill.problems import draw_problems
from distill.splits import split_of
from recipes.errors import RecipeError
from recipes.schema import Source


def draw(sources, world=None, **changes):
    return draw_problems(sources, world, **({"seed": 1, "start": 0, "count": 40, "split": "training"} | changes))


def test_the_same_call_gives_the_same_problems(world):
    sources = [Source(name="planted/sums"), Source(name="planted/ask", weight=2.0)]
    assert draw(sources, world) == draw(sources, world)
    assert draw(sources, world) != draw(sources, world, start=40)


def test_reasoning_gym_has_references_and_disjoint_splits():
    sources = [Source(name="reasoning_gym/chain_sum", options={"min_terms": 2, "max_terms": 3})]
    training, report = draw(sources), draw(sources, split="report")
    assert all(p.gold.lstrip("-").isdigit() for p in training)
    assert all(split_of(p.prompt) == "training" for p in training)
    assert not {p.prompt for p in training} & {p.prompt for p in report}


def test_rows_of_a_file_come_once_and_in_order(tmp_path):
    rows = [{"question": f"What is {i} + 1?", "reply": str(i + 1)} for i in range(30)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = Source(name="mine", path=str(tmp_path / "mine.jsonl"), answer="reply")
    found = draw([source])
    assert [p.prompt for p in found] == [r["question"] for r in rows]
    assert found[0].gold == str(int(found[0].prompt.split()[2]) + 1)


def test_blocks_read_a_file_on_where_the_last_one_stopped(tmp_path, world):
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps({"question": f"Question {i}?"}) for i in range(200)))
    sources = [Source(name="mine", path=str(tmp_path / "mine.jsonl")), Source(name="planted/sums", weight=2.0)]
    blocks = [draw(sources, world, start=start, count=30, block=30) for start in (0, 30, 60)]
    asked = [p.prompt for block in blocks for p in block if p.source == "mine"]
    assert asked == [f"Question {i}?" for i in range(len(asked))] and len(asked) > 15


def test_bad_sources_say_what_is_wrong(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"text": "hello"}\n')
    with pytest.raises(RecipeError, match=r"no column 'question' in .*; it has text"):
        draw([Source(name="mine", path=str(tmp_path / "mine.jsonl"))])
    with pytest.raises(RecipeError, match="no file at"):
        draw([Source(name="mine", path=str(tmp_path / "absent.jsonl"))])
    with pytest.raises(RecipeError, match="give it a path"):
        draw([Source(name="mine")])
    with pytest.raises(RecipeError, match="reasoning_gym/no_such_set"):
        draw([Source(name="reasoning_gym/no_such_set")])
    with pytest.raises(RecipeError, match="wants a planted world"):
        draw([Source(name="planted/sums")])
