"""The loss of one block of tokens (see chunked_loss.py), as one Triton kernel: 3 passes over the
logits at most, no buffers.

Checked in Triton's interpreter, and compiled for CUDA. triton is imported at the first call only:
the CPU builds of torch lack it.
"""

import functools
import importlib.util

import torch
from torch import Tensor

from distill.loss.divergences import Divergence

TILE = 4096  # vocabulary ids at once
NUM_WARPS = 8
KERNEL_KINDS = ("forward_kl", "reverse_kl", "jsd")  # divergences that the kernel knows


@functools.cache
def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def serves(kind: str) -> bool:
    """Whether the kernel can be used for this divergence."""
    return has_triton() and kind in KERNEL_KINDS


def dense_block_(
    z_nV: Tensor,
    y_nV: Tensor | None,
    labels_n: Tensor,
    weights: tuple[Tensor, Tensor, Tensor],
    how: Divergence,
    softcap: float | None,
    *,
    tile: int = TILE,
) -> Tensor:
    """Weighted sums of a block's three terms; z_nV then holds their gradient.

    Args:
        z_nV: float32, the student's logits before its soft cap; each row contiguous.
        y_nV: float32, the teacher's logits after its soft cap, kept; each row contiguous. None: no
            teacher, its weight is not looked at.
        labels_n: int64.
        weights: of kl, ce and flat, float32 [n] each.
        how: the divergence and its temperature, which divides the logits of both.
        softcap: of the student's logits; None: not capped.
        tile: a power of 2.

    Returns:
        float64 [3]: kl, ce, flat.

    Source:
        Milakov and Gimelshein 2018, arXiv:1805.02867, for the softmax in one pass;
        distill/loss/divergences.py for the formulas.
    """
    from distill.loss.triton_kernel import step_

    weights_n3 = torch.stack(weights, 1)
    values_n3 = torch.empty_like(weights_n3)
    kind, temperature = ("none", 1.0) if y_nV is None else (how.kind, how.temperature)
    y_nV = z_nV if y_nV is None else y_nV
    with torch.cuda.device_of(z_nV):  # Triton launches on the current device
        step_[(len(z_nV),)](
            z_nV,
            y_nV,
            labels_n.contiguous(),
            weights_n3,
            values_n3,
            z_nV.stride(0),
            y_nV.stride(0),
            z_nV.shape[1],
            KIND=kind,
            BETA=how.beta,
            TEMPERATURE=temperature,
            SOFTCAP=softcap,
            TILE=tile,
            num_warps=NUM_WARPS,
        )
    return (values_n3.double() * weights_n3.double()).sum(0)
