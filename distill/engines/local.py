"""Speaking with a local model: batched completion and the probability of given continuations.

Letters: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from distill.chat_templates.reading import reader_of
from distill.engines.protocol import (
    Completion,
    Conversation,
    Sampling,
    TopLogprobs,
    left_padded,
    opened_thought,
    render,
)
from recipes.vocabulary import FinishReason

COMPACT_BELOW = 0.7  # share of unfinished rows under which finished ones are dropped from the cache


class LocalEngine:
    """A transformers model in this process.

    Args:
        model: in evaluation mode on its device.
        tokenizer: with a chat template.
        batch_sequences: conversations decoded together.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_sequences: int
    ) -> None:
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch_sequences
        ends = model.generation_config.eos_token_id if model.generation_config else None
        known = ends if isinstance(ends, list) else [ends]
        self.ends = torch.tensor(
            sorted({i for i in [*known, tokenizer.eos_token_id] if i is not None}),
            device=model.device,
        )

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
        """As Engine.complete. Batches are formed by prompt length and seeded one by one, so the
        same call gives the same bytes.
        """
        prefixes = prefixes or [""] * len(conversations)
        texts = [
            render(self.tokenizer, c, p, tools)
            for c, p in zip(conversations, prefixes, strict=True)
        ]
        prompts = [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        done: dict[int, Completion] = {}
        for number, start in enumerate(range(0, len(order), self.batch)):
            members = order[start : start + self.batch]
            generator = torch.Generator(self.model.device).manual_seed(
                sampling.seed * 1_000_003 + number
            )
            written = self._decode([prompts[i] for i in members], sampling, generator)
            for i, (ids, logprobs) in zip(members, written, strict=True):
                done[i] = self._completion(
                    prefixes[i] or opened_thought(texts[i]),
                    len(prompts[i]),
                    ids,
                    logprobs,
                    sampling,
                )
                if finished:
                    finished(i, done[i])
            if progress:
                progress(len(members), sum(len(ids) for ids, _ in written))
        return [done[i] for i in range(len(prompts))]

    def render(self, conversation: Conversation, prefix: str = "") -> list[int]:
        """Prompt ids up to where the assistant goes on."""
        return self.tokenizer.encode(
            render(self.tokenizer, conversation, prefix), add_special_tokens=False
        )

    def _completion(
        self,
        begun: str,
        prompt_tokens: int,
        ids: list[int],
        logprobs: list[float],
        sampling: Sampling,
    ) -> Completion:
        stopped = bool(ids) and ids[-1] in self.ends.tolist()
        text = reader_of(self.tokenizer).said(ids, self.ends.tolist())
        for stop in sampling.stop:
            text, found, _ = text.partition(stop)
            stopped = stopped or bool(found)
        return Completion(
            text=(begun + text).strip(),
            prompt_tokens=prompt_tokens,
            completion_tokens=len(ids),
            finish_reason=FinishReason.STOP
            if stopped or len(ids) < sampling.max_new_tokens
            else FinishReason.LENGTH,
            mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
        )

    @torch.inference_mode()
    def _decode(
        self, prompts: list[list[int]], sampling: Sampling, generator: torch.Generator
    ) -> list[tuple[list[int], list[float]]]:
        """New ids of each prompt, its end token included, and their log-probabilities; left-padded,
        finished rows leave the cache.
        """
        ids_BT, mask_BT, position_BT = left_padded(
            prompts, self.tokenizer.pad_token_id, self.model.device
        )
        longest = ids_BT.shape[1]
        # what will be written is seen too
        mask_BT = F.pad(mask_BT, (0, sampling.max_new_tokens), value=1)
        written: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        live = torch.arange(len(prompts))
        cache = DynamicCache(config=self.model.config)
        for step in range(sampling.max_new_tokens):
            logits_BV = (
                self.model(
                    input_ids=ids_BT,
                    attention_mask=mask_BT[:, : longest + step],
                    position_ids=position_BT,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                .logits[:, -1]
                .float()
            )
            next_B = choose(logits_BV, sampling, generator)
            logprob_B = logits_BV.gather(1, next_B[:, None])[:, 0] - logits_BV.logsumexp(-1)
            for row, token, logprob in zip(
                live.tolist(), next_B.tolist(), logprob_B.tolist(), strict=True
            ):
                written[row].append(token)
                logprobs[row].append(logprob)
            going_B = ~torch.isin(next_B, self.ends)
            if not going_B.any():
                break
            position_BT = position_BT[:, -1:] + 1
            if going_B.float().mean() < COMPACT_BELOW and hasattr(cache, "batch_select_indices"):
                keep = going_B.nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                live, next_B, position_BT, mask_BT = (
                    live[keep.cpu()],
                    next_B[keep],
                    position_BT[keep],
                    mask_BT[keep],
                )
            ids_BT = next_B[:, None]
        ended = [self._until_end(ids) for ids in written]
        return [(ids, found[: len(ids)]) for ids, found in zip(ended, logprobs, strict=True)]

    def _until_end(self, ids: list[int]) -> list[int]:
        """Rows that waited in the cache for others wrote on after their end; that is cut."""
        ends = set(self.ends.tolist())
        return next((ids[: i + 1] for i, token in enumerate(ids) if token in ends), ids)

    @torch.inference_mode()
    def score(self, rows: Sequence[Sequence[int]], top_k: int) -> list[TopLogprobs]:
        """As Engine.score, a row at a time: the logits of one row are all that is held."""
        found = []
        for row in rows:
            logits_TV = self.model(
                input_ids=torch.tensor([list(row)], device=self.model.device), use_cache=False
            ).logits[0, :-1]
            logprobs_TK, ids_TK = torch.log_softmax(logits_TV.float(), -1).topk(
                min(top_k, logits_TV.shape[-1]), -1
            )
            found.append(TopLogprobs(ids_TK.cpu(), logprobs_TK.cpu()))
        return found

    def close(self) -> None:
        """Nothing: the model goes with its last user."""

    @torch.inference_mode()
    def choose_among(
        self, prompts: Sequence[list[int]], choices: Sequence[Sequence[str]]
    ) -> list[int]:
        """Index of the likeliest continuation of each prompt, by total log-probability of its
        tokens.

        The choices of a prompt share their beginnings, so only the inner nodes of their token tree
        are computed: one row where every choice is one token.

        Args:
            prompts: ids.
            choices: texts for each prompt, as they continue it (with their leading space).
        """
        tails = [
            [self.tokenizer.encode(c, add_special_tokens=False) for c in options]
            for options in choices
        ]
        nodes = [
            (p, head)
            for p, options in enumerate(tails)
            for head in sorted({tuple(t[:i]) for t in options for i in range(len(t))})
        ]
        logprobs = self._next_logprobs(
            [prompts[p] + list(head) for p, head in nodes],
            [
                sorted({t[len(h)] for t in tails[p] if tuple(t[: len(h)]) == h and len(t) > len(h)})
                for p, h in nodes
            ],
        )
        table = dict(zip(nodes, logprobs, strict=True))
        totals = [
            [sum(table[p, tuple(t[:i])][t[i]] for i in range(len(t))) for t in options]
            for p, options in enumerate(tails)
        ]
        return [max(range(len(row)), key=lambda i: (row[i], -i)) for row in totals]

    def _next_logprobs(
        self, rows: list[list[int]], wanted: list[list[int]]
    ) -> list[dict[int, float]]:
        """Log-probability (nats) of each wanted next token after each row."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found: list[dict[int, float]] = [{} for _ in rows]
        for start in range(0, len(order), self.batch):
            members = order[start : start + self.batch]
            logprobs_BV = torch.log_softmax(
                self._last_logits([rows[i] for i in members]).float(), -1
            )
            for line, i in zip(logprobs_BV, members, strict=True):
                found[i] = dict(zip(wanted[i], line[wanted[i]].tolist(), strict=True))
        return found

    def _last_logits(self, rows: list[list[int]]) -> Tensor:
        ids_BT, mask_BT, position_BT = left_padded(
            rows, self.tokenizer.pad_token_id, self.model.device
        )
        return self.model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=position_BT,
            use_cache=False,
            logits_to_keep=1,
        ).logits[:, -1]


def choose(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """The next token of each row: the likeliest, or a draw from the nucleus of probability
    top_p.
    """
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV / sampling.temperature, -1)
    if sampling.top_p < 1:
        sorted_BV, order_BV = probs_BV.sort(-1, descending=True)
        outside_BV = sorted_BV.cumsum(-1) - sorted_BV >= sampling.top_p
        probs_BV = torch.zeros_like(probs_BV).scatter(
            1, order_BV, sorted_BV.masked_fill(outside_BV, 0.0)
        )
    # by the inverse of the cumulative sum: torch.multinomial takes a quarter of the decoding time
    # on a CPU
    drawn_B1 = torch.rand(len(probs_BV), 1, generator=generator, device=probs_BV.device)
    total_BV = probs_BV.cumsum(-1)
    return (total_BV <= drawn_B1 * total_BV[:, -1:]).sum(-1).clamp(max=probs_BV.shape[-1] - 1)
