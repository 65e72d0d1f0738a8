"""Taking the flat directions out of weights, and putting them back to the bit.

A weight W [E, D] in the eigenbases of its curvature is C = U_G^T W U_A. Pairs of eigenvectors with
much curvature mu_i lambda_j serve many tokens; what serves few tokens each, memory, lies in the
many flat pairs. An edit keeps some pairs and takes the others out.

Letters: D input width, E output width, R rank.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distill.edit.factors import Factors

Method = Literal["kfac", "kfac_energy", "svd", "random", "pca"]
CONTROLS = ("svd", "random", "pca")


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenvalues (ascending, from 0 up) and eigenvectors (columns) of both factors of a weight,
    float64.
    """

    inputs_D: Tensor
    inputs_DD: Tensor
    outputs_E: Tensor
    outputs_EE: Tensor

    @classmethod
    def of(cls, factors: Factors) -> "Spectrum":
        parts: list[Tensor] = []
        for whole in (factors.inputs_DD, factors.outputs_EE):
            values, vectors = torch.linalg.eigh((whole + whole.t()) / 2)
            parts += [values.clamp(min=0), vectors]
        return cls(*parts)

    def coefficients(self, weight_ED: Tensor) -> Tensor:
        """C [E, D]: the weight in both eigenbases."""
        return self.outputs_EE.t() @ weight_ED.double() @ self.inputs_DD

    def weight(self, coefficients_ED: Tensor) -> Tensor:
        return self.outputs_EE @ coefficients_ED @ self.inputs_DD.t()


def kept_pairs(outputs_E: Tensor, inputs_D: Tensor, rho: float) -> Tensor:
    """Which pairs an edit keeps, boolean [E, D]: the fewest with the largest products that hold a
    fraction rho of the sum of all products.

    Found by bisection over the bits of the threshold; a step costs E searches among D sorted
    numbers, so E x D products are never sorted. Pairs tied at the threshold are kept together; rho
    1 keeps all, also those of no curvature.

    Args:
        outputs_E, inputs_D: eigenvalues, ascending, from 0 up.
        rho: 0..1.
    """
    if rho >= 1:
        return torch.ones(len(outputs_E), len(inputs_D), dtype=torch.bool, device=inputs_D.device)
    outputs_E, inputs_D = outputs_E.double(), inputs_D.double()
    zero = torch.zeros(1, dtype=torch.float64, device=inputs_D.device)
    # tail_D[k]: the sum of inputs_D[k:]
    tail_D = torch.cat([inputs_D.flip(0).cumsum(0).flip(0), zero])

    def firsts(threshold: float) -> Tensor:
        """Of each output, the first input that is kept with it; ascending inputs make the kept ones
        a tail.
        """
        floor_E = torch.where(outputs_E > 0, threshold / outputs_E.clamp(min=1e-300), torch.inf)
        return torch.searchsorted(inputs_D, floor_E)

    wanted = rho * float(outputs_E.sum() * inputs_D.sum())
    # as bits: positive floats are ordered as whole numbers
    low, high = 1, _bits(float(outputs_E[-1] * inputs_D[-1])) + 1
    while high - low > 1:  # what is over `low` holds enough; what is over `high` does not
        middle = (low + high) // 2
        if float((outputs_E * tail_D[firsts(_float(middle))]).sum()) >= wanted:
            low = middle
        else:
            high = middle
    return torch.arange(len(inputs_D), device=inputs_D.device) >= firsts(_float(low))[:, None]


def heaviest(values_ED: Tensor, rho: float) -> Tensor:
    """As kept_pairs, for any values from 0 up: boolean [E, D]. Each step of the bisection reads all
    values; none sorts them.
    """
    if rho >= 1:
        return torch.ones_like(values_ED, dtype=torch.bool)
    wanted, low, high = rho * float(values_ED.sum()), 0, _bits(float(values_ED.max())) + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = float(torch.where(values_ED >= _float(middle), values_ED, 0.0).sum()) >= wanted
        low, high = (middle, high) if enough else (low, middle)
    return values_ED >= _float(low)


def _bits(value: float) -> int:
    return int(torch.tensor(value, dtype=torch.float64).view(torch.int64))


