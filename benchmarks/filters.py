"""What each filter is for: a finished planted world sifted again with each filter off in turn,
judged by the world's key.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.table import clock, print_json, print_table
from data_filters.dedup.decontamination import HeldOutIndex
from data_filters.dedup.duplicates import fingerprint
from data_filters.filters.settings import FilterSettings
from data_filters.filters.shape import misshapen
from data_filters.records.shards import iter_traces
from data_filters.records.traces import Trace
from data_filters.sift import sift
from data_filters.verify.verifiers import verify
from eval.stage_scores.filter_score import score_filter
from launch.inputs.held_out import held_out_prompts
from launch.inputs.inputs import Inputs
from launch.runs.run_folder import Workspace
from launch.stages.filter import Filter
from recipes.load import load_recipe
from recipes.vocabulary import Action, Verdict


def main() -> None:
    args = _arguments()
    work = Workspace(args.run)
    inputs = Inputs(load_recipe(args.run / "recipe.yaml", args.overrides), work)
    traces, world = args.traces or inputs.traces.written, inputs.need_world()
    references = {trace.id: trace.gold for trace in iter_traces(traces)}
    contact = HeldOutIndex(
        held_out_prompts(inputs.recipe, inputs.world), inputs.recipe.filter.decontaminate_words
    )
    rows = []
    for name, settings in variants(Filter(inputs).settings()):
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            report: dict[str, Any] = {}
            seconds = clock(
                lambda out=Path(folder), to=report, one=settings: to.update(sift(traces, out, one))
            )
            found = judge(iter_traces(Path(folder) / "kept"), references, contact, settings)
            score = score_filter(iter_traces(Path(folder) / "kept"), world)
        left = {
            f"{kind} left": round(score[kind] * (1 - score[f"{share}_recall"]))
            for kind, share in (("facts", "fact"), ("invented", "invented"))
        }
        told = {"told": score["told"], "over_scrub": round(score["over_scrub"] * score["told"])}
        rows.append(
            {
                "off": name,
                "kept": report["kept"],
                **left,
                **told,
                **found,
                "seconds": round(seconds, 1),
            }
        )
    print_table(rows)
    print_json({"rows": rows})


def variants(whole: FilterSettings) -> Iterator[tuple[str, FilterSettings]]:
    """(what is off, the settings without it)."""
    config = whole.config

    def without(**changes: Any) -> FilterSettings:
        return replace(whole, config=replace(config, **changes))

    yield "nothing", whole
    for name in ("shape", "verify"):
        yield name, replace(whole, skip=(name,))
    for name in ("duplicates", "near_duplicates"):
        yield name, without(**{name: False})
    yield "both duplicates", without(drop_duplicates=False, drop_near_duplicates=False)
    yield "overlap", without(decontaminate=False)
    yield "scrub", without(ungrounded_action=Action.KEEP)
    for name in config.detectors:
        others = [one for one in config.detectors if one != name]
        yield f"detector {name}", without(detectors=others)


def judge(
    kept: Iterator[Trace],
    references: dict[str, str | None],
    contact: HeldOutIndex,
    settings: FilterSettings,
) -> dict[str, int]:
    """What reached kept that should not have: wrong answers, bad shapes, repetitions, held-out
    problems.
    """
    found: Counter[str] = Counter(dict.fromkeys(("wrong", "misshapen", "repeated", "held_out"), 0))
    seen: set[int] = set()
    for trace in kept:
        own = next(
            (span.original for span in trace.spans if span.action == Action.ABSTAIN),
            trace.messages[-1]["content"],
        )
        found["wrong"] += verify(own, references[trace.id])[0] == Verdict.WRONG
        found["misshapen"] += misshapen(trace, settings.config.max_characters) is not None
        key = fingerprint(
            replace(trace, messages=[*trace.messages[:-1], {"role": "assistant", "content": own}])
        )
        found["repeated"] += key in seen
        seen.add(key)
        found["held_out"] += any(
            contact.match(m["content"]) is not None for m in trace.messages if m["role"] == "user"
        )
    return dict(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__)
    parser.add_argument(
        "run", type=Path, help="a run folder with a finished generate stage on the planted world"
    )
    parser.add_argument("--traces", type=Path, help="sift these instead of RUN/generate")
    parser.add_argument(
        "--only", action="append", help="only this row, such as overlap; may be given again"
    )
    parser.add_argument(
        "overrides", nargs="*", default=[], help="recipe overrides, such as filter.exposure_cap=16"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
