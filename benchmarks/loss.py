"""The distillation loss alone, forward and backward, beside the bare matrix products and beside
other libraries.

    python -m benchmarks.loss                                      2048 tokens x 32768 entries on 2
    CPU threads, some minutes python -m benchmarks.loss --tokens 256 --vocab 2048            some
    seconds python -m benchmarks.loss --divergence jsd --scaling           also shows that the cost
    grows linearly with tokens and vocabulary python -m benchmarks.loss --device cuda --dtype
    bfloat16 --tokens 8192 --vocab 151936 --student-width 2048 --teacher-width 4096

Every row goes from hidden states and output matrices to the mean divergence per token (nats) and
its gradient by the student's hidden states and output matrix. Temperature is 1; in jsd both sides
weigh one half. Equal losses and gradient norms mean equal work; in bfloat16 liger (on a CPU) and
trl_dense differ, since they round the logits.

    matmuls       the floor: student logits, teacher logits, gradient by hidden states, gradient by
        matrix, and nothing else
    ours          distill.losses.distillation_loss
    dense         distill.dense_loss, the textbook form
    checkpointed  the textbook form in chunks of 256 tokens under torch.utils.checkpoint
    liger         LigerFusedLinearJSDLoss, not compiled, chunks as ours; on a GPU the Triton
    LigerFusedLinearJSD trl_dense     TRL's GKDTrainer.generalized_jsd_loss on whole logits,
    unmasked (a mask costs it a copy) trl_chunked   TRL's ChunkedDivergenceFunction, as its
    DistillationTrainer calls it

Seconds are the least and the median of interleaved rounds; ratio is least seconds over those of
matmuls. extra_mb is the peak during one call above the memory before it, gradients included, each
in a process of its own (MB of 2**20 bytes; CPU: resident memory, GPU: allocated memory). Where
other work runs beside it, start it with OMP_WAIT_POLICY=passive: threads that spin at a barrier for
one that has lost its core slow down what has many small steps. Libraries that cannot be imported
are named under "missing". The last line of output is one JSON object.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.table import (
    Times,
    extra_peak_mb,
    fresh_process,
    print_json,
    print_table,
    take_turns,
    use_threads,
)
from distill.loss.chunked_loss import CHUNK_BYTES, distillation_loss
from distill.loss.dense_loss import dense_loss
from distill.loss.divergences import Divergence, Kind
from distill.loss.signals import Dense, Output
from distill.loss.terms import Weights

# the same in Liger and TRL: 0 is KL(teacher || student)
PEER_BETA = {"forward_kl": 0.0, "reverse_kl": 1.0, "jsd": 0.5}
CHECKPOINT_TOKENS = 256


@dataclass(frozen=True)
class Case:
    """Random hidden states and output matrices of a student and a teacher."""

    student_ND: Tensor
    student_VD: Tensor
    teacher_NE: Tensor
    teacher_VE: Tensor
    labels_N: Tensor
    how: Divergence

    @property
    def chunk_tokens(self) -> int:
        """As distill.losses chooses it."""
        return max(16, CHUNK_BYTES[self.student_ND.device.type] // (4 * len(self.student_VD)))

    @property
    def teacher(self) -> Dense:
        return Dense(self.teacher_NE, Output(self.teacher_VE))

    def rows(self, here: slice) -> "Case":
        return Case(
            self.student_ND[here],
            self.student_VD,
            self.teacher_NE[here],
            self.teacher_VE,
            self.labels_N[here],
            self.how,
        )


# loss, gradient by hidden states, gradient by output matrix
Made = tuple[Tensor, Tensor, Tensor] | None
Loss = Callable[[Case], Tensor]  # mean over tokens, nats


def main() -> None:
    """Measures, prints the table and the JSON line."""
    given = arguments()
    if given.child:
        return print_json(measure_memory(given.child, given))
    runs, missing = find_backends(given.device, given.divergence)
    memory = {}
    for name in runs:
        print(f"memory of {name}", flush=True)
        memory[name] = fresh_process("benchmarks.loss", [*as_words(given), "--child", name])
    use_threads(given.threads)
    case = make_case(given)
    print(f"{given.rounds} rounds of {', '.join(runs)}", flush=True)
    times = take_turns(
        {name: partial(run, case) for name, run in runs.items()}, given.rounds, given.device
    )
    rows = [describe(name, given, times, memory[name]) for name in runs]
    print_table(rows)
    found: dict[str, Any] = {"rows": rows, "missing": missing}
    if given.scaling:
        found["scaling"] = scaling_rows(given)
        print_table(found["scaling"])
    if missing:
        print(f"missing: {', '.join(missing)}")
    print_json(
        found
        | {
            name: getattr(given, name)
            for name in ("device", "dtype", "threads", "rounds", "student_width", "teacher_width")
        }
    )


def arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loss", description=__doc__, formatter_class=shape
    )
    parser.add_argument(
        "--tokens", type=at_least(1), default=2048, metavar="N", help="taught tokens (default 2048)"
    )
    parser.add_argument(
        "--vocab",
        type=at_least(2),
        default=32768,
        metavar="V",
        help="vocabulary entries (default 32768)",
    )
    parser.add_argument(
        "--student-width",
        type=at_least(1),
        default=256,
        metavar="D",
        help="of the student's hidden states (default 256)",
    )
    parser.add_argument(
        "--teacher-width",
        type=at_least(1),
        default=512,
        metavar="E",
        help="of the teacher's hidden states (default 512)",
    )
    parser.add_argument(
        "--divergence",
        choices=get_args(Kind),
        default="forward_kl",
        help="default forward_kl: KL(teacher || student)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of states and matrices (default float32)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument(
        "--threads", type=at_least(1), default=2, metavar="COUNT", help="CPU threads (default 2)"
    )
    parser.add_argument(
        "--rounds",
        type=at_least(1),
        default=5,
        metavar="COUNT",
        help="timed calls of each row (default 5)",
    )
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="also ours and matmuls at half and double the tokens and the vocabulary",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here")
    return given


def at_least(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"received {text}, expected {least} or more")
        return number

    return count


def as_words(given: argparse.Namespace) -> list[str]:
    """The options that a case depends on."""
    names = (
        "tokens",
        "vocab",
        "student_width",
        "teacher_width",
        "divergence",
        "dtype",
        "device",
        "threads",
    )
    return [
        word
        for name in names
        for word in (f"--{name.replace('_', '-')}", str(getattr(given, name)))
    ]


def make_case(
    given: argparse.Namespace, *, tokens: int | None = None, vocab: int | None = None
) -> Case:
    """The same numbers for the same sizes, drawn in float32; matrices are 0.02 wide, as in a model
    that was just built.
    """
    g = torch.Generator().manual_seed(0)
    num_tokens, num_entries = tokens or given.tokens, vocab or given.vocab
    kind = {"device": given.device, "dtype": getattr(torch, given.dtype)}
    draw = lambda rows, width, scale: torch.randn(rows, width, generator=g).mul_(scale).to(**kind)
    student_ND, student_VD = (
        draw(num_tokens, given.student_width, 1.0),
        draw(num_entries, given.student_width, 0.02),
    )
    teacher_NE, teacher_VE = (
        draw(num_tokens, given.teacher_width, 1.0),
        draw(num_entries, given.teacher_width, 0.02),
    )
    labels_N = torch.randint(0, num_entries, (num_tokens,), generator=g).to(given.device)
    return Case(
        student_ND.requires_grad_(),
        student_VD.requires_grad_(),
        teacher_NE,
        teacher_VE,
        labels_N,
        Divergence(given.divergence),
    )


# --- measuring


def measure_memory(name: str, given: argparse.Namespace) -> dict[str, float | None]:
    """In a fresh process: peak extra memory of one call, its loss and the norm of its gradients."""
    run = PEERS[name](given.device) if name in PEERS else OWN[name]
    run = run if name == "matmuls" else partial(differentiate, run)
    use_threads(given.threads)
    run(make_case(given, tokens=4, vocab=32))
    case, made = make_case(given), []
    extra_mb = extra_peak_mb(lambda: made.append(run(case)), given.device)
    loss, *grads = made[0] or (None,)
    norm = sum(grad.double().square().sum().item() for grad in grads) ** 0.5 if grads else None
    return {
        "extra_mb": round(extra_mb, 1),
        "loss": loss.item() if grads else None,
        "grad_norm": norm,
    }


def describe(
    name: str, given: argparse.Namespace, times: dict[str, Times], memory: dict[str, float | None]
) -> dict[str, Any]:
    ratio = times[name].least / times["matmuls"].least
    sizes = {
        "backend": name,
        "divergence": given.divergence,
        "tokens": given.tokens,
        "vocab": given.vocab,
    }
    return sizes | seconds_of(times[name]) | {"ratio": round(ratio, 3)} | memory


def seconds_of(found: Times) -> dict[str, float]:
    return {"seconds": round(found.least, 5), "median_seconds": round(found.middle, 5)}


def scaling_rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours and the floor at half, once and twice the tokens, then the vocabulary: seconds per token
    and entry stay the same.
    """
    sizes = [
        (max(1, given.tokens // 2), given.vocab),
        (given.tokens, given.vocab),
        (given.tokens * 2, given.vocab),
    ]
    sizes += [(given.tokens, max(2, given.vocab // 2)), (given.tokens, given.vocab * 2)]
    cases = {size: make_case(given, tokens=size[0], vocab=size[1]) for size in sizes}
    runs = {"matmuls": matmuls, "ours": partial(differentiate, ours)}
    calls = {
        f"{name} {size}": partial(run, case)
        for name, run in runs.items()
        for size, case in cases.items()
    }
    print(f"{given.rounds} rounds of {', '.join(runs)} at {len(cases)} sizes", flush=True)
    times = take_turns(calls, given.rounds, given.device)
    series = [("tokens", size) for size in sizes[:3]] + [
        ("vocab", size) for size in (sizes[3], sizes[1], sizes[4])
    ]
    return [
        scaling_row(name, varied, *size, times[f"{name} {size}"])
        for name in runs
        for varied, size in series
    ]


def scaling_row(name: str, varied: str, tokens: int, vocab: int, found: Times) -> dict[str, Any]:
    sizes = {"backend": name, "varied": varied, "tokens": tokens, "vocab": vocab}
    return sizes | seconds_of(found) | {"seconds_per_token_entry": found.least / (tokens * vocab)}


# --- the rows


def find_backends(
    device: str, divergence: str
) -> tuple[dict[str, Callable[[Case], Made]], list[str]]:
    """What can run here, by name, and the names of what cannot be imported. A divergence that the
    peers do not know is measured without them.
    """
    losses, missing = dict(OWN), []
    for name, load in PEERS.items() if divergence in PEER_BETA else ():
        try:
            losses[name] = load(device)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            missing.append(name)
    return {
        name: one if name == "matmuls" else partial(differentiate, one)
        for name, one in losses.items()
    }, missing


def differentiate(loss: Loss, case: Case) -> Made:
    made = loss(case)
    return made.detach(), *torch.autograd.grad(made, (case.student_ND, case.student_VD))


@torch.no_grad()
def matmuls(case: Case) -> None:
    """The four products, in chunks as ours, into buffers made once. Sums over tokens are float32,
    as ours, where the device can.
    """
    student_ND, student_VD = case.student_ND.detach(), case.student_VD.detach()
    on_gpu = student_ND.is_cuda and student_ND.dtype != torch.float32
    wide = {"dtype": torch.float32 if on_gpu else student_ND.dtype, "device": student_ND.device}
    out_dtype = {"out_dtype": torch.float32} if on_gpu else {}
    buffers = [torch.empty(case.chunk_tokens, len(student_VD), **wide) for _ in range(2)]
    grad_ND, grad_VD = torch.empty_like(student_ND), torch.zeros(student_VD.shape, **wide)
    for start in range(0, len(student_ND), case.chunk_tokens):
        part = case.rows(slice(start, start + case.chunk_tokens))
        logits_cV, teacher_cV = (buffer[: len(part.labels_N)] for buffer in buffers)
        torch.mm(part.student_ND.detach(), student_VD.T, out=logits_cV, **out_dtype)
        torch.mm(part.teacher_NE, case.teacher_VE.T, out=teacher_cV, **out_dtype)
        grad_cV = logits_cV.to(student_VD.dtype)
        torch.mm(grad_cV, student_VD, out=grad_ND[start : start + case.chunk_tokens])
        torch.addmm(grad_VD, grad_cV.T, part.student_ND.detach(), out=grad_VD, **out_dtype)


def ours(case: Case, loss: Callable[..., tuple[Tensor, Any]] = distillation_loss) -> Tensor:
    ones_N = torch.ones(len(case.labels_N), device=case.labels_N.device)
    weights = Weights(ones_N, torch.zeros_like(ones_N), torch.zeros_like(ones_N))
    return loss(
        case.student_ND, Output(case.student_VD), case.labels_N, weights, case.teacher, case.how
    )[0] / len(ones_N)


def dense(case: Case) -> Tensor:
    return ours(case, dense_loss)


def checkpointed(case: Case) -> Tensor:
    def part(student_nD: Tensor, student_VD: Tensor, here: slice) -> Tensor:
        rows = case.rows(here)
        return dense(
            Case(student_nD, student_VD, rows.teacher_NE, rows.teacher_VE, rows.labels_N, case.how)
        ) * len(rows.labels_N)

    total, size = torch.zeros((), device=case.student_ND.device), len(case.student_ND)
    for start in range(0, size, CHECKPOINT_TOKENS):
        here = slice(start, start + CHECKPOINT_TOKENS)
        total = total + checkpoint(
            part, case.student_ND[here], case.student_VD, here, use_reentrant=False
        )
    return total / size


def liger(device: str) -> Loss:
    """Both forms give the mean over tokens; the other term of the first, on labels, is given no
    weight and so not computed.
    """
    if device == "cuda":
        from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

        def fused(case: Case) -> Tensor:
            # sums in float32, as ours
            loss = LigerFusedLinearJSD(jsd_beta=PEER_BETA[case.how.kind], accum_dtype=torch.float32)
            return loss(case.student_ND, case.student_VD, case.teacher_NE, case.teacher_VE, None)

        return fused
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    def chunked(case: Case) -> Tensor:
        beta, chunk = PEER_BETA[case.how.kind], case.chunk_tokens
        loss = LigerFusedLinearJSDLoss(
            weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta, compiled=False, chunk_size=chunk
        )
        return loss(
            case.student_ND, case.student_VD, case.teacher_NE, case.teacher_VE, case.labels_N
        )

    return chunked


def trl_dense(_: str) -> Loss:
    """batchmean over rows is the mean over tokens, where there is a row for each token."""
    from trl.experimental.gkd import GKDTrainer

    def loss(case: Case) -> Tensor:
        with torch.no_grad():
            teacher_NV = case.teacher_NE @ case.teacher_VE.T
        return GKDTrainer.generalized_jsd_loss(
            case.student_ND @ case.student_VD.T, teacher_NV, beta=PEER_BETA[case.how.kind]
        )

    return loss


def trl_chunked(_: str) -> Loss:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    def loss(case: Case) -> Tensor:
        sides = (case.student_ND, case.student_VD, None, case.teacher_NE, case.teacher_VE, None)
        values_N, _ = ChunkedDivergenceFunction.apply(*sides, PEER_BETA[case.how.kind])
        return values_N.sum() / len(values_N)

    return loss


OWN: dict[str, Callable[[Case], Any]] = {
    "matmuls": matmuls,
    "ours": ours,
    "dense": dense,
    "checkpointed": checkpointed,
}
PEERS: dict[str, Callable[[str], Loss]] = {
    "liger": liger,
    "trl_dense": trl_dense,
    "trl_chunked": trl_chunked,
}

if __name__ == "__main__":
    main()
