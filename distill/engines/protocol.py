"""How a model is spoken with, whatever runs it: conversations in, completions out, and
log-probabilities of given tokens.

Letters: T tokens, K kept tokens of the vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill.chat_templates.forms import form_of, rendered
from recipes.errors import ModelError

Conversation = list[dict[str, str]]
# a thought in the text of a trace, and what stands before the answer
THOUGHT, THOUGHT_END = "<think>", "\n</think>\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a completion is drawn."""

    max_new_tokens: int
    temperature: float = 0.0  # 0 = greedy
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()  # texts that end a completion; they are left out of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote; `text` begins with the prefix that was begun for it, if any."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    # stop; length: cut off; refused: the server would not take the prompt (text says why)
    finish_reason: str
    # messages before the text, where it called tools: calls and results in turn
    said: Sequence[dict[str, str]] = ()
    # of the tokens written, nats, under the model without temperature; None: not known
    mean_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class TopLogprobs:
    """The likeliest tokens behind each token of a sequence but the last."""

    ids_TK: Tensor  # int64, of T - 1 positions
    logprobs_TK: Tensor  # float32, nats, at temperature 1


class Engine(Protocol):
    """A model that completes and scores."""

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
        """One completion a conversation, in the order given.

        Args:
            conversations: messages with role and content, ending with the user's.
            sampling: shared by all.
            prefixes: assistant text that is begun for the model, one a conversation.
            seeds: one a conversation, for engines that draw each on its own; the others, and
                without it all, go by sampling.seed.
            progress: called with (conversations, new tokens) as they come in.
            finished: called with (index, completion) as soon as each is there, from any thread.
            tools: JSON schemas of tools that all conversations offer; calls are part of the text.
        """
        ...

    def score(self, rows: Sequence[Sequence[int]], top_k: int) -> list[TopLogprobs]:
        """The `top_k` likeliest next tokens after each token of each row, by prefill."""
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


def render(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    prefix: str = "",
    tools: str | None = None,
) -> str:
    """The text of a prompt up to where the assistant goes on; tools: JSON schemas of those that are
    offered.

    A thought that is begun for the model stands as its template writes it: opened once, also where
    the template opens it, and ended as the template ends it.

    Raises:
        ModelError: the chat template refuses the conversation.
    """
    asked = written(tokenizer, conversation, tools, add_generation_prompt=True)
    if opened_thought(asked) and prefix.startswith(THOUGHT):
        prefix = prefix.removeprefix(THOUGHT).removeprefix("\n")
    if prefix.endswith(THOUGHT_END):
        prefix = prefix.removesuffix(THOUGHT_END) + _thought_end(tokenizer)
    return asked + prefix


def _thought_end(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the chat template writes between a thought and the answer behind it; as in traces where
    the template keeps no thoughts.
    """
    before, after = "Why.", "So."
    said = f"{THOUGHT}\n{before}{THOUGHT_END}{after}"
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
    try:
        _, _, rest = written(tokenizer, talk, None).partition(before)
    except ModelError:
        return THOUGHT_END
    end, found, _ = rest.partition(after)
    return end if found and THOUGHT_END.strip() in end else THOUGHT_END


def written(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    tools: str | None,
    *,
    add_generation_prompt: bool = False,
) -> str:
    """A conversation as the chat template writes it; its calls, JSON in our records, become what
    templates expect.
    """
    form = form_of(tokenizer)
    return rendered(tokenizer, conversation, form, tools, prompt=add_generation_prompt)


def opened_thought(rendered: str) -> str:
    """What a chat template has begun of the assistant's text: some open the thought themselves, and
    models do not repeat it.
    """
    return f"{THOUGHT}\n" if rendered.rstrip().endswith(THOUGHT) else ""


def conversation(prompt: str, system: str | None) -> Conversation:
    """What a model is asked, as messages."""
    said = [{"role": "system", "content": system}] if system else []
    return [*said, {"role": "user", "content": prompt}]


def left_padded(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of token ids that end together, as a causal model reads them.

    Returns:
        ids, mask (1 at a token, 0 at padding) and positions (from 0 at each row's first token),
        int64 [B, T].
    """
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id)
    mask_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, ids in enumerate(rows):
        ids_BT[row, longest - len(ids) :] = torch.tensor(list(ids), dtype=torch.long)
        mask_BT[row, longest - len(ids) :] = 1
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    return ids_BT.to(device), mask_BT.to(device), positions_BT.to(device)
