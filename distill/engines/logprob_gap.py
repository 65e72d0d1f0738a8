"""Where a teacher is far surer of a word than a model that knows no facts: a sign of recall, beside
others. The teacher may be a model in this process or behind a server.

Letters: B sequences, T tokens, V vocabulary, K kept tokens. Source: excess loss against a
reference, arXiv 2404.07965, turned round.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data_filters.records.traces import Trace
from distill.engines.protocol import Engine, left_padded, render

# ids of a conversation, number of those before the assistant's, characters of each of those
Row = tuple[list[int], int, list[tuple[int, int]]]
# rows -> log-probability of each of the assistant's tokens, nats; -inf: not among the likeliest
Score = Callable[[Sequence[Row]], list[Tensor]]
Gaps = list[tuple[int, int, float]]


def token_gaps(
    teacher: Score,
    reference: Score,
    tokenizer: PreTrainedTokenizerBase,
    traces: Sequence[Trace],
    batch: int,
) -> list[Gaps | None]:
    """Of each trace the gap in log-probability of each token of its last message, teacher minus
    reference, nats, with the characters that the token stands for.

    Rare steps of thought are surprising too, so a threshold alone finds more than facts. None for a
    conversation without a question. A token that a server does not list has a gap of -inf.

    Args:
        teacher, reference: `of_model` or `of_engine`.
        tokenizer: of both.
        batch: rows scored together.
    """
    found = ((n, _row(trace, tokenizer)) for n, trace in enumerate(traces))
    rows = {n: row for n, row in found if row is not None}
    order = sorted(rows, key=lambda n: len(rows[n][0]))
    gaps: list[Gaps | None] = [None] * len(traces)
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        chosen = [rows[n] for n in members]
        for n, mine, other in zip(members, teacher(chosen), reference(chosen), strict=True):
            between = (mine - other).tolist()
            gaps[n] = [(*place, gap) for place, gap in zip(rows[n][2], between, strict=True)]
    return gaps


def of_model(model: PreTrainedModel, pad_id: int) -> Score:
    """Scores by a model in this process, exactly."""
    return lambda rows: _logprobs(model, rows, pad_id)


def of_engine(engine: Engine, top_k: int) -> Score:
    """Scores by any engine, a server among them, as far as a token is among its likeliest.

    Args:
        engine: gives log-probabilities of a prompt's tokens.
        top_k: of them, those that it lists at each place.
    """

    def score(rows: Sequence[Row]) -> list[Tensor]:
        listed = engine.score([ids for ids, *_ in rows], top_k)
        return [
            _listed(one.ids_TK, one.logprobs_TK, ids)[begin - 1 :]
            for one, (ids, begin, _) in zip(listed, rows, strict=True)
        ]

    return score


def _listed(ids_TK: Tensor, logprobs_TK: Tensor, ids: list[int]) -> Tensor:
    """The log-probability of each token but the first, -inf where it is not listed."""
    same_TK = ids_TK == torch.tensor(ids[1:])[:, None]
    return logprobs_TK.float().masked_fill(~same_TK, float("-inf")).amax(1)


def _row(trace: Trace, tokenizer: PreTrainedTokenizerBase) -> Row | None:
    talk = [{"role": m["role"], "content": m["content"]} for m in trace.messages]
    if len(talk) < 2 or talk[-1]["role"] != "assistant":
        return None
    asked = tokenizer.encode(render(tokenizer, talk[:-1]), add_special_tokens=False)
    said = tokenizer(talk[-1]["content"], add_special_tokens=False, return_offsets_mapping=True)
    places = [(int(start), int(end)) for start, end in said["offset_mapping"]]
    return [*asked, *said["input_ids"]], len(asked), places


@torch.inference_mode()
def _logprobs(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> list[Tensor]:
    """Log-probability of each of the assistant's tokens, for each row."""
    ids_BT, mask_BT, position_BT = left_padded([ids for ids, *_ in rows], pad, model.device)
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
        logprob_BT[row, last - (len(ids) - begin) :].cpu()
        for row, (ids, begin, _) in enumerate(rows)
    ]
