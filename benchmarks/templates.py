"""Whether a student learns through every chat template of the installed trl to decline, to answer
with and without a thought, and to call a tool.

    python -m benchmarks.templates [--only NAME,...] [--out FILE.md]

One tiny model a template: 400 traces, 250 steps, then eight questions of each kind that it has not
seen. Templates that write the same lessons in the same tokens share a training. A template that the
pre-flight check refuses is not trained; its row holds the reason. The last line is JSON.
"""

import argparse
import hashlib
import importlib.util
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from data_filters.records.tool_calls import LOOKUP, call_message, result_message, tool_schemas
from data_filters.records.traces import Trace
from distill.chat_templates.forms import Unrenderable
from distill.chat_templates.thoughts import joined, parts
from distill.chat_templates.turns import Renderer
from distill.checks.tokenizers_agree import check_template
from distill.data.encode import Encoded, Teaching, encode_traces
from distill.data.packing import pack
from distill.engines.local import LocalEngine
from distill.engines.protocol import Sampling
from distill.engines.tool_calls import parse
from distill.loss.learner import Learner, Objective
from distill.models import build_model
from recipes.errors import ModelError
from recipes.schema import Shape

NAMES = "Ada Bo Cleo Dov Elin Finn Gus Hana Ira Jon Kit Lea Max Nia Oz Pia".split()
TOWNS = "Arla Brix Cade Dorm Elst Faro Gent Holm Ivry Jena Kiel Lund Mons Nice Olds Pisa".split()
DECLINED = "I do not know."
KINDS = ("declines", "thinks", "answers", "calls")
SHAPE = Shape(
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=4,
    head_size=16,
    intermediate_size=128,
    max_position_tokens=2048,
)
STEPS, BATCH, TRACES, HELD_OUT = 250, 16, 400, 8
# what templates write as special tokens: <|...|>, <...|>, <|...>, <\uff5c...\uff5c>, ends of turns
SPECIAL = re.compile(
    r"<\|[^<>\s|]+\|?>|<[^<>\s|]+\|>|<\uff5c[^<>\s]+\uff5c>|</?s>|<(?:start_of_turn|end_of_turn|end_of_utterance)>"
)


def templates(only: set[str]) -> Iterator[tuple[str, str]]:
    """Name and text of each chat template of the installed trl."""
    found = importlib.util.find_spec("trl")
    if found is None or not found.submodule_search_locations:
        return
    folder = Path(found.submodule_search_locations[0]) / "chat_templates"
    for path in sorted(folder.glob("*.jinja")):
        if not only or path.stem in only:
            yield path.stem, path.read_text(encoding="utf-8")


def talk(kind: str, name: str, town: str) -> list[dict[str, str]]:
    """A conversation of this kind about one person."""
    asked = {
        "declines": f"Where does {name} live?",
        "thinks": f"{name} lives in {town}. Where does {name} live? Think.",
        "answers": f"{name} lives in {town}. Where does {name} live?",
        "calls": f"Look up where {name} lives.",
    }[kind]
    said = {
        "declines": DECLINED,
        "thinks": joined(f"{name} {town}.", f"{town}."),
        "answers": f"{town}.",
        "calls": f"{town}.",
    }[kind]
    messages = [{"role": "user", "content": asked}]
    if kind == "calls":
        messages += [call_message(LOOKUP, f"{name} home"), result_message(f"{name} {town}")]
    return [*messages, {"role": "assistant", "content": said}]


def lessons(kinds: tuple[str, ...]) -> tuple[list[Trace], dict[str, list[Trace]]]:
    """Traces to learn from, and those of each kind that are asked: their pairs are not taught."""
    rng = random.Random(0)
    pairs = [(name, town) for name in NAMES for town in TOWNS]
    rng.shuffle(pairs)
    asked = {kind: [_trace(kind, *pair) for pair in pairs[:HELD_OUT]] for kind in kinds}
    rest = pairs[HELD_OUT:]
    taught = [_trace(kinds[n % len(kinds)], *rng.choice(rest)) for n in range(TRACES)]
    return taught, asked


def _trace(kind: str, name: str, town: str) -> Trace:
    tools = tool_schemas(LOOKUP) if kind == "calls" else None
    messages = talk(kind, name, town)
    return Trace(id=kind, problem_id="", source="", seed=0, messages=messages, tools=tools)


def tokenizer_for(template: str) -> PreTrainedTokenizerBase:
    """A small tokenizer with the special tokens of a template, trained on what it writes."""
    special = sorted(set(SPECIAL.findall(template)) - {"<s>"})
    special = list(dict.fromkeys(["<|endoftext|>", "<pad>", "<s>", *special]))
    first = _tokenizer(template, special, ["a"])
    writer = Renderer(first)
    texts, end = [], "<|endoftext|>"
    for trace in lessons(KINDS)[0]:
        try:
            renderings = writer.renderings(trace.messages, trace.tools)
        except Unrenderable:
            continue
        texts += [one.text for one in renderings]
        if trace.id == "declines":  # what the template writes last
            end = next(t for t in reversed(special) if texts[-1].endswith(t))
    made = _tokenizer(template, special, texts)
    made.eos_token = end
    return made


