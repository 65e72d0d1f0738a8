"""Tokens a second that our client gets out of a vLLM server, beside vLLM's own benchmark client
(`vllm bench serve`).

    python -m benchmarks.endpoint --python .venv-vllm/bin/python

One server for both, on this machine; the same prompts, greedy, the same number in flight; in turns,
and who goes first changes. Every process shares the machine's cores, so a client that works more
leaves less to the server. vLLM's client asks for streams and sends text, as it always does; ours
asks for whole answers and sends token ids. Each is timed from its first request to its last answer;
a round to warm up does not count. The last line of output is one JSON object.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.table import print_json, print_table
from distill.engines.endpoint import EndpointEngine
from distill.engines.protocol import Conversation, Sampling, render
from distill.engines.vllm_server import Served, serving
from distill.models import build_model, load_tokenizer, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import World
from recipes.schema import Model, Planted, Server, Shape

MOE = Shape(
    family="qwen3_moe",
    hidden_size=128,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_size=32,
    intermediate_size=64,
    num_experts=8,
)
TRIES = 3  # vLLM's client does not ask again where a connection breaks
FAMILIES = ("read", "closed", "sums", "basics", "follow")
# not `vllm bench serve`: builds of vLLM under another name than `vllm` ship that command broken
CLIENT = (
    "from vllm.benchmarks import serve; from vllm.utils.argparse_utils import FlexibleArgumentParser; "
    "parser = FlexibleArgumentParser(); serve.add_cli_args(parser); serve.main(parser.parse_args())"
)


def main() -> None:
    """Measures, prints the table and the JSON line."""
    given = arguments()
    if (
        shutil.which(given.python) is None
        or subprocess.run([given.python, "-c", "import vllm"], capture_output=True).returncode
    ):
        print(f"{given.python} has no vLLM: nothing to measure; make bench-endpoint sets it up")
        print_json({"missing": ["vllm"]})
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or mixture(Path(scratch) / "model")
        environment()
        server = Server(
            python=given.python,
            concurrency=given.concurrency,
            options={"enforce-eager": ""} if given.model is None else {},
        )
        spec = Model(path=str(folder), engine="endpoint", serve=True, server=server)
        with serving(
            folder,
            spec,
            log=Path(scratch) / "server.log",
            say=lambda line: print(line, file=sys.stderr),
        ) as served:
            rows = rounds(served, spec, folder, Path(scratch), given)
    print_table(rows)
    ours, client = (
        statistics.median(row[name] for row in rows)
        for name in ("ours_tokens_per_second", "client_tokens_per_second")
    )
    low, *_, high = (
        sorted(row["ratio"] for row in rows) if len(rows) > 1 else [rows[0]["ratio"]] * 2
    )
    best = max(row["ours_tokens_per_second"] for row in rows) / max(
        row["client_tokens_per_second"] for row in rows
    )
    own = statistics.median(row["ours_cpu_share"] for row in rows)
    print(
        f"\nours / client: {ours / client:.3f} of the medians, {best:.3f} of the best, {low:.3f} to {high:.3f} in single rounds"
    )
    print(f"our client's own work: {own:.1%} of a round on one core")
    print_json(
        {
            "ours_tokens_per_second": ours,
            "client_tokens_per_second": client,
            "ratio": ours / client,
            "ratio_of_best": best,
            "ours_cpu_share": own,
            "rounds": rows,
        }
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--python",
        default=".venv-vllm/bin/python",
        help="interpreter of the environment that has vLLM",
    )
    parser.add_argument(
        "--model", type=Path, help="model folder (default: a small mixture of random weights)"
    )
    parser.add_argument(
        "--requests", type=int, default=500, help="of each client in each round (default 500)"
    )
    parser.add_argument(
        "--new-tokens", type=int, default=64, help="most new tokens of a request (default 64)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=64, help="requests in flight (default 64)"
    )
    parser.add_argument("--rounds", type=int, default=6, help="(default 6)")
    return parser.parse_args()


def environment() -> None:
    """Settings of a CPU server that do not stand in the recipe.

    vLLM's worker is bound to a core and the process that feeds it spins. Where the scheduler puts
    both on one core, every step waits for a time slice and a round takes up to ten times as long,
    whoever asks. So the worker is not bound.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    # as many as it would have bound
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))


