"""A hub-ready folder of one student: model files, model card with the scorecard, the recipe. Pushed
only when asked.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from recipes.errors import ModelError, PipelineError

REQUIRED = ("config.json", "generation_config.json", "tokenizer_config.json")
MODEL_FILES = (
    *REQUIRED,
    "*.safetensors",
    "*.safetensors.index.json",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.py",
)
NOT_PUSHED = ["manifest.json", "identity.json", ".*"]
# where a model was loaded from: a path on the machine that trained it
LOCAL_KEYS = {"_name_or_path", "name_or_path"}
MEASURED = {
    "reasoning": "problems whose question holds all that is needed",
    "open_book": "reading: the answer stands in the text",
    "counterfactual": "follows a text that contradicts a fact",
    "basics": "common knowledge that should stay",
    "recall": "closed-book recall of trained facts (lower is better)",
    "recall_never_trained": "the same on facts nobody trained (the zero)",
    "recall_teacher_only": "recall of facts that occur in no trace (lower is better)",
    "abstention": "declines when it was not told",
    "false_abstention": "declines though it was told (lower is better)",
}
CLAIMS = {
    False: "**Made from scratch.** Its weights began random. It learned from the scrubbed traces alone, so the claim is that the facts "
    "taken out of them never entered it. What the filter missed, and what a teacher's probabilities can carry without a word, is the "
    "risk; the recall rows of the scorecard measure it.",
    True: "**Made from a pretrained base.** Distilling was meant to add no facts. What the base knew before is still in there unless "
    "it was taken out afterwards; this card does not claim that the model knows nothing.",
}
CARD = """# {title}

A small language model distilled to reason like its teacher and to remember as little as possible: it works with what it
is told, and says so when it was not told.

{claim}

## Use

```python
from transformers import pipeline

chat = pipeline("text-generation", model="{address}")
messages = [{{"role": "user", "content": "Ida has 3 apples. Ida finds 4 more. How many apples does Ida have now?"}}]
print(chat(messages, max_new_tokens=256)[0]["generated_text"][-1]["content"])
```

Put the facts into the question (or a text that holds them); asked for a fact from memory it should decline.

{scorecard}

## How it was made

{made}

The whole run, every setting of it, is [recipe.yaml](recipe.yaml).

## Limits

- Only what the scorecard lists was measured, on its problems and its facts. Memory of anything else is unknown.
- A student that was taught to decline can look as if it had forgotten. `recall` therefore counts a forced choice too, which
  nobody can refuse, and `recall_four_bit`, `recall_relearned_others` and `recall_prompts`, where they stand above, say what attacks
  brought back; none of this is proof against a more patient one.
- It can reason wrongly and sound sure. Its licence is stated above; those of the teacher and of the traces are their own.
"""


def publish_student(
    student: Path,
    scorecard: Mapping[str, Any],
    scorecard_md: str,
    recipe_yaml: str,
    out: Path,
    *,
    arm: str,
    license: str,
    base_model: str | None,
    teacher_name: str,
    notes: Mapping[str, object],
    repo: str | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Writes `out`, a folder that AutoModelForCausalLM, AutoTokenizer and
    pipeline("text-generation") load; it is loaded once to be sure.

    Args:
        student: a transformers model folder, adapters merged.
        scorecard: the schema-1 document; the numbers of `arm` go into the card's metadata.
        scorecard_md: the same for people.
        base_model: what the student was before; None: built from scratch. Only a hub id goes into
            the metadata.
        notes: lines for "How it was made", e.g. {"traces": 18211}.
        repo: the hub repository it will have; the example in the card then names it.
        trust_remote_code: whether the student brings its own code.

    Raises:
        ModelError: a file is missing in `student`, or what was written does not load.
    """
    out.mkdir(parents=True, exist_ok=True)
    copy_model(student, out)
    title = repo.rpartition("/")[2] if repo else f"{scorecard.get('recipe', 'model')}-{arm}"
    card = CARD.format(
        title=title,
        claim=CLAIMS[base_model is not None],
        address=repo or "PATH_OF_THIS_FOLDER",
        scorecard=_lowered(scorecard_md),
        made=_made(arm, base_model, teacher_name, notes),
    )
    facts = yaml.safe_dump(
        metadata(scorecard, title, arm=arm, license=license, base_model=base_model), sort_keys=False
    )
    _write(out / "recipe.yaml", without_credentials(recipe_yaml))
    _write(out / "scorecard.json", json.dumps(scorecard, indent=1) + "\n")
    _write(out / "README.md", f"---\n{facts}---\n\n{card}")
    check_loads(out, trust_remote_code=trust_remote_code)


