"""A model behind an OpenAI-compatible server (vLLM, SGLang, ...).

Letters: T tokens, K kept tokens of the vocabulary.
"""

import asyncio
import difflib
import json
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from data_filters.records.tool_calls import calls_of
from distill.engines.http_client import Client, Refused
from distill.engines.protocol import (
    Completion,
    Conversation,
    Sampling,
    TopLogprobs,
    opened_thought,
    render,
)
from distill.engines.tool_calls import call_text, numbered
from recipes.errors import ModelError
from recipes.schema import Server
from recipes.vocabulary import FinishReason


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
        self.model, self.longest = server.model, None
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
        for url in self.client.urls:
            self._look_at(url, self._run(self.client.get(url, "/models")))
        if self.longest is not None and max_new_tokens >= self.longest:
            raise ModelError(
                f"{self.client.urls[0]}: the server's context is {self.longest} tokens, max_new_tokens is {max_new_tokens}; lower it, or "
                "raise --max-model-len of the server"
            )
        greeting = [{"role": "user", "content": "Hello."}]
        found = self._run(self._complete(greeting, "", Sampling(max_new_tokens=1), 0))
        if found.finish_reason == FinishReason.REFUSED:
            raise ModelError(
                f"{self.client.urls[0]}: {found.text}; fix the server or models.teacher"
            )
        if top_k:
            self.score([[0, 1]], top_k)
        context = f", context {self.longest} tokens" if self.longest else ""
        return f"{self.model} at {len(self.client.urls)} address(es){context}"

    def _look_at(self, url: str, listing: dict[str, Any]) -> None:
        models = {one["id"]: one.get("max_model_len") for one in listing.get("data", [])}
        if self.model is None and len(models) == 1:
            self.model = next(iter(models))
        if self.model not in models:
            near = difflib.get_close_matches(self.model or "", models, 1, 0.0)
            wanted = f"server.model is {self.model!r}" if self.model else "server.model is not set"
            raise ModelError(
                f"{url} serves {', '.join(models) or 'no model'}, {wanted}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if models[self.model] is not None:
            self.longest = min(self.longest or models[self.model], models[self.model])

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
            try:
                found = (await self.client.post("/completions", body))["choices"][0].get(
                    "prompt_logprobs"
                )
            except Refused as fault:
                raise ModelError(
                    f"{self.client.urls[0]}: {fault}; {top_k} log-probabilities a token were asked for: raise --max-logprobs of the "
                    "server, or lower distill.targets.tokens_per_position"
                ) from fault
            if not found:
                raise ModelError(
                    f"{self.client.urls[0]} gives no prompt_logprobs; serve the teacher with vLLM, or use other targets"
                )
            return top_logprobs(found[1:], top_k)

        return self._run(_all(one(row) for row in rows))

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
            found = await self.client.post("/completions", how | {"prompt": ids})
            begun = prefix or opened_thought(text)
            return _completion(found, begun + (found["choices"][0].get("text") or ""))
        except Refused as fault:
            self.client.counts["refused"] += 1
            return Completion(
                text=str(fault),
                prompt_tokens=0,
                completion_tokens=0,
                finish_reason=FinishReason.REFUSED,
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
        found = await self.client.post("/chat/completions", how | {"messages": messages})
        said = found["choices"][0].get("message") or {}
        thought = said.get("reasoning_content") or said.get("reasoning")
        before = f"<think>\n{thought.strip()}\n</think>\n\n" if thought else ""
        return _completion(
            found,
            prefix + before + (said.get("content") or "") + "".join(map(call_text, calls_of(said))),
        )

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
    if not os.environ.get(server.api_key_env):
        raise ModelError(
            f"server.api_key_env: the environment has no {server.api_key_env}; export it, or leave the key out"
        )
    return os.environ[server.api_key_env]


def top_logprobs(found: Sequence[dict[str, dict[str, float]]], top_k: int) -> TopLogprobs:
    """From vLLM's rows of {token id: {logprob, rank}}; it adds the token that follows, dropped
    unless it is among the likeliest.
    """
    if not found:
        return TopLogprobs(torch.empty(0, top_k, dtype=torch.int64), torch.empty(0, top_k))
    rows = [
        sorted(((one["rank"], int(token), one["logprob"]) for token, one in row.items()))[:top_k]
        for row in found
    ]
    kept = min(map(len, rows))
    ids_TK = torch.tensor([[token for _, token, _ in row[:kept]] for row in rows])
    return TopLogprobs(
        ids_TK, torch.tensor([[logprob for *_, logprob in row[:kept]] for row in rows])
    )


def _completion(found: dict[str, Any], text: str) -> Completion:
    usage = found.get("usage") or {}
    reason = found["choices"][0].get("finish_reason") or "stop"
    return Completion(
        text=text.strip(),
        prompt_tokens=usage.get("prompt_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
        finish_reason=FinishReason.LENGTH if reason == "length" else FinishReason.STOP,
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
