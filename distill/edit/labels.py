"""Labels drawn from a model itself, each by a number that depends on seed, sequence and position
only.

Letters: B rows, T tokens, N taught tokens, V vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from distill.data.packing import Packed


def sampled_labels(logits_NV: Tensor, drawn_N: Tensor) -> Tensor:
    """A draw from each row's softmax, by the inverse of the cumulative sum at a uniform number in
    0..1.
    """
    total_NV = torch.softmax(logits_NV.double(), -1).cumsum(-1)
    return torch.searchsorted(total_NV, (drawn_N * total_NV[:, -1])[:, None], right=True)[
        :, 0
    ].clamp(max=logits_NV.shape[-1] - 1)


def drawn_numbers(batch: Packed, seed: int) -> Tensor:
    """Uniform numbers [B, T], float64, each a hash (splitmix64) of seed, sequence and position."""
    key = np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    with np.errstate(over="ignore"):
        mixed = key + batch.sources_BT.cpu().numpy().astype(np.uint64) * np.uint64(
            0xD1342543DE82EF95
        )
        mixed = _mix(mixed) + batch.positions_BT.cpu().numpy().astype(np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        mixed = _mix(mixed)
    return torch.from_numpy((mixed >> np.uint64(11)).astype(np.float64) / 2.0**53).to(
        batch.ids_BT.device
    )


def _mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
