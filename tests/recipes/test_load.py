"""Every recipe loads; every fault a person can make gets its own line, word for word."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recipes.errors import RecipeError
from recipes.knobs import all_keys
from recipes.load import load_recipe, to_yaml
from recipes.schema import Phase, Recipe, Source
from recipes.schema.renamed import RENAMED
from recipes.vocabulary import StageName

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
OK = """\
name: ok
models:
  teacher: {path: some/teacher}
  student:
    shape: {hidden_size: 64}
"""


@pytest.fixture
def ok(tmp_path: Path) -> Path:
    return write(tmp_path, "ok.yaml", OK)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def faults(path: Path, *overrides: str) -> list[str]:
    """The lines of the error; none where the recipe loads."""
    try:
        load_recipe(path, overrides)
    except RecipeError as fault:
        return str(fault).splitlines()
    return []


def faults_of(folder: Path, text: str, *overrides: str) -> list[str]:
    """Faults of a recipe that lays `text` on a sound one."""
    write(folder, "ok.yaml", OK)
    return faults(write(folder, "mine.yaml", f"extends: ok.yaml\n{text}"), *overrides)


# --- what loads


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_comes_back_from_yaml(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert load_recipe(write(tmp_path, "resolved.yaml", to_yaml(recipe))) == recipe


def test_names_of_recipes_are_their_files() -> None:
    assert [load_recipe(path).name for path in RECIPES] == [path.stem for path in RECIPES]


def test_every_reasoning_gym_source_makes_problems() -> None:
    gym = pytest.importorskip("reasoning_gym")
    recipes = [load_recipe(path) for path in RECIPES]
    sources = {
        (s.name, *s.options.items()): s
        for r in recipes
        for s in (*r.generate.sources, *r.evaluate.sources)
    }
    asked = [s for s in sources.values() if s.name.startswith("reasoning_gym/")]
    for source in asked:
        item = next(
            iter(
                gym.create_dataset(source.name.partition("/")[2], seed=1, size=1, **source.options)
            )
        )
        assert item["question"] and item["answer"] is not None, source.name
    assert len(asked) > 10


def test_defaults_values_and_nested_sections(ok: Path) -> None:
    recipe = load_recipe(ok)
    assert (recipe.name, recipe.models.teacher.path, recipe.models.student.path) == (
        "ok",
        "some/teacher",
        None,
    )
    assert recipe.models.student.shape is not None and recipe.models.student.shape.hidden_size == 64
    assert recipe.stages == list(StageName)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"  # type: ignore[misc]


def test_lists_of_sections_are_sections(tmp_path: Path) -> None:
    write(tmp_path, "ok.yaml", OK)
    text = "extends: ok.yaml\ngenerate: {sources: [{name: a/b, options: {size: 3}}]}\ndistill: {curriculum: [{families: [read]}]}\n"
    recipe = load_recipe(write(tmp_path, "mine.yaml", text))
    assert recipe.generate.sources == [Source(name="a/b", options={"size": 3})]
    assert recipe.distill.curriculum == [Phase(families=["read"])]


@pytest.mark.parametrize(
    "stages", ["[generate,filter]", "generate,filter", "[generate, filter]", "generate, filter"]
)
def test_a_list_on_the_command_line_needs_no_brackets(ok: Path, stages: str) -> None:
    assert load_recipe(ok, [f"stages={stages}"]).stages == ["generate", "filter"]


def test_overrides_are_laid_on_left_to_right(ok: Path) -> None:
    overrides = [
        "seed=2",
        "distill.steps=5",
        "distill.adam_betas=0.9,0.95",
        "stages=publish",
        "seed=3",
        "publish.repo=null",
    ]
    recipe = load_recipe(ok, [*overrides, 'generate.sources=[{name: "planted/sums", weight: 2}]'])
    assert (recipe.seed, recipe.distill.steps, recipe.distill.adam_betas) == (3, 5, (0.9, 0.95))
    assert (recipe.stages, recipe.publish.repo) == (["publish"], None)
    assert recipe.generate.sources == [Source(name="planted/sums", weight=2.0)]


def test_text_is_taken_as_it_was_written(tmp_path: Path) -> None:
    """YAML reads on, 0012 and 2024-01-01 as a truth, an octal number and a date."""
    write(tmp_path, "ok.yaml", OK)
    text = "extends: ok.yaml\nname: on\nruns: 2024-01-01\npublish: {license: no}\nmodels: {teacher: {revision: 0012}}\n"
    recipe = load_recipe(write(tmp_path, "mine.yaml", text))
    assert (recipe.name, recipe.runs, recipe.publish.license, recipe.models.teacher.revision) == (
        "on",
        "2024-01-01",
        "no",
        "0012",
    )


def test_numbers_as_people_write_them(ok: Path) -> None:
    recipe = load_recipe(
        ok, ["distill.learning_rate=3e-4", "distill.weight_decay=0", "generate.count=20_000"]
    )
    assert (recipe.distill.learning_rate, recipe.distill.weight_decay, recipe.generate.count) == (
        3e-4,
        0.0,
        20_000,
    )
    assert isinstance(recipe.distill.weight_decay, float)


def test_extends_in_two_steps_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(
        tmp_path,
        "ok.yaml",
        OK + "seed: 4\ndistill: {steps: 7, warmup_steps: 3}\nstages: [teacher, generate]\n",
    )
    write(tmp_path, "middle.yaml", "extends: ok.yaml\ndistill: {steps: 8}\nstages: [filter]\n")
    top = write(tmp_path / "deep", "top.yaml", "extends: ../middle.yaml\nname: top\n")
    recipe = load_recipe(top)
    assert (recipe.name, recipe.seed, recipe.distill.steps, recipe.distill.warmup_steps) == (
        "top",
        4,
        8,
        3,
    )
    assert recipe.stages == ["filter"]


def test_a_base_model_can_be_taken_back(tmp_path: Path) -> None:
    write(tmp_path, "ok.yaml", OK)
    mine = write(
        tmp_path,
        "mine.yaml",
        "extends: ok.yaml\nmodels: {student: {shape: null, path: some/student}}\n",
    )
    assert load_recipe(mine).models.student.path == "some/student"


WRITABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@settings(max_examples=30, deadline=None)
@example(name="0", system="a\x85b\u2028c", rate=1.0, betas=(0.0, 0.0), urls=["\x85"])
@given(
    name=st.text(
        st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="/\\."),
        min_size=1,
    ),
    system=st.none() | st.text(WRITABLE, max_size=30),
    rate=st.floats(1e-9, 1.0),
    betas=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    urls=st.lists(st.text(WRITABLE, max_size=10), max_size=3),
)
def test_to_yaml_round_trip(
    tmp_path_factory: pytest.TempPathFactory, name, system, rate, betas, urls
) -> None:
    folder = tmp_path_factory.mktemp("round")
    base = load_recipe(write(folder, "ok.yaml", OK))
    recipe = dataclasses.replace(
        base,
        name=name,
        generate=dataclasses.replace(
            base.generate, system=system, sources=[Source(name=name, weight=rate)]
        ),
        distill=dataclasses.replace(base.distill, learning_rate=rate, adam_betas=betas),
        models=dataclasses.replace(
            base.models, teacher=dataclasses.replace(base.models.teacher, base_urls=urls)
        ),
    )
    path = folder / "back.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe


# --- what does not


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seeed: 1", "mine.yaml:2: unknown key 'seeed'; did you mean 'seed'?"),
        (
            "distill:\n\n  learning_rat: 1",
            "mine.yaml:4: unknown key 'distill.learning_rat'; did you mean 'distill.learning_rate'?",
        ),
        (
            "decontaminate: 1",
            "mine.yaml:2: unknown key 'decontaminate'; did you mean 'filter.decontaminate'?",
        ),
        (
            "schedule: wsd",
            "mine.yaml:2: unknown key 'schedule'; did you mean 'teacher.schedule' or 'distill.schedule'?",
        ),
        ("models: {zzz: 1}", "mine.yaml:2: unknown key 'models.zzz'; known here: teacher, student"),
        (
            "distill:\n  steps: many",
            "mine.yaml:3: distill.steps is 'many', expected a whole number",
        ),
        ("distill: {steps: 3.0}", "mine.yaml:2: distill.steps is 3.0, expected a whole number"),
        ("distill: {steps: true}", "mine.yaml:2: distill.steps is true, expected a whole number"),
        ("distill: {steps: null}", "mine.yaml:2: distill.steps is null, expected a whole number"),
        (
            "distill: {steps: [1, 2]}",
            "mine.yaml:2: distill.steps is a list of 2, expected a whole number",
        ),
        (
            "distill: {learning_rate: fast}",
            "mine.yaml:2: distill.learning_rate is 'fast', expected a number",
        ),
        ("distill: {packing: 2}", "mine.yaml:2: distill.packing is 2, expected true or false"),
        (
            "distill: {optimizer: mun}",
            "mine.yaml:2: distill.optimizer is 'mun', expected one of adamw, muon; did you mean 'muon'?",
        ),
        (
            "distill: {optimizer: 7}",
            "mine.yaml:2: distill.optimizer is 7, expected one of adamw, muon",
        ),
        (
            "distill: {adam_betas: [0.9]}",
            "mine.yaml:2: distill.adam_betas is a list of 1, expected a list of 2: a number, a number",
        ),
        ("filter: 3", None),
        ("runs: {a: 1}", "mine.yaml:2: runs is a section with a, expected text"),
        ("name: null", "mine.yaml:2: name is null, expected text"),
        ("name: ???", "mine.yaml:2: missing value of 'name', expected text"),
        (
            "planted:\n  exposures:\n    - 1\n    - x",
            "mine.yaml:5: planted.exposures[1] is 'x', expected a whole number",
        ),
        (
            "models: {student: {lora: {targets: all}}}",
            "mine.yaml:2: models.student.lora.targets is 'all', expected a list, each text",
        ),
        (
            "generate:\n  sources:\n    - name: a\n      wieght: 2",
            "mine.yaml:5: unknown key 'generate.sources[0].wieght'; did you mean 'generate.sources[0].weight'?",
        ),
        (
            "generate:\n  sources:\n    - name: a\n    - weight: 2",
            "mine.yaml:5: missing key 'generate.sources[1].name', expected text",
        ),
        (
            "generate: {sources: [{name: a, options: {size: x}}]}",
            "mine.yaml:2: generate.sources[0].options.size is 'x', expected a whole number",
        ),
        ("seed: 1\nruns: a\nseed: 2", "mine.yaml:4: key 'seed' is given twice, first in line 2"),
    ],
)
def test_a_fault_gets_one_line(tmp_path: Path, text: str, line: str | None) -> None:
    found = faults_of(tmp_path, text)
    if line is None:
        assert len(found) == 1 and found[0].startswith(
            "mine.yaml:2: filter is 3, expected a section with keys of traces, "
        )
    else:
        assert found == [line]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "distill.stps=7",
            "command line: unknown key 'distill.stps'; did you mean 'distill.steps'?",
        ),
        ("distill.steps=x", "command line: distill.steps is 'x', expected a whole number"),
        ("distill.steps=", "command line: distill.steps is null, expected a whole number"),
        ("distill.steps", "command line: 'distill.steps' is not key=value"),
        ("distill..steps=1", "command line: 'distill..steps=1' is not key=value"),
        ("=1", "command line: '=1' is not key=value"),
        (
            "seed=[1",
            "command line: broken YAML: expected ',' or ']', but got '<stream end>' in 'seed=[1'",
        ),
        (
            "stages=generate,filtr",
            "command line: stages[1] is 'filtr', expected one of teacher, generate, filter, distill, edit, evaluate, publish; "
            "did you mean 'filter'?",
        ),
        ("generate.sources=[{nam: a}]", None),
    ],
)
def test_a_fault_of_the_command_line(ok: Path, override: str, line: str | None) -> None:
    if line is None:
        assert faults(ok, override) == [
            "command line: unknown key 'generate.sources[0].nam'; did you mean 'generate.sources[0].name'?",
            "command line: missing key 'generate.sources[0].name', expected text",
        ]
    else:
        assert faults(ok, override) == [line]


def test_all_faults_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = """\
seeed: 3
distill:
  steps: many
  optimizer: adam
  learning_rat: 1
  steps: few