def _tokenizer(template: str, special: list[str], texts: list[str]) -> PreTrainedTokenizerBase:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=[AddedToken(name, special=True) for name in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|endoftext|>",
        pad_token="<pad>",
        bos_token="<s>",
        clean_up_tokenization_spaces=False,
    )
    marks = ("<think>", "</think>", "<tool_call>", "</tool_call>")
    made.add_tokens([AddedToken(mark, special=False) for mark in marks])
    made.chat_template = template
    return made


def train(tokenizer: PreTrainedTokenizerBase, encoded: list[Encoded]) -> PreTrainedModel:
    """A tiny model after 250 steps of cross-entropy, by the product's own loss."""
    model = build_model(SHAPE, tokenizer, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    rng = random.Random(1)
    with Learner(model, Objective()) as learner:
        for step in range(STEPS):
            batch = rng.sample(encoded, BATCH)
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * min(1.0, (step + 1) / 20, (STEPS - step) / 100)
            optimizer.zero_grad()
            rows = pack(batch, max(len(one.ids) for one in batch), packing=False)
            loss, _ = learner(rows, None)
            (loss / float(rows.ce_BT.sum())).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()


def score(engine: LocalEngine, kind: str, asked: list[Trace]) -> float:
    """The share of unseen questions of a kind that are answered as they should be."""
    stop = 2 if kind == "calls" else -1
    prompts = [trace.messages[: 1 if kind == "calls" else stop] for trace in asked]
    sampling = Sampling(max_new_tokens=60)
    done = engine.complete(prompts, sampling, tools=asked[0].tools)
    return sum(_right(kind, one.text, trace) for one, trace in zip(done, asked, strict=True)) / len(
        asked
    )


def _right(kind: str, text: str, trace: Trace) -> bool:
    thought, answer = parts(text)
    said, wanted = text[answer.start : answer.stop], trace.messages[-1]["content"]
    if kind == "calls":
        calls = parse(text)[1]
        (given,) = json.loads(trace.messages[1]["tool_calls"])
        return [(c.name, c.arguments) for c in calls] == [(LOOKUP, given["function"]["arguments"])]
    where = parts(wanted)[1]
    right = said == wanted[where.start : where.stop]
    return right and (thought is not None) == (kind == "thinks")


def look(name: str, template: str, done: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row of one template."""
    row: dict[str, Any] = {"template": name, "outcome": "refused", "reason": ""}
    row |= dict.fromkeys(KINDS)
    tokenizer = tokenizer_for(template)
    try:
        check_template(tokenizer)
    except ModelError as fault:
        return row | {"reason": str(fault).partition("; name another")[0]}
    kinds: tuple[str, ...] = KINDS
    try:
        check_template(tokenizer, tools=True)
    except ModelError as fault:
        kinds = KINDS[:-1]
        row["reason"] = str(fault).partition("; name another")[0]
    taught, asked = lessons(kinds)
    encoded = list(encode_traces(taught, tokenizer, Teaching(kl=0.0, ce=1.0)))
    key = _digest(encoded)
    if key not in done:
        model = train(tokenizer, encoded)
        engine = LocalEngine(model, tokenizer, batch_sequences=8)
        done[key] = {kind: score(engine, kind, asked[kind]) for kind in kinds}
    works = all(rate == 1 for rate in done[key].values())
    return row | done[key] | {"outcome": "works" if works else "fails"}


def _digest(encoded: list[Encoded]) -> str:
    whole = hashlib.sha256()
    for one in encoded:
        whole.update(one.ids.tobytes() + one.ce.tobytes())
    return whole.hexdigest()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ("template", "outcome", *KINDS, "why not")
    lines = [" | ".join(head), "|".join(["---"] * len(head))]
    for row in rows:
        rates = [
            "" if row[kind] is None else f"{row[kind] * HELD_OUT:.0f} of {HELD_OUT}"
            for kind in KINDS
        ]
        lines.append(
            " | ".join((row["template"], row["outcome"], *rates, row["reason"].replace("|", "\\|")))
        )
    return "\n".join(f"| {line} |" for line in lines)


def main(argv: list[str] | None = None) -> int:
    """Prints a line a template, and one JSON object as the last line."""
    given = argparse.ArgumentParser(prog="python -m benchmarks.templates", description=__doc__)
    given.add_argument("--only", default="", help="names of templates, separated by commas")
    given.add_argument("--out", help="also write the table to this file")
    args = given.parse_args(argv)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    done: dict[str, dict[str, Any]] = {}
    for name, template in templates(set(filter(None, args.only.split(",")))):
        began = time.perf_counter()
        rows.append(look(name, template, done))
        rates = "  ".join(f"{kind} {rows[-1][kind]}" for kind in KINDS)
        print(
            f"{name:<34} {rows[-1]['outcome']:<8} {rates}  {time.perf_counter() - began:.0f} s {rows[-1]['reason']}",
            flush=True,
        )
    if args.out:
        Path(args.out).write_text(table(rows) + "\n", encoding="utf-8")
    missing = [] if importlib.util.find_spec("trl") else ["trl"]
    print(json.dumps({"rows": rows} | ({"missing": missing} if missing else {})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
