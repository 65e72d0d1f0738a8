"""A training that kills itself with SIGKILL before the micro-batch with the given number: see
test_resume.py.

python tests/distill/train/resume_runner.py ROOT OUT KIND KILL_AT [OPTIMIZER]        KILL_AT 0:
never; muon trains the whole model, adamw adapters with dropout; also under a launcher
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from distill.adapters import add_lora
from distill.data.packing import EncodedFile
from distill.loss.learner import Objective
from distill.models import build_model, load_model
from distill.targets.cache import CachedTargets, Origin
from distill.targets.live import LiveTeacher
from distill.train.accelerator import launched_zero_stage, zero_stage
from distill.train.loop import Trainer
from recipes.schema import Lora, Model, Phase, Training
from tests.distill.conftest import TINY


def main():
    torch.set_num_threads(1)
    root, out, kind, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    optimizer = sys.argv[5] if len(sys.argv) > 5 else "adamw"
    tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer")
    training = Training(
        steps=8,
        batch_sequences=10,
        sequence_tokens=96,
        warmup_steps=2,
        checkpoint_steps=2,
        micro_batch_rows=1,
        trackers=[],
        optimizer=optimizer,
        curriculum=[Phase(families=["sums"], until_loss=0.01, min_steps=2, max_steps=3)],
    )
    # dropout: the random numbers of a resumed run must go on where they stopped, too
    model = build_model(TINY, tokenizer, seed=3)
    if optimizer == "adamw":
        lora = Lora(rank=4, alpha=8, dropout=0.2, targets=["q_proj", "up_proj"])
        model = add_lora(model, lora, seed=6)
    trainer = Trainer(model, training, out, objective=Objective(), source=source(kind, root))
    assert zero_stage(trainer.accelerator) == (launched_zero_stage() or 0)
    micro_step, done = trainer._micro_step, iter(range(1, 10**6))

    def counted(*args, **how):
        if next(done) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return micro_step(*args, **how)

    trainer._micro_step = counted
    trainer.fit(EncodedFile(root / "encoded.arrow"), seed=5, label="resume")
    weights, is_main = trainer.weights(), trainer.accelerator.is_main_process
    trainer.close()
    if is_main:
        save_file(
            {name: tensor.clone().contiguous() for name, tensor in weights.items()},
            out / "weights.safetensors",
        )


def source(kind, root):
    if kind == "live":
        return lambda device: LiveTeacher(load_model(Model(path="-"), root / "teacher"), device)
    about = json.loads((root / kind / "cache.json").read_text())
    return lambda device: CachedTargets(
        root / kind, Origin(**{name: about[name] for name in Origin.__dataclass_fields__}), device
    )


if __name__ == "__main__":
    main()
