"""Models that were not trained here, side by side: recipes/compare.yaml with two tiny local models,
and what is refused.
"""

import json
import random

import pyarrow.parquet as pq
import pytest

from data_filters.records.shards import write_shard
from data_filters.records.traces import SCHEMA as TRACES
from data_filters.records.traces import Trace, to_row
from distill.models import build_model, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import World
from eval.suites.suites import all_questions
from launch.inputs.held_out import check_apart
from launch.inputs.inputs import Inputs
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.load import load_recipe
from recipes.schema import Planted, Shape
from tests.launch.street import ROOT, launch, succeed

COMPARE = "recipes/compare.yaml"
SMALL = [
    "evaluate.items=12",
    "evaluate.max_new_tokens=6",
    "evaluate.recall_sources=[]",
    "evaluate.bootstrap=100",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of two students that share a tokenizer, and one whose tokenizer has no chat
    template.
    """
    rng, world = random.Random(0), World(Planted(people=20, teacher_only=8, strangers=8))
    texts = [
        m["content"]
        for _ in range(200)
        for m in world.draw(rng, rng.choice(("read", "sums", "basics")), "training").messages()
    ]
    tokenizer = train_tokenizer(texts, vocab_size=500)
    shape = Shape(
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        num_kv_heads=2,
        head_size=16,
        intermediate_size=48,
        max_position_tokens=2048,
    )
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("small", "other", "bare")):
        if name == "bare":
            tokenizer.chat_template = None
        save_model(build_model(shape, tokenizer, seed=seed), tokenizer, folder / name)
    rows = [
        {"question": f"{a} + 1", "choices": ["one", "two", "a lot"], "answer": "two"}
        for a in range(9)
    ]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def words(models, runs, first="small", second="other", harness=True):
    pair = [f"evaluate.models.first={models / first}", f"evaluate.models.second={models / second}"]
    mine = f"[{{task: {models / 'mine.jsonl'}, axis: reasoning}}]" if harness else "[]"
    return [COMPARE, f"runs={runs}", *SMALL, *pair, f"evaluate.harness={mine}"]


def refused(*asked):
    done = launch(*asked)
    assert done.returncode == 2, done.stdout[-1000:] + done.stderr[-2000:]
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def compared(models, tmp_path_factory):
    pytest.importorskip("lm_eval")
    runs = tmp_path_factory.mktemp("runs")
    succeed(*words(models, runs))
    return runs / "compare"


def test_two_models_are_measured_without_any_other_stage(compared):
    card = json.loads((compared / "evaluate" / "scorecard.json").read_text())
    assert card["contenders"] == ["first", "second"]
    assert (
        {"first", "second"}
        == set(card["metrics"]["reasoning"])
        == set(card["metrics"]["harness/mine"])
    )
    assert card["metrics"]["harness/mine"]["first"]["n"] == 9
    assert (
        "second-first" in card["paired"]["reasoning"]
        and "second-first" in card["paired"]["harness/mine"]
    )
    assert not any(
        (compared / stage).exists()
        for stage in ("teacher", "generate", "filter", "distill", "publish")
    )


def test_answers_of_tasks_stand_beside_the_others_in_the_same_schema(compared):
    own, tasks = (
        pq.read_table(compared / "evaluate" / kind / "first" / "answers.parquet")
        for kind in ("answers", "harness")
    )
    assert own.schema.names == tasks.schema.names and set(tasks["suite"].to_pylist()) == {
        "harness/mine"
    }


def test_another_model_in_the_same_place_is_noticed(models, compared):
    lines = refused(*words(models, compared.parent, first="other"))
    assert len(lines) == 1 and "input.model was sha256:" in lines[0]


def test_answers_of_another_schema_are_one_line(models, compared):
    path = compared / "evaluate" / "answers" / "second" / "answers.parquet"
    manifest = path.with_name("manifest.json")
    whole, said = path.read_bytes(), manifest.read_text()
    pq.write_table(pq.read_table(path).drop_columns(["cluster", "mode"]), path)
    # as an older version finished it, whose manifests list no files
    manifest.write_text(json.dumps(json.loads(said) | {"files": {}}))
    (compared / "evaluate" / "manifest.json").unlink()
    lines = refused(*words(models, compared.parent))
    path.write_bytes(whole)
    manifest.write_text(said)
    assert (
        len(lines) == 1 and "answers of another schema, they lack cluster, mode; delete" in lines[0]
    )


def test_what_cannot_be_asked_is_said_before_anybody_is_asked(models, tmp_path):
    lines = refused(*words(models, tmp_path, second="bare", harness=False))
    assert len(lines) == 1 and "has no chat template; name an instruct model" in lines[0]
    assert not (tmp_path / "compare" / "evaluate").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluate.models.teacher=x", "evaluate.models.teacher: the name is taken"),
        ("evaluate.models={a-b: x}", "'a-b' is not a word; expected letters, digits and _"),
        ("evaluate.models.third={shape: {}}", "evaluate.models.third has a shape; expected a path"),
        (
            "stages=[distill,evaluate]",
            "missing key 'models': only stages: [evaluate] with evaluate.models does without",
        ),
        (
            "evaluate.harness=[{task: gsm8k}, {task: gsm8k, num_fewshot: 0}]",
            "evaluate.harness names gsm8k twice",
        ),
        ("evaluate.harness=[{task: gsm8k, axis: recal}]", "evaluate.harness[0].axis is 'recal'"),
        ("evaluate.harness=[{task: some folder/x}]", "'some folder/x' is not a task"),
    ],
)
def test_wrong_keys_are_one_line(override, said):
    with pytest.raises(RecipeError) as fault:
        load_recipe(ROOT / COMPARE, [override])
    assert said in str(fault.value) and "\n" not in str(fault.value)


def test_a_model_may_be_written_as_its_path():
    recipe = load_recipe(
        ROOT / "recipes" / "smoke.yaml",
        ["models.teacher=some/model", "evaluate.models={a: b/c, d: {path: e}}"],
    )
    assert recipe.models.teacher.path == "some/model" and recipe.models.teacher.shape is None
    assert {name: model.path for name, model in recipe.evaluate.models.items()} == {
        "a": "b/c",
        "d": "e",
    }


def test_a_question_that_was_trained_on_is_refused_and_both_are_named(tmp_path):
    traces = tmp_path / "traces"
    recipe = load_recipe(
        ROOT / "recipes" / "smoke.yaml",
        [f"distill.traces={traces}", "evaluate.items=8", f"runs={tmp_path}"],
    )
    inputs = Inputs(recipe, Workspace(tmp_path / "smoke"))
    question = next(
        q for q in all_questions(recipe.evaluate, inputs.world) if q.suite == "reasoning"
    )

    def learned(prompt):
        talk = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": "<think> x.</think> 1."},
        ]
        write_shard(
            traces / "traces-00000.parquet",
            [to_row(Trace(id="abc", problem_id="p", source="s", seed=1, messages=talk))],
            TRACES,
        )

    learned(question.prompt)
    check_apart(recipe, inputs.world, inputs.work)  # nobody was trained yet
    (tmp_path / "smoke" / "distill" / "student").mkdir(parents=True)
    (tmp_path / "smoke" / "distill" / "student" / "manifest.json").write_text("{}")
    with pytest.raises(RecipeError) as fault:
        check_apart(recipe, inputs.world, inputs.work)
    assert f"question {question.id} stands in the training data, {traces}, as trace abc" in str(
        fault.value
    )
    learned(question.prompt + " again")
    check_apart(recipe, inputs.world, inputs.work)
