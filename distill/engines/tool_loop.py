"""Conversations with tools: a model goes on, what it calls is run, the result goes back, until it
answers or may call no more.

Many conversations go along together, each at its own turn; they come from a stream and leave as
they end, so that ten thousand take no more memory than those that are at work.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from data_filters.lookup.toolbox import Toolbox
from data_filters.records.tool_calls import calls_of
from distill.engines.protocol import Completion, Conversation, Engine, Sampling, TopLogprobs
from distill.engines.tool_calls import Call, as_message, parse
from recipes.vocabulary import FinishReason

ENOUGH = "Error: no more calls are run; answer now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a conversation is ended.

    Args:
        max_calls: that are run; the next is told so, and another ends it.
        max_tokens: written by the model over all turns.
        context_tokens: of prompt and answer; a longer conversation is ended, not cut.
    """

    max_calls: int = 4
    max_tokens: int = 512
    context_tokens: int = 1024


@dataclass(slots=True)
class Rollout:
    """One conversation as it ended."""

    number: int  # its place in what was asked
    messages: Conversation
    text: str = ""  # of the last completion
    finish_reason: str = ""  # stop; length: cut off, or ended by a limit; refused
    completion_tokens: int = 0  # over all turns
    prompt_tokens: int = 0  # of the last turn
    mean_logprob: float | None = None  # of the last turn
    calls: Counter[str] = field(default_factory=Counter)  # run, by tool
    # what went wrong, counted: malformed, unknown tool, bad arguments, empty, failed, stopped, result
    # cut, call beyond the limit, ended by the limit of calls, of tokens, or by the context
    events: Counter[str] = field(default_factory=Counter)
    no_more_calls: bool = False  # it was told so


def run_conversations(
    engine: Engine,
    conversations: Iterable[Conversation],
    toolbox: Toolbox,
    sampling: Sampling,
    limits: Limits,
    *,
    at_once: int,
    progress: Callable[[int, int], None] = lambda *_: None,
    shown: Callable[[Rollout, Call, str], None] = lambda *_: None,
) -> Iterator[Rollout]:
    """Conversations as they end, not in the order given; each has its number.

    Args:
        engine: completes all that wait, together.
        conversations: streamed.
        toolbox: what may be called; without tools this is plain completion.
        sampling: of each turn.
        at_once: conversations at work; two batches of the engine keep it full.
        progress: called with (conversations ended, new tokens).
        shown: called with (rollout, call, result) as each call was run or turned down.
    """
    waiting, at_work = enumerate(conversations), list[Rollout]()
    while True:
        at_work += [
            Rollout(number, list(asked))
            for number, asked in islice(waiting, at_once - len(at_work))
        ]
        if not at_work:
            return
        turn = replace(
            sampling,
            seed=sampling.seed
            + sum(len(rollout.messages) for rollout in at_work)
            + at_work[0].number,
        )
        written = engine.complete(
            [rollout.messages for rollout in at_work], turn, tools=toolbox.schemas
        )
        going = []
        for rollout, completion in zip(at_work, written, strict=True):
            _note(rollout, completion)
            if _goes_on(rollout, completion, toolbox, limits, sampling.max_new_tokens, shown):
                going.append(rollout)
            else:
                yield rollout
        progress(
            len(at_work) - len(going), sum(completion.completion_tokens for completion in written)
        )
        at_work = going


def _note(rollout: Rollout, completion: Completion) -> None:
    rollout.text, rollout.finish_reason, rollout.mean_logprob = (
        completion.text,
        completion.finish_reason,
        completion.mean_logprob,
    )
    rollout.completion_tokens += completion.completion_tokens
    rollout.prompt_tokens = completion.prompt_tokens


