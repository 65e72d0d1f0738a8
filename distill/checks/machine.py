"""What can be refused about this machine and this launch: ZeRO, attention kernels, trackers."""

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from distill.train.accelerator import check_deepspeed, launched_zero_stage
from recipes.errors import TrainingError
from recipes.schema import Distill, Model, Training

Check = Callable[[], str]  # says in a few words what was found, or raises

# distributions, not modules: a folder wandb/ in the working directory can be imported too
PACKAGES = {
    "trackio": ("trackio",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    **{
        f"flash_attention_{n}": (name, "kernels")
        for n, name in ((2, "flash-attn"), (3, "flash-attn-3"), (4, "flash-attn-4"))
    },
}


def machine_checks(training: Training, spec: Model, section: str) -> Iterator[tuple[str, Check]]:
    """What this launch must be able to do.

    Args:
        spec: of the model that is trained.
        section: distill or teacher.
    """
    yield "ZeRO", lambda: check_zero(training, section)
    yield (
        "attention",
        lambda: check_attention(
            spec, "models.teacher" if section == "teacher" else "models.student"
        ),
    )
    yield "trackers", lambda: check_trackers(training, section)


def check_zero(training: Training, section: str) -> str:
    """Refuses Muon under ZeRO, and a sharded teacher without ZeRO-3.

    Raises:
        TrainingError: as said.
    """
    stage = launched_zero_stage()
    found = "no DeepSpeed" if stage is None else f"ZeRO-{stage}"
    if stage is not None:
        check_deepspeed(training)
    if isinstance(training, Distill) and training.targets.teacher == "sharded" and stage != 3:
        raise TrainingError(
            f"{section}.targets.teacher: sharded needs ZeRO-3, this launch has {found}; use launch/accelerate/zero3_*.yaml"
        )
    return f"{found}, optimizer {training.optimizer}"


def check_trackers(training: Training, section: str) -> str:
    """Refuses trackers that are not installed; accelerate would leave them out without a word.

    Raises:
        TrainingError: as said.
    """
    missing = [name for name in training.trackers if not _installed(name)]
    if missing:
        raise TrainingError(
            f"{section}.trackers: {', '.join(missing)} is not installed; pip install it, or leave it out"
        )
    return ", ".join(training.trackers) or "none"


def check_attention(spec: Model, where: str) -> str:
    """Refuses a kernel that is not here.

    Raises:
        TrainingError: as said.
    """
    if spec.attention not in PACKAGES or (torch.cuda.is_available() and _installed(spec.attention)):
        return spec.attention
    why = (
        f"no package {PACKAGES[spec.attention][0]}"
        if torch.cuda.is_available()
        else "no CUDA device"
    )
    raise TrainingError(
        f"{where}.attention: {spec.attention} was asked for and there is {why}; install it, or set attention: sdpa"
    )


def _installed(name: str) -> bool:
    for package in PACKAGES[name]:
        try:
            return bool(version(package))
        except PackageNotFoundError:
            continue
    return False
