"""Tasks of lm-evaluation-harness: the same numbers as its own command line, as answers with our
statistics.
"""

import json
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from distill.models import build_model, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import World
from eval.harness import INSTALL, add_harness, check_tasks, run_task, task_files
from eval.scorecard import build_scorecard, pairs
from eval.scores.intervals import wilson
from eval.scores.paired_intervals import paired_bootstrap
from recipes.errors import RecipeError
from recipes.load import load_recipe
from recipes.schema import HarnessTask, Planted, Shape

ROOT = Path(__file__).parents[2]
lm_eval = pytest.importorskip("lm_eval")
NAMES = ["Ada", "a house", "12 apples", "Rome and Paris"]
CHOICE = """task: tiny_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
WORDS = """task: tiny_words
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], do_sample: false, max_gen_toks: 5}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - {{name: whole, filter: [{{function: take_first}}]}}
  - {{name: first_sign, filter: [{{function: regex, regex_pattern: "^(.)"}}, {{function: take_first}}]}}
"""


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(folder of a model, model, tokenizer): a student of a few thousand weights."""
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
    )
    model = build_model(shape, tokenizer, seed=1).eval()
    folder = tmp_path_factory.mktemp("model")
    save_model(model, tokenizer, folder)
    return folder, model, tokenizer


@pytest.fixture(scope="module")
def tasks(tiny, tmp_path_factory):
    """A folder with a task of each kind; every other reference is what the model writes, so that
    some answers are right.
    """
    _, model, tokenizer = tiny
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"question": f"What is {a} + {a % 7}?", "choices": NAMES, "answer": NAMES[a % 4]}
        for a in range(40)
    ]
    write(folder / "choice.jsonl", rows)
    (folder / "tiny_choice.yaml").write_text(CHOICE.format(data=folder / "choice.jsonl"))
    write(
        folder / "words.jsonl", [{"question": row["question"], "answer": "nothing"} for row in rows]
    )
    (folder / "tiny_words.yaml").write_text(WORDS.format(data=folder / "words.jsonl"))
    written = run_task(
        HarnessTask(task=str(folder / "tiny_words.yaml"), metric="exact_match"),
        model,
        tokenizer,
        contender="x",
    )
    answers = [row["text"] if n % 2 else row["text"][:1] for n, row in enumerate(written)]
    write(
        folder / "words.jsonl",
        [
            {"question": row["question"], "answer": answer}
            for row, answer in zip(rows, answers, strict=True)
        ],
    )
    return folder


def ours(tiny, tasks, name, metric, **more):
    _, model, tokenizer = tiny
    return run_task(
        HarnessTask(task=str(tasks / f"{name}.yaml"), metric=metric, axis="reasoning", **more),
        model,
        tokenizer,
        contender="x",
    )


def mean(rows):
    return sum(row["outcome"] == "correct" for row in rows) / len(rows)


def check_same(tiny, tasks, theirs, samples):
    """Our numbers and every item against lm-eval's results, exactly."""
    for name, metric, key in (
        ("tiny_choice", "acc", "acc,none"),
        ("tiny_choice", "acc_norm", "acc_norm,none"),
        ("tiny_words", "exact_match", "exact_match,whole"),
        ("tiny_words", "exact_match,first_sign", "exact_match,first_sign"),
    ):
        rows = ours(tiny, tasks, name, metric)
        assert mean(rows) == theirs[name][key]
        plain, wanted = key.split(",")
        items = {f"{name}/{s['doc_id']}": s[plain] for s in samples[name] if s["filter"] == wanted}
        assert {row["question_id"]: float(row["outcome"] == "correct") for row in rows} == items
    assert (
        0 < theirs["tiny_choice"]["acc,none"] < 1
        and 0 < theirs["tiny_words"]["exact_match,whole"] < 1
    )


def test_the_numbers_are_those_of_lm_eval_with_the_model_that_it_loads_itself(tiny, tasks):
    manager = lm_eval.tasks.TaskManager(include_path=str(tasks), include_defaults=False)
    given = {
        "model": "hf",
        "model_args": f"pretrained={tiny[0]},dtype=float32",
        "device": "cpu",
        "batch_size": 16,
        "bootstrap_iters": 0,
    }
    found = lm_eval.simple_evaluate(
        tasks=["tiny_choice", "tiny_words"], task_manager=manager, **given
    )
    check_same(tiny, tasks, found["results"], found["samples"])


