"""The filter stage as the street runs it: probes, modes, and what does not count as another
stage.
"""

import json
import logging
import subprocess
import sys

import pytest

from data_filters.filters.settings import FilterContext
from data_filters.records.shards import iter_traces, read_shard
from launch.inputs.inputs import Inputs
from launch.runs.ranks import Ranks
from launch.runs.run_folder import Workspace
from launch.stages.filter import Filter
from recipes.errors import RecipeError
from recipes.load import load_recipe
from recipes.vocabulary import Action
from tests.launch.street import ROOT, SMOKE, environment, succeed

pytestmark = pytest.mark.timeout(600)


def filtering(folder, *words):
    recipe = load_recipe(SMOKE, [f"runs={folder}", *words])
    work = Workspace(folder)
    return Filter(Inputs(recipe, work))


def test_the_recipe_reaches_the_filters(tmp_path):
    context = FilterContext(filtering(tmp_path, "filter.mode=strict").settings())
    assert context.strict and context.scrubber.ungrounded_action == Action.DROP
    stage = filtering(tmp_path, "filter.mode=report_only", "seed=5")
    context = FilterContext(stage.settings())
    assert not context.strict and context.scrubber.ungrounded_action == Action.ABSTAIN
    assert context.settings.seed == 5 and context.config == stage.config
    assert set(context.settings.held_out) == set(stage.held_out) != set()


def test_recipes_that_cannot_work_are_refused():
    for words, said in (
        (["filter.probes.surprise=drop"], "name one in filter.probes.reference"),
        (["filter.epochs=0"], "filter.epochs 0"),
        (["filter.num_processes=-1"], "filter.num_processes -1"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_recipe(SMOKE, words)


def stage_of(tmp_path, traces, *words):
    source = tmp_path / "traces.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in traces))
    return filtering(tmp_path / "run", f"filter.traces={source}", *words)


def row(number, asked, said, gold):
    roles = ("user", "assistant")
    messages = [
        {"role": role, "content": text} for role, text in zip(roles, (asked, said), strict=True)
    ]
    return {"id": f"t{number}", "messages": messages, "gold": gold}


def test_right_traces_that_scrubbing_takes_away_end_the_stage(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    sums = [row(n, f"What is {n} + 4?", f"The answer is {n + 4}.", str(n + 4)) for n in (8, 9)]
    told = "Orlan Tesk built Velmar Hall. Who built Velmar Hall?"
    lost = row(1, told, "<think>Ida Vox of Turdok?</think>Orlan Tesk", "Orlan Tesk")
    words = ("filter.ungrounded_action=drop", "filter.decontaminate=false")
    with pytest.raises(
        RecipeError, match=r"1 of 3 right traces \(33\.3%\) were changed \(1 dropped"
    ):
        stage_of(tmp_path, [*sums, lost], *words)._write(tmp_path / "out")
    assert "filter: dropped: t1 of " in caplog.text
    assert json.loads((tmp_path / "out" / "report.json").read_text())["damage"]["changed"] == 1
    notes = stage_of(tmp_path, [*sums, lost], *words, "filter.max_damage_fraction=0.4")._write(
        tmp_path / "second"
    )
    assert (notes["read"], notes["kept"], notes["right"], notes["of these changed"]) == (3, 2, 3, 1)


def test_a_run_that_only_reports_says_how_many_it_kept(tmp_path):
    rows = [
        row(1, "Who built Velmar Hall?", "Orlan Tesk built it.", None),
        row(2, "What is 3 + 4?", "The answer is 8.", "7"),
    ]
    stage = stage_of(tmp_path, rows, "filter.mode=report_only")
    notes = stage._write(tmp_path / "out")
    kept = list(iter_traces(tmp_path / "out" / "kept"))
    assert (notes["read"], notes["kept"], notes["would be kept"]) == (2, len(kept), 1)
    assert notes["declined"] == 1 and len(kept) == 2


ON = (
    "filter.probes.premise=report",
    "filter.probes.closed_book=drop",
    "filter.probes.rename=report",
    "filter.probes.max_new_tokens=8",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    said = succeed(
        SMOKE, f"runs={runs}", "stages=teacher,generate,filter", *ON, "filter.num_processes=2"
    )
    assert "filter/asked: done" in said
    return runs / "smoke"


def test_the_teacher_is_asked_and_its_answers_are_used(run):
    asked = run / "filter" / "asked"
    rows = [row for path in sorted(asked.glob("asked-*.parquet")) for row in read_shard(path)]
    answered = [
        trace.id
        for trace in iter_traces(run / "generate")
        if trace.finish_reason == "stop" and trace.verdict != "wrong"
    ]
    assert [row["id"] for row in rows] == answered and str(run) not in (
        asked / "plan.json"
    ).read_text()
    assert sum(row["rename"] is not None for row in rows) > 20
    facts = json.loads((run / "filter" / "key_facts.json").read_text())
    assert set(facts) == {"facts", "exposures"} and (run / "filter" / "report.html").exists()


SECOND_RANK = """
import sys
from pathlib import Path
from launch.inputs.inputs import Inputs
from launch.runs.ranks import Ranks
from launch.runs.run_folder import Workspace
from launch.stages.filter import Filter
from recipes.load import load_recipe
from recipes.vocabulary import Action

run, out = map(Path, sys.argv[1:])
inputs = Inputs(load_recipe(run / "recipe.yaml"), Workspace(run, Ranks(1, 2)))
print(Filter(inputs).ask(out))
"""


def test_ranks_share_the_questions_and_write_the_same(run, tmp_path):
    """Each rank is a process, as in a launch: transformers loads one model at a time in each."""
    out = tmp_path / "asked"
    out.mkdir()
    second = subprocess.Popen(
        [sys.executable, "-c", SECOND_RANK, run, out],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    inputs = Inputs(load_recipe(run / "recipe.yaml"), Workspace(run, Ranks(0, 2)))
    assert Filter(inputs).ask(out) == {"units": 2}
    said, _ = second.communicate(timeout=240)
    assert second.returncode == 0 and said.splitlines()[-1] == "{'units': 2}"
    for path in sorted((run / "filter" / "asked").glob("asked-*.parquet")):
        assert (out / path.name).read_bytes() == path.read_bytes()
