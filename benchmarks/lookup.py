"""How well students look things up, over finished runs, and what the loop of conversations costs
beside plain generation.

    python -m benchmarks.lookup runs/planted_world_lookup                one run
    python -m benchmarks.lookup runs/lookup_1 runs/lookup_2 runs/lookup_3
    python -m benchmarks.lookup --conversations 0 runs/planted_world_lookup      without timing
    anything

The numbers come from each run's scorecard; the loop is measured with the first run's student: the
tokens that it writes a second in conversations with calls, and those of one plain call with the
very same prompts, so the same tokens.
"""

import argparse
import itertools
import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_filters.lookup.toolbox import Toolbox
from data_filters.verify.sandbox import Sandbox
from distill.engines.local import LocalEngine
from distill.engines.protocol import Conversation, Sampling
from distill.engines.tool_loop import Limits, Rollout, run_conversations
from distill.models import load_model, load_tokenizer
from distill.problems.planted_world import World
from eval.suites.lookup_suites import settings
from recipes.load import load_recipe
from recipes.schema import Model
from recipes.vocabulary import Contender, Suite, ToolName

COLUMNS = {
    "base_on": "kb_full.correct",
    "base_off_abstain": "kb_off.abstained",
    "base_off_leak": "kb_off.correct",
    "deleted_abstain": "kb_deleted.abstained",
    "swapped_follow": "kb_swapped.followed",
    "needless_calls": "given_with_tools.searched",
    "needless_reasoning": "reasoning_with_tools.searched",
    "given_correct": "given_with_tools.correct",
    "reasoning_with_tools": "reasoning_with_tools.correct",
    "youden_j": "youden_j",
    "multi_hop": "multi_hop",
    "python_arithmetic": "long_sums",
    "python_off": "long_sums_off.correct",
}
TURN = Sampling(max_new_tokens=48)
TIMED = 2000


class Recorder(LocalEngine):
    """An engine that keeps what it was asked and how much it wrote, so that the same can be asked
    at once.
    """

    def __init__(self, *parts: Any, **how: Any) -> None:
        super().__init__(*parts, **how)
        self.asked: list[Conversation] = []
        self.tokens, self.keeps = 0, True

    def complete(self, conversations, sampling, **how):
        if self.keeps:
            self.asked += [list(talk) for talk in conversations]
        found = super().complete(conversations, sampling, **how)
        self.tokens += sum(one.completion_tokens for one in found)
        return found


def row_of(run: Path) -> dict[str, Any]:
    """The numbers of a run, each with its interval and n under the same name in `intervals`."""
    path = run / "evaluate" / "scorecard.json"
    if not path.exists():
        raise SystemExit(
            f"{path}: not there; name finished runs of a recipe with evaluate.tools.contenders: [student]"
        )
    card = json.loads(path.read_text())
    found = {
        name: card["metrics"].get(metric, {}).get(Contender.STUDENT)
        for name, metric in COLUMNS.items()
    }
    seed = load_recipe(str(run / "recipe.yaml"), []).planted.seed
    known = {name: one for name, one in found.items() if one}
    return {
        "seed": seed,
        **{name: round(one["value"], 4) for name, one in known.items()},
        "intervals": {
            name: [round(one["low"], 4), round(one["high"], 4), one["n"]]
            for name, one in known.items()
        },
    }