def mixture(folder: Path) -> Path:
    """A Qwen3 mixture of 0.6M random weights, large enough that it writes varied words."""
    world, rng = World(Planted(people=20, teacher_only=8, strangers=8)), random.Random(0)
    texts = [
        m["content"]
        for _ in range(400)
        for m in world.draw(rng, rng.choice(FAMILIES), "training").messages()
    ]
    tokenizer = train_tokenizer(texts, vocab_size=700)
    model = build_model(MOE, tokenizer, seed=3)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1 and "embed" not in name:
                weights.mul_(4.0)
    save_model(model, tokenizer, folder)
    return folder


def rounds(
    served: Served, spec: Model, folder: Path, scratch: Path, given: argparse.Namespace
) -> list[dict[str, Any]]:
    """Tokens a second of both, round by round."""
    tokenizer, world, rng = load_tokenizer(spec), World(Planted()), random.Random(1)
    talks = [
        [{"role": "user", "content": world.draw(rng, FAMILIES[n % 5], "training").prompt}]
        for n in range(given.requests)
    ]
    prompts = scratch / "prompts.jsonl"
    prompts.write_text(
        "".join(json.dumps({"prompt": render(tokenizer, talk)}) + "\n" for talk in talks)
    )
    engine = EndpointEngine(served.urls, spec.server, tokenizer)
    engine.check(given.new_tokens)
    found, own = [], 0.0
    for number in range(given.rounds + 1):
        both = {}
        for name in ("ours", "client") if number % 2 else ("client", "ours"):
            worked = time.process_time()
            both[name] = (
                ours(engine, talks, given)
                if name == "ours"
                else client(served, folder, prompts, scratch, given)
            )
            own = time.process_time() - worked if name == "ours" else own
        row = {
            f"{name}_tokens_per_second": tokens / seconds
            for name, (tokens, seconds) in sorted(both.items())
        }
        row |= {"ratio": row["ours_tokens_per_second"] / row["client_tokens_per_second"]}
        row |= {"ours_cpu_share": own / both["ours"][1]}
        row |= {f"{name}_tokens": tokens for name, (tokens, _) in both.items()}
        print(
            f"round {number}{' (warming up)' if number == 0 else ''}: {row}, ours so far {dict(engine.client.counts)}",
            file=sys.stderr,
        )
        found += [row] if number else []
    engine.close()
    return found


def ours(
    engine: EndpointEngine, talks: list[Conversation], given: argparse.Namespace
) -> tuple[int, float]:
    """Tokens written, and seconds."""
    began = time.perf_counter()
    done = engine.complete(talks, Sampling(max_new_tokens=given.new_tokens))
    return sum(one.completion_tokens for one in done), time.perf_counter() - began


def client(
    served: Served, folder: Path, prompts: Path, scratch: Path, given: argparse.Namespace
) -> tuple[int, float]:
    """What vLLM's client says of itself: tokens written, and seconds."""
    words = {
        "backend": "openai",
        "base-url": served.urls[0].removesuffix("/v1"),
        "endpoint": "/v1/completions",
        "model": served.name,
        "tokenizer": str(folder),
        "dataset-name": "custom",
        "dataset-path": str(prompts),
        "custom-output-len": str(given.new_tokens),
        "num-prompts": str(given.requests),
        "max-concurrency": str(given.concurrency),
        "temperature": "0",
        "num-warmups": "0",
        "result-dir": str(scratch),
        "result-filename": "result.json",
    }
    flags = [f"--{flag}={word}" for flag, word in words.items()]
    flags += [
        "--skip-chat-template",
        "--disable-shuffle",
        "--no-oversample",
        "--disable-tqdm",
        "--save-result",
    ]
    for _ in range(TRIES):
        done = subprocess.run([given.python, "-c", CLIENT, *flags], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"vLLM's client failed:\n{done.stderr[-3000:]}")
        said = json.loads((scratch / "result.json").read_text())
        if said["completed"] == given.requests:
            return said["total_output_tokens"], said["duration"]
        print(
            f"vLLM's client completed {said['completed']} of {given.requests} requests; once more",
            file=sys.stderr,
        )
    sys.exit(f"vLLM's client lost requests {TRIES} times; lower --concurrency")


if __name__ == "__main__":
    main()
