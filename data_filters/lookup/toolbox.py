"""What runs a model's calls: look-ups in a knowledge base, programs in the sandbox; every result is
text of bounded length.

A result is untrusted: marks in it that a chat template would take for a turn or a call are spelled
apart, so what a passage says stays something that was said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.records.tool_calls import (
    ARGUMENT,
    LOOKUP,
    NOTHING,
    PYTHON,
    spelled_apart,
    tool_schemas,
)
from data_filters.verify.sandbox import Sandbox

Kind = Literal["found", "empty", "ran", "failed", "stopped", "unknown tool", "bad arguments"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came back, and how the call went."""

    text: str
    kind: Kind
    cut: bool = False  # there was more than a result may hold


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The tools of one setting.

    Args:
        base: None: no look-ups.
        sandbox: None: no programs.
        snippets: passages that a look-up gives.
        result_characters: of a result; what is longer is cut.
        seconds, memory_mib: of a program.
    """

    base: KnowledgeBase | None = None
    sandbox: Sandbox | None = None
    snippets: int = 3
    result_characters: int = 600
    seconds: float = 2.0
    memory_mib: int = 64

    @property
    def names(self) -> Sequence[str]:
        """Of the tools that are there."""
        return [LOOKUP] * (self.base is not None) + [PYTHON] * (self.sandbox is not None)

    @property
    def schemas(self) -> str | None:
        """JSON, as prompts offer it; None where there is no tool."""
        return tool_schemas(*self.names) if self.names else None

    def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """The result of a call; a call that is wrong has one too, which says what is wrong."""
        if name not in self.names:
            return self._result(
                f"Error: there is no tool {name[:40]!r}; there is {', '.join(self.names) or 'none'}.",
                "unknown tool",
            )
        said = arguments.get(ARGUMENT[name])
        if not isinstance(said, str) or not said.strip():
            return self._result(f"Error: {name} takes {ARGUMENT[name]}, a text.", "bad arguments")
        if self.base is not None and name == LOOKUP:
            return self._look_up(self.base, said)
        assert self.sandbox is not None, name  # the only other tool
        return self._work_out(self.sandbox, said)

    def _look_up(self, base: KnowledgeBase, query: str) -> Result:
        found = base.search(query[: self.result_characters], self.snippets)
        return self._result("\n".join(found), "found") if found else Result(NOTHING, "empty")

    def _work_out(self, sandbox: Sandbox, code: str) -> Result:
        ran = sandbox.run(
            code,
            seconds=self.seconds,
            memory_mib=self.memory_mib,
            output_characters=self.result_characters + 1,
        )
        if ran.stop:
            return self._result(
                f"Error: {ran.error or ran.stop}", "failed" if ran.stop == "error" else "stopped"
            )
        return self._result(
            "\n".join(filter(None, (ran.output.rstrip("\n"), ran.value))) or NOTHING, "ran"
        )

    def _result(self, text: str, kind: Kind) -> Result:
        plain = spelled_apart(text)
        return Result(plain[: self.result_characters], kind, len(plain) > self.result_characters)
