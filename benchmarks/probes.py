"""What each probe calls recall: a finished planted world's teacher asked again, judged by the
world's key.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.table import clock, print_json, print_table
from data_filters.passes.probe_answers import SPOKEN, probe_answers_path
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.traces import Trace
from data_filters.report.unit_summary import interval
from distill.problems.planted_world import World
from eval.stage_scores.filter_score import ASKED, stated
from launch.inputs.inputs import Inputs
from launch.runs.run_folder import Workspace
from launch.stages.filter import Filter
from recipes.load import load_recipe


def main() -> None:
    args = _arguments()
    on = [f"filter.probes.{name}=report" for name in SPOKEN]
    if args.reference:
        on += ["filter.probes.surprise=report", f"filter.probes.reference={args.reference}"]
    work = Workspace(args.run)
    inputs = Inputs(load_recipe(args.run / "recipe.yaml", on), work)
    with tempfile.TemporaryDirectory() as folder:
        seconds = clock(lambda: Filter(inputs).ask(Path(folder)))
        said = [
            row
            for path in sorted(
                Path(folder).glob(probe_answers_path(Path(), 0).name.replace("00000", "*"))
            )
            for row in read_shard(path)
        ]
    traces = {trace.id: trace for trace in iter_traces(inputs.traces.written)}
    rows = table(said, traces, inputs.need_world())
    shown = [
        row | {name: _share(found) for name, found in row.items() if isinstance(found, dict)}
        for row in rows
    ]
    print_table(shown)
    gaps = [
        (row["surprise_nats"], _is_fact(traces[row["id"]], inputs))
        for row in said
        if row["surprise_nats"] is not None
    ]
    recalled, thought = (
        [gap for gap, is_fact in gaps if is_fact == wanted] for wanted in (True, False)
    )
    print_json(
        {
            "rows": rows,
            "seconds": round(seconds, 1),
            "questions": len(said),
            "surprise_auroc": auroc(recalled, thought),
        }
    )


def table(
    said: Sequence[dict[str, Any]], traces: dict[str, Trace], world: World
) -> list[dict[str, Any]]:
    """By source: traces, and for each probe the share that it calls recall among those it could be
    asked about.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in said:
        trace = traces[row["id"]]
        told = " behind statements" if trace.messages[-2]["content"].count(". ") else ""
        kind = (
            f"{'fact' if stated(trace, world) else 'invented'}{told}"
            if trace.source in ASKED
            else "told"
        )
        groups[f"{kind}: {trace.source}"].append(row)
    names = [*SPOKEN, "surprise"]
    return [
        {"source": source, "traces": len(rows)}
        | {name: _interval([row[name] for row in rows if row[name] is not None]) for name in names}
        for source, rows in sorted(groups.items())
    ]


def _interval(flags: Sequence[bool]) -> dict[str, float]:
    return interval(sum(flags), len(flags))


def _share(found: dict[str, float]) -> str:
    return f"{found['value']:.1%} of {found['n']}" if found["n"] else "-"


def _is_fact(trace: Trace, inputs: Inputs) -> bool:
    return (
        trace.source in ASKED and stated(replace(trace, spans=[]), inputs.need_world()) is not None
    )


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Chance that a fact is more surprising than another trace; ties count half."""
    if not positive or not negative:
        return None
    order = sorted([(value, 1) for value in positive] + [(value, 0) for value in negative])
    ranks, place = 0.0, 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        ranks += sum(kind for _, kind in order[place:end]) * (place + end + 1) / 2
        place = end
    return round(
        (ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)), 4
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probes", description=__doc__)
    parser.add_argument(
        "run",
        type=Path,
        help="a run folder with a finished generate stage on the planted world, and its teacher",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        help="folder of a model that knows no facts, such as RUN/distill/student",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
