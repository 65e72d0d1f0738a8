"""Two steps that are not finite under DeepSpeed, first by a gradient, then by the loss: see
test_resume.py.

python tests/distill/train/non_finite_runner.py ROOT        under accelerate launch, on every rank
"""

import math
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

from distill.data.packing import EncodedFile, pack
from distill.models import build_model
from distill.targets.live import LiveTeacher
from distill.train.accelerator import launched_zero_stage, zero_stage
from distill.train.loop import Trainer
from recipes.errors import TrainingError
from recipes.schema import Training
from tests.distill.conftest import TINY


def refused(trainer, batch):
    """What stops the step; the weights must be those of before."""
    before = trainer._weights()
    try:
        trainer.step(batch)
    except TrainingError as fault:
        after = trainer._weights()
        assert all(torch.equal(weight, before[name]) for name, weight in after.items())
        return str(fault)
    raise AssertionError("the step was taken")


def main():
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer")
    batch = pack(EncodedFile(root / "encoded.arrow").take(range(8)), 96)
    teacher = build_model(TINY, tokenizer, seed=4)
    model = build_model(TINY, tokenizer, seed=3)
    training = Training(trackers=[], steps=2, batch_sequences=8, sequence_tokens=96)
    trainer = Trainer(
        model, training, root / "run", source=lambda device: LiveTeacher(teacher, device)
    )
    assert zero_stage(trainer.accelerator) == launched_zero_stage()
    weight = model.model.layers[0].mlp.up_proj.weight
    handle = weight.register_hook(lambda grad: grad * math.inf)
    assert "gradient_norm is" in refused(trainer, batch)
    handle.remove()
    with torch.no_grad():
        teacher.model.norm.weight[0] = torch.nan
    assert "loss is nan at step 1, before its update" in refused(trainer, batch)
    trainer.close()


if __name__ == "__main__":
    main()
