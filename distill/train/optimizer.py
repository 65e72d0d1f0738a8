"""The optimizer of a run: AdamW, or Muon on matrices with AdamW on the rest; and a plain loop for
short trainings.

torch.optim.Muon takes 2-D parameters only and the experts of a mixture are 3-D stacks, hence our
own.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.packing import Packed
from distill.loss.learner import Learner
from distill.loss.signals import Signal
from distill.train.accelerator import Shard, shards_of
from recipes.schema import Training

CLIP_NORM = 1.0  # of train_steps
NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon=True` take an orthogonalised momentum step instead.

    Source:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/ (coefficients of the quintic
        iteration, Nesterov momentum, scale sqrt(max(1, rows / columns))).
    """

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        # under ZeRO: what lies in a master of which several ranks hold parts, by its id
        self.shards: dict[int, list[Shard]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both kinds."""
        groups = self.param_groups
        for group in groups:
            if group.get("muon"):
                self._muon_step(group)
        self.param_groups = [group for group in groups if not group.get("muon")]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _muon_step(self, group: dict[str, Any]) -> None:
        for flat in group["params"]:
            if id(flat) in self.shards:
                self._sharded_step(flat, self.shards[id(flat)], group)
        own = (p for p in group["params"] if p.grad is not None and id(p) not in self.shards)
        for shape, members in _by_shape(own).items():
            update = _orthogonal(
                torch.stack([self._momentum(p, group["momentum"]) for p in members])
            )
            scale = _scale(shape)
            for parameter, step in zip(members, update, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                    step, alpha=-group["lr"] * scale
                )

    def _sharded_step(self, flat: Tensor, shards: list[Shard], group: dict[str, Any]) -> None:
        """Gathers the look-ahead of whole matrices; each rank orthogonalises those that it holds a
        part of, and steps there.
        """
        ahead = self._momentum(flat, group["momentum"])
        flat.mul_(1 - group["lr"] * group["weight_decay"])
        shapes: dict[torch.Size, list[Shard]] = {}
        for shard in shards:
            shapes.setdefault(shard.shape, []).append(shard)
        for shape, members in shapes.items():
            whole = flat.new_zeros(len(members), *shape)
            for matrix, shard in zip(whole, members, strict=True):
                shard.cut(matrix).copy_(shard.part(ahead))
            torch.distributed.all_reduce(whole)
            mine = [number for number, shard in enumerate(members) if shard.numel]
            for number, step in zip(mine, _orthogonal(whole[mine]), strict=True):
                shard, rate = members[number], group["lr"] * _scale(shape)
                shard.part(flat).add_(shard.cut(step), alpha=-rate)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The Nesterov look-ahead of the running gradient."""
        state = self.state[parameter]
        if not state:
            state["step"], state["momentum"] = torch.zeros(()), torch.zeros_like(parameter)
        grad = parameter.grad
        assert grad is not None  # its caller leaves out those without one
        state["step"] += 1
        state["momentum"].lerp_(grad, 1 - momentum)
        return grad.lerp(state["momentum"], momentum)


def share_muon(engine: Any) -> None:
    """Tells Muon where ZeRO has put its matrices; AdamW needs no whole ones.

    Args:
        engine: DeepSpeed's, prepared with an optimizer of `build_optimizer`.
    """
    optimizer = engine.optimizer.optimizer
    if not isinstance(optimizer, MuonAdamW):
        return
    shards: dict[int, list[Shard]] = {}
    for shard in shards_of(engine.optimizer):
        shards.setdefault(id(shard.flat), []).append(shard)
    optimizer.shards = shards


def _scale(shape: torch.Size) -> float:
    return float(max(1.0, shape[-2] / shape[-1]) ** 0.5)


def _by_shape(parameters: Iterable[Tensor]) -> dict[torch.Size, list[Tensor]]:
    """Equal shapes go through one batched iteration."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    return groups


def _orthogonal(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices, approximately, by Newton-Schulz; leading dimensions
    are a batch.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


def build_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """One optimizer over all trainable parameters; each group remembers its full rate as `peak`.

    Norms, biases and embeddings (and an output matrix tied to them) do not decay. With muon only
    its matrices do.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decay, none = {"weight_decay": training.weight_decay}, {"weight_decay": 0.0}
    rate = {"lr": training.learning_rate, "peak": training.learning_rate}
    if training.optimizer == "muon":
        muon_rate = {"lr": training.muon_learning_rate, "peak": training.muon_learning_rate}
        chosen = {name for name, p in trainable if _is_matrix(name, p)}
        first = muon_rate | decay | {"muon": True, "momentum": 0.95}
    else:
        embeddings = _embeddings(model)
        chosen = {name for name, p in trainable if p.ndim >= 2 and id(p) not in embeddings}
        first = rate | decay
    groups = [
        {"params": [p for name, p in trainable if name in chosen]} | first,
        {"params": [p for name, p in trainable if name not in chosen]} | rate | none,
    ]
    kind = torch.optim.AdamW if training.optimizer == "adamw" else MuonAdamW
    return kind(
        [group for group in groups if group["params"]],
        lr=training.learning_rate,
        betas=training.adam_betas,
        weight_decay=training.weight_decay,
    )


def _embeddings(model: nn.Module) -> set[int]:
    """The ids of the parameters of embeddings; a tied output matrix is one of them."""
    modules = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return {id(parameter) for module in modules for parameter in module.parameters()}


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Hidden matrices and expert stacks; embeddings, output matrix and router stay with AdamW."""
    return parameter.ndim >= 2 and not any(
        part in name for part in ("embed", "lm_head", "mlp.gate.weight")
    )


def decay_fraction(step: int, steps: int, *, stable: float, final: float) -> float:
    """Constant, then linear decay: the share of the full rate at `step` of `steps`."""
    progress = step / max(1, steps)
    return (
        1.0
        if progress < stable
        else final + (1 - final) * (1 - (progress - stable) / max(1e-9, 1 - stable))
    )


def train_steps(
    learner: Learner,
    batches: Iterable[tuple[Packed, Signal | None]],
    learning_rate: Callable[[int], float],
    *,
    autocast: torch.dtype | None = None,
    done: Callable[[int, float, Packed], None] = lambda *_: None,
) -> list[float]:
    """Plain AdamW steps on one device, for trainings too short to be resumed or split over ranks.

    Args:
        learner: on its device; its trainable parameters are updated in place.
        batches: packed rows with the teacher's signal, one for each step.
        learning_rate: at a step, counted from 0.
        autocast: dtype of the forward pass; None: as the weights are.
        done: called with the step (from 1), its loss and its batch.

    Returns:
        the loss of each step, nats, mean over the weights of its batch.
    """
    device = next(learner.parameters()).device
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate(0), weight_decay=0.0)
    losses = []
    for step, (packed, signal) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate(step)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            loss, _ = learner(packed.to(device), signal)
        weight = sum(packed.total_weights().values())
        (loss / weight).backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()) / weight)
        done(step + 1, losses[-1], packed)
    return losses