class Loop:
    """The loop with a run's student, in the world's whole base: closed-book and told questions,
    chains of look-ups, long sums.
    """

    def __init__(self, run: Path) -> None:
        recipe, spec = (
            load_recipe(str(run / "recipe.yaml"), []),
            Model(path=str(run / "distill" / Contender.STUDENT)),
        )
        self.engine = Recorder(
            load_model(spec), load_tokenizer(spec), batch_sequences=recipe.evaluate.batch_sequences
        )
        full = next(settings(World(recipe.planted), recipe.evaluate))
        self.base = full.passages
        self.prompts = [
            q.prompt for q in full.questions if q.suite not in (Suite.REASONING, Suite.BASICS)
        ]

    def talks(self, toolbox: Toolbox, count: int) -> Iterator[Rollout]:
        asked = (
            [{"role": "user", "content": prompt}]
            for prompt in itertools.islice(itertools.cycle(self.prompts), count)
        )
        return run_conversations(
            self.engine, asked, toolbox, TURN, Limits(), at_once=2 * self.engine.batch
        )

    def memory(self, count: int) -> dict[str, float]:
        """Peak memory of the process when a fifth of the conversations has ended, and at the
        end.
        """
        self.engine.keeps, calls = False, 0
        with Sandbox() as sandbox:
            for number, talk in enumerate(
                self.talks(Toolbox(base=self.base, sandbox=sandbox), count), 1
            ):
                calls += talk.calls.total()
                if number == count // 5:
                    early = _peak_mb()
        return {
            "conversations": count,
            "calls": calls,
            "peak_rss_mb_at_a_fifth": early,
            "peak_rss_mb": _peak_mb(),
        }

    def throughput(self, count: int, rounds: int = 3) -> dict[str, Any]:
        """Tokens a second of the loop, and of plain generation behind the prompts of all its turns
        at once; medians over rounds.
        """
        with Sandbox() as sandbox:
            toolbox = Toolbox(base=self.base, sandbox=sandbox)
            (
                toolbox.run(ToolName.LOOKUP, {"query": "warm"}),
                toolbox.run(ToolName.PYTHON, {"code": "1"}),
            )
            timed = [self._timed(toolbox, count) for _ in range(rounds)]
        looped, plain, ratio, by_cpu = (
            statistics.median(column) for column in zip(*timed, strict=True)
        )
        return {
            "timed_conversations": count,
            "loop_tokens": self.engine.tokens,
            "loop_tokens_per_second": round(looped, 1),
            "plain_tokens_per_second": round(plain, 1),
            "throughput_ratio": round(ratio, 3),
            "throughput_ratio_by_cpu": round(by_cpu, 3),
        }

    def _timed(self, toolbox: Toolbox, count: int) -> tuple[float, float, float, float]:
        """Tokens a second of the loop and of plain generation, their ratio, and that by processor
        time: a busy machine blurs it less.
        """
        self.engine.keeps, self.engine.asked, self.engine.tokens = True, [], 0
        began = _now()
        assert sum(1 for _ in self.talks(toolbox, count)) == count
        looped = self.engine.tokens / (_now() - began)
        began = _now()
        again = LocalEngine.complete(self.engine, self.engine.asked, TURN, tools=toolbox.schemas)
        plain = self.engine.tokens / (_now() - began)
        assert sum(one.completion_tokens for one in again) == self.engine.tokens, (
            "the same prompts, the same tokens"
        )
        return looped[0], plain[0], *(looped / plain)


def _now() -> np.ndarray:
    """Seconds by the clock, and of this process and its children by the processor."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array(
        [time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime]
    )


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high, _ = row["intervals"][name]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "runs", nargs="+", type=Path, help="finished runs of recipes/planted_world_lookup.yaml"
    )
    made.add_argument(
        "--conversations",
        type=int,
        default=10_000,
        help="of which 2,000 are timed; 0 leaves them out",
    )
    given = made.parse_args()
    torch.set_num_threads(1)
    rows = [row_of(run) for run in given.runs]
    print(f"{'':<22}" + "".join(f"{'seed ' + str(row['seed']):>26}" for row in rows))
    for name in COLUMNS:
        print(f"{name:<22}" + "".join(f"{_cell(row, name):>26}" for row in rows))
    found = {"rows": rows}
    if given.conversations:
        loop = Loop(given.runs[0])
        found |= loop.memory(given.conversations)
        found |= loop.throughput(min(given.conversations, TIMED))
        print(
            f"{found['conversations']} conversations, {found['calls']} calls: peak {found['peak_rss_mb']:,.0f} MiB, "
            f"{found['peak_rss_mb_at_a_fifth']:,.0f} when a fifth was done"
        )
        print(
            f"{found['loop_tokens_per_second']:,.0f} tokens/s in the loop, {found['plain_tokens_per_second']:,.0f} plain: "
            f"{found['throughput_ratio']}"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