publish: {student: 5}
generate:
  temperature: -1
"""
    assert faults_of(tmp_path, text, "evaluate.items=x", "oops", "planted.peple=3") == [
        "mine.yaml:7: key 'steps' is given twice, first in line 4",
        "command line: 'oops' is not key=value",
        "mine.yaml:2: unknown key 'seeed'; did you mean 'seed'?",
        "mine.yaml:7: distill.steps is 'few', expected a whole number",
        "mine.yaml:5: distill.optimizer is 'adam', expected one of adamw, muon; did you mean 'adamw'?",
        "mine.yaml:6: unknown key 'distill.learning_rat'; did you mean 'distill.learning_rate'?",
        "mine.yaml:10: generate.temperature -1.0 is below 0",
        "command line: evaluate.items is 'x', expected a whole number",
        "command line: unknown key 'planted.peple'; did you mean 'planted.people'?",
    ]


def test_a_fault_of_a_base_names_the_base(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", OK + "distill: {stpes: 1}\n")
    found = faults(write(tmp_path, "mine.yaml", "extends: base.yaml\nseed: x\n"))
    assert found == [
        "base.yaml:6: unknown key 'distill.stpes'; did you mean 'distill.steps'?",
        "mine.yaml:2: seed is 'x', expected a whole number",
    ]


RENAMED_TEXTS = [
    (
        "filter:\n  untold: mask",
        "mine.yaml:3: filter.untold is now filter.ungrounded_action",
    ),
    (
        "filter: {lookups: {moved: 0.5}}",
        "mine.yaml:2: filter.lookups.moved is now filter.lookups.prompt_facts_moved_fraction",
    ),
    ("distill: {guards: {act: stop}}", "mine.yaml:2: distill.guards is now distill.watchdog"),
    ("rehearsed: 3", "did you mean 'sleep.num_rehearsal_prompts'?"),
]


@pytest.mark.parametrize(("text", "line"), RENAMED_TEXTS)
def test_an_old_name_is_refused_with_the_new_one(ok: Path, text: str, line: str) -> None:
    found = faults(write(ok.parent, "mine.yaml", f"extends: ok.yaml\n{text}\n"))
    assert len(found) == 1 and found[0].endswith(line)


def test_every_old_name_leads_to_a_key_and_is_none_itself() -> None:
    keys = set(all_keys())
    assert set(RENAMED.values()) <= keys and not keys & set(RENAMED)


def test_a_recipe_that_only_asks_finished_models_has_no_teacher_and_no_student(
    tmp_path: Path,
) -> None:
    text = "name: compare\nstages: [evaluate]\nevaluate: {models: {other: some/model}}\n"
    recipe = load_recipe(write(tmp_path, "compare.yaml", text))
    assert not recipe.models.given
    assert load_recipe(write(tmp_path, "again.yaml", to_yaml(recipe))) == recipe
    with pytest.raises(RecipeError, match="missing key 'models'"):
        load_recipe(tmp_path / "compare.yaml", ["stages=[distill]"])


def test_missing_keys(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "empty.yaml", "")) == [
        "empty.yaml: missing key 'name', expected text",
        "empty.yaml: missing key 'models', expected a section with keys of teacher, student",
    ]
    found = faults(write(tmp_path, "half.yaml", "name: half\nmodels:\n  teacher: {path: a}\n"))
    assert len(found) == 1 and found[0].startswith(
        "half.yaml:2: missing key 'models.student', expected a section with keys of path, "
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("distill: {steps: 0}", "mine.yaml:2: in distill: steps 0 is below 1"),
        ("distill:\n  arms: [control]", "mine.yaml:3: distill.arms starts with student"),
        (
            "models:\n  student:\n    path: a/b",
            "mine.yaml:4: in models.student: a model has either a path or a shape, not both and not neither",
        ),
        (
            "models:\n  student:\n    lora:\n      rank: -1",
            "mine.yaml:5: in models.student.lora: lora.rank -1 is below 0",
        ),
        (
            "evaluate: {seed: 5}\nseed: 5",
            "mine.yaml:2: evaluate.seed 5 is also the training seed; evaluation problems must be fresh",
        ),
        (
            "generate:\n  sources:\n    - {name: a, weight: -1}",
            "mine.yaml:4: in generate.sources[0]: source a: weight -1.0 is below 0",
        ),
        (
            "models: {student: {shape: {num_heads: 3, num_kv_heads: 2}}}",
            "mine.yaml:2: in models.student.shape: num_heads 3 is not a multiple of num_kv_heads 2",
        ),
    ],
)
def test_a_broken_rule_names_its_section_and_place(tmp_path: Path, text: str, line: str) -> None:
    assert faults_of(tmp_path, text) == [line]


def test_a_rule_broken_on_the_command_line_says_so(ok: Path) -> None:
    assert faults(ok, "generate.top_p=2") == ["command line: generate.top_p 2.0 is outside (0, 1]"]


def test_no_such_recipe(ok: Path) -> None:
    assert faults(ok.with_name("okk.yaml")) == [
        f"no recipe at {ok.with_name('okk.yaml')}; did you mean {ok}?"
    ]
    assert faults(ok.with_name("zzzzzzz")) == [f"no recipe at {ok.with_name('zzzzzzz')}"]
    assert faults(ok.parent) == [f"no recipe at {ok.parent}"]


def test_no_such_base(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine.yaml", "name: x\nextends: nowhere.yml\n")
    assert faults(mine) == [f"mine.yaml:2: no recipe at {tmp_path / 'nowhere.yml'}"]


def test_a_circle_of_bases(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml\n")
    write(tmp_path, "b.yaml", "extends: a.yaml\n")
    assert faults(tmp_path / "a.yaml") == [
        "b.yaml:1: a.yaml extends itself: a.yaml -> b.yaml -> a.yaml"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nb: c: d\n", "x.yaml:2: broken YAML: mapping values are not allowed here"),
        ("name: [1\n", "x.yaml:2: broken YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "name: a\n\tseed: 1\n",
            "x.yaml:2: broken YAML: found character '\\t' that cannot start any token",
        ),
        ("name: &a [*a]\n", "x.yaml: broken YAML: an alias contains itself"),
        (
            "name: \x00\n",
            "x.yaml: broken YAML: unacceptable character #x0000: special characters are not allowed",
        ),
        ("- name\n", "x.yaml: a recipe is a mapping of keys to values, found a list of 1"),
        ("hello\n", "x.yaml: a recipe is a mapping of keys to values, found 'hello'"),
    ],
)
def test_broken_yaml(tmp_path: Path, text: str, line: str) -> None:
    assert faults(write(tmp_path, "x.yaml", text)) == [line]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    assert len(faults(path)) == 1 and faults(path)[0].startswith(
        f"{path} cannot be read: 'utf-8' codec can't decode byte 0xff"
    )


def test_every_leaf_refuses_nonsense(ok: Path) -> None:
    """A list of a list fits no leaf and no section: whatever is added to the schema is checked."""

    def leaves(value: object, key: str) -> list[str]:
        if dataclasses.is_dataclass(value):
            return [
                leaf
                for f in dataclasses.fields(value)
                for leaf in leaves(getattr(value, f.name), f"{key}.{f.name}".removeprefix("."))
            ]
        return [key]

    recipe = load_recipe(ok)
    keys = leaves(recipe, "")
    assert isinstance(recipe, Recipe) and len(keys) > 80
    for key in keys:
        assert len(faults(ok, f"{key}=[[nonsense]]")) == 1, key


SPOKEN = ["distill.divergence=forward_kl", "models.teacher.path=t"]


@pytest.mark.parametrize("engine", ["vllm", "endpoint"])
@pytest.mark.parametrize("kind", ["sampled", "hidden", "top_k"])
def test_targets_of_a_teacher_that_is_spoken_with_mean_the_same(engine, kind):
    over = [*SPOKEN, "models.teacher.shape=null", f"models.teacher.engine={engine}"]
    over += ["models.teacher.serve=true"] if engine == "endpoint" else []
    smoke = "recipes/smoke.yaml"
    assert load_recipe(smoke, [*over, f"distill.targets.kind={kind}"]).distill.targets.kind == kind
    with pytest.raises(RecipeError, match=r"targets.kind live reads every batch in this process"):
        load_recipe(smoke, [*over, "distill.targets.kind=live"])
    warm = [*over, f"distill.targets.kind={kind}", "distill.temperature=2.0"]
    if kind == "top_k":
        with pytest.raises(RecipeError, match=r"set it to 1, or targets.kind to sampled or hidden"):
            load_recipe(smoke, warm)
    else:
        assert load_recipe(smoke, warm)
