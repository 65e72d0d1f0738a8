"""Runs trainings of three steps, several in one process start, and saves what they made: see
test_contract.py.

python tests/distill/train/contract_runner.py FOLDER CASES.json        also under accelerate launch
or torchrun, on every rank
"""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from distill.adapters import add_lora
from distill.data.packing import EncodedFile
from distill.loss.divergences import Divergence
from distill.loss.learner import Objective
from distill.models import build_model, load_model
from distill.targets.cache import CachedTargets, Origin
from distill.targets.live import LiveTeacher, ShardedTeacher, loading_sharded
from distill.train.accelerator import zero_stage
from distill.train.loop import Trainer
from recipes.schema import Lora, Model, Training
from tests.distill.conftest import TINY

STEPS = 3
TEACHER = Model(path="-")
TRAINING = dict(
    steps=STEPS,
    batch_sequences=10,
    sequence_tokens=96,
    warmup_steps=2,
    checkpoint_steps=100,
    trackers=[],
)


def source(case, root):
    """Opens the teacher's targets of a case."""
    kind = case["kind"]
    if kind == "live":
        return lambda device: LiveTeacher(load_model(TEACHER, root / "teacher"), device)
    if kind == "sharded":
        return lambda _: sharded(root)
    about = json.loads((root / kind / "cache.json").read_text())
    origin = Origin(**{name: about[name] for name in Origin.__dataclass_fields__})
    return lambda device: CachedTargets(root / kind, origin, device)


def sharded(root):
    with loading_sharded() as config:
        teacher = load_model(TEACHER, root / "teacher")
    assert all(p.numel() == 0 for p in teacher.parameters()), "it was loaded whole"
    return ShardedTeacher(teacher, config)


def model(case, tokenizer):
    made = build_model(TINY, tokenizer, seed=3)
    return (
        add_lora(made, Lora(rank=4, alpha=8, targets=["q_proj", "down_proj"]), seed=6)
        if case.get("lora")
        else made
    )


def run(case, root, out, tokenizer, data):
    """One training; its weights and its log."""
    if case["zero"] != "none":
        os.environ["ACCELERATE_DEEPSPEED_ZERO_STAGE"] = str(case["zero"])
    training = Training(
        **TRAINING,
        learning_rate=1e-3,
        micro_batch_rows=case["micro"],
        packing=case["packing"],
        loss=case["backend"],
    )
    objective = Objective(
        divergence=Divergence(case.get("divergence", "forward_kl")), backend=case["backend"]
    )
    trainer = Trainer(
        model(case, tokenizer), training, out, objective=objective, source=source(case, root)
    )
    assert zero_stage(trainer.accelerator) == (0 if case["zero"] == "none" else case["zero"])
    trainer.fit(data, seed=5, label="contract")
    weights = trainer.weights()
    is_main = trainer.accelerator.is_main_process
    trainer.close()
    if is_main:
        save_file(
            {name: tensor.clone().contiguous() for name, tensor in weights.items()},
            out / "weights.safetensors",
        )


def main():
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    root, cases = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    tokenizer, data = (
        AutoTokenizer.from_pretrained(root / "tokenizer"),
        EncodedFile(root / "encoded.arrow"),
    )
    for name, case in cases.items():
        run(case, root, root / "out" / name, tokenizer, data)


if __name__ == "__main__":
    main()