def _float(bits: int) -> float:
    return float(torch.tensor(bits, dtype=torch.int64).view(torch.float64))


# --- edits
# ----------------------------------------------------------------------------------------------------------


def kept_count(weight_ED: Tensor, spectrum: Spectrum, method: Method, rho: float) -> int:
    """How many pairs the curvature keeps at rho: the size that its controls are given."""
    if method == "kfac_energy":
        return int(heaviest(_energy(weight_ED, spectrum), rho).sum())
    return int(kept_pairs(spectrum.outputs_E, spectrum.inputs_D, rho).sum())


def edited_weight(
    weight_ED: Tensor, spectrum: Spectrum, method: Method, rho: float, *, seed: int = 0
) -> tuple[Tensor, int]:
    """The weight with what a method drops taken out, in its own dtype, and how many numbers were
    kept.

    kfac ranks pairs by mu lambda, kfac_energy by mu lambda C^2. Controls keep as many numbers as
    kfac does at the same rho: svd the largest singular values (R (D + E - R) numbers), random pairs
    of the same eigenbases, pca the inputs' largest directions (E numbers each). Where nothing is
    dropped the weight comes back as it was, bit by bit.

    Args:
        weight_ED: not changed.
        rho: fraction of curvature that is kept, 0..1.
        seed: of random.
    """
    dropped, kept = _dropped(weight_ED, spectrum, method, rho, seed)
    return (
        weight_ED.clone() if dropped is None else (weight_ED.double() - dropped).to(weight_ED.dtype)
    ), kept


def _dropped(
    weight_ED: Tensor, spectrum: Spectrum, method: Method, rho: float, seed: int
) -> tuple[Tensor | None, int]:
    rows, columns = weight_ED.shape
    if rho >= 1:
        return None, rows * columns
    if method == "kfac_energy":
        mask_ED = heaviest(_energy(weight_ED, spectrum), rho)
    else:
        mask_ED = kept_pairs(spectrum.outputs_E, spectrum.inputs_D, rho)
    size = int(mask_ED.sum())
    if method == "svd":
        return _beyond_rank(weight_ED, size)
    if method == "random":
        order = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(seed))[
            :size
        ].to(weight_ED.device)
        mask_ED = (
            torch.zeros(rows * columns, dtype=torch.bool, device=weight_ED.device)
            .index_fill_(0, order, True)
            .view(rows, columns)
        )
    if method == "pca":
        mask_ED = (
            torch.arange(columns, device=weight_ED.device) >= columns - round(size / rows)
        ).expand(rows, columns)
    kept = int(mask_ED.sum())
    if kept == rows * columns:
        return None, kept
    if method == "pca":  # only the inputs' basis has a part in it
        return _of_dropped_inputs(weight_ED, spectrum, mask_ED), kept
    return spectrum.weight(spectrum.coefficients(weight_ED).masked_fill(mask_ED, 0.0)), kept


def _of_dropped_inputs(weight_ED: Tensor, spectrum: Spectrum, mask_ED: Tensor) -> Tensor:
    """What of the weight reads the dropped directions of the inputs."""
    return (weight_ED.double() @ spectrum.inputs_DD).masked_fill(
        mask_ED, 0.0
    ) @ spectrum.inputs_DD.t()


def _beyond_rank(weight_ED: Tensor, size: int) -> tuple[Tensor | None, int]:
    """What the largest singular values leave out, with the largest rank R whose R (D + E - R)
    numbers are at most `size`.
    """
    rows, columns = weight_ED.shape
    total, full = rows + columns, min(rows, columns)
    rank = min(full, int((total - math.sqrt(max(0.0, total * total - 4 * size))) / 2 + 1e-9))
    if rank == full:
        return None, rows * columns
    left, values, right = torch.linalg.svd(weight_ED.double(), full_matrices=False)
    return (left[:, rank:] * values[rank:]) @ right[rank:], rank * (total - rank)


def _energy(weight_ED: Tensor, spectrum: Spectrum) -> Tensor:
    curvature_ED = spectrum.outputs_E[:, None] * spectrum.inputs_D
    return curvature_ED * spectrum.coefficients(weight_ED).square()
