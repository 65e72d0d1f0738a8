"""Where a model's loss bends: K-FAC factors of linear layers and of experts, collected over a
calibration stream.

For a weight W [E, D] that maps a to W a: A = E[a a^T] [D, D] and G = E[g g^T] [E, E], with g the
gradient of a token's loss at W a. Both are means over positions that predict a taught token:
prompts and padding do not count. Labels are drawn from the model itself (the true Fisher), each by
a number that hangs on seed, sequence and position only, so that neither batches nor ranks change
what is drawn.

Letters: B rows, T tokens, N taught tokens, V vocabulary, D input width, E output width.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from distill.data.packing import Packed
from distill.edit.factors import Factors, Sums
from distill.edit.labels import drawn_numbers, sampled_labels
from distill.edit.matrices import Target
from distill.forward import hidden_states
from distill.loss.dense_loss import logits
from distill.loss.signals import output_of
from recipes.errors import ModelError

CHUNK_TOKENS = 1024  # taught tokens whose logits exist at once
Stream = Callable[[], Iterable[Packed]]


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
        for name, (inputs_DD, outputs_EE, count) in recorder.sums.items():
            found[name] = (inputs_DD.cpu(), outputs_EE.cpu(), count.cpu())
    return found


def finished_factors(
    targets: Sequence[Target], shares: Sequence[Mapping[str, Sums]]
) -> dict[str, Factors]:
    """Factors from the sums of every rank.

    Raises:
        ModelError: fewer positions than a factor has rows, or a factor that is not finite.
    """
    found = {}
    for target in targets:
        parts = zip(*(share[target.name] for share in shares), strict=True)
        inputs_DD, outputs_EE, count = (functools.reduce(operator.add, part) for part in parts)
        found[target.name] = _finished(target, inputs_DD, outputs_EE, count)
    return found


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
    inputs_DD, outputs_EE, count = (
        torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes
    )
    return inputs_DD, outputs_EE, count


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

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Does what was asked for, and listens to products with a target's weight."""
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

    def _note_routing(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        given = [*args, *kwargs.values()]
        self.routed = (given[0], given[1])

    def _rows(self, target: Target, given: Tensor) -> Tensor:
        """Which of the rows of a product count: a mask, in the order of the rows."""
        if target.expert is None:
            return self.taught_BT.reshape(-1)
        assert self.routed is not None  # experts are called with their routing
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
    output, taught_BT = output_of(model, None), batch.taught()
    labels_N = batch.labels_BT[taught_BT]
    drawn_N = None if gold else drawn_numbers(batch, seed)[taught_BT]
    grads: list[Tensor] = []
    for start in range(0, len(hidden_ND), CHUNK_TOKENS):
        part = slice(start, start + CHUNK_TOKENS)
        chunk_ND = hidden_ND[part].clone().requires_grad_(True)
        with torch.enable_grad():
            logits_NV = logits(chunk_ND, output).float() / temperature
        chosen_N = (
            labels_N[part] if drawn_N is None else sampled_labels(logits_NV.detach(), drawn_N[part])
        )
        with torch.enable_grad():
            loss = F.cross_entropy(logits_NV, chosen_N, reduction="sum")
        grads += torch.autograd.grad(loss, chunk_ND)
    return torch.cat(grads)
