"""What the filters of a run are told, as plain values, and what each process builds from them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from data_filters.dedup.decontamination import HeldOutIndex
from data_filters.detect.gazetteer import PLACES, load_gazetteer
from data_filters.detect.ner import spacy_detector
from data_filters.recall.known_texts import digest_of_texts
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import DEFAULT_CURRICULUM, load_curriculum
from data_filters.text.stem import stem
from recipes.errors import ShardError
from recipes.schema.filter import Filter
from recipes.vocabulary import Action, Kind


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """The settings of a filter run: plain values only, so they are written and read as JSON.

    Args:
        config: the recipe's section `filter`.
        seed: of made-up names.
        held_out: texts that no prompt may share a long run of words with; never recall questions,
            which would be an answer key.
        skip: names of filters that drop nothing, to measure what they are for.
    """

    config: Filter = field(default_factory=Filter)
    seed: int = 0
    held_out: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "FilterSettings":
        """What `to_json` gave."""
        config: Filter = _section(Filter, said["config"])
        lists = {name: tuple(said[name]) for name in ("held_out", "skip")}
        return cls(config=config, seed=said["seed"], **lists)

    def digest(self) -> str:
        """16 hex digits that change with any setting, word list or held-out text that matters."""
        # where traces come from, how many processes work and what ends a stage changes no decision
        config = replace(self.config, traces=None, num_processes=1, max_damage_fraction=1.0)
        lists = (config.curriculum_file or DEFAULT_CURRICULUM, PLACES, *config.gazetteer)
        contents = [_contents(Path(path)) for path in lists]
        contents += [digest_of_texts(path) for path in config.known_texts]
        said = json.dumps([replace(self, config=config).to_json(), contents], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def _contents(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ShardError(f"{path}: the word list cannot be read ({error}); fix its path") from error


def _section(kind: Any, values: Mapping[str, Any]) -> Any:
    """A section of a recipe, and those inside it, from plain values."""
    types = get_type_hints(kind)
    found = dict(values)
    for name, value in values.items():
        if dataclasses.is_dataclass(types[name]):
            found[name] = _section(types[name], value)
        elif isinstance(types[name], type) and issubclass(types[name], Enum):
            found[name] = types[name](value)
    return kind(**found)


class FilterContext:
    """What filters work with, built once in every process.

    Attributes:
        settings, config: what the run was told.
        strict: whether everything doubtful is dropped.
        scrubber: finds facts that the prompt did not supply, and acts on them.
        held_out: index of the held-out texts; None: nothing is held out.
    """

    def __init__(self, settings: FilterSettings) -> None:
        config = settings.config
        self.settings, self.config = settings, config
        self.strict = config.mode == "strict"
        scrubber = make_scrubber(config, settings.seed)
        self.scrubber = (
            replace(scrubber, ungrounded_action=Action.DROP) if self.strict else scrubber
        )
        wanted = bool(config.decontaminate and settings.held_out)
        self.held_out = (
            HeldOutIndex(settings.held_out, config.decontaminate_words) if wanted else None
        )

    def knows(self, word: str) -> bool:
        """Whether a capitalised word is an ordinary one."""
        return self.scrubber.curriculum.knows(stem(word))


def make_scrubber(config: Filter, seed: int) -> Scrubber:
    """The scrubber that a recipe's section `filter` describes.

    Args:
        config: the section.
        seed: of made-up names.

    Raises:
        ShardError: a word list cannot be read.
        RecipeError: the section wants spaCy, which is not installed.
    """
    return Scrubber(
        detectors=tuple(config.detectors),
        curriculum=load_curriculum(config.curriculum_file),
        small_numbers=config.small_numbers,
        ungrounded_action=config.ungrounded_action,
        by_kind=dict(config.ungrounded_actions_by_kind) | {Kind.PASSAGE: _passage_action(config)},
        abstain_text=config.abstain_text,
        gazetteer=load_gazetteer(tuple(config.gazetteer)),
        models=(spacy_detector(config.ner_model),) if config.ner else (),
        keep_commonness=config.keep_commonness,
        seed=seed,
    )


def _passage_action(config: Filter) -> Action:
    return Action.DROP if config.mode == "strict" else Action(config.passage_action)
