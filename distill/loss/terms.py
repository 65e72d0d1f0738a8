"""The three terms of the loss: what they add up to, and how much each token weighs in them.

Letters: N taught tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Terms(NamedTuple):
    """Weighted sums over tokens, nats: the divergence, the cross-entropy and the pull toward a flat
    distribution.
    """

    kl: Tensor
    ce: Tensor
    flat: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """What each taught token adds to the loss: kl * divergence + ce * cross-entropy + flat *
    KL(uniform || student).
    """

    kl_N: Tensor  # float32, 0 and above, as all three
    ce_N: Tensor
    flat_N: Tensor

    def rows(self, here: slice) -> "Weights":
        return Weights(self.kl_N[here], self.ce_N[here], self.flat_N[here])
