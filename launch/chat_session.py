"""What a chat with tools holds between two questions, and how a model of a run is opened for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from transformers import PreTrainedModel

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.lookup.toolbox import Toolbox
from data_filters.verify.sandbox import Sandbox
from distill.adapters import with_adapter
from distill.engines.local import LocalEngine
from distill.engines.protocol import Conversation, Engine, Sampling
from distill.engines.tool_calls import Call
from distill.engines.tool_loop import Limits, run_conversations
from distill.models import load_model, load_tokenizer
from recipes.schema import Model
from recipes.vocabulary import FinishReason


@dataclass
class Chat:
    """A conversation, or a row of single questions.

    Args:
        history: questions follow each other in one conversation.
        on: tools are at hand.
    """

    engine: Engine
    toolbox: Toolbox  # with a base
    limits: Limits
    max_new_tokens: int
    history: bool = False
    on: bool = True
    said: Conversation = field(default_factory=list)

    def answer(self, line: str) -> Iterator[str]:
        """The lines that answer a question or a command."""
        command, _, rest = line.partition(" ")
        commands = {
            "/base": self.switch,
            "/find": self._find,
            "/change": self._change,
            "/new": self._forget,
        }
        if command in commands:
            yield from commands[command](rest.strip())
        elif line.startswith("/"):
            yield f"no such command; there are {', '.join(commands)}, /quit"
        else:
            yield from self._talk(line)

    def _talk(self, line: str) -> Iterator[str]:
        shown: list[str] = []
        asked = [*(self.said if self.history else []), {"role": "user", "content": line}]
        toolbox = self.toolbox if self.on else Toolbox()
        (talk,) = run_conversations(
            self.engine,
            [asked],
            toolbox,
            Sampling(max_new_tokens=self.max_new_tokens),
            self.limits,
            at_once=1,
            shown=lambda _, call, result: shown.append(_shown(call, result)),
        )
        self.said = talk.messages
        yield from shown
        yield talk.text
        if talk.finish_reason == FinishReason.LENGTH:
            yield f"({', '.join(talk.events) or 'cut off'})"

    @property
    def base(self) -> KnowledgeBase:
        """The knowledge base of the toolbox."""
        assert self.toolbox.base is not None  # a chat is opened with one
        return self.toolbox.base

    def switch(self, rest: str) -> Iterator[str]:
        if rest in ("on", "off"):
            self.on = rest == "on"
        yield f"base {'on' if self.on else 'off'}: {len(self.base)} passages, {self.base.digest}"

    def _find(self, rest: str) -> Iterator[str]:
        yield from self.base.search(rest, self.toolbox.snippets) or ["nothing found"]

    def _change(self, rest: str) -> Iterator[str]:
        old, mark, new = (part.strip() for part in rest.partition("=>"))
        if not mark or old not in self.base.passages:
            near = self.base.search(old, 1)
            yield f"no such passage{f'; did you mean {near[0]!r}?' if near else ''}; expected /change OLD => NEW, with OLD as /find shows it"
            return
        self.toolbox = replace(self.toolbox, base=self.base.edited({old: new or None}))
        yield f"base: {len(self.base)} passages, {self.base.digest}"

    def _forget(self, _: str) -> Iterator[str]:
        self.said = []
        yield "forgotten"


def _shown(call: Call, result: str) -> str:
    said = next(iter((call.arguments or {}).values()), "") if not call.fault else "?"
    return f"  [{call.name or 'call'}: {said}] " + " | ".join(result.splitlines())


def open_chat(
    folder: Path,
    passages: KnowledgeBase,
    sandbox: Sandbox,
    *,
    adapter: str | None,
    snippets: int,
    **limits: int,
) -> Chat:
    """A chat with the model in a folder.

    Args:
        adapter: folder of a LoRA adapter to put on it.
        snippets: passages that a look-up gives.
        limits: max_calls of a question, max_new_tokens of a turn.

    Raises:
        ModelError: no model or adapter there.
    """
    spec, turn, calls = Model(path=str(folder)), limits["max_new_tokens"], limits["max_calls"]
    bare = load_model(spec)
    model = cast(PreTrainedModel, with_adapter(bare, adapter)) if adapter else bare
    engine = LocalEngine(model, load_tokenizer(spec), batch_sequences=1)
    toolbox = Toolbox(base=passages, sandbox=sandbox, snippets=snippets)
    longest = int(getattr(model.config, "max_position_embeddings", 4096))
    return Chat(
        engine,
        toolbox,
        Limits(max_calls=calls, max_tokens=turn * (calls + 2), context_tokens=longest),
        turn,
    )
