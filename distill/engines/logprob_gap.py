"""Where a teacher is far surer of a word than a model that knows no facts: a sign of recall, beside
others.

Letters: B sequences, T tokens, V vocabulary. Source: excess loss against a reference, arXiv
2404.07965, turned round.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.traces import Trace
from distill.engines.protocol import left_padded, render

Row = tuple[list[int], int]  # ids of a conversation, number of those before the assistant's


def largest_gaps(
    teacher: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    traces: Sequence[Trace],
    batch: int,
) -> list[float | None]:
    """Of each trace the largest gap in log-probability of a token of its last message, teacher
    minus reference, nats.

    Rare steps of thought are surprising too, so a threshold alone finds more than facts. None for a
    conversation without a question.
    """
    found = ((n, _row(trace, tokenizer)) for n, trace in enumerate(traces))
    rows = {n: row for n, row in found if row is not None}
    order = sorted(rows, key=lambda n: len(rows[n][0]))
    gaps: list[float | None] = [None] * len(traces)
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        chosen = [rows[n] for n in members]
        ours, theirs = (
            _logprobs(model, chosen, tokenizer.pad_token_id) for model in (teacher, reference)
        )
        for n, mine, other in zip(members, ours, theirs, strict=True):
            gaps[n] = float((mine - other).max()) if len(mine) else None
    return gaps


def _row(trace: Trace, tokenizer: PreTrainedTokenizerBase) -> Row | None:
    talk = [{"role": m["role"], "content": m["content"]} for m in trace.messages]
    if len(talk) < 2 or talk[-1]["role"] != "assistant":
        return None
    asked = tokenizer.encode(render(tokenizer, talk[:-1]), add_special_tokens=False)
    said = tokenizer.encode(talk[-1]["content"], add_special_tokens=False)
    return [*asked, *said], len(asked)


@torch.inference_mode()
def _logprobs(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> list[torch.Tensor]:
    """Log-probability of each of the assistant's tokens, for each row."""
    ids_BT, mask_BT, position_BT = left_padded([ids for ids, _ in rows], pad, model.device)
    logits_BTV = (
        model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=position_BT,
            use_cache=False,
        )
        .logits[:, :-1]
        .float()
    )
    logprob_BT = logits_BTV.gather(2, ids_BT[:, 1:, None])[..., 0] - logits_BTV.logsumexp(-1)
    last = logprob_BT.shape[1]
    return [
        logprob_BT[row, last - (len(ids) - begin) :].cpu() for row, (ids, begin) in enumerate(rows)
    ]