@pytest.mark.slow
def test_the_numbers_are_those_of_lm_evals_own_command(tiny, tasks, tmp_path):
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={tiny[0]},dtype=float32",
        "--device",
        "cpu",
        "--include_path",
        str(tasks),
        "--tasks",
        "tiny_choice,tiny_words",
        "--batch_size",
        "16",
        "--log_samples",
        "--output_path",
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = {
        name: next(tmp_path.rglob(f"samples_{name}_*.jsonl"))
        for name in ("tiny_choice", "tiny_words")
    }
    samples = {
        name: [json.loads(line) for line in file.read_text().splitlines()]
        for name, file in files.items()
    }
    check_same(
        tiny,
        tasks,
        json.loads(next(tmp_path.rglob("results_*.json")).read_text())["results"],
        samples,
    )


def test_items_are_answers_of_our_schema(tiny, tasks):
    choice, words = (
        ours(tiny, tasks, "tiny_choice", "acc", limit=6),
        ours(tiny, tasks, "tiny_words", "exact_match", limit=6),
    )
    assert len(choice) == len(words) == 6
    assert {(row["suite"], row["family"], row["mode"]) for row in choice} == {
        ("harness/tiny_choice", "reasoning", "choice")
    }
    assert all(
        row["text"] in NAMES and row["prompt"].startswith("Question: ") and row["gold"] in NAMES
        for row in choice
    )
    assert all((row["text"] == row["gold"]) == (row["outcome"] == "correct") for row in choice)
    assert {(row["suite"], row["mode"]) for row in words} == {("harness/tiny_words", "free")}
    assert all(0 < row["completion_tokens"] <= 5 for row in words)


def test_a_file_of_questions_is_a_task(tiny, tasks):
    _, model, tokenizer = tiny
    assert mean(ours(tiny, tasks, "tiny_choice", "acc_norm")) > 0
    chosen = run_task(
        HarnessTask(task=str(tasks / "choice.jsonl"), metric="acc_norm"),
        model,
        tokenizer,
        contender="x",
    )
    assert (
        len(chosen) == 40
        and chosen[0]["suite"] == "harness/choice"
        and chosen[0]["prompt"] == "What is 0 + 0?\nAnswer:"
    )
    written = HarnessTask(
        task=str(tasks / "words.jsonl"),
        metric="exact_match",
        max_new_tokens=3,
        num_fewshot=1,
        limit=4,
    )
    rows = run_task(written, model, tokenizer, contender="x")
    assert len(rows) == 4 and all(
        row["prompt"].count("Answer:") == 2 and row["completion_tokens"] <= 3 for row in rows
    )


def test_a_task_is_asked_through_the_chat_template(tiny, tasks):
    rows = ours(tiny, tasks, "tiny_words", "exact_match", chat=True, limit=2)
    assert rows[0]["prompt"] == "<|user|> What is 0 + 0?\nAnswer:<|assistant|>"


