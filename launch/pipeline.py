"""The main street: every stage in order. A stage reads finished folders to its left and writes one folder.

Ranks meet through files: no collective outside a training. The main rank decides whether a part is to be made; it says
so by files (identity.json: make it; manifest.json: it is there), and the others read them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_filters.overlap import Contact
from data_filters.scrub import Scrubber, arm_view
from data_filters.shards import iter_traces, list_shards, read_shard, write_shard
from data_filters.sift import sift
from data_filters.traces import Trace
from distill.engine import LocalEngine
from distill.generate import num_shards, shard_path, write_traces
from distill.models import load_model, load_tokenizer, pick_device
from distill.planted import World
from distill.student import make_base, train_arm
from distill.teacher import train_teacher
from eval.ask import SCHEMA as ANSWERS
from eval.ask import ask
from eval.filter_score import score_filter
from eval.scorecard import build_scorecard, save_scorecard, to_markdown, to_terminal
from eval.suites import all_questions
from launch.publish import publish_student, push
from launch.workspace import Workspace, identity_of
from recipes.errors import RecipeError
from recipes.load import to_yaml
from recipes.schema import ARMS, STAGES, Recipe, Source

Identity = dict[str, Any]


class Street:
    """One run of a recipe on one rank."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work
        self.is_main = work.ranks.is_main

    def walk(self) -> None:
        """Runs the wanted stages, in street order."""
        steps: dict[str, Callable[[], None]] = {
            "teacher": self.teacher, "generate": self.generate, "filter": self.filter,
            "distill": self.distill, "evaluate": self.evaluate, "publish": self.publish,
        }  # fmt: skip
        for name in STAGES:
            if name in self.recipe.stages:
                steps[name]()

    # --- the stages ---------------------------------------------------------------------------------------------

    def teacher(self) -> None:
        """A teacher of our own, if the recipe gives it a shape."""
        models, recipe = self.recipe.models, self.recipe
        if models.teacher.path is not None:
            return self._say(f"teacher: {models.teacher.path}")
        identity = self._identity("models.teacher", "teacher", "planted")
        self._make("teacher", identity, lambda folder: train_teacher(
            models.teacher, recipe.teacher, self._need_world(), folder, seed=recipe.seed, is_main=self.is_main, wait=self.work.wait_for,
        ))  # fmt: skip

    def generate(self) -> None:
        """The teacher writes traces; each rank takes every n-th shard."""
        if self.recipe.filter.traces or self.recipe.distill.traces:
            return self._say(f"generate: not needed, traces come from {self.recipe.filter.traces or self.recipe.distill.traces}")
        identity = self._identity("models.teacher", "generate", "planted") | {"input.teacher": self._teacher_digest()}
        self._make("generate", identity, self._write_shards)

    def filter(self) -> None:
        """Keeps what teaches thought, takes recalled facts out, says why."""
        if self.recipe.distill.traces:
            return self._say(f"filter: not needed, traces come from {self.recipe.distill.traces}")
        identity = self._identity("filter") | {"input.traces": self._traces_digest(), "input.held_out": _digest(self._held_out())}
        self._make("filter", identity, self._sift, main_only=True)

    def distill(self) -> None:
        """The students: the base once, then every arm from its weights."""
        recipe = self.recipe
        spec = recipe.models.student
        inputs = {"input.teacher": self._teacher_digest()} if spec.shape or recipe.distill.divergence != "none" else {}
        base = self._identity("models.student") | inputs
        self._make("distill/base", base, lambda folder: make_base(spec, self._teacher_tokenizer() if spec.shape else None, folder, seed=recipe.seed), main_only=True)
        for arm in recipe.distill.arms:
            identity = self._identity("models.student", "distill", leave_out=("distill.arms",)) | inputs | {"arm": arm, "input.traces": self._kept_digest()}
            self._make(f"distill/{arm}", identity, lambda folder, arm=arm: self._train(arm, folder))

    def evaluate(self) -> None:
        """Every contender answers the same questions; contenders are shared out over ranks."""
        contenders = self._contenders()
        parts = {name: f"evaluate/answers/{name}" for name in contenders}
        scope = self._identity("evaluate", "planted", leave_out=("evaluate.bootstrap",)) | {"generate.system": self.recipe.generate.system}
        for number, (name, where) in enumerate(contenders.items()):
            mine = number % self.work.ranks.count == self.work.ranks.index
            identity = scope | {"contender": name, "input.model": self._teacher_digest() if name == "teacher" else self.work.digest(f"distill/{name}")}
            self._make(parts[name], identity, lambda folder, name=name, where=where: self._answer(name, where, folder), owner=mine)
        identity = {f"input.{n}": self._later_digest(p) for n, p in parts.items()} | {"evaluate.bootstrap": self.recipe.evaluate.bootstrap}
        self._make("evaluate", identity, lambda folder: self._score(list(contenders), folder), main_only=True)
        if self.is_main:
            card = json.loads((self.work.folder("evaluate") / "scorecard.json").read_text())
            self._say(to_terminal(card))

    def publish(self) -> None:
        """A hub-ready folder of one arm; pushed only where the recipe names a repository."""
        config, arm = self.recipe.publish, self.recipe.publish.student
        if not self.work.done(f"distill/{arm}") or not self.work.done("evaluate"):
            raise RecipeError(f"publish: distill/{arm} or evaluate is not finished in {self.work.root}; run those stages first")
        identity = self._identity("publish") | {"input.student": self.work.digest(f"distill/{arm}"), "input.scorecard": self.work.digest("evaluate")}
        self._make("publish", identity, self._publish, main_only=True)
        if config.repo and self.is_main:
            push(self.work.folder("publish"), config.repo, private=config.private)

    # --- how a part is made -------------------------------------------------------------------------------------

    def _make(self, part: str, identity: Identity, make: Callable[[Path], dict[str, Any]], *, main_only: bool = False, owner: bool | None = None) -> None:
        """Makes a part unless it is there: by all ranks, by the main rank, or by its owner; then it gets its manifest."""
        leads = self.is_main if owner is None else owner
        takes_part = leads or not (main_only or owner is not None)
        began = time.monotonic()
        if not self.work.claim(part, identity, leads=leads, say=self._say):
            return
        if takes_part:
            notes = make(self.work.folder(part)) or {}
        if leads:
            seconds = round(time.monotonic() - began, 1)
            self.work.finish(part, identity, notes | {"seconds": seconds})
            tqdm.write(f"{part}: done in {seconds:,.1f} s{_brief(notes)}")
        elif owner is None:
            self.work.wait(part, identity)

    def _write_shards(self, folder: Path) -> dict[str, Any]:
        config, ranks = self.recipe.generate, self.work.ranks
        numbers = range(num_shards(config))
        todo = [n for n in numbers[ranks.index :: ranks.count] if not shard_path(folder, n).exists()]
        if todo:
            engine = self._engine("teacher", config.batch_sequences)
            size = min(config.shard_problems, config.count) * config.samples_per_problem
            with _Bar("generate", min(len(todo) * size, config.count * config.samples_per_problem), "traces", self.is_main) as bar:
                for number in todo:
                    write_traces(
                        engine, config, self.world, shard=number, folder=folder, seed=self.recipe.seed, teacher=self._teacher_name(), progress=bar.tokens,
                    )  # fmt: skip
        if self.is_main:
            for number in numbers:
                self.work.wait_for(shard_path(folder, number))
        return {"shards": len(numbers)}

    def _sift(self, folder: Path) -> dict[str, Any]:
        config = self.recipe.filter
        contact = Contact(self._held_out(), config.overlap_words) if config.overlap else None
        with _Bar("filter", None, "traces", self.is_main) as bar:
            report = sift(
                self._traces(), folder, self._scrubber, keep_unknown=config.keep_unknown, duplicates=config.duplicates,
                contact=contact, progress=bar.items,
            )  # fmt: skip
        notes = {name: report[name] for name in ("read", "kept", "dropped") if name in report}
        if self.world is not None:
            score = score_filter(iter_traces(folder / "kept"), self.world)
            (folder / "key_score.json").write_text(json.dumps(score, indent=1, sort_keys=True))
            self._say("filter, scored by the world's key (which it never sees): " + ", ".join(f"{k} {v}" for k, v in score.items()))
        return notes

    def _train(self, arm: str, folder: Path) -> dict[str, Any]:
        recipe, student = self.recipe, self.work.folder("distill/student")
        replay = None if arm == "student" else json.loads((student / "manifest.json").read_text())["notes"]["phases"]
        live = None if recipe.distill.divergence == "none" else lambda: (self._open_model("teacher"), self._teacher_tokenizer())
        return train_arm(
            recipe.models.student, recipe.distill, base=self.work.folder("distill/base"), teacher=live, traces=self._arm_traces(arm),
            folder=folder, label=arm, seed=recipe.seed, replay=replay, is_main=self.is_main, wait=self.work.wait_for,
        )  # fmt: skip

    def _arm_traces(self, arm: str) -> Iterator[Trace]:
        """Kept traces as an arm sees them; arms differ in nothing else."""
        report = self.work.folder("filter") / "report.json"
        masked = json.loads(report.read_text())["masked_fraction"] if report.exists() else 0.0
        source = self.recipe.distill.traces or self.work.folder("filter") / "kept"
        return (arm_view(trace, arm, self._scrubber, seed=self.recipe.seed, masked_fraction=masked) for trace in iter_traces(source))

    def _answer(self, name: str, where: Path | None, folder: Path) -> dict[str, Any]:
        config = self.recipe.evaluate
        questions = all_questions(config, self.world)
        if not questions:
            raise RecipeError("evaluate: no questions; the recipe has neither a planted world nor evaluate.sources")
        with _Bar(f"evaluate {name}", None, "answers", True) as bar:
            rows = ask(
                self._engine(name, config.batch_sequences, where), questions, contender=name, max_new_tokens=config.max_new_tokens,
                system=self.recipe.generate.system, progress=bar.tokens,
            )  # fmt: skip
        write_shard(folder / "answers.parquet", rows, ANSWERS)
        return {"answers": len(rows)}

    def _score(self, contenders: list[str], folder: Path) -> dict[str, Any]:
        rows = [row for name in contenders for row in read_shard(folder / "answers" / name / "answers.parquet")]
        card = build_scorecard(rows, recipe=self.recipe.name, contenders=contenders, bootstrap=self.recipe.evaluate.bootstrap, seed=self.recipe.evaluate.seed)
        save_scorecard(card, folder, rows)
        return {"answers": len(rows)}

    def _publish(self, folder: Path) -> dict[str, Any]:
        config = self.recipe.publish
        card = json.loads((self.work.folder("evaluate") / "scorecard.json").read_text())
        publish_student(
            self.work.folder(f"distill/{config.student}"), card, to_markdown(card), to_yaml(self.recipe), folder, arm=config.student,
            license=config.license, base_model=self.recipe.models.student.path, teacher_name=self._teacher_name(), notes={},
        )  # fmt: skip
        return {}

    # --- what stages share --------------------------------------------------------------------------------------

    @cached_property
    def world(self) -> World | None:
        """The planted world, if the recipe uses it anywhere."""
        sources: Iterable[Source] = (*self.recipe.teacher.sources, *self.recipe.generate.sources)
        return World(self.recipe.planted) if any(s.name.startswith("planted/") for s in sources) else None

    def _need_world(self) -> World:
        if self.world is None:
            raise RecipeError("teacher: a teacher with a shape learns planted/FAMILY sources; set models.teacher.path to use a trained model")
        return self.world

    @cached_property
    def _scrubber(self) -> Scrubber:
        return Scrubber.from_settings(self.recipe.filter)

    @cached_property
    def _held(self) -> list[str]:
        told = ("reasoning", "open_book", "counterfactual")
        return [q.prompt for q in all_questions(self.recipe.evaluate, self.world) if q.suite in told]

    def _held_out(self) -> list[str]:
        """Prompts of the evaluation's reasoning and reading problems: no recall questions, no gold answers."""
        return self._held if self.recipe.filter.overlap else []

    def _traces(self) -> str | Path:
        return self.recipe.filter.traces or self.work.folder("generate")

    def _traces_digest(self) -> str:
        outside = self.recipe.filter.traces
        return _digest_source(outside) if outside else self.work.digest("generate")

    def _kept_digest(self) -> str:
        outside = self.recipe.distill.traces
        return _digest_source(outside) if outside else self.work.digest("filter")

    def _contenders(self) -> dict[str, Path | None]:
        """teacher, base, then every arm found; a teacher behind a server cannot answer here and stays out."""
        found = {"teacher": None} if self.recipe.models.teacher.engine == "transformers" else {}
        names = ("base", *sorted(ARMS, key=("control", "student", "scrub_only", "random_mask").index))
        return found | {name: self.work.folder(f"distill/{name}") for name in names if self.work.done(f"distill/{name}")}

    def _teacher_folder(self) -> Path | None:
        return None if self.recipe.models.teacher.path else self.work.folder("teacher")

    def _teacher_digest(self) -> str:
        spec = self.recipe.models.teacher
        return f"{spec.path}@{spec.revision}/{spec.gguf_file}" if spec.path else self.work.digest("teacher")

    def _teacher_name(self) -> str:
        return self.recipe.models.teacher.path or f"{self.recipe.name}/teacher"

    def _teacher_tokenizer(self):  # noqa: ANN202
        return load_tokenizer(self.recipe.models.teacher, self._teacher_folder())

    def _open_model(self, name: str, where: Path | None = None):  # noqa: ANN202
        models = self.recipe.models
        spec = models.teacher if name == "teacher" else models.student
        return load_model(spec, where or (self._teacher_folder() if name == "teacher" else None)).to(pick_device(self.work.ranks.local_index))

    def _engine(self, name: str, batch: int, where: Path | None = None) -> LocalEngine:
        tokenizer = self._teacher_tokenizer() if name == "teacher" else load_tokenizer(self.recipe.models.student, where)
        return LocalEngine(self._open_model(name, where), tokenizer, batch_sequences=batch)

    def _identity(self, *sections: str, leave_out: tuple[str, ...] = ()) -> Identity:
        """What the content of a part depends on in the recipe: these sections and the seed."""
        found: Identity = {"seed": self.recipe.seed}
        for dotted in sections:
            section: Any = self.recipe
            for name in dotted.split("."):
                section = getattr(section, name)
            found |= identity_of(section, prefix=dotted, leave_out=leave_out)
        return found

    def _later_digest(self, part: str) -> str:
        """The digest of a part that another rank may still be making."""
        self.work.wait_for(self.work.folder(part) / "manifest.json")
        return self.work.digest(part)

    def _say(self, text: str) -> None:
        if self.is_main:
            tqdm.write(text)


def run(recipe: Recipe, work: Workspace) -> None:
    """Walks the street."""
    Street(recipe, work).walk()


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _digest_source(source: str) -> str:
    """Content of local traces; the name of a hub data set."""
    path = Path(source)
    files = list_shards(path) if path.is_dir() else [path] if path.is_file() else []
    whole = hashlib.sha256(source.encode() if not files else b"")
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _brief(notes: dict[str, Any]) -> str:
    shown = {name: value for name, value in notes.items() if isinstance(value, int | float | list)}
    return " (" + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items()) + ")" if shown else ""


class _Bar:
    """A progress bar that is never silent for long: things done, tokens/s, time left."""

    def __init__(self, label: str, total: int | None, unit: str, shown: bool) -> None:
        self.bar = tqdm(desc=label, total=total, unit=f" {unit}", mininterval=1.0, disable=not shown, unit_scale=False)
        self.written, self.began = 0, time.monotonic()

    def tokens(self, items: int, tokens: int) -> None:
        self.written += tokens
        self.bar.set_postfix_str(f"{self.written / (time.monotonic() - self.began):,.0f} tokens/s", refresh=False)
        self.bar.update(items)

    def items(self, items: int) -> None:
        self.bar.update(items)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
