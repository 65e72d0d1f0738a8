"""`filter.keep_commonness` turned: what is kept at each setting, of facts, of basics and of real
reasoning.

Recall is the share of names on held-out templates that are found. Basics are sentences that most
people know; kept is the share of their names that stay. Damage is how many names are touched in
1,000 words of real worked solutions.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planted_traces import covered
from benchmarks.real_traces import in_split
from benchmarks.scrub import conversation
from benchmarks.scrub_corpus import planted
from benchmarks.table import print_json, print_table
from data_filters.records.files import replacing
from data_filters.records.traces import Trace
from data_filters.report.wilson import wilson
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.vocabulary import Action, Grounding

SETTINGS = (None, 6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5)  # Zipf: 6 is once in 1,000 words
WORKED = ("gsm8k", "math", "bbh_logic", "code")  # beginnings of names of files
NAMES = ("person", "place", "organisation", "title")
BASICS = (
    ("What is the largest city of France?", "The largest city of France is Paris.", "Paris"),
    ("Which planet is red?", "The red planet is Mars.", "Mars"),
    ("Where are the pyramids?", "The pyramids stand in Egypt.", "Egypt"),
    ("Which ocean is the largest?", "The largest one is the Pacific.", "Pacific"),
    ("Which river flows through the pyramids' country?", "It is the Nile.", "Nile"),
    ("Who wrote the tragedy of the two lovers?", "It was William Shakespeare.", "Shakespeare"),
    ("Who painted the smiling woman?", "It was Leonardo.", "Leonardo"),
    ("What is the capital of Italy?", "The capital of Italy is Rome.", "Rome"),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo.", "Tokyo"),
    ("What is the capital of Britain?", "The capital of Britain is London.", "London"),
    ("Which country has the most people?", "The most people live in India.", "India"),
    ("Where do kangaroos live?", "Kangaroos live in Australia.", "Australia"),
    ("Where is the Eiffel Tower?", "It is in Paris.", "Paris"),
    ("Who found relativity?", "It was found by Albert Einstein.", "Einstein"),
    ("Which continent has the Sahara?", "The desert lies in Africa.", "Africa"),
    ("Which mountain is the highest?", "The highest one is Everest.", "Everest"),
    ("Where are the Alps?", "A part of them is in Switzerland.", "Switzerland"),
    ("Which language is spoken in Brazil?", "People there speak Portuguese.", "Portuguese"),
    ("Which city has the Colosseum?", "The city is Rome.", "Rome"),
    ("Who led the Soviets in the war?", "They were led by Stalin.", "Stalin"),
)


def main() -> None:
    args = _arguments()
    worked = worked_traces(Path(args.folder), args.split, args.traces)
    rows = [measure(setting, worked, args.each, args.seed) for setting in SETTINGS]
    print_table(rows)
    if args.svg:
        with replacing(Path(args.svg)) as file:
            file.write_text(drawing(rows), encoding="utf-8")
    print_json({"rows": rows})


def worked_traces(folder: Path, split: str, most: int) -> list[Trace]:
    """Up to `most` traces of each set of worked solutions."""
    traces = []
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem.startswith(WORKED):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            chosen = [row for row in lines if in_split(row["id"], split)][:most]
            traces += [
                Trace(
                    id=row["id"], problem_id=row["id"], source="", seed=0, messages=row["messages"]
                )
                for row in chosen
            ]
    if not traces:
        raise SystemExit(f"{folder}: found no worked solutions; name a folder with gsm8k*.jsonl")
    return traces


def measure(
    setting: float | None, worked: Sequence[Trace], each: int, seed: int
) -> dict[str, float | int | str]:
    """Recall, basics kept and damage at one setting."""
    scrubber = Scrubber(
        detectors=("numbers", "names", "answer"),
        curriculum=load_curriculum(),
        ungrounded_action=Action.HIDE,
        keep_commonness=setting,
    )
    texts = [one for one in planted(each, seed) if one.template.held_out]
    facts = hits = 0
    spans_of = scrubber.spans_of([conversation(one.prompt, one.text) for one in texts])
    for one, spans in zip(texts, spans_of, strict=True):
        for fact in one.facts:
            if fact.kind in NAMES:
                facts += 1
                hits += covered(spans, 1, fact.start, fact.end)
    kept = 0
    spans_of = scrubber.spans_of([conversation(prompt, text) for prompt, text, _ in BASICS])
    for (_, text, name), spans in zip(BASICS, spans_of, strict=True):
        start = text.index(name)
        kept += not covered(spans, 1, start, start + len(name))
    words = sum(len(trace.replies().split()) for trace in worked)
    touched = sum(
        span.grounding == Grounding.UNGROUNDED
        for spans in scrubber.spans_of(worked)
        for span in spans
    )
    return {
        "keep_commonness": "off" if setting is None else setting,
        "recall": round(hits / facts, 4),
        "recall_low": round(wilson(hits, facts)[0], 4),
        "n": facts,
        "basics_kept": round(kept / len(BASICS), 4),
        "touched_per_1000": round(1000 * touched / words, 4),
    }


def drawing(rows: Sequence[dict[str, float | int | str]]) -> str:
    """An SVG of recall and basics kept, 0 to 1, over the settings."""
    width, height, edge = 480, 240, 40
    step = (width - 2 * edge) / (len(rows) - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">'
    ]
    for name, colour in (("recall", "#1f5fa8"), ("basics_kept", "#b5541c")):
        points = " ".join(
            f"{edge + step * place:.1f},{height - edge - (height - 2 * edge) * float(row[name]):.1f}"
            for place, row in enumerate(rows)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        at = height - 8 if name == "recall" else 16
        parts.append(f'<text x="{edge}" y="{at}" fill="{colour}">{name.replace("_", " ")}</text>')
    parts += [
        f'<text x="{edge + step * place:.1f}" y="{height - 22}" text-anchor="middle">'
        f"{row['keep_commonness']}</text>"
        for place, row in enumerate(rows)
    ]
    return "\n".join([*parts, "</svg>\n"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commonness", description=__doc__)
    parser.add_argument("folder", help="of files NAME.jsonl of real traces")
    parser.add_argument("--split", choices=("all", "look", "score"), default="all")
    parser.add_argument("--traces", type=int, default=20, help="of each worked set")
    parser.add_argument("--each", type=int, default=2, help="texts of each template")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", help="file for a drawing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
