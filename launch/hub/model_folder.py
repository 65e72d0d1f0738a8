"""A hub-ready folder of one student: model files, model card with the scorecard, the recipe."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_filters.records.files import replacing
from launch.hub.card import card_text
from launch.hub.push import in_one_line
from recipes.errors import ModelError
from recipes.load import dump_yaml

REQUIRED = ("config.json", "generation_config.json", "tokenizer_config.json")
MODEL_FILES = (
    *REQUIRED,
    "*.safetensors",
    "*.safetensors.index.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "tokenizer.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.py",
)
_ADDRESS = re.compile(
    r"(?P<scheme>(?!hf:)[A-Za-z][\w+.-]*)://(?:\S*@)?[^\s/?#]*(?P<path>/[^\s?#]*)?(?:[?#]\S*)?"
)
_SECRET_OPTION = re.compile(r"(?:^|[-_])(?:key|token|secret|password|credentials?)$", re.IGNORECASE)
# where a model was loaded from: a path on the machine that trained it
LOCAL_KEYS = {"_name_or_path", "name_or_path"}


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
    _write(out / "recipe.yaml", shareable(recipe_yaml))
    _write(out / "scorecard.json", json.dumps(scorecard, indent=1) + "\n")
    card = card_text(
        scorecard,
        scorecard_md,
        arm=arm,
        license=license,
        base_model=base_model,
        teacher_name=teacher_name,
        notes=notes,
        repo=repo,
    )
    _write(out / "README.md", card)
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
            f"publish: {student} is not a complete model folder, it lacks {', '.join(missing)}; {todo}"
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
            target = out / source.relative_to(student)
            target.parent.mkdir(exist_ok=True)
            with replacing(target) as partial:
                shutil.copyfile(source, partial)


def shareable(recipe_yaml: str) -> str:
    """The recipe without what tells where it was run: folders, hosts, users, passwords and keys.

    Of a path outside the working directory its last name stays; of an address "http://localhost" and
    its path. Options that are named like a secret go.
    """
    return dump_yaml(_shareable(yaml.safe_load(recipe_yaml)))


def _shareable(value: Any, in_options: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            key: _shareable(one, in_options or key == "options")
            for key, one in value.items()
            if not (in_options and _SECRET_OPTION.search(str(key)))
        }
    if isinstance(value, list):
        return [_shareable(one, in_options) for one in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _ADDRESS.sub(_nowhere, value)
    outside = value.startswith(("/", "~")) or ".." in Path(value).parts
    return Path(value).name if outside and "\n" not in value else value


def _nowhere(address: re.Match[str]) -> str:
    """The scheme and the path of an address."""
    return f"{address['scheme']}://localhost{address['path'] or ''}"


def check_loads(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Loads the folder as a user would, without the network, and lets it write one token.

    Raises:
        ModelError: it does not load, lacks weights, or its tokenizer names ids that the model does
            not have.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    try:
        options: dict[str, Any] = {
            "local_files_only": True,
            "trust_remote_code": trust_remote_code,
        }
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, **options
        )
        model, report = loaded
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
            f"publish: {folder} does not load: {in_one_line(fault)}; make the student again"
        ) from fault


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
