"""The teacher of a run: its name and digest, its tokenizer, and ways to speak with it."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.engines.endpoint import EndpointEngine, api_key
from distill.engines.local import LocalEngine
from distill.engines.protocol import Engine
from distill.engines.served.hidden import ServedHiddenStates, pooling_options
from distill.engines.vllm import VllmEngine, VllmHiddenStates
from distill.engines.vllm_server import Served, serving
from distill.models import load_config, load_model, load_tokenizer, pick_device, resolve, to_device
from distill.progress import show
from distill.targets.live import GivesHidden
from launch.runs.identity import Identity, recipe_identity
from launch.runs.run_folder import Workspace
from recipes.errors import RecipeError
from recipes.schema import Model, Recipe

# where and how fast a teacher answers; what it says does not depend on it
SPOKEN = tuple(f"models.teacher.{name}" for name in ("base_urls", "serve", "server"))
# options of a server that say where and how fast it runs; they do not change its answers
ASIDE_OPTIONS = re.compile(
    r"host|port|root-path|api-?key.*|ssl-.*|.*log.*|.*-parallel-size|enable-.*-parallel|"
    r"gpu-memory-utilization|max-num-.*|enforce-eager|swap-space|cpu-offload-.*|block-size"
)
# log-probabilities a token that a server of ours must be able to give
LOGPROBS = 20


class TeacherAccess:
    """The teacher, wherever it runs: in this process, behind a server, or in vLLM."""

    def __init__(self, recipe: Recipe, work: Workspace) -> None:
        self.recipe, self.work = recipe, work

    @property
    def folder(self) -> Path | None:
        """Where the run makes its teacher; None for one that is named by a path."""
        return None if self.recipe.models.teacher.path else self.work.folder("teacher")

    @property
    def source(self) -> Path | str:
        """A model folder or a hub id."""
        return self.folder or resolve(self.recipe.models.teacher)

    def digest(self) -> str:
        """Identifies the teacher.

        Raises:
            WorkspaceError: the run's own teacher is not finished.
        """
        spec = self.recipe.models.teacher
        if spec.path:
            return f"{spec.path}@{spec.revision}/{spec.gguf_file}"
        return self.work.digest("teacher")

    def name(self) -> str:
        """Its path, or the digest of one that the run made: the same teacher has the same name in
        every run. The name under which a server has it is added where it is another.
        """
        spec = self.recipe.models.teacher
        built = f"teacher@{self.digest().removeprefix('sha256:')[:12]}" if self.folder else ""
        name, served = spec.path or built, spec.server.model if self.served else None
        return name if served in (None, name) else f"{name} ({served})"

    @property
    def served(self) -> bool:
        """Whether a server answers."""
        return self.recipe.models.teacher.engine == "endpoint"

    def speaker(self) -> Identity:
        """Who answers where a server does: the model that it serves, through whose template, under
        which options. Nothing for a teacher in this process.
        """
        if not self.served:
            return {}
        server = self.recipe.models.teacher.server
        options = {
            name: value
            for name, value in sorted(server.options.items())
            if not ASIDE_OPTIONS.fullmatch(name.lstrip("-").replace("_", "-").lower())
        }
        key = "models.teacher.server"
        found: Identity = {f"{key}.model": server.model, f"{key}.api": server.api}
        found[f"{key}.options"] = json.dumps(options)
        if server.api == "completions":
            template = str(self.tokenizer().chat_template)
            found["input.teacher_template"] = hashlib.sha256(template.encode()).hexdigest()[:16]
        return found

    def identity(self) -> Identity:
        """What a teacher of our own depends on."""
        aside = ("teacher.trackers", "models.teacher.engine", *SPOKEN)
        return recipe_identity(self.recipe, "models.teacher", "teacher", "planted", leave_out=aside)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Loaded anew."""
        return load_tokenizer(self.recipe.models.teacher, self.folder)

    def load(self) -> PreTrainedModel:
        """Loaded anew, on the CPU."""
        return load_model(self.recipe.models.teacher, self.folder)

    def open(self) -> PreTrainedModel:
        """Loaded anew, on this rank's accelerator."""
        return open_model("teacher", self.recipe.models.teacher, self.folder, self.work)

    def engine(self, batch_sequences: int) -> LocalEngine:
        """The teacher in this process, ready to be spoken with."""
        return LocalEngine(self.open(), self.tokenizer(), batch_sequences=batch_sequences)

    @contextmanager
    def speaking(
        self, batch_sequences: int, *, max_new_tokens: int, top_k: int = 0
    ) -> Iterator[Engine]:
        """The teacher, ready to be spoken with, whatever runs it; what was started for it is
        stopped again.

        Args:
            batch_sequences: conversations decoded together, for a model in this process.
            max_new_tokens, top_k: will be asked for; a server is checked for them before any work.

        Raises:
            ModelError: no such model or server, or it cannot serve what will be asked for.
        """
        spec = self.recipe.models.teacher
        with ExitStack() as stack:
            if spec.engine == "transformers":
                yield self.engine(batch_sequences)
            elif spec.engine == "vllm":
                yield stack.enter_context(closing(self._in_process(top_k)))
            else:
                served = stack.enter_context(self._server(top_k)) if spec.serve else None
                engine = stack.enter_context(closing(self._endpoint(served)))
                engine.check(max_new_tokens, top_k)
                yield engine

    def _in_process(self, top_k: int) -> VllmEngine:
        spec, most = self.recipe.models.teacher, max(LOGPROBS, top_k)
        return VllmEngine(self.source, spec, self.tokenizer(), max_logprobs=most, say=show)

    @contextmanager
    def _server(self, top_k: int) -> Iterator[Served]:
        spec, log = self.recipe.models.teacher, self.work.root / "server.log"
        most = max(LOGPROBS, top_k)
        with serving(self.source, spec, log=log, max_logprobs=most, say=show) as served:
            yield served

    @contextmanager
    def hidden_states(self) -> Iterator[GivesHidden]:
        """The teacher giving hidden states instead of words, in vLLM or behind a server; what was
        started for it is stopped again.

        Raises:
            ModelError: no such server, or it gives none.
        """
        spec = self.recipe.models.teacher
        with ExitStack() as stack:
            if spec.engine == "vllm":
                yield stack.enter_context(closing(VllmHiddenStates(self.source, spec, say=show)))
                return
            served = None
            if spec.serve:
                options = pooling_options(spec.server.options)
                other = replace(spec, server=replace(spec.server, options=options))
                log = self.work.root / "server.log"
                served = stack.enter_context(serving(self.source, other, log=log, say=show))
            urls = served.urls if served else spec.server.hidden_urls or spec.base_urls
            died = served.died if served else lambda: None
            key = api_key(spec.server)
            engine = EndpointEngine(urls, spec.server, None, key, died)
            stack.enter_context(closing(engine))
            config = load_config(spec, self.folder).get_text_config()
            source = ServedHiddenStates(engine, config.hidden_size, getattr(torch, spec.dtype))
            show(f"teacher's hidden states: {source.check()}")
            yield source

    def look_at_servers(self) -> str:
        """What the recipe's servers are; asks each for its models and for one token.

        Raises:
            ModelError: one is down, or cannot serve what the recipe will ask for.
        """
        generate, distill = self.recipe.generate, self.recipe.distill
        asks_targets = distill.divergence != "none" and distill.targets.path is None
        asks_targets = asks_targets and distill.targets.kind == "top_k"
        with closing(self._endpoint()) as engine:
            return engine.check(
                generate.max_new_tokens, distill.targets.tokens_per_position if asks_targets else 0
            )

    def _endpoint(self, served: Served | None = None) -> EndpointEngine:
        spec = self.recipe.models.teacher
        tokenizer = None if spec.server.api == "chat" else self.tokenizer()
        # a server goes by its own config
        ends = [tokenizer.eos_token_id] if spec.eos_token and tokenizer else []
        urls = spec.base_urls if served is None else served.urls
        died = (lambda: None) if served is None else served.died
        return EndpointEngine(urls, spec.server, tokenizer, api_key(spec.server), died, ends)

    def share(self, numbers: Sequence[int]) -> Sequence[int]:
        """This rank's part of numbered work for the teacher: every n-th.

        A server of our own has one client, and vLLM in this process owns the accelerators of its
        machine.
        """
        ranks, spec = self.work.ranks, self.recipe.models.teacher
        if spec.serve:
            return numbers if ranks.is_main else []
        if spec.engine == "vllm":
            local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            machine, machines = ranks.index // local, max(1, ranks.count // local)
            return [] if ranks.local_index else numbers[machine::machines]
        return numbers[ranks.index :: ranks.count]


def open_model(name: str, spec: Model, where: Path | None, work: Workspace) -> PreTrainedModel:
    """A model in memory, on this rank's accelerator.

    Args:
        name: its name among the contenders.
        where: its folder; None: where `spec` says.

    Raises:
        RecipeError: the recipe has it behind a server or in vLLM.
    """
    if spec.engine != "transformers":
        raise RecipeError(
            f"models.{name}.engine: this needs the model in memory, engine is {spec.engine}; "
            "set it to transformers"
        )
    return to_device(load_model(spec, where), pick_device(work.ranks.local_index))
