"""Scrubbing as a library: a list of texts, or a data set of them, without a recipe or a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, overload

from data_filters.filters.settings import make_scrubber
from data_filters.recall.known_texts import KnownTexts
from data_filters.recall.passages import overlaid, passages
from data_filters.records.adopt import trace_of
from data_filters.records.traces import Trace, trace_id
from recipes.schema.filter import Filter
from recipes.vocabulary import Action, Role


class Table(Protocol):
    """What we use of a `datasets.Dataset`."""

    @property
    def column_names(self) -> list[str]:
        """Of all columns."""
        ...

    def map(self, function: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """The table with each row's columns replaced by those that the function gives."""
        ...


Data = TypeVar("Data", bound=Table)


@overload
def scrub(
    data: Sequence[str],
    *,
    action: str = ...,
    prompts: Sequence[str] | None = ...,
    known: Sequence[str] = ...,
    config: Filter | None = ...,
) -> list[str]: ...


@overload
def scrub(
    data: Data,
    *,
    action: str = ...,
    text: str = ...,
    prompt: str | None = ...,
    known: Sequence[str] = ...,
    config: Filter | None = ...,
) -> Data: ...


def scrub(
    data: Any,
    *,
    action: str = Action.HIDE,
    prompts: Sequence[str] | None = None,
    text: str = "text",
    prompt: str | None = None,
    known: Sequence[str] = (),
    config: Filter | None = None,
) -> Any:
    """The same texts, with the facts that no prompt supplied taken out.

    Args:
        data: texts, or a `datasets.Dataset` with a column of texts, or with `messages` of role and
            content. Texts are what an assistant wrote.
        action: hide, rename, generalise, or abstain; see the key filter.ungrounded_action.
        prompts: what each text answers, for a list; None: nothing was given.
        text: name of the column of texts; where there is none, `messages` is scrubbed.
        prompt: name of the column of prompts; None: nothing was given.
        known: texts that nobody should know by heart; their passages are hidden too.
        config: further settings, as the section `filter` of a recipe has them.

    Returns:
        What was given: a list, or a data set of the same columns.

    Raises:
        ValueError: there are fewer or more prompts than texts, or no such column.
    """
    change = _changer(action, known, config or Filter())
    if isinstance(data, Sequence):
        asked = prompts if prompts is not None else [""] * len(data)
        return [
            change(_alone(said, given)).messages[-1]["content"]
            for said, given in zip(data, asked, strict=True)
        ]
    if text in data.column_names:
        return data.map(lambda row: {text: _cell(change, row, text, prompt)})
    if "messages" not in data.column_names:
        found = ", ".join(data.column_names)
        raise ValueError(f"got columns {found}, expected {text} or messages; name one in text=")
    return data.map(lambda row: {"messages": _messages(change, row)})


def _changer(action: str, known: Sequence[str], config: Filter) -> Callable[[Trace], Trace]:
    by_kind = dict(config.ungrounded_actions_by_kind)
    scrubber = replace(make_scrubber(config, 0), ungrounded_action=Action(action), by_kind=by_kind)
    index = KnownTexts.of(known)

    def change(trace: Trace) -> Trace:
        spans = overlaid(scrubber.spans(trace), passages(trace, index, config.passage_words))
        return scrubber.act(trace, spans)

    return change


def _alone(said: str, given: str) -> Trace:
    messages = [{"role": Role.USER, "content": given}] if given else []
    messages.append({"role": Role.ASSISTANT, "content": said})
    name = trace_id(given, said)
    return Trace(id=name, problem_id=name, source="library", seed=0, messages=messages)


def _cell(
    change: Callable[[Trace], Trace], row: Mapping[str, Any], text: str, prompt: str | None
) -> str:
    given = row[prompt] if prompt else ""
    return change(_alone(row[text] or "", given or "")).messages[-1]["content"]


def _messages(change: Callable[[Trace], Trace], row: Mapping[str, Any]) -> list[dict[str, str]]:
    done = change(trace_of({"messages": row["messages"]}))
    changed = [m["content"] for m in done.messages]
    return [{**old, "content": new} for old, new in zip(row["messages"], changed, strict=True)]
