"""Where a model's loss bends: K-FAC factors of linear layers and of experts, collected over a
calibration stream.

For a weight W [E, D] that maps a to W a: A = E[a a^T] [D, D] and G = E[g g^T] [E, E], with g the
gradient of a token's loss at W a. Both are means over positions that predict a taught token:
prompts and padding do not count. Labels are drawn from the model itself (the true Fisher), each by
a number that hangs on seed, sequence and position only, so that neither batches nor ranks change
what is drawn.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D input width, E output width.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from distill.data.packing import Packed
from distill.edit.matrices import Target, refuse_unlike
from distill.forward import causal, hidden_states, softcap
from distill.loss.dense_loss import logits
from distill.loss.signals import Output
from recipes.errors import ModelError

CHUNK_TOKENS = 1024  # taught tokens whose logits exist at once
Stream = Callable[[], Iterable[Packed]]
Sums = tuple[Tensor, Tensor, Tensor]  # of a a^T, of g g^T, and the number of positions; float64


@dataclass(frozen=True, slots=True)
class Factors:
    """Curvature of one weight, float64; `tokens` is the number of positions that both means are
    over.
    """

    inputs_DD: Tensor
    outputs_EE: Tensor
    tokens: int


def collect_factors(
    model: PreTrainedModel, targets: Sequence[Target], batches: Stream, **how: Any
) -> dict[str, Factors]:
    """Factors of each target by name, of a stream that one process reads; arguments as collect_sums
    takes them.

    Raises:
        ModelError: as finished_factors.
    """
    return finished_factors(targets, [collect_sums(model, targets, batches, **how)])


def collect_sums(
    model: PreTrainedModel,
    targets: Sequence[Target],
    batches: Stream,
    *,
    seed: int,
    gold: bool = False,
    memory_gib: float = 4.0,
    temperature: float = 1.0,
    progress: Callable[[int, int], None] = lambda rows, tokens: None,
) -> dict[str, Sums]:
    """What the factors are means of, by target. Reads the stream once for every group of targets
    that fits into memory_gib.

    Args:
        model: in evaluation mode on its device; its weights stay as they are.
        batches: gives the stream (this rank's share of it) from its start.
        seed: of the drawn labels.
        gold: take the tokens of the stream as labels (the empirical Fisher).
        temperature: of the probabilities that labels are drawn from and losses are of; above 1 it
            lets sure tokens bend the loss too.
        memory_gib: of the float64 sums that are held on the device at once; one target is always
            taken.
        progress: called with (rows, tokens) as they are read, once for each group.

    Source: Martens and Grosse 2015, arXiv 1503.05671; for experts over the tokens that were routed
    to them.
    """
    found: dict[str, Sums] = {}
    for group in grouped(targets, memory_gib):
        recorder = _Recorder(group, model)
        with recorder.listening(model):
            for batch in batches():
                recorder.read(model, batch.to(model.device), seed, gold, temperature)
                progress(len(batch.ids_BT), int((batch.segments_BT > 0).sum()))
        found |= {name: tuple(part.cpu() for part in sums) for name, sums in recorder.sums.items()}
    return found


def finished_factors(
    targets: Sequence[Target], shares: Sequence[Mapping[str, Sums]]
) -> dict[str, Factors]:
    """Factors from the sums of every rank.

    Raises:
        ModelError: fewer positions than a factor has rows, or a factor that is not finite.
    """
    return {
        target.name: _finished(
            target, *map(sum, zip(*(share[target.name] for share in shares), strict=True))
        )
        for target in targets
    }


def grouped(targets: Sequence[Target], memory_gib: float) -> list[list[Target]]:
    """Consecutive targets whose float64 sums fit together into memory_gib; a group has at least
    one.
    """
    groups: list[list[Target]] = []
    left = 0.0
    for target in targets:
        size = 8 * (target.shape[0] ** 2 + target.shape[1] ** 2) / 2**30
        if not groups or size > left:
            groups.append([])
            left = memory_gib
        groups[-1].append(target)
        left -= size
    return groups


def _finished(target: Target, inputs_DD: Tensor, outputs_EE: Tensor, count: Tensor) -> Factors:
    tokens, wanted = int(count), max(target.shape)
    if tokens < wanted:
        raise ModelError(
            f"edit: {target.name} was reached by {tokens} taught tokens, its factors have {wanted} rows; the calibration stream must be "
            f"at least {math.ceil(wanted / tokens) if tokens else wanted} times as long: raise edit.calibration_sequences"
        )
    factors = Factors(inputs_DD / tokens, outputs_EE / tokens, tokens)
    if not (factors.inputs_DD.isfinite().all() and factors.outputs_EE.isfinite().all()):
        raise ModelError(
            f"edit: the factors of {target.name} are not finite; look at the model's weights, or load it as float32"
        )
    return factors


def _zeros(target: Target, device: torch.device) -> Sums:
    rows, columns = target.shape
    shapes = ((columns, columns), (rows, rows), ())
    return tuple(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes)  # type: ignore[return-value]


class _Recorder(TorchFunctionMode):
    """Sees every product with a target's weight while it is on, and adds up what the factors are
    means of.

    It listens to torch's own `linear`, since experts live in one stacked parameter and have no
    module that a hook could stand on.
    """

    def __init__(self, targets: Sequence[Target], model: PreTrainedModel) -> None:
        super().__init__()
        self.device = model.device
        self.by_place = {target.weight().data_ptr(): target for target in targets}
        self.sums: dict[str, Sums] = {
            target.name: _zeros(target, self.device) for target in targets
        }
        self.taught_BT = torch.zeros(0, dtype=torch.bool)
        # what the experts at work were given: tokens [N, D], experts of each [N, k]
        self.routed: tuple[Tensor, Tensor] | None = None
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if (
            func is F.linear
            and made.requires_grad
            and (target := self.by_place.get(args[1].data_ptr())) is not None
        ):
            rows = self._rows(target, args[0])
            made.register_hook(lambda grad, given=args[0]: self._add(target, given, grad, rows))
        return made

    @contextmanager
    def listening(self, model: PreTrainedModel) -> Iterator[None]:
        """The model with gradients of activations only, one expert after the other; all as before
        afterwards.
        """
        wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
        experts = [
            module
            for module in model.modules()
            if any(t.module is module and t.expert is not None for t in self.by_place.values())
        ]
        handles = [
            model.get_input_embeddings().register_forward_hook(
                lambda module, given, made: made.requires_grad_(True)
            )
        ]
        handles += [
            module.register_forward_pre_hook(self._note_routing, with_kwargs=True)
            for module in experts
        ]
        before = getattr(model.config, "_experts_implementation", None)
        for parameter in wanted:
            parameter.requires_grad_(False)
        if experts:
            model.config._experts_implementation = "eager"
        try:
            yield
        finally:
            model.config._experts_implementation = before
            for handle in handles:
                handle.remove()
            for parameter in wanted:
                parameter.requires_grad_(True)

    def read(
        self, model: PreTrainedModel, batch: Packed, seed: int, gold: bool, temperature: float
    ) -> None:
        """Forward and backward of one batch; the loss is a sum over tokens, so that g is a token's
        own gradient.
        """
        self.taught_BT, self._last = batch.taught(), None
        if not self.taught_BT.any():
            return
        with torch.enable_grad(), self:
            hidden_BTD = hidden_states(model, batch)
        grads_BTD = torch.zeros_like(hidden_BTD)
        grads_BTD[self.taught_BT] = _loss_gradient(
            model, hidden_BTD.detach()[self.taught_BT], batch, seed, gold, temperature
        )
        hidden_BTD.backward(grads_BTD)

    def _note_routing(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = [*args, *kwargs.values()]
        self.routed = (given[0], given[1])

    def _rows(self, target: Target, given: Tensor) -> Tensor:
        """Which of the rows of a product count: a mask, in the order of the rows."""
        if target.expert is None:
            return self.taught_BT.reshape(-1)
        tokens_ND, experts_Nk = self.routed
        # as transformers' eager experts take them: by place, then by token
        order = (experts_Nk.t() == target.expert).nonzero()[:, 1]
        direct = given.shape[-1] == tokens_ND.shape[-1] and len(order) == len(given)
        if len(order) != len(given) or (
            direct and target.reads_tokens and not torch.equal(tokens_ND[order], given)
        ):
            raise ModelError(
                f"edit: {target.name}: this family routes tokens to its experts in a way that is not known here"
            )
        return self.taught_BT.reshape(-1)[order]

    @torch.no_grad()
    def _add(self, target: Target, given: Tensor, grad: Tensor, rows: Tensor) -> None:
        inputs_DD, outputs_EE, count = self.sums[target.name]
        # gate and up, and q, k and v, read the same
        if self._last is None or self._last[0] is not given:
            taught_ND = given.detach().reshape(-1, given.shape[-1])[rows].float()
            self._last = (given, taught_ND.t() @ taught_ND)
        inputs_DD += self._last[1]
        grads_NE = grad.reshape(-1, grad.shape[-1])[rows].float()
        outputs_EE += grads_NE.t() @ grads_NE
        count += len(grads_NE)


def _loss_gradient(
    model: nn.Module, hidden_ND: Tensor, batch: Packed, seed: int, gold: bool, temperature: float
) -> Tensor:
    """Of the summed cross-entropy at the taught positions, [N, D]; logits exist for a chunk of
    tokens at a time.
    """
    head, taught_BT = causal(model), batch.taught()
    output = Output(head.lm_head.weight, head.lm_head.bias, softcap(head))
    labels_N = batch.labels_BT[taught_BT]
    drawn_N = None if gold else drawn_numbers(batch, seed)[taught_BT]
    grads = []
    for start in range(0, len(hidden_ND), CHUNK_TOKENS):
        part = slice(start, start + CHUNK_TOKENS)
        chunk_ND = hidden_ND[part].clone().requires_grad_(True)
        with torch.enable_grad():
            logits_NV = logits(chunk_ND, output).float() / temperature
        chosen_N = (
            labels_N[part] if drawn_N is None else sampled_labels(logits_NV.detach(), drawn_N[part])
        )
        with torch.enable_grad():
            F.cross_entropy(logits_NV, chosen_N, reduction="sum").backward()
        grads.append(chunk_ND.grad)
    return torch.cat(grads)


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


# --- on disk
# --------------------------------------------------------------------------------------------------------


def save_factors(path: Path, factors: dict[str, Factors], *, origin: dict[str, str]) -> None:
    """One safetensors file, float32, by rename; `origin` (model, data and label digests) goes
    along.
    """
    tensors = {}
    for name, one in factors.items():
        tensors |= {
            f"{name}.inputs": one.inputs_DD.float().cpu().contiguous(),
            f"{name}.outputs": one.outputs_EE.float().cpu().contiguous(),
        }
    half = path.with_name(path.name + ".tmp")
    save_file(
        tensors,
        str(half),
        metadata={**origin, **{f"tokens/{name}": str(one.tokens) for name, one in factors.items()}},
    )
    half.replace(path)


def save_sums(path: Path, sums: Mapping[str, Sums]) -> None:
    """A rank's share, by rename; read_sums gives it back."""
    half = path.with_name(path.name + ".tmp")
    save_file(
        {
            f"{name}/{number}": part.contiguous()
            for name, parts in sums.items()
            for number, part in enumerate(parts)
        },
        str(half),
    )
    half.replace(path)


def read_sums(path: Path) -> dict[str, Sums]:
    tensors = load_file(str(path))
    return {
        name: tuple(tensors[f"{name}/{n}"] for n in range(3))
        for name in {key.rpartition("/")[0] for key in tensors}
    }


def load_factors(path: Path, *, origin: dict[str, str]) -> dict[str, Factors]:
    """What save_factors wrote, as float64.

    Raises:
        ModelError: they were collected on another model or other data.
    """
    with safe_open(str(path), "pt") as file:
        about = file.metadata() or {}
        refuse_unlike(path, about, origin, "factors")
        names = [key.removeprefix("tokens/") for key in about if key.startswith("tokens/")]
        parts = {
            name: (
                file.get_tensor(f"{name}.inputs").double(),
                file.get_tensor(f"{name}.outputs").double(),
            )
            for name in names
        }
    return {name: Factors(*both, int(about[f"tokens/{name}"])) for name, both in parts.items()}


def weights_digest(model: nn.Module) -> str:
    """Names one set of weights: their names, shapes, dtypes and bits."""
    whole = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        whole.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]
