"""How well a model reads plain text: bits per byte on a text that was held out."""

import importlib.util
import math
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from recipes.errors import RecipeError

WINDOW_TOKENS = 256
MOST_TOKENS = 2048  # of the held-out text


def read_text(place: str) -> str:
    """A UTF-8 file: a path, or package:NAME/FILE inside an installed Python package.

    Raises:
        RecipeError: no such file.
    """
    path = Path(place)
    if place.startswith("package:"):
        name, _, inside = place.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(name)
        if found is None or not found.submodule_search_locations:
            raise RecipeError(
                f"edit.calibration_text: no installed Python package {name!r}; pip install it, or name a file"
            )
        path = Path(str(found.submodule_search_locations[0])) / inside
    if not path.is_file():
        raise RecipeError(f"edit.calibration_text: no file {path}; name a plain text file")
    return path.read_text(encoding="utf-8")


def halves(text: str) -> tuple[str, str]:
    """The text before and after its middle, cut at a line."""
    middle = text.find("\n", len(text) // 2) + 1
    return text[:middle], text[middle:]


@torch.inference_mode()
def bits_per_byte(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> float:
    """Of the text's first MOST_TOKENS tokens, read in windows; the first token of a window is
    given.
    """
    ids = torch.tensor(
        tokenizer.encode(text, add_special_tokens=False)[:MOST_TOKENS], device=model.device
    )
    nats, told = 0.0, 0
    for window in ids.split(WINDOW_TOKENS):
        if len(window) > 1:
            logits_TV = model(input_ids=window[None], use_cache=False).logits[0, :-1].float()
            nats += float(F.cross_entropy(logits_TV, window[1:], reduction="sum"))
            told += len(str(tokenizer.decode(window[1:])).encode())
    return nats / math.log(2) / max(1, told)
