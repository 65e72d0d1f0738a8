"""The stage edit on a tiny model that learned a few answers by heart: its parts, its contenders,
undoing it, and what it refuses.
"""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file

from data_filters.records.shards import write_shard
from data_filters.records.traces import SCHEMA, Span, Trace, to_row
from distill.edit.delta import add_back
from distill.models import build_model, load_model, save_model
from distill.problems.planted_world import World
from distill.train.teacher import own_tokenizer
from eval.attacks.relearn import relearn
from eval.stage_scores.edit_score import search_questions
from launch.pipeline import run
from launch.runs.run_folder import Workspace
from launch.stages.edited_arm import healing, needs_no_fact
from launch.undo_edit import main as memory
from recipes.errors import PipelineError, RecipeError
from recipes.load import load_recipe
from tests.launch.street import SMOKE, contents

EDIT = (
    "edit={arm: control, items: 12, search_seconds: 3, removed_curvature_fractions: [0.01, 0.3], controls: [svd], keep_suites: [reasoning], "
    "heal: {steps: 2, batch_sequences: 8}}"
)
SHORT = (
    "evaluate.items=8",
    "evaluate.max_new_tokens=12",
    "evaluate.attacks=[relearn]",
    "evaluate.relearn_steps=2",
    "distill.trackers=[]",
)


def recipe_of(runs, *words):
    return load_recipe(SMOKE, [f"runs={runs}", "stages=edit,evaluate", EDIT, *SHORT, *words])


def walk(runs, *words):
    recipe = recipe_of(runs, *words)
    work = Workspace(runs / recipe.name)
    work.open(recipe)
    run(recipe, work)
    return work.root