def _goes_on(
    rollout: Rollout,
    completion: Completion,
    toolbox: Toolbox,
    limits: Limits,
    turn_tokens: int,
    shown: Callable[[Rollout, Call, str], None],
) -> bool:
    """Runs what was called; whether the model has another turn."""
    before, calls = (
        parse(completion.text)
        if toolbox.names and completion.finish_reason != FinishReason.REFUSED
        else (completion.text, [])
    )
    if not calls:
        rollout.messages.append({"role": "assistant", "content": completion.text})
        return False
    if rollout.no_more_calls:
        return _end(rollout, completion.text, "ended by the limit of calls")
    rollout.messages.append(as_message(before, calls))
    for call in calls:
        result = _answer(rollout, call, toolbox, limits)
        rollout.messages.append({"role": "tool", "content": result})
        shown(rollout, call, result)
    if rollout.completion_tokens + turn_tokens > limits.max_tokens:
        return _end(rollout, None, "ended by the limit of tokens")
    # a byte is a token at the most
    new = sum(len(message["content"].encode()) for message in rollout.messages[-len(calls) :])
    if (
        completion.prompt_tokens + completion.completion_tokens + new + turn_tokens
        > limits.context_tokens
    ):
        return _end(rollout, None, "ended by the context")
    return True


def _end(rollout: Rollout, said: str | None, event: str) -> bool:
    if said is not None:
        rollout.messages.append({"role": "assistant", "content": said})
    rollout.events[event] += 1
    rollout.finish_reason = FinishReason.LENGTH
    return False


def _answer(rollout: Rollout, call: Call, toolbox: Toolbox, limits: Limits) -> str:
    """The result of one call."""
    if sum(rollout.calls.values()) >= limits.max_calls:
        rollout.events["call beyond the limit"] += 1
        rollout.no_more_calls = True
        return ENOUGH
    rollout.calls[call.name if call.name in toolbox.names else "other"] += 1
    if call.fault or call.arguments is None:
        rollout.events["malformed"] += 1
        return call.fault
    result = toolbox.run(call.name, call.arguments)
    if result.kind not in ("found", "ran"):
        rollout.events[result.kind] += 1
    if result.cut:
        rollout.events["result cut"] += 1
    return result.text


class ToolEngine:
    """An engine whose completions are whole conversations with tools: it stands in for the engine
    that it drives.

    Args:
        at_once: conversations at work.
        limits: of each.
    """

    def __init__(self, engine: Engine, toolbox: Toolbox, limits: Limits, *, at_once: int) -> None:
        self.engine, self.toolbox, self.limits, self.at_once = engine, toolbox, limits, at_once

    def complete(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        *,
        prefixes: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        finished: Callable[[int, Completion], None] | None = None,
        tools: str | None = None,
    ) -> list[Completion]:
        """As Engine.complete, with the tools of the box; an answer that is begun for the model
        cannot call.
        """
        if any(prefixes or ()):
            return self.engine.complete(
                conversations,
                sampling,
                prefixes=prefixes,
                seeds=seeds,
                progress=progress,
                finished=finished,
            )
        done: dict[int, Completion] = {}
        for rollout in run_conversations(
            self.engine,
            conversations,
            self.toolbox,
            sampling,
            self.limits,
            at_once=self.at_once,
            progress=progress or (lambda *_: None),
        ):
            more = rollout.messages[len(conversations[rollout.number]) :]
            said = (
                more[:-1]
                if more and more[-1]["role"] == "assistant" and not calls_of(more[-1])
                else more
            )
            done[rollout.number] = Completion(
                text=rollout.text,
                prompt_tokens=rollout.prompt_tokens,
                completion_tokens=rollout.completion_tokens,
                finish_reason=rollout.finish_reason,
                said=tuple(said),
                mean_logprob=rollout.mean_logprob,
            )
            if finished:
                finished(rollout.number, done[rollout.number])
        return [done[number] for number in range(len(conversations))]

    def score(self, rows: Sequence[Sequence[int]], top_k: int) -> list[TopLogprobs]:
        return self.engine.score(rows, top_k)

    def close(self) -> None:
        self.engine.close()


def totals(rollouts: Iterable[Rollout]) -> dict[str, int]:
    """What happened over many conversations: calls by tool, and every event."""
    counted: Counter[str] = Counter()
    for rollout in rollouts:
        counted.update({f"calls of {name}": count for name, count in rollout.calls.items()})
        counted.update(rollout.events)
        counted["conversations"] += 1
    return dict(sorted(counted.items()))
