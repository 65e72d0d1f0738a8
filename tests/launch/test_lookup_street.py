"""The street with tools: look-ups in the traces, a student that is asked with a base in every
state, a part of its own for sleep.
"""

import json
import random

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.tool_calls import calls_of
from distill.problems.planted_world import World
from recipes.load import load_recipe
from tests.launch.street import ROOT, SMOKE, launch, succeed

WORDS = (
    "teacher.tools=true",
    "filter.ungrounded_action=lookup",
    "evaluate.tools.contenders=[student]",
    "distill.arms=[student]",
    "teacher.steps=8",
    "distill.steps=4",
    "distill.sequence_tokens=192",
    "evaluate.items=6",
    "name=tools",
    "evaluate.bootstrap=50",
)


def recalled_traces(path):
    """What a teacher writes that knows the world by heart: one that is nearly random states no
    fact that could be looked up.
    """
    world, rng = World(load_recipe(ROOT / SMOKE).planted), random.Random(1)
    families = ["closed"] * 120 + ["read"] * 40 + ["sums"] * 40
    rows = [
        {
            "id": f"t{number}",
            "problem_id": f"p{number}",
            "source": f"planted/{family}",
            "messages": world.draw(rng, family, "training").messages()[:2],
        }
        for number, family in enumerate(families)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_traces_call_and_the_student_is_asked_in_every_state_of_the_base(tmp_path):
    recalled_traces(tmp_path / "traces.jsonl")
    words = (SMOKE, *WORDS, f"runs={tmp_path}", f"filter.traces={tmp_path / 'traces.jsonl'}")
    succeed(*words, "stages=teacher,filter,distill,evaluate")
    run = tmp_path / "tools"
    kept = list(iter_traces(run / "filter" / "kept"))
    calling = [trace for trace in kept if any(calls_of(message) for message in trace.messages)]
    assert (
        calling
        and all(trace.tools for trace in calling)
        and len(KnowledgeBase.read(run / "filter" / "knowledge")) > 0
    )
    notes = json.loads((run / "filter" / "manifest.json").read_text())["notes"]["records"]
    made = [
        trace for trace in kept if trace.spans and trace.spans[-1].detector.startswith("lookups/")
    ]
    assert sum(notes.values()) == len(made) > len(calling)
    rows = read_shard(run / "evaluate" / "tools" / "student" / "answers.parquet")
    assert {row["base"] for row in rows} == {"FULL", "DELETED", "OFF", "SWAPPED"} and all(
        row["swapped_gold"] for row in rows if row["base"] == "SWAPPED"
    )
    card = json.loads((run / "evaluate" / "scorecard.json").read_text())["metrics"]
    assert {
        "kb_full.correct",
        "kb_deleted.abstained",
        "kb_swapped.followed",
        "youden_j",
        "multi_hop",
        "long_sums_off.correct",
    } <= set(card)
    assert set(card["kb_full.correct"]) == {"student"}, "the others were not asked with tools"
    again = launch(*words, "stages=distill", "sleep.num_facts=4", "sleep.steps=2")
    assert (
        again.returncode == 2
        and "none of 8 documents was answered within sleep.max_new_tokens" in again.stderr
    ), "it answers nothing yet"
