"""The log of a training: one JSON line a step, the trackers that the recipe names, and the figures
that an operator watches.
"""

import importlib
import io
import json
import math
import os
import re
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, Self, TextIO

import torch
from accelerate import Accelerator
from torch import nn

from data_filters.records.files import replacing
from distill.data.packing import Packed
from distill.forward import causal
from distill.loss.learner import StepSums

# what depends on the machine and the moment, not on the recipe: the rest of a row is the same
# whenever the run is repeated
TIMED = ("seconds", "tokens_per_second", "resident_mib", "gpu_peak_gib", "mfu")
# dense bfloat16 FLOP/s by card, from the makers' data sheets; the first name that fits counts
PEAK_FLOPS = (
    ("B200", 2.25e15),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
    ("MI300X", 1307e12),
)


class Metrics:
    """One JSON line a step; lines after the checkpoint that a run resumes from are cut off first.

    Args:
        path: of metrics.jsonl; probes go to probes.jsonl beside it.
        step: steps of the checkpoint.
        is_main: whether this rank writes.
    """

    file: TextIO

    def __init__(self, path: Path, step: int, is_main: bool) -> None:
        self.path, self.step, self.is_main = path, step, is_main
        self.probes = path.with_name("probes.jsonl")

    def __enter__(self) -> Self:
        if self.is_main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for path in (self.path, self.probes):
                self._cut(path)
            self.file = self.path.open("a", buffering=1)
        return self

    def _cut(self, path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= self.step]
        if kept != lines:
            with replacing(path) as partial:
                partial.write_text("".join(kept))

    def write(self, row: dict[str, Any]) -> None:
        """Adds the row of one step."""
        if self.is_main:
            self.file.write(json.dumps(row) + "\n")

    def write_probe(self, row: dict[str, Any]) -> None:
        """Adds the row of one probe."""
        if self.is_main:
            with self.probes.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def __exit__(self, *_: object) -> None:
        if self.is_main:
            self.file.close()


def step_row(
    sums: StepSums[float], gradient_norm: float, weights: Mapping[str, float]
) -> dict[str, float]:
    """What a step has learned, as it is logged.

    Args:
        sums: over the whole global batch.
        gradient_norm: before clipping.
        weights: the summed weights of kl, ce and flat.

    Returns:
        loss (nats, weighted mean), each term over its own weight, gradient_norm, and the mean
        entropies (nats a token) where they are known.
    """
    row = {"loss": (sums.kl + sums.ce + sums.flat) / sum(weights.values())}
    row |= {name: getattr(sums, name) / weight for name, weight in weights.items() if weight}
    row["gradient_norm"] = gradient_norm
    for name in ("student_entropy", "teacher_entropy") if sums.watched_tokens else ():
        if not math.isnan(value := getattr(sums, name)):
            row[name] = value / sums.watched_tokens
    return row


class Figures:
    """Speed, memory and, on a card that PEAK_FLOPS names, model FLOPs utilisation of each step.

    Args:
        model: as it is trained, before it is split over ranks.
        device: of this rank.
        num_devices: ranks of the training.
    """

    def __init__(self, model: nn.Module, device: torch.device, num_devices: int) -> None:
        self.device, self.num_devices = device, num_devices
        self.per_token, self.per_pair = training_flops(model)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        self.peak_flops = peak_flops(name)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._began = time.perf_counter()

    def start(self) -> None:
        """Marks the beginning of a step."""
        self._began = time.perf_counter()

    def read(self, packed: Packed) -> dict[str, float]:
        """The figures of the step that has just ended on this global batch; see TIMED."""
        real_BT = packed.segments_BT > 0
        seconds, tokens = time.perf_counter() - self._began, int(real_BT.sum())
        found = {"seconds": round(seconds, 4), "tokens_per_second": round(tokens / seconds, 1)}
        if self.peak_flops is not None:
            # causal: a token attends to those before it and itself
            pairs = int((packed.positions_BT[real_BT] + 1).sum())
            flops = self.per_token * tokens + self.per_pair * pairs
            found["mfu"] = round(flops / seconds / (self.peak_flops * self.num_devices), 4)
        if self.device.type == "cuda":
            peak_bytes = torch.cuda.max_memory_allocated(self.device)
            return found | {"gpu_peak_gib": round(peak_bytes / 2**30, 2)}
        resident = resident_mib()
        return found if resident is None else found | {"resident_mib": resident}


def peak_flops(card: str) -> float | None:
    """Dense bfloat16 FLOP/s of a card by the name that CUDA gives it; None: not known, or only a
    part of one (MIG, laptops).
    """
    if "MIG" in card or "Laptop" in card:
        return None
    return next((peak for name, peak in PEAK_FLOPS if re.search(rf"\b{name}\b", card)), None)


def training_flops(model: nn.Module) -> tuple[float, float]:
    """FLOPs of forward and backward for each token, and for each pair of tokens that attend.

    Six for each weight that trains and four for each that is frozen (it has no gradient of its
    own); of a mixture the experts that a token goes through. Recomputation and a live teacher's
    forward are not counted, nor is an embedding that is only looked up.

    Source: Chowdhery et al. 2022, arXiv 2204.02311, appendix B.
    """
    head = causal(model)
    text = head.config.get_text_config()
    experts = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None) or 1
    used = (getattr(text, "num_experts_per_tok", None) or 1) / experts
    lookup = None if text.tie_word_embeddings else head.get_input_embeddings().weight
    per_token = 0.0
    for name, weight in model.named_parameters():
        if weight is not lookup:
            share = used if ".experts." in name else 1.0
            per_token += (6 if weight.requires_grad else 4) * weight.numel() * share
    heads = text.num_attention_heads
    width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
    return per_token, 12.0 * text.num_hidden_layers * width


def resident_mib() -> float | None:
    """Memory of this process, MiB; None where the system does not say (no /proc)."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
    return None


class Trackers:
    """accelerate's trackers, started when the training starts and ended with it.

    Args:
        accelerator: of the training.
        run: project and name there, e.g. planted_world/student; empty: none.
        config: the knobs of the training, shown there.
    """

    def __init__(self, accelerator: Accelerator, run: str, config: dict[str, Any]) -> None:
        self.accelerator, self.on = accelerator, bool(run and accelerator.log_with)
        if self.on:
            project, _, name = run.partition("/")
            plain = {
                key: value if isinstance(value, int | float | str | bool) else str(value)
                for key, value in config.items()
            }
            with redirect_stdout(io.StringIO()):  # trackio greets in five lines
                accelerator.init_trackers(
                    project,
                    plain,
                    {"trackio": {"name": name, "resume": "allow"}, "wandb": {"name": name}},
                )

    def write(self, row: dict[str, Any], step: int, prefix: str = "") -> None:
        """Logs all numbers of a row but its step."""
        if self.on:
            numbers = {
                prefix + key: value
                for key, value in row.items()
                if isinstance(value, int | float) and key != "step"
            }
            self.accelerator.log(numbers, step=step)

    def close(self) -> None:
        """Accelerator.end_training would also end the process group, which the next training of
        this launch needs.
        """
        if self.on and self.accelerator.is_main_process:
            with redirect_stdout(io.StringIO()):
                for tracker in self.accelerator.trackers:
                    # accelerate ends the run, but leaves it the current one: it would be ended
                    # again at exit
                    if tracker.name == "trackio":
                        importlib.import_module("trackio").finish()
                    else:
                        tracker.finish()
        self.on = False
