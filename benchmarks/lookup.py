"""How well students look things up, over finished runs, and what the loop of conversations costs beside plain generation.

    python -m benchmarks.lookup runs/planted_world_lookup                one run
    python -m benchmarks.lookup runs/lookup_1 runs/lookup_2 runs/lookup_3
    python -m benchmarks.lookup --conversations 10000 runs/planted_world_lookup

The numbers come from each run's scorecard; the loop is measured with the first run's student: the tokens that it writes a second in
conversations with calls, and those of one plain call with the very same prompts, so the same tokens.
"""

import argparse
import itertools
import json
import resource
import time
from pathlib import Path
from typing import Any

import torch

from data_filters.sandbox import Sandbox
from data_filters.toolbox import Toolbox
from distill.converse import Limits, converse
from distill.engine import LocalEngine
from distill.models import load_model, load_tokenizer
from distill.planted import World
from distill.speech import Conversation, Sampling
from eval.lookup_suites import settings
from recipes.load import load_recipe
from recipes.schema import Model

COLUMNS = {
    "base_on": "base_full", "base_off_abstain": "base_off_abstains", "base_off_leak": "base_off_leak",
    "deleted_abstain": "base_deleted_abstains", "swapped_follow": "base_swapped_follows", "needless_calls": "lookup_needless_given",
    "needless_reasoning": "lookup_needless_reasoning", "given_correct": "given_with_tools", "reasoning_with_tools": "reasoning_with_tools",
    "youden_j": "youden_j", "multi_hop": "multi_hop", "python_arithmetic": "python_arithmetic", "python_off": "python_off",
}  # fmt: skip
TURN = Sampling(max_new_tokens=48)


class Recorder(LocalEngine):
    """An engine that keeps what it was asked and how much it wrote, so that the same can be asked at once."""

    def __init__(self, *parts: Any, **how: Any) -> None:
        super().__init__(*parts, **how)
        self.asked: list[Conversation] = []
        self.tokens = 0

    def complete(self, conversations, sampling, **how):
        self.asked += [list(talk) for talk in conversations]
        found = super().complete(conversations, sampling, **how)
        self.tokens += sum(one.completion_tokens for one in found)
        return found


def row_of(run: Path) -> dict[str, Any]:
    """The numbers of a run, each with its interval and n under the same name in `intervals`."""
    card = json.loads((run / "evaluate" / "scorecard.json").read_text())
    found = {name: card["metrics"].get(metric, {}).get("student") for name, metric in COLUMNS.items()}
    seed = load_recipe(str(run / "recipe.yaml"), []).planted.seed
    known = {name: one for name, one in found.items() if one}
    return {"seed": seed, **{name: round(one["value"], 4) for name, one in known.items()},
            "intervals": {name: [round(one["low"], 4), round(one["high"], 4), one["n"]] for name, one in known.items()}}  # fmt: skip


def throughput(run: Path, conversations: int) -> dict[str, float]:
    """Tokens a second of the loop and of plain generation with the same prompts, and the memory of the process afterwards."""
    recipe = load_recipe(str(run / "recipe.yaml"), [])
    spec = Model(path=str(run / "distill" / "student"))
    engine = Recorder(load_model(spec), load_tokenizer(spec), batch_sequences=recipe.evaluate.batch_sequences)
    full = next(settings(World(recipe.planted), recipe.evaluate))
    prompts = itertools.islice(itertools.cycle(q.prompt for q in full.questions if q.suite not in ("reasoning", "basics")), conversations)
    with Sandbox() as sandbox:
        toolbox = Toolbox(base=full.passages, sandbox=sandbox)
        began, calls, ended = time.perf_counter(), 0, 0
        asked = ([{"role": "user", "content": prompt}] for prompt in prompts)
        for talk in converse(engine, asked, toolbox, TURN, Limits(), at_once=2 * engine.batch):
            calls, ended = calls + talk.calls.total(), ended + 1
        loop_seconds = time.perf_counter() - began
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)  # of the loop: what follows holds all prompts
    written, turns = engine.tokens, list(engine.asked)
    began = time.perf_counter()
    plain = sum(one.completion_tokens for one in LocalEngine.complete(engine, turns, TURN, tools=toolbox.schemas))
    plain_seconds = time.perf_counter() - began
    looped, at_once = written / loop_seconds, plain / plain_seconds
    return {
        "loop_tokens_per_second": round(looped, 1), "plain_tokens_per_second": round(at_once, 1),
        "throughput_ratio": round(looped / at_once, 3),
        "conversations": ended, "calls": calls, "loop_tokens": written, "plain_tokens": plain,
        "peak_rss_mb": peak,
    }  # fmt: skip


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high, _ = row["intervals"][name]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("runs", nargs="+", type=Path, help="finished runs of recipes/planted_world_lookup.yaml")
    made.add_argument("--conversations", type=int, default=2000, help="for the throughput; 0 leaves it out")
    given = made.parse_args()
    torch.set_num_threads(1)
    rows = [row_of(run) for run in given.runs]
    print(f"{'':<22}" + "".join(f"{'seed ' + str(row['seed']):>26}" for row in rows))
    for name in COLUMNS:
        print(f"{name:<22}" + "".join(f"{_cell(row, name):>26}" for row in rows))
    found = {"rows": rows}
    if given.conversations:
        found |= throughput(given.runs[0], given.conversations)
        speeds = f"{found['loop_tokens_per_second']:,.0f} tokens/s in the loop, {found['plain_tokens_per_second']:,.0f} plain"
        print(f"{found['conversations']} conversations, {found['calls']} calls: {speeds}, ratio {found['throughput_ratio']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
