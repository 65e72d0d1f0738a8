"""A student behind adapters: what is saved is the merged model, and the adapters that make it out
of the base.
"""

import random

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from data_filters.records.traces import Trace
from distill.data.packing import EncodedFile
from distill.models import build_model, save_model
from distill.targets.live import LiveTeacher
from distill.train.student import encode_arm, train_arm
from recipes.schema import Distill, Lora, Model
from tests.distill.conftest import TINY, TINY_MOE


def test_adapters_on_the_base_are_the_merged_student(world, tokenizer, tmp_path):
    rng, base = random.Random(0), tmp_path / "base"
    save_model(build_model(TINY, tokenizer, seed=1), tokenizer, base)
    teacher = build_model(TINY_MOE, tokenizer, seed=2)
    spec = Model(path=str(base), lora=Lora(rank=4, alpha=8, targets=["q_proj", "down_proj"]))
    config = Distill(steps=6, batch_sequences=8, warmup_steps=1, learning_rate=1e-2, trackers=[])
    talks = [world.draw(rng, "sums", "training").messages() for _ in range(20)]
    traces = [
        Trace(id=str(n), problem_id="", source="planted/sums", seed=0, messages=talk)
        for n, talk in enumerate(talks)
    ]
    path, folder = tmp_path / "encoded.arrow", tmp_path / "student"
    counts = encode_arm(
        spec, config, base, traces, path, label="", is_main=True, wait=lambda _: None
    )
    notes = train_arm(
        spec,
        config,
        base=base,
        source=lambda device: LiveTeacher(teacher, device),
        vocab_size=len(tokenizer),
        data=EncodedFile(path),
        folder=folder,
        label="student",
        seed=5,
        replay=None,
        is_main=True,
        look=None,
        run="",
    )
    assert notes["steps"] == 6 and counts["written"] == 20
    ids = torch.tensor([tokenizer.encode("What is 2 + 3?")])
    plain, merged = (
        AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
        for place in (base, folder)
    )
    before = plain(ids).logits
    behind = PeftModel.from_pretrained(plain, folder / "adapter").eval()
    torch.testing.assert_close(behind(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        behind.merge_and_unload()(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-5
    )
    assert (merged(ids).logits - before).abs().max() > 1e-3  # something was learned
