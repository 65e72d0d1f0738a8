"""A whole training step, ours beside TRL's GKDTrainer: the same models, the same ragged data in the
same order.

    python -m benchmarks.step                       three rounds, each trainer in a process of its
    own python -m benchmarks.step --shape 1b --device cuda --ours-only --sequence 4096      a 1B
    student beside a live mixture teacher

Tokens are those of the data: padding counts for nobody. The last line of output is one JSON object.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import fresh_process, peak_rss_mb, print_json, print_table, use_threads

WORDS, SPECIAL = 32_700, ["<pad>", "<end>", "<user>", "<assistant>", "<unk>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<user> ' if m['role'] == 'user' else '<assistant> ' }}{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %} <end>{% endif %} {% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)
SHAPES = {  # student, teacher: width, layers, heads, MLP, experts
    "small": ((256, 2, 4, 512, 0), (512, 4, 8, 1024, 0)),
    "tiny": ((32, 1, 2, 64, 0), (48, 1, 2, 96, 0)),
    "1b": ((1280, 36, 10, 5120, 0), (2048, 24, 16, 768, 64)),
}


def main() -> None:
    """Measures, prints the table and the JSON line."""
    given = arguments()
    if given.child:
        return print_json(CHILDREN[given.child](given))
    rows: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    missing = [] if given.ours_only or importable("trl") else ["trl"]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), given)
        trainers = [("ours", True), ("ours", False)] + (
            [] if given.ours_only or missing else [("trl_gkd", False)]
        )
        for number in range(given.rounds):
            for trainer, packing in trainers:
                print(
                    f"round {number + 1} of {given.rounds}: {trainer}{', packed' if packing else ''}",
                    flush=True,
                )
                rows.setdefault((trainer, packing), []).append(
                    child(folder, trainer, packing, given)
                )
    table = [summary(trainer, packing, runs) for (trainer, packing), runs in rows.items()]
    peer = next((row for row in table if row["trainer"] == "trl_gkd"), None)
    for row in table if peer else []:
        row["speed_ratio"] = round(row["tokens_per_second"] / peer["tokens_per_second"], 2)
        row["rss_ratio"] = round(row["peak_rss_mb"] / peer["peak_rss_mb"], 2)
    print_table(table)
    print_json(
        {"rows": table, "missing": missing, "device": given.device, "sequence": given.sequence}
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shape",
        choices=SHAPES,
        default="small",
        help="widths and depths of student and teacher (default small)",
    )
    parser.add_argument("--batch", type=int, default=16, help="sequences of a step (default 16)")
    parser.add_argument(
        "--sequence",
        type=int,
        default=512,
        help="longest sequence and length of a packed row, tokens (default 512)",
    )
    parser.add_argument(
        "--steps", type=int, default=8, help="measured steps, after two to warm up (default 8)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="starts of each trainer, taking turns (default 3)"
    )
    parser.add_argument(
        "--rows", type=int, default=8, help="packed rows computed at once (default 8)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--attention", default="sdpa", help="of our models, e.g. flash_attention_2 (default sdpa)"
    )
    parser.add_argument(
        "--targets",
        choices=("live", "none"),
        default="live",
        help="none: as with cached targets, no teacher runs",
    )
    parser.add_argument("--ours-only", action="store_true", help="no peer")
    parser.add_argument(
        "--peak-tflops",
        type=float,
        help="of the device, e.g. 989 (H100, bfloat16): adds the share used",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--packing", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def importable(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def child(folder: str, trainer: str, packing: bool, given: argparse.Namespace) -> dict[str, Any]:
    """One start of one trainer in a process of its own."""
    names = [
        "shape",
        "batch",
        "sequence",
        "steps",
        "rows",
        "threads",
        "device",
        "dtype",
        "attention",
        "targets",
    ]
    names += ["peak-tflops"] if given.peak_tflops else []
    words = [
        word
        for name in names
        for word in (f"--{name}", str(getattr(given, name.replace("-", "_"))))
    ]
    words += ["--child", trainer, "--folder", folder, *(["--packing"] if packing else [])]
    return fresh_process("benchmarks.step", words)


def summary(trainer: str, packing: bool, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Best round, since a shared machine only ever slows down; all rounds have the same loss."""
    best = max(runs, key=lambda run: run["tokens_per_second"])
    middle = sorted(run["tokens_per_second"] for run in runs)[len(runs) // 2]
    return {"trainer": trainer, "packing": packing, **best, "median_tokens_per_second": middle}


# --- models and data


def prepare(folder: Path, given: argparse.Namespace) -> None:
    """A tokenizer of plain words, ragged conversations (log-normal lengths), student and teacher,
    all seeded.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = SPECIAL + [f"w{n}" for n in range(WORDS)]
    inner = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "tokenizer")
    rng = random.Random(0)
    with (folder / "data.jsonl").open("w") as file:
        for _ in range(given.batch * (given.steps + 2)):
            size = min(
                given.sequence - 8,
                max(24, int(rng.lognormvariate(4.5, 0.8) * given.sequence / 512)),
            )
            words = [f"w{min(WORDS - 1, int(rng.paretovariate(0.4)))}" for _ in range(size)]
            said = {"user": words[: size // 4], "assistant": words[size // 4 :]}
            file.write(
                json.dumps(
                    {
                        "messages": [
                            {"role": role, "content": " ".join(part)} for role, part in said.items()
                        ]
                    }
                )
                + "\n"
            )


def model(folder: Path, given: argparse.Namespace, *, teacher: bool) -> Any:
    import torch
    from transformers import AutoTokenizer

    from distill.models import build_model
    from recipes.schema import Shape

    width, layers, heads, mlp, experts = SHAPES[given.shape][teacher]
    mixture = (
        {"family": "qwen3_moe", "num_experts": experts, "experts_per_token": 8} if experts else {}
    )
    shape = Shape(
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=heads,
        head_size=width // heads,
        intermediate_size=mlp,
        max_position_tokens=given.sequence,
        **mixture,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    dtype = given.dtype if teacher else "float32"
    made = build_model(shape, tokenizer, seed=1 + teacher, dtype=dtype, attention=given.attention)
    with torch.no_grad():
        made.lm_head.weight.mul_(4)  # a freshly built model is nearly flat: make the two disagree
    return made, tokenizer


def measured(
    times: list[float], tokens: list[int], losses: list[float], device: str
) -> dict[str, Any]:
    """The result of one start: the first two steps warm up."""
    import torch

    on_gpu = (
        {"peak_gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20)}
        if device == "cuda"
        else {}
    )
    speed, ends = (
        round(sum(tokens[2:]) / sum(times[2:]), 1),
        {"loss": round(losses[0], 6), "last_loss": round(losses[-1], 6)},
    )
    return {"tokens_per_second": speed, "peak_rss_mb": round(peak_rss_mb()), **on_gpu, **ends}


# --- trainers


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """Our loop's own step, on batches in file order."""
    from data_filters.records.traces import Trace
    from distill.data.encode import Teaching, encode_traces
    from distill.data.packing import pack
    from distill.targets.live import LiveTeacher
    from distill.train.loop import Trainer
    from recipes.schema import Training

    use_threads(given.threads)
    if given.dtype == "bfloat16":
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    student, tokenizer = model(given.folder, given, teacher=False)
    live = given.targets == "live"
    teacher = model(given.folder, given, teacher=True)[0] if live else None
    traces = [
        Trace(id=str(n), problem_id="", source="x", seed=0, messages=json.loads(line)["messages"])
        for n, line in enumerate((given.folder / "data.jsonl").read_text().splitlines())
    ]
    encoded = list(encode_traces(traces, tokenizer, Teaching(kl=float(live), ce=float(not live))))
    training = Training(
        batch_sequences=given.batch,
        sequence_tokens=given.sequence,
        micro_batch_rows=given.rows,
        packing=given.packing,
        learning_rate=1e-4,
        clip_norm=1.0,
        weight_decay=0.0,
        adam_betas=(0.9, 0.999),
        trackers=[],
    )
    source = (lambda device: LiveTeacher(teacher, device)) if live else None
    trainer = Trainer(student, training, given.folder / f"ours-{given.packing}", source=source)
    times, tokens, losses = [], [], []
    for start in range(0, len(encoded), given.batch):
        batch = encoded[start : start + given.batch]
        began = time.perf_counter()
        losses.append(trainer.step(pack(batch, given.sequence, packing=given.packing))["loss"])
        times.append(time.perf_counter() - began)
        tokens.append(sum(len(one.ids) for one in batch))
    trainer.close()
    found = measured(times, tokens, losses, given.device)
    if given.peak_tflops:
        found["mfu"] = round(
            flops_per_token(given, live) * found["tokens_per_second"] / (given.peak_tflops * 1e12),
            3,
        )
    return found


def flops_per_token(given: argparse.Namespace, live: bool) -> float:
    """6 a parameter of the student, 2 an active parameter of a live teacher, and the attention of a
    full row (PaLM, arXiv:2204.02311).
    """
    found = 0.0
    for teacher, passes in ((False, 6), (True, 2 * live)):
        width, layers, _, mlp, experts = SHAPES[given.shape][teacher]
        active = layers * (4 * width * width + 3 * width * mlp * (8 if experts else 1)) + width * (
            len(SPECIAL) + WORDS
        )
        found += passes * (active + layers * width * given.sequence)
    return found


def trl_gkd(given: argparse.Namespace) -> dict[str, Any]:
    """TRL's GKDTrainer with lmbda 0 (no generation) and beta 0 (forward KL), batches in file
    order.
    """
    import torch
    from datasets import load_dataset
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    torch.set_num_threads(given.threads)
    (student, tokenizer), (teacher, _) = (
        model(given.folder, given, teacher=t) for t in (False, True)
    )
    data = load_dataset(
        "json",
        data_files=str(given.folder / "data.jsonl"),
        split="train",
        cache_dir=str(given.folder / "cache"),
    )
    times, losses = [], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            times.append(time.perf_counter() - self.began)

        def on_log(self, args, state, control, logs=None, **__):
            losses.extend([logs["loss"]] if "loss" in logs else [])

    class InOrder(GKDTrainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

    config = GKDConfig(
        output_dir=str(given.folder / "gkd"),
        per_device_train_batch_size=given.batch,
        max_steps=len(data) // given.batch,
        learning_rate=1e-4,
        lmbda=0.0,
        beta=0.0,
        max_length=given.sequence,
        use_cpu=given.device == "cpu",
        bf16=given.dtype == "bfloat16",
        logging_steps=1,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        lr_scheduler_type="constant",
    )
    InOrder(
        model=student,
        teacher_model=teacher,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[Clock()],
    ).train()
    sizes = [len(tokenizer.apply_chat_template(row["messages"], return_dict=False)) for row in data]
    tokens = [
        sum(sizes[start : start + given.batch]) for start in range(0, len(sizes), given.batch)
    ]
    return measured(times, tokens, losses, given.device)


CHILDREN = {"ours": ours, "trl_gkd": trl_gkd}

if __name__ == "__main__":
    main()
