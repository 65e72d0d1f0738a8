"""A model in vLLM, in this process's hands: completions and scores, or the hidden states that its
output matrix takes.

Letters: T tokens, K kept tokens of the vocabulary, D width of the residual stream.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill.engines.protocol import (
    Completion,
    Conversation,
    Sampling,
    TopLogprobs,
    opened_thought,
    render,
)
from distill.engines.vllm_loop import Refused, Vllm
from recipes.errors import ModelError
from recipes.schema import Model
from recipes.vocabulary import FinishReason


class VllmEngine(Vllm):
    """Engine on vLLM; complete() may be called from several threads at once.

    Each request has a seed of its own, by the same rule as EndpointEngine's.

    Args:
        tokenizer: renders, tokenizes and decodes; its end token ends a completion, beside those
            that the model's folder names.
        max_logprobs: log-probabilities a token that may be asked for.
    """

    def __init__(
        self,
        source: Path | str,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_logprobs: int = 20,
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__(source, model, max_logprobs=max_logprobs, say=say)
        self.tokenizer = tokenizer

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

        async def one(number: int) -> None:
            done[number] = await self._complete(
                conversations[number], prefixes[number], sampling, seeds[number], tools
            )
            if finished:
                finished(number, done[number])
            if progress:
                progress(1, done[number].completion_tokens)

        self._run(self._all(len(conversations), one))
        return [done[number] for number in range(len(conversations))]

    def score(self, rows: Sequence[Sequence[int]], top_k: int) -> list[TopLogprobs]:
        """As Engine.score.

        Raises:
            ModelError: a row is longer than the engine's context, or more log-probabilities are
                asked for than it was opened for.
        """
        done: dict[int, TopLogprobs] = {}

        async def one(number: int) -> None:
            done[number] = await self._score(list(rows[number]), top_k)

        self._run(self._all(len(rows), one))
        return [done[number] for number in range(len(rows))]

    async def _complete(
        self,
        conversation: Conversation,
        prefix: str,
        sampling: Sampling,
        seed: int,
        tools: str | None,
    ) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        text = render(self.tokenizer, conversation, prefix, tools)
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        how = SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            seed=seed % 2**31 if sampling.temperature else None,
            stop=list(sampling.stop),
            stop_token_ids=[self.tokenizer.eos_token_id],
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            (found,) = (
                await self._last(
                    self._engine.generate({"prompt_token_ids": ids}, how, self._name())
                )
            ).outputs
        except Refused as fault:
            return Completion(
                text=str(fault),
                prompt_tokens=len(ids),
                completion_tokens=0,
                finish_reason=FinishReason.REFUSED,
            )
        written = str(self.tokenizer.decode(found.token_ids, skip_special_tokens=True))
        for stop in sampling.stop:  # vLLM has cut its own text there, but not the ids
            written = written.partition(stop)[0]
        return Completion(
            text=((prefix or opened_thought(text)) + written).strip(),
            prompt_tokens=len(ids),
            completion_tokens=len(found.token_ids),
            finish_reason=FinishReason.LENGTH
            if found.finish_reason == "length"
            else FinishReason.STOP,
        )

    async def _score(self, row: list[int], top_k: int) -> TopLogprobs:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        how = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=top_k,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            found = await self._last(
                self._engine.generate({"prompt_token_ids": row}, how, self._name())
            )
        except Refused as fault:
            raise ModelError(
                f"a row of {len(row)} tokens, {top_k} log-probabilities a token: {fault}; raise max-model-len or max-logprobs in "
                "server.options"
            ) from fault
        return top_logprobs(found.prompt_logprobs, top_k)


class VllmHiddenStates(Vllm):
    """A model in vLLM that gives hidden states instead of words: of its pooling runner, without
    pooling and without the output matrix.

    Exact targets of a big teacher: with its output matrix they are its whole distribution.
    """

    def __init__(
        self, source: Path | str, model: Model, *, say: Callable[[str], None] = print
    ) -> None:
        # an activation would normalise them
        pooler = {"task": "token_embed", "tok_pooling_type": "ALL", "use_activation": False}
        super().__init__(
            source,
            model,
            extra={"runner": "pooling", "convert": "embed", "pooler_config": pooler},
            say=say,
        )

    def hidden_states(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """What the output matrix takes at each token of each row, the final norm included: [T, D],
        float32.

        Raises:
            ModelError: a row is longer than the engine's context.
        """
        done: dict[int, Tensor] = {}

        async def one(number: int) -> None:
            from vllm import PoolingParams

            how, row = PoolingParams(task="token_embed", use_activation=False), list(rows[number])
            try:
                found = await self._last(
                    self._engine.encode({"prompt_token_ids": row}, how, self._name())
                )
            except Refused as fault:
                raise ModelError(
                    f"a row of {len(row)} tokens: {fault}; raise max-model-len in server.options"
                ) from fault
            done[number] = found.outputs.data.float()

        self._run(self._all(len(rows), one))
        return [done[number] for number in range(len(rows))]


def top_logprobs(found: Any, top_k: int) -> TopLogprobs:
    """From vLLM's FlatLogprobs of a prompt: nothing for its first token, then at each the token
    that stands there and the likeliest.
    """
    bounds = list(zip(found.start_indices, found.end_indices, strict=True))[1:]
    likeliest = [slice(start + 1, min(start + 1 + top_k, end)) for start, end in bounds]
    if not likeliest:
        return TopLogprobs(torch.empty(0, top_k, dtype=torch.int64), torch.empty(0, top_k))
    ids_TK = torch.tensor([found.token_ids[place] for place in likeliest])
    return TopLogprobs(ids_TK, torch.tensor([found.logprobs[place] for place in likeliest]))
