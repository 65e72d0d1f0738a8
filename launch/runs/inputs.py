"""What the stages of a run read: the world, the teacher, traces, contenders, and the digests that
identify them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.detect.gazetteer import load_gazetteer
from data_filters.detect.ner import spacy_detector
from data_filters.records.shards import list_shards
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from distill.checks.preflight import Pair
from distill.engines.endpoint import EndpointEngine, api_key
from distill.engines.local import LocalEngine
from distill.engines.protocol import Engine
from distill.engines.vllm import VllmEngine, VllmHiddenStates
from distill.engines.vllm_server import Served, serving
from distill.models import load_config, load_model, load_tokenizer, pick_device, resolve
from distill.problems.planted_world import World
from eval.suites.suites import TOLD, all_questions
from launch.runs.identity import Identity, content_digest, identity_of
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.schema import ARMS, EDITED, Model, Recipe, Source

# where and how fast, not what is said
SPOKEN = tuple(f"models.teacher.{name}" for name in ("base_urls", "serve", "server"))
Attempt = Callable[[str, Callable[[], Any]], Any]


class Inputs:
    """Everything a stage may ask for, made when first asked."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work

    def identity(self, *sections: str, leave_out: tuple[str, ...] = ()) -> Identity:
        """What the content of a part depends on in the recipe: these sections (or single keys) and
        the seed.
        """
        found: Identity = {"seed": self.recipe.seed}
        for dotted in sections:
            section: Any = self.recipe
            for name in dotted.split("."):
                section = getattr(section, name)
            found |= identity_of(section, prefix=dotted, leave_out=leave_out)
        return found

    @cached_property
    def world(self) -> World | None:
        """The planted world, if the recipe uses it anywhere."""
        sources: Iterable[Source] = (*self.recipe.teacher.sources, *self.recipe.generate.sources)
        return (
            World(self.recipe.planted)
            if any(s.name.startswith("planted/") for s in sources)
            else None
        )

    def need_world(self) -> World:
        if self.world is None:
            raise RecipeError(
                "teacher: a teacher with a shape learns planted/FAMILY sources; set models.teacher.path to use a trained model"
            )
        return self.world

    @cached_property
    def scrubber(self) -> Scrubber:
        config = self.recipe.filter
        return Scrubber(
            detectors=tuple(config.detectors),
            curriculum=load_curriculum(config.curriculum_file),
            small_numbers=config.small_numbers,
            untold=config.untold,
            by_kind=dict(config.untold_kinds),
            abstain_text=config.abstain_text,
            gazetteer=load_gazetteer(tuple(config.gazetteer)),
            models=(spacy_detector(config.ner_model),) if config.ner else (),
            keep_commonness=config.keep_commonness,
            seed=self.recipe.seed,
        )

    @cached_property
    def held_out(self) -> list[str]:
        """Prompts of the evaluation's reasoning and reading problems: no recall questions, no gold
        answers.
        """
        if not self.recipe.filter.overlap:
            return []
        return [
            q.prompt for q in all_questions(self.recipe.evaluate, self.world) if q.suite in TOLD
        ]

    def traces(self) -> str | Path:
        return self.recipe.filter.traces or self.work.folder("generate")

    def traces_digest(self) -> str:
        outside = self.recipe.filter.traces
        return digest_source(outside) if outside else self.work.digest("generate")

    def kept_digest(self) -> str:
        outside = self.recipe.distill.traces
        return digest_source(outside) if outside else self.work.digest("filter")

    def contenders(self) -> dict[str, Path | None]:
        """teacher, base, then every arm and edit found, then evaluate.models; a teacher behind a
        server cannot answer here and stays out.

        Where evaluate.models names others, a teacher that is still to be built stays out too.
        """
        models, outside = self.recipe.models, dict.fromkeys(self.recipe.evaluate.models)
        has_teacher = models is not None and models.teacher.engine == "transformers"
        if has_teacher and outside and models.teacher.path is None:
            has_teacher = self.work.done("teacher")
        names = (
            "base",
            *sorted(ARMS, key=("control", "student", "scrub_only", "random_mask").index),
        )
        parts = {name: part_of(name) for name in (*names, *(EDITED if self.recipe.edit else ()))}
        trained = {
            name: self.work.folder(part) for name, part in parts.items() if self.work.done(part)
        }
        return ({"teacher": None} if has_teacher else {}) | trained | outside

    def spec(self, name: str) -> Model:
        """The section of the recipe that says where a contender comes from; arms come from the
        student's.
        """
        if name in self.recipe.evaluate.models:
            return self.recipe.evaluate.models[name]
        return self.recipe.models.teacher if name == "teacher" else self.recipe.models.student

    def contender_identity(self, name: str) -> Identity:
        """Which model a contender is: a local folder by content, a hub model by name."""
        if name not in self.recipe.evaluate.models:
            return {
                "contender": name,
                "input.model": self.teacher_digest()
                if name == "teacher"
                else self.work.digest(part_of(name)),
            }
        spec, key = self.spec(name), f"evaluate.models.{name}"
        source = Path(resolve(spec))
        content = content_digest(source) if source.is_dir() else str(spec.path)
        return {
            "contender": name,
            "input.model": content,
            **identity_of(spec, prefix=key, leave_out=(f"{key}.path",)),
        }

    def teacher_folder(self) -> Path | None:
        return None if self.recipe.models.teacher.path else self.work.folder("teacher")

    def teacher_digest(self) -> str:
        spec = self.recipe.models.teacher
        return (
            f"{spec.path}@{spec.revision}/{spec.gguf_file}"
            if spec.path
            else self.work.digest("teacher")
        )

    def teacher_name(self) -> str:
        """Its path, or the digest of the one that the recipe built: the same teacher has the same
        name in every run.
        """
        return (
            self.recipe.models.teacher.path
            or f"teacher@{self.teacher_digest().removeprefix('sha256:')[:12]}"
        )

    def teacher_tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.recipe.models.teacher, self.teacher_folder())

    def teacher_identity(self) -> Identity:
        """Of a teacher that the recipe builds."""
        return self.identity(
            "models.teacher",
            "teacher",
            "planted",
            leave_out=("teacher.trackers", "models.teacher.engine", *SPOKEN),
        )

    def pair(
        self,
        stand_in: PreTrainedTokenizerBase | None = None,
        attempt: Attempt = lambda _, load: load(),
        *,
        built: bool = True,
    ) -> Pair:
        """Teacher and student as far as configs and tokenizers tell; a teacher that is still to be
        trained has no tokenizer yet.

        Args:
            stand_in: for the tokenizer of such a teacher.
            attempt: called with the name of a thing and what loads it; may give None where it
                cannot be had.
            built: False: what lies in teacher/ is not looked at, its stage has not been there yet.
        """
        models, distill = self.recipe.models, self.recipe.distill
        taught = distill.divergence != "none" and not (
            models.teacher.engine == "endpoint" and models.student.shape is None
        )
        to_be_built = models.teacher.path is None and (
            stand_in is not None or not built or not self.work.done("teacher")
        )
        teachers = stand_in
        if not to_be_built and (taught or models.student.shape is not None):
            teachers = attempt("the teacher's tokenizer", self.teacher_tokenizer)
        students = (
            teachers
            if models.student.shape
            else attempt("the student's tokenizer", lambda: load_tokenizer(models.student))
        )
        student = attempt(
            "the student's config", lambda: load_config(models.student, tokenizer=students)
        )
        folder = None if to_be_built else self.teacher_folder()
        teacher = (
            attempt("the teacher's config", lambda: load_config(models.teacher, folder, teachers))
            if taught
            else None
        )
        return Pair(
            distill,
            models.student,
            student,
            students,
            teacher,
            teachers if taught else None,
            models.teacher,
        )

    def open_model(self, name: str, where: Path | None = None) -> PreTrainedModel:
        spec = self.spec(name)
        if spec.engine != "transformers":
            raise RecipeError(
                f"models.{name}.engine: this wants the model in memory, engine is {spec.engine}; set it to transformers"
            )
        return self.load_model(name, where).to(pick_device(self.work.ranks.local_index))

    def load_model(self, name: str, where: Path | None = None) -> PreTrainedModel:
        """As open_model, but left where it was loaded."""
        return load_model(
            self.spec(name), where or (self.teacher_folder() if name == "teacher" else None)
        )

    @contextmanager
    def speaking(self, batch: int, *, max_new_tokens: int, top_k: int = 0) -> Iterator[Engine]:
        """The teacher, ready to be spoken with, whatever runs it; what was started for it is
        stopped again.

        Args:
            batch: conversations decoded together, for a model in this process.
            max_new_tokens, top_k: that will be asked for; a server is checked for them before any
                work.

        Raises:
            ModelError: no such model or server, or it cannot serve what will be asked for.
        """
        spec, kept = self.recipe.models.teacher, max(20, top_k)
        source = self.teacher_folder() or (spec.path and resolve(spec))
        with ExitStack() as stack:
            if spec.engine == "transformers":
                yield self.engine("teacher", batch)
            elif spec.engine == "vllm":
                engine = VllmEngine(
                    source, spec, self.teacher_tokenizer(), max_logprobs=kept, say=tqdm.write
                )
                yield stack.enter_context(closing(engine))
            else:
                served = None
                if spec.serve:
                    log = self.work.root / "server.log"
                    served = stack.enter_context(
                        serving(source, spec, log=log, max_logprobs=kept, say=tqdm.write)
                    )
                engine = stack.enter_context(closing(self._endpoint(served)))
                engine.check(max_new_tokens, top_k)
                yield engine

    @contextmanager
    def hidden_states(self) -> Iterator[VllmHiddenStates]:
        """The teacher in vLLM, giving hidden states instead of words."""
        spec = self.recipe.models.teacher
        source = self.teacher_folder() or resolve(spec)
        with closing(VllmHiddenStates(source, spec, say=tqdm.write)) as engine:
            yield engine

    def look_at_servers(self) -> str:
        """What the recipe's servers are; asks each for its models and for one token.

        Raises:
            ModelError: one is down, or cannot serve what the recipe will ask for.
        """
        recipe = self.recipe
        asks_targets = recipe.distill.divergence != "none" and recipe.distill.targets.path is None
        with closing(self._endpoint()) as engine:
            return engine.check(
                recipe.generate.max_new_tokens, recipe.distill.targets.tokens if asks_targets else 0
            )

    def _endpoint(self, served: Served | None = None) -> EndpointEngine:
        spec = self.recipe.models.teacher
        tokenizer = None if spec.server.api == "chat" else self.teacher_tokenizer()
        # a server goes by its own config
        ends = [tokenizer.eos_token_id] if spec.eos_token and tokenizer else []
        urls, died = (
            (spec.base_urls, lambda: None) if served is None else (served.urls, served.died)
        )
        return EndpointEngine(urls, spec.server, tokenizer, api_key(spec.server), died, ends)

    def share(self, numbers: Sequence[int]) -> Sequence[int]:
        """This rank's part of numbered work for the teacher: every n-th. A server of our own has
        one client, and vLLM in this process owns the accelerators of its machine.
        """
        ranks, spec, local = (
            self.work.ranks,
            self.recipe.models.teacher,
            int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        )
        if spec.serve:
            return numbers if ranks.is_main else []
        if spec.engine == "vllm":
            return (
                []
                if ranks.local_index
                else numbers[ranks.index // local :: max(1, ranks.count // local)]
            )
        return numbers[ranks.index :: ranks.count]

    def engine(self, name: str, batch: int, where: Path | None = None) -> LocalEngine:
        tokenizer = (
            self.teacher_tokenizer()
            if name == "teacher"
            else load_tokenizer(self.spec(name), where)
        )
        return LocalEngine(self.open_model(name, where), tokenizer, batch_sequences=batch)


def part_of(name: str) -> str:
    """Where the model of a contender that was trained or edited here lies in the run."""
    if name not in EDITED:
        return f"distill/{name}"
    return "edit/student" if name == "edited" else f"edit/{name.removeprefix('edit_')}"


def digest_texts(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def digest_source(source: str) -> str:
    """Content of local traces; the name of a hub data set."""
    path = Path(source)
    files = list_shards(path) if path.is_dir() else [path] if path.is_file() else []
    whole = hashlib.sha256(source.encode() if not files else b"")
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]