def traces(world, count=80):
    rng = random.Random(3)
    for n in range(count):
        family = ("sums", "read")[n % 2]
        messages = world.draw(rng, family, "training").messages()
        spans = (
            [
                Span(
                    message=len(messages) - 1,
                    start=0,
                    end=3,
                    kind="name",
                    grounding="ungrounded",
                    action="mask",
                )
            ]
            if n % 4 == 3
            else []
        )
        yield Trace(
            id=f"t{n}",
            problem_id=f"p{n}",
            source=f"planted/{family}",
            seed=n,
            messages=messages,
            spans=spans,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with kept traces and models; the control knows the search's questions by heart."""
    runs = tmp_path_factory.mktemp("runs")
    recipe = recipe_of(runs)
    world, work = World(recipe.planted), Workspace(runs / "smoke")
    tokenizer = own_tokenizer(recipe.teacher, world, seed=1)
    for seed, part in enumerate(("teacher", "distill/base", "distill/student", "distill/control")):
        shape = recipe.models.teacher.shape if part == "teacher" else recipe.models.student.shape
        model = build_model(shape, tokenizer, seed=seed)
        if part == "distill/control":
            asked = search_questions(recipe.evaluate, recipe.edit, world)
            lessons = [
                (q.prompt, f"{q.gold}.") for q in asked if q.suite in ("reasoning", "recall")
            ]
            how = {
                "system": None,
                "batch_sequences": 24,
                "learning_rate": 1e-2,
                "seed": 1,
                "progress": lambda *_: None,
            }
            relearn(model, tokenizer, lessons, steps=120, **how)
        save_model(model, tokenizer, work.folder(part))
        work.finish(part, {"seed": seed}, {})
    write_shard(
        work.folder("filter") / "kept" / "part-00000.parquet", map(to_row, traces(world)), SCHEMA
    )
    work.finish("filter", {}, {})
    return runs


@pytest.fixture(scope="module")
def finished(made):
    return walk(made)


def test_the_stage_writes_its_parts_and_the_contenders_are_measured(finished):
    parts = set(contents(finished))
    assert {
        "edit",
        "edit/factors",
        "edit/search",
        "edit/svd",
        "edit/unhealed",
        "edit/student",
    } <= parts
    report = json.loads((finished / "edit/frontier.json").read_text())
    assert report["before"]["reasoning"] > 0 and {
        point["method"] for point in report["points"]
    } == {"kfac", "svd"}
    assert set(report["chosen"]) == {"kfac", "svd"} and {"reasoning", "recall"} <= set(
        report["edited"]
    )
    card = json.loads((finished / "evaluate/scorecard.json").read_text())
    assert {"edited", "edit_unhealed", "edit_svd"} <= set(card["contenders"])
    relearned = card["metrics"].get("recall_relearned_others", {}).keys()
    void = card.get("void", {}).get("recall_relearned_others", {}).keys()
    assert relearned | void >= {"edited", "control", "edit_svd"}
    assert {"edited-control", "edited-edit_unhealed", "edit_unhealed-edit_svd"} <= set(
        card["paired"]["reasoning"]
    )
    assert set(card["curves"]["edit_frontier"]) == {"edit_unhealed", "edit_svd"}
    assert "Edit frontier" in (finished / "evaluate/report.html").read_text()


@pytest.mark.parametrize("part", ["unhealed", "svd", "student"])
def test_adding_the_delta_gives_the_arm_back_to_the_bit(finished, part):
    spec = recipe_of(finished.parent).models.student
    model = load_model(spec, finished / "edit" / part)
    assert add_back(model, finished / "edit" / part / "delta.safetensors") == "memory_on"
    for (name, one), (_, other) in zip(
        model.named_parameters(),
        load_model(spec, finished / "distill/control").named_parameters(),
        strict=True,
    ):
        assert torch.equal(one.view(torch.int32), other.view(torch.int32)), name


def test_a_second_start_makes_nothing_again(finished):
    before = contents(finished)
    walk(finished.parent)
    assert contents(finished) == before


def test_edited_weights_are_kept_out_of_masked_traces(finished):
    assert (
        json.loads((finished / "edit/factors/manifest.json").read_text())["notes"]["sequences"]
        == 60
    ), "a quarter has a masked span"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["edit.layers=[0,4]"], r"edit.layers: no layer 4; this model has layers 0 to 0"),
        (["edit.projections=[up]"], r"edit.projections: no up in these layers"),
        (
            ["edit.calibration_sequences=1"],
            r"was reached by \d+ taught tokens, its factors have 64 rows; .*calibration_sequences",
        ),
        (["edit.keep_suites=[basics,lookup]"], r"edit: the search has nothing to ask for lookup"),
        (["edit.calibration_text=no/such.txt"], r"edit.calibration_text: no file no/such.txt"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(made, finished, words, line):
    with pytest.raises(PipelineError, match=line) as fault:
        walk_copy(made, finished, words)
    assert "\n" not in str(fault.value)


def walk_copy(made, finished, words):
    """The stage in a run of its own that has the same models and traces."""
    target = made / "copy"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(finished, target, ignore=shutil.ignore_patterns("edit", "evaluate"))
    return walk(made, "name=copy", *words)


def test_a_recipe_that_cannot_work_is_refused_before_any_model(tmp_path):
    for word, line in (
        ("edit.arm=scrub_only", r"edit.arm 'scrub_only' is none of distill.arms"),
        (
            "edit.removed_curvature_fractions=[1.5]",
            r"edit.removed_curvature_fractions: 1.5 is outside 0..1",
        ),
        ("edit.heal.muon_learning_rate=0", r"edit.heal.muon_learning_rate 0.0 is not above 0"),
        ("edit.layers=[-1]", r"edit.layers: -1; layers are counted from 0"),
    ):
        with pytest.raises(RecipeError, match=line):
            recipe_of(tmp_path, word)
    facts = "[{name: world/x, path: recipes/questions/world_recall.jsonl, answer: answer}]"
    with pytest.raises(
        RecipeError, match=r"edit and evaluate both ask recipes/questions/world_recall.jsonl"
    ):
        recipe_of(tmp_path, f"edit.recall_sources={facts}", f"evaluate.recall_sources={facts}")


def test_memory_on_and_off_from_the_command_line(finished, tmp_path, capsys):
    on, off = tmp_path / "on", tmp_path / "off"
    assert (
        memory([str(finished / "edit/student"), str(on)]) == 0 and memory([str(on), str(off)]) == 0
    )
    assert capsys.readouterr().out.split() == ["memory_on", "memory_off"]
    assert (off / "model.safetensors").read_bytes() == (
        finished / "edit/student/model.safetensors"
    ).read_bytes()
    assert (on / "model.safetensors").read_bytes() == (
        finished / "distill/control/model.safetensors"
    ).read_bytes()
    for words, line in (
        (
            [finished / "distill/student", tmp_path / "x", "--delta", on / "delta.safetensors"],
            "a delta of another model or other data",
        ),
        ([finished / "distill/student", tmp_path / "x"], "no such delta"),
        ([on, off], "is there already"),
    ):
        assert memory([str(word) for word in words]) == 2
        told = capsys.readouterr().err
        assert line in told and told.count("error: ") == 1


def test_healing_takes_its_optimizer_from_its_own_knobs_and_the_rest_from_the_arms(tmp_path):
    words = (
        "distill.optimizer=adamw",
        "distill.weight_decay=0.2",
        "edit.heal.optimizer=muon",
        "edit.heal.muon_learning_rate=0.03",
    )
    recipe = recipe_of(tmp_path, *words, "edit.heal.learning_rate=0.002")
    short = healing(recipe.distill, recipe.edit.heal, taught=True)
    assert (short.optimizer, short.muon_learning_rate, short.learning_rate, short.steps) == (
        "muon",
        0.03,
        0.002,
        2,
    )
    assert (short.weight_decay, short.divergence, short.curriculum) == (
        0.2,
        recipe.distill.divergence,
        [],
    )
    assert healing(recipe.distill, recipe.edit.heal, taught=False).divergence == "none"
    assert recipe_of(tmp_path).edit.heal.optimizer == "adamw"


def test_an_edit_is_healed_with_muon_too(made, finished):
    work = walk_copy(made, finished, ["stages=edit", "edit.heal.optimizer=muon"])
    healed, other = (
        load_file(root / "edit/student/model.safetensors") for root in (work, finished)
    )
    whole = load_file(finished / "edit/unhealed/model.safetensors")
    matrix = next(name for name in whole if name.endswith("gate_proj.weight"))
    assert (
        (healed[matrix] - whole[matrix]).abs().max()
        > 5 * (other[matrix] - whole[matrix]).abs().max()
        > 0
    )


def test_an_edit_is_healed_on_what_a_student_sees_too(made, finished):
    """A quarter of the kept traces have a masked fact: it is left out with them, or they go along
    with nothing taught at it.
    """
    work = walk_copy(made, finished, ["stages=edit", "edit.heal.traces=scrubbed"])
    notes = [
        json.loads((root / "edit/student/manifest.json").read_text())["notes"]
        for root in (finished, work)
    ]
    assert [note["written"] for note in notes] == [60, 80]


@pytest.mark.parametrize(
    ("grounding", "action", "thought"),
    [("given", "keep", True), ("ungrounded", "keep", False), ("ungrounded", "mask", False)],
)
def test_facts_that_a_filter_left_are_no_thought_to_heal_on(grounding, action, thought):
    span = Span(
        message=1, start=0, end=4, kind="place", grounding=grounding, action=action, original="Oslo"
    )
    talk = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Oslo."}]
    assert (
        needs_no_fact(
            Trace(id="t", problem_id="p", source="s", seed=0, messages=talk, spans=[span])
        )
        is thought
    )
    assert needs_no_fact(Trace(id="t", problem_id="p", source="s", seed=0, messages=talk))
