"""What an edit by curvature keeps beside edits that know nothing of it, on planted worlds, and what
collecting the curvature costs.

    python -m benchmarks.edit                       world 1; its run is made where it is not there
    (a quarter of an hour on two cores) python -m benchmarks.edit --seeds 1 2 3         three worlds
    python -m benchmarks.edit --seeds --gpu         the cost alone, on a GPU

Each run is recipes/planted_world_edit.yaml with that seed of the world; the rows are its scorecard.
The cost is the time of a pass that collects the factors of all linear layers over that of a plain
forward and backward pass with the same loss over the same tokens. The last line of output is one
JSON object.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks.table import print_json, print_table, take_turns, use_threads
from distill.data.encode import Encoded
from distill.data.packing import Packed, pack
from distill.edit.kfac import collect_sums
from distill.edit.matrices import find_targets
from distill.loss.learner import Learner, Objective
from launch import run
from recipes.vocabulary import Contender

RECIPE = "recipes/planted_world_edit.yaml"
CONTENDERS = {
    Contender.CONTROL: "none",
    Contender.EDIT_UNHEALED: "kfac",
    Contender.EDITED: "kfac, healed",
    Contender.EDIT_SVD: "svd",
    Contender.EDIT_RANDOM: "random",
    Contender.EDIT_PCA: "pca",
}
NUMBERS = {
    "recall": "recall",
    "reasoning": "reasoning",
    "arithmetic": "arithmetic",
    "open_book": "open_book",
    "counterfactual": "counterfactual",
    "four_bit": "recall_four_bit",
    "relearned_others": "recall_relearned_others",
}
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TOLD = 0.6  # of a sequence is a prompt


def main() -> None:
    """Measures, prints the tables and the JSON line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.edit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--seeds", type=int, nargs="*", default=[1], help="of the planted worlds (default 1)"
    )
    made.add_argument("--runs", default="runs", help="folder of the runs (default runs)")
    made.add_argument("--rounds", type=int, default=7, help="passes of each kind (default 7)")
    made.add_argument("--gpu", action="store_true", help="the cost of a 1B shape on a GPU")
    made.add_argument("--threads", type=int, default=1)
    given = made.parse_args()
    use_threads(given.threads)
    rows = [row for seed in given.seeds for row in rows_of(seed, Path(given.runs))]
    if rows:
        print_table(rows)
    cost = collection_cost(given.rounds, "cuda" if given.gpu else "cpu")
    print_table([cost])
    print_json({"rows": rows, **cost})


def rows_of(seed: int, runs: Path) -> list[dict[str, Any]]:
    """The scorecard of one world, a row a method; the run is walked first, which skips what is
    finished.

    Raises:
        SystemExit: the run did not end well.
    """
    name = f"planted_world_edit_{seed}"
    code = run.main(
        [
            RECIPE,
            f"runs={runs}",
            f"name={name}",
            f"planted.seed={seed}",
            "stages=teacher,generate,filter,distill,edit,evaluate",
        ]
    )
    if code:
        raise SystemExit(code)
    metrics = json.loads((runs / name / "evaluate" / "scorecard.json").read_text())["metrics"]
    return [
        {"seed": seed, "method": method}
        | {k: metrics[m][who]["value"] for k, m in NUMBERS.items() if who in metrics.get(m, {})}
        for who, method in CONTENDERS.items()
        if who in metrics["recall"]
    ]


def collection_cost(rounds: int, device: str) -> dict[str, Any]:
    """collection_cost_ratio: the median over rounds of a collecting pass over a plain one right
    beside it.
    """
    model, batch = small(device)
    targets = find_targets(model, layers=[], projections=PROJECTIONS)
    learner = Learner(model, Objective())

    def plain() -> None:
        learner(batch, None)[0].backward()
        learner.zero_grad()

    turns = take_turns(
        {
            "plain": plain,
            "collect": lambda: collect_sums(
                model, targets, lambda: [batch], seed=1, memory_gib=1e3
            ),
        },
        rounds,
        device,
    )
    plain_seconds, collect_seconds = (turns[name].seconds for name in ("plain", "collect"))
    ratios = [c / p for c, p in zip(collect_seconds, plain_seconds, strict=True)]
    tokens = int((batch.segments_BT > 0).sum())
    return {
        "collection_cost_ratio": round(statistics.median(ratios), 3),
        "plain_tokens_per_second": round(tokens / min(plain_seconds)),
        "collect_tokens_per_second": round(tokens / min(collect_seconds)),
        "tokens": tokens,
        "device": device,
    }


def small(device: str) -> tuple[Qwen3ForCausalLM, Packed]:
    """A student of the planted world's shape (on a GPU one of about 1B) and packed rows of random
    tokens.
    """
    wide = device == "cuda"
    width, layers, heads, mlp, vocab, length, rows = (
        (2048, 16, 16, 8192, 32_000, 1024, 8) if wide else (128, 3, 4, 256, 2400, 96, 64)
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocab,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        intermediate_size=mlp,
        tie_word_embeddings=True,
        max_position_embeddings=length,
    )
    model = Qwen3ForCausalLM(config).to(device).eval()
    rng = np.random.default_rng(0)
    sequences = []
    for row in range(rows * 3):
        ids = rng.integers(0, vocab, length // 3).astype(np.int32)
        taught = (np.arange(len(ids)) >= TOLD * len(ids)).astype(np.float32)
        sequences.append(Encoded(ids, 0 * taught, taught, 0 * taught, row=row))
    return model, pack(sequences, length).to(torch.device(device))


if __name__ == "__main__":
    main()