def copy_model(student: Path, out: Path) -> None:
    """Copies what transformers needs and nothing else (no checkpoints, metrics, manifests, paths of
    the training machine).

    Raises:
        ModelError: `student` is no complete model folder.
    """
    missing = [name for name in (*REQUIRED, "*.safetensors") if not any(student.glob(name))]
    if missing:
        todo = "delete it and run the stage distill again"
        raise ModelError(
            f"publish: {student} is no complete model folder, it lacks {', '.join(missing)}; {todo}"
        )
    for source in sorted({path for pattern in MODEL_FILES for path in student.glob(pattern)}):
        if source.name in REQUIRED:
            body = {
                key: value
                for key, value in json.loads(source.read_text(encoding="utf-8")).items()
                if key not in LOCAL_KEYS
            }
            _write(out / source.name, json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        else:
            half = _half(out / source.name)
            shutil.copyfile(source, half)
            os.replace(half, out / source.name)


def metadata(
    scorecard: Mapping[str, Any], title: str, *, arm: str, license: str, base_model: str | None
) -> dict[str, Any]:
    """The model card's metadata as the hub reads it: licence, base, tags, and the arm's rates as
    results.
    """
    found: dict[str, Any] = {
        "license": license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    if base_model and is_hub_id(base_model):
        found["base_model"] = base_model
    found["tags"] = ["knowledge-distillation", "reasoning", "cognitive-core"]
    results = list(_results(scorecard, arm))
    return found | ({"model-index": [{"name": title, "results": results}]} if results else {})


def _results(scorecard: Mapping[str, Any], arm: str) -> Iterator[dict[str, Any]]:
    """One result a metric: the hub tells results apart by data set configuration."""
    label = f"Scorecard of {scorecard.get('recipe', 'a recipe')}"
    for name, meaning in MEASURED.items():
        entry = scorecard.get("metrics", {}).get(name, {}).get(arm)
        if entry is not None:
            yield {
                "task": {"type": "text-generation", "name": "Text Generation"},
                "dataset": {
                    "type": "cognitive-core-scorecard",
                    "name": f"{label}: {name}",
                    "config": name,
                    "split": "report",
                },
                "metrics": [
                    {"type": "accuracy", "name": meaning, "value": round(float(entry["value"]), 4)}
                ],
            }


def is_hub_id(name: str) -> bool:
    """Whether this can be a hub repository: no folder of this machine, no installed package, no
    address.
    """
    return (
        re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None
        and not name.startswith(".")
        and not Path(name).exists()
    )


def without_credentials(recipe_yaml: str) -> str:
    """The recipe without user names and passwords in the addresses of its servers."""
    return re.sub(r"://[^/\s@'\"]+@", "://", recipe_yaml)


def check_loads(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Loads the folder as a user would, without the network, and lets it write one token.

    Raises:
        ModelError: it does not load, lacks weights, or its tokenizer names ids that the model does
            not have.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    try:
        options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, **options
        )
        ids, rows, unset = (
            len(tokenizer),
            model.get_input_embeddings().weight.shape[0],
            sorted(report["missing_keys"]),
        )
        if unset or ids > rows:
            what = (
                f"lacks weights {unset[:3]}"
                if unset
                else f"has a tokenizer of {ids} ids and a model of {rows} embeddings"
            )
            raise ModelError(f"publish: {folder} {what}; make the student again")
        write = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
        write([{"role": "user", "content": "1 + 1"}], max_new_tokens=1)
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as fault:
        raise ModelError(
            f"publish: {folder} does not load: {_first_line(fault)}; make the student again"
        ) from fault


def push(out: Path, repo: str, private: bool) -> str:
    """Uploads the folder to the hub; gives its address there.

    Raises:
        PipelineError: one line; an access token never stands in it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=out, commit_message="Upload model", ignore_patterns=NOT_PUSHED
        )
        return str(address)
    except (OSError, ValueError, HTTPError) as fault:
        why = without_token(f"{type(fault).__name__}: {_first_line(fault)}")
        todo = "log in with `hf auth login` or set HF_TOKEN to a token that may write there, then give the same command again"
        raise PipelineError(
            f"publish.repo {repo}: not pushed, {why}; the folder {out} is complete; {todo}"
        ) from None


def without_token(text: str) -> str:
    """The text with this user's access token, and whatever looks like one, blotted out."""
    from huggingface_hub import get_token

    known = [token for token in (get_token(), os.environ.get("HF_TOKEN")) if token]
    for token in known:
        text = text.replace(token, "***")
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "***", text)


def _made(arm: str, base_model: str | None, teacher_name: str, notes: Mapping[str, object]) -> str:
    """A list for people; of a folder on the training machine only the last name is told."""
    before = _public(base_model) if base_model else "random weights"
    lines = {
        "teacher": _public(teacher_name),
        "student before training": before,
        "arm": arm,
    } | dict(notes)
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in lines.items())


def _public(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name


def _lowered(markdown: str) -> str:
    """Headings one level down: the card has its own title."""
    return re.sub(r"^(#+ )", r"#\1", markdown.strip(), flags=re.MULTILINE)


def _first_line(fault: BaseException) -> str:
    return next(iter(str(fault).splitlines()), "no reason given")


def _half(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _write(path: Path, text: str) -> None:
    _half(path).write_text(text, encoding="utf-8")
    os.replace(_half(path), path)
