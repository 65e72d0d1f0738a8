"""A teacher's distribution in a few bytes: an unbiased sketch of it, or its likeliest tokens.

Letters: n tokens, V vocabulary, K kept tokens, h those of them that are kept for sure.

The sketch keeps K tokens. The h likeliest are kept with their own probability; the others share K -
h places, in each of which a token stands with the chance that makes its mean right. Every token's
mean over draws is its probability (unbiased), no token stands twice, the weights sum to 1, and
where the tail is thin the sketch is nearly exact. The K-draw form of arXiv:2503.16870 draws the
head too; the variance of that at the same size is in docs/benchmarks.md.

Source:
    Cohen et al. 2011, arXiv:0803.0473 (VarOpt: sampling k of a weighted set with the least
    variance); Anshumann et al. 2025, arXiv:2503.16870, for unbiased sampled targets.
"""

import numpy as np
import torch
from torch import Tensor

from distill.loss.divergences import entropy
from distill.loss.signals import Sampled, TopK

UNITS = 65_535  # of which the weights of a sketch are whole numbers, so that each takes two bytes
ID_BYTES = 3  # vocabularies up to 16.7 million


def sketch(logits_nV: Tensor, kept: int, generator: torch.Generator) -> Sampled:
    """Draws an unbiased sketch of the softmax of each row.

    Args:
        logits_nV: float32, at the temperature of the divergence.
        kept: K, at least 1; clipped to V.
        generator: of the draws, on the device of the logits.
    """
    probs_nV = torch.softmax(logits_nV.double(), -1)
    kept = min(kept, probs_nV.shape[1])
    top_nK, ids_nK = probs_nV.topk(kept)
    head_n = _sure(top_nK)
    place_K = torch.arange(kept, device=probs_nV.device)
    sure_nK = place_K < head_n[:, None]
    tail_nV = probs_nV.scatter(1, ids_nK, torch.where(sure_nK, 0.0, top_nK))
    rest_nV = tail_nV.cumsum_(1)
    step_n = rest_nV[:, -1] / (kept - head_n)
    # systematic: one draw for all places, at equal distances along the tail
    start_n1 = torch.rand(
        len(probs_nV), 1, generator=generator, device=probs_nV.device, dtype=torch.float64
    )
    along_nK = (place_K - head_n[:, None] + start_n1).clamp(min=0) * step_n[:, None]
    drawn_nK = torch.searchsorted(rest_nV, along_nK, right=True).clamp(max=probs_nV.shape[1] - 1)
    weights_nK = torch.where(sure_nK, top_nK, step_n[:, None])
    return Sampled(
        torch.where(sure_nK, ids_nK, drawn_nK), _in_units(weights_nK, generator), entropy(logits_nV)
    )


def _sure(top_nK: Tensor) -> Tensor:
    """How many of the likeliest tokens are kept for sure: the fewest that leave every other a
    chance of at most 1.
    """
    kept = top_nK.shape[1]
    before_nK = top_nK.cumsum(1) - top_nK
    places_K = kept - torch.arange(kept, device=top_nK.device)
    fits_nK = top_nK * places_K <= (1 - before_nK)
    fits_nK[:, -1] = True
    return fits_nK.int().argmax(1)


def _in_units(weights_nK: Tensor, generator: torch.Generator) -> Tensor:
    """Rounds weights to multiples of 1 / UNITS so that the mean of each stays what it was, and so
    does the sum.
    """
    upto_nK = weights_nK.cumsum(1)
    upto_nK = upto_nK / upto_nK[:, -1:] * UNITS
    shift_n1 = torch.rand(
        len(weights_nK), 1, generator=generator, device=weights_nK.device, dtype=torch.float64
    )
    whole_nK = torch.floor(upto_nK + shift_n1)
    whole_nK[:, -1] = UNITS  # floor(UNITS + shift), without the chance of a rounding error
    return (whole_nK.diff(dim=1, prepend=torch.zeros_like(shift_n1)) / UNITS).float()


def top_k(logits_nV: Tensor, kept: int) -> TopK:
    """The K likeliest tokens of each row with their log-probabilities."""
    logprobs_nV = torch.log_softmax(logits_nV, -1)
    logprobs_nK, ids_nK = logprobs_nV.topk(min(kept, logprobs_nV.shape[1] - 1))
    return TopK(ids_nK, logprobs_nK)


# --- bytes
# --------------------------------------------------------------------------------------------------------------


def pack_sampled(sampled: Sampled) -> np.ndarray:
    """uint8 [n, 5 K + 4]: K ids of three bytes, K weights of two, the entropy as float32."""
    units_nK = (sampled.probs_NK.double() * UNITS).round().cpu().numpy().astype("<u2")
    entropy_n1 = sampled.entropy_N[:, None].float().cpu().numpy().astype("<f4")
    return np.concatenate(
        [_ids_to_bytes(sampled.ids_NK), units_nK.view(np.uint8), entropy_n1.view(np.uint8)], 1
    )


def unpack_sampled(rows: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids int64 [n, K], probabilities float32 [n, K], entropy float32 [n]."""
    ids, units, last = np.split(rows, [ID_BYTES * kept, (ID_BYTES + 2) * kept], 1)
    probs_nK = np.ascontiguousarray(units).view("<u2").astype(np.float32) / UNITS
    return _bytes_to_ids(ids), probs_nK, np.ascontiguousarray(last).view("<f4")[:, 0]


def pack_top_k(top: TopK) -> np.ndarray:
    """uint8 [n, 7 K]: K ids of three bytes, K log-probabilities as float32; the tail is what is
    left of 1.
    """
    logprobs_nK = top.logprobs_NK.float().cpu().numpy().astype("<f4")
    return np.concatenate([_ids_to_bytes(top.ids_NK), logprobs_nK.view(np.uint8)], 1)


def unpack_top_k(rows: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """ids int64 [n, K], log-probabilities float32 [n, K]."""
    ids, logprobs = np.split(rows, [ID_BYTES * kept], 1)
    return _bytes_to_ids(ids), np.ascontiguousarray(logprobs).view("<f4")


def _ids_to_bytes(ids_nK: Tensor) -> np.ndarray:
    wide = ids_nK.cpu().numpy().astype("<u4")[..., None].view(np.uint8)
    return np.ascontiguousarray(wide[..., :ID_BYTES]).reshape(len(wide), wide.shape[1] * ID_BYTES)


def _bytes_to_ids(narrow: np.ndarray) -> np.ndarray:
    split = narrow.reshape(len(narrow), narrow.shape[1] // ID_BYTES, ID_BYTES).astype(np.int64)
    return split[..., 0] | split[..., 1] << 8 | split[..., 2] << 16


def bytes_per_token(kind: str, kept: int, hidden_size: int, hidden_bytes: int) -> int:
    """What one taught token takes in a cache, without the file's own overhead (8 bytes a
    sequence).
    """
    return {
        "sampled": (ID_BYTES + 2) * kept + 4,
        "top_k": (ID_BYTES + 4) * kept,
        "hidden": hidden_size * hidden_bytes,
    }[kind]