def test_a_rank_that_is_not_the_first_of_its_machine_gets_its_answers_too(tiny, tasks, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert len(ours(tiny, tasks, "tiny_choice", "acc", limit=2)) == 2
    assert os.environ["LOCAL_RANK"] == "1"


def test_what_cannot_be_asked_is_one_line(tiny, tasks, tmp_path):
    soft = tmp_path / "soft.yaml"
    body = CHOICE.format(data=tasks / "choice.jsonl").replace("tiny_choice", "soft")
    soft.write_text(
        body.replace("acc_norm, aggregation: mean", "brier_score, aggregation: brier_score")
        + "num_fewshot: 0\n"
    )
    (tmp_path / "odd.jsonl").write_text('{"prompt": "x", "answer": "y"}\n')
    (tmp_path / "lost.yaml").write_text(CHOICE.format(data=tmp_path / "none.jsonl"))
    for task, metric, said in (
        (
            tasks / "tiny_choice.yaml",
            "acc_nor",
            "tiny_choice has no metric 'acc_nor'; did you mean 'acc_norm'?",
        ),
        (
            tasks / "tiny_words.yaml",
            "exact_match,first",
            "has no filter 'first'; did you mean 'first_sign'?",
        ),
        (tmp_path / "none.yaml", "acc", "no task file"),
        (tmp_path / "odd.jsonl", "acc", "no question in its rows, found prompt, answer"),
        (tmp_path / "lost.yaml", "acc", "lost.yaml does not load: FileNotFoundError"),
        (soft, "brier_score", "expected a metric that is 0 or 1 for each item"),
    ):
        with pytest.raises(RecipeError) as fault:
            run_task(
                HarnessTask(task=str(task), metric=metric, limit=2), tiny[1], tiny[2], contender="x"
            )
        assert said in str(fault.value) and "\n" not in str(fault.value)
    with pytest.raises(RecipeError, match="soft says num_fewshot 0 and takes no other, found 2"):
        run_task(
            HarnessTask(task=str(soft), metric="acc", num_fewshot=2),
            tiny[1],
            tiny[2],
            contender="x",
        )


@pytest.mark.slow
def test_public_tasks_are_looked_up_by_name_and_all_wrong_ones_named():
    recipes = [load_recipe(ROOT / "recipes" / name) for name in ("core_1b.yaml", "compare.yaml")]
    assert all(check_tasks(recipe.evaluate.harness) for recipe in recipes)
    with pytest.raises(RecipeError) as fault:
        check_tasks([HarnessTask(task="gsm8kk"), HarnessTask(task="arc_challeng")])
    first, second = str(fault.value).splitlines()
    assert (
        "no task 'gsm8kk'; did you mean 'gsm8k" in first
        and "no task 'arc_challeng'; did you mean 'arc_challenge" in second
    )


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(RecipeError, match=r"pip install 'cognitive-core\[lm_eval\]'"):
        check_tasks([HarnessTask(task="gsm8k")])
    assert "\n" not in INSTALL


def test_the_files_that_a_task_is_made_of(tasks):
    assert task_files(HarnessTask(task="gsm8k")) == []
    assert task_files(HarnessTask(task=str(tasks / "choice.jsonl"))) == [
        str(tasks / "choice.jsonl")
    ]
    assert task_files(HarnessTask(task=str(tasks / "tiny_words.yaml"))) == [
        str(tasks / "tiny_words.yaml"),
        str(tasks / "words.jsonl"),
    ]


def test_intervals_and_differences_are_our_own():
    def row(contender, n, right):
        empty = dict.fromkeys(("relation", "gold", "text"), "") | {
            "exposure": 0,
            "completion_tokens": 0,
        }
        outcome = "correct" if right else "wrong"
        named = {
            "contender": contender,
            "suite": "harness/t",
            "family": "recall",
            "question_id": f"t/{n}",
            "cluster": f"t/{n}",
        }
        return empty | named | {"mode": "choice", "outcome": outcome}

    first, second = [n % 2 == 0 for n in range(20)], [n % 4 == 0 for n in range(20)]
    rows = [row("one", n, right) for n, right in enumerate(first)] + [
        row("two", n, right) for n, right in enumerate(second)
    ]
    card = build_scorecard([], recipe="r", contenders=["one", "two"], bootstrap=200, seed=3)
    add_harness(card, rows, [HarnessTask(task="t", axis="recall")], bootstrap=200, seed=3)
    found = card["metrics"]["harness/t"]
    low, high = wilson(10, 20)
    assert found["one"] == {
        "value": 0.5,
        "low": round(low, 6),
        "high": round(high, 6),
        "n": 20,
        "clusters": 20,
    }
    apart = card["paired"]["harness/t"]["two-one"]
    wanted = paired_bootstrap(second, first, resamples=200, seed=[3, zlib.crc32(b"harness/t")])
    assert (apart["value"], apart["low"]) == (-0.25, round(wanted.low, 6)) and apart["mde"] > 0
    assert card["harness"]["harness/t"].startswith("recall, acc of lm-eval ")


def test_who_is_compared_with_whom():
    assert pairs(["teacher", "base", "control", "student", "other"]) == [
        *((name, "teacher") for name in ("base", "control", "student", "other")),
        ("student", "control"),
    ]
    assert pairs(["one", "two", "three"]) == [("two", "one"), ("three", "one")]
    assert pairs(["base", "control", "student"]) == [("student", "control")]
    assert pairs(["control", "student", "one", "two"]) == [("two", "one"), ("student", "control")]
