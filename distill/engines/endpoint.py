"""A model behind an OpenAI-compatible server (vLLM, SGLang, ...).

Letters: T tokens, K kept tokens of the vocabulary.
"""

import asyncio
import difflib
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar, cast

from transformers import PreTrainedTokenizerBase

from distill.engines.protocol import (
    THOUGHT,
    THOUGHT_END,
    Completion,
    Conversation,
    Sampling,
    TopLogprobs,
    opened_thought,
    render,
)
from distill.engines.served.answers import (
    Answer,
    OddAnswer,
    read_answer,
    read_logprobs,
    read_models,
)
from distill.engines.served.client import Client, Refused
from distill.engines.served.messages import shown_address
from distill.engines.tool_calls import call_text, numbered
from recipes.errors import ModelError
from recipes.schema import Server
from recipes.vocabulary import FinishReason

T = TypeVar("T")
CLOSED = THOUGHT_END.strip()
# what an answer may have: beside its text, for each token of it, for each log-probability
BODY_BYTES, TOKEN_BYTES, LOGPROB_BYTES = 2**20, 2**10, 2**9


class EndpointEngine:
    """Many requests in flight from one event loop in a thread of its own; complete() may be called
    from several threads at once.

    Each request has a seed of its own, so an answer does not depend on what else is in flight, as
    far as the server keeps to that.

    Args:
        urls: base addresses, up to and with /v1.
        tokenizer: renders and tokenizes prompts; None: the server does (server.api: chat).
        key: bearer token, or None.
        died: as for Client.
        ends: further token ids that end a completion (vLLM's stop_token_ids), beside those that the
            server knows.
    """

    def __init__(
        self,
        urls: Sequence[str],
        server: Server,
        tokenizer: PreTrainedTokenizerBase | None,
        key: str | None = None,
        died: Callable[[], str | None] = lambda: None,
        ends: Sequence[int] = (),
    ) -> None:
        self.ends = list(ends)
        self.server, self.tokenizer, self.client = (
            server,
            tokenizer,
            Client(urls, server, key, died),
        )
        self.model, self.longest = server.model, cast(int | None, None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        self._run(self.client.open())

    # --- before any work

    def check(self, max_new_tokens: int, top_k: int = 0) -> str:
        """Asks every address for its models, and for one token; says what was found.

        Args:
            max_new_tokens: that will be asked for.
            top_k: log-probabilities a token that will be asked for, 0 = none.

        Raises:
            ModelError: no server, another model, too short a context, no chat template, too few
                log-probabilities.
        """
        where = shown_address(self.client.urls[0])
        self.look_at_models()
        if self.longest is not None and max_new_tokens >= self.longest:
            raise ModelError(
                f"{where}: the server's context is {self.longest} tokens, max_new_tokens is {max_new_tokens}; "
                "lower it, or raise --max-model-len of the server"
            )
        greeting = [{"role": "user", "content": "Hello."}]
        found = self._run(self._complete(greeting, "", Sampling(max_new_tokens=1), 0))
        if found.finish_reason == FinishReason.REFUSED:
            raise ModelError(f"{where}: {found.text}; fix the server or models.teacher")
        if top_k:
            self.score([[0, 1]], top_k)
        context = f", context {self.longest} tokens" if self.longest else ""
        return f"{self.model} at {len(self.client.urls)} address(es){context}"

    def look_at_models(self) -> None:
        """Asks every address for its models.

        Raises:
            ModelError: no server, or another model.
        """
        for url in self.client.urls:
            self._look_at(url)

    def together(self, work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Results in order, of requests that are in flight together; the first fault ends all."""
        return cast(list[T], self._run(_all(work)))

    def _look_at(self, url: str) -> None:
        """Whether an address serves the model, and its context; a server that lists nothing is
        believed to have the model that the recipe names.
        """
        try:
            models = read_models(self._run(self.client.get(url, "/models")))
        except ModelError as fault:
            if self.model is None or "answers 404" not in str(fault):
                raise
            models = {}
        if not models and self.model is not None:
            return
        line, where = self.client.redactor.line, shown_address(url)
        if self.model is None and len(models) == 1:
            self.model = next(iter(models))
        if self.model not in models:
            near = difflib.get_close_matches(self.model or "", models, 1, 0.0)
            wanted = f"server.model is {self.model!r}" if self.model else "server.model is not set"
            raise ModelError(
                f"{where} serves {line(', '.join(models)) or 'no model'}, {wanted}"
                + (f"; did you mean {line(near[0])!r}?" if near else "")
            )
        context = models[self.model]
        if context is not None:
            self.longest = min(self.longest or context, context)

    # --- the engine

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
        prefixes = prefixes or [""] * len(conversations)
        seeds = seeds or [
            sampling.seed * 1_000_003 + number for number in range(len(conversations))
        ]
        done: dict[int, Completion] = {}
        waiting = iter(range(len(conversations)))

        async def work() -> None:  # a million requests are not a million tasks
            for i in waiting:
                done[i] = await self._complete(
                    conversations[i], prefixes[i], sampling, seeds[i], tools
                )
                if finished:
                    finished(i, done[i])
                if progress:
                    progress(1, done[i].completion_tokens)

        # as many as may be in flight, and as many again that are written out and wait for a place:
        # the server need not wait for that
        self._run(_all(work() for _ in range(min(2 * self.server.concurrency, len(conversations)))))
        return [done[i] for i in range(len(conversations))]

    def score(self, rows: Sequence[Sequence[int]], top_k: int) -> list[TopLogprobs]:
        """The `top_k` likeliest next tokens after each token of each row but the last; wants a
        server of vLLM (prompt_logprobs).

        Raises:
            ModelError: the server gives none, or not as many.
        """

        async def one(row: Sequence[int]) -> TopLogprobs:
            body = {
                "model": self.model,
                "prompt": list(row),
                "max_tokens": 1,
                "temperature": 0.0,
                "prompt_logprobs": top_k,
            }
            size = BODY_BYTES + len(row) * (top_k + 1) * LOGPROB_BYTES

            def read(found: dict[str, Any]) -> TopLogprobs:
                return read_logprobs(found, len(row), top_k)

            try:
                return await self.client.post("/completions", body, read, size)
            except Refused as fault:
                raise self._no_logprobs(fault, top_k) from fault

        return self.together(one(row) for row in rows)

    def _no_logprobs(self, fault: Refused, top_k: int) -> ModelError:
        where = shown_address(self.client.urls[0])
        if isinstance(fault.__cause__, OddAnswer):
            return ModelError(
                f"{where}: {fault}; serve the teacher with vLLM, or use other distill.targets.kind"
            )
        return ModelError(
            f"{where}: {fault}; {top_k} log-probabilities a token were asked for: raise --max-logprobs of the "
            "server, or lower distill.targets.tokens_per_position"
        )

    def close(self) -> None:
        """Ends what is in flight; a complete() that waits for it raises ModelError."""
        if not self._loop.is_running():
            return
        self._run(_cancel_others())
        self._run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- requests

    async def _complete(
        self,
        conversation: Conversation,
        prefix: str,
        sampling: Sampling,
        seed: int,
        tools: str | None = None,
    ) -> Completion:
        how = (
            {
                "model": self.model,
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "seed": seed % 2**31,
            }
            | ({"stop": list(sampling.stop)} if sampling.stop else {})
            | ({"stop_token_ids": self.ends} if self.ends else {})
        )
        try:
            if self.server.api == "chat":
                return await self._chat(
                    conversation, prefix, how | ({"tools": json.loads(tools)} if tools else {})
                )
            assert self.tokenizer is not None  # only api: chat goes without
            text = render(self.tokenizer, conversation, prefix, tools)
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            begun = prefix or opened_thought(text)
            found = await self._ask("/completions", how | {"prompt": ids})
            return _completion(found, begun + found.text)
        except Refused as fault:
            self.client.refuse(str(fault))
            return Completion(
                text=str(fault),
                prompt_tokens=0,
                completion_tokens=0,
                finish_reason=FinishReason.REFUSED,
            )

    async def _ask(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a request; a body that no token limit explains is not read to its end."""
        most = int(body["max_tokens"])
        return await self.client.post(
            path, body, lambda found: read_answer(found, most), BODY_BYTES + most * TOKEN_BYTES
        )

    async def _chat(
        self, conversation: Conversation, prefix: str, how: dict[str, Any]
    ) -> Completion:
        """The server's own template; a thought that it gives apart is put back before the
        answer.
        """
        messages = numbered(conversation)
        if prefix:
            how = how | {"continue_final_message": True, "add_generation_prompt": False}
            messages.append({"role": "assistant", "content": prefix})
        found = await self._ask("/chat/completions", how | {"messages": messages})
        said = found.text + "".join(map(call_text, found.calls))
        return _completion(found, _with_thought(prefix, found, said))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """In the loop's thread; waits for it. A fault, or Ctrl-C here, ends it."""
        task = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return task.result()
        except (KeyboardInterrupt, SystemExit):
            task.cancel()
            raise
        except CancelledError as fault:
            raise ModelError("the connection was closed while requests were in flight") from fault


def api_key(server: Server) -> str | None:
    """The key that server.api_key_env points at, None where it points nowhere.

    Raises:
        ModelError: the variable is not set.
    """
    if server.api_key_env is None:
        return None
    key = os.environ.get(server.api_key_env, "").strip()
    if not key:
        raise ModelError(
            f"server.api_key_env: the environment has no {server.api_key_env}; export it, or leave the key out"
        )
    if not (key.isascii() and key.isprintable()):
        raise ModelError(
            f"server.api_key_env: {server.api_key_env} holds characters that no key has, a line break perhaps; export it again"
        )
    return key


def _with_thought(prefix: str, found: Answer, said: str) -> str:
    """An answer of a chat with its thought before it, once.

    What was begun holds a thought already: what the server takes for another is its going on. A
    thought that the limit cut stays open. A server that does not know its model's marks leaves the
    last one in the text, and the template has written the first.
    """
    if prefix:
        return prefix + found.thought + said
    if found.thought and CLOSED not in said:
        open_ = not said and found.finish_reason == FinishReason.LENGTH
        end = "" if open_ else THOUGHT_END
        return f"{THOUGHT}\n{found.thought.strip()}{end}{said}"
    bare = CLOSED in said and THOUGHT not in said
    return f"{THOUGHT}\n{said}" if bare else said


def _completion(found: Answer, text: str) -> Completion:
    return Completion(
        text=text.strip(),
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        finish_reason=found.finish_reason,
    )


async def _all(work: Any) -> list[Any]:
    """All results in order; the first fault ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return [task.result() for task in tasks]


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
