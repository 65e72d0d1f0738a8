"""Bits per byte: against a plain sum, and texts that are not there."""

import math

import pytest
import torch

from distill.edit.bits_per_byte import bits_per_byte, halves, read_text
from recipes.errors import RecipeError

TEXT = "Mara lives in Oslo.\nBen has 3 apples.\n" * 6


def test_bits_per_byte_is_the_mean_surprise_of_a_byte(tiny_model, tokenizer):
    ids = torch.tensor(tokenizer.encode(TEXT, add_special_tokens=False))
    assert len(ids) < 256, "one window"
    with torch.no_grad():
        logprobs = torch.log_softmax(tiny_model(ids[None]).logits[0, :-1], -1)
    nats = -float(logprobs.gather(1, ids[1:, None]).sum())
    told = len(tokenizer.decode(ids[1:]).encode())
    assert bits_per_byte(tiny_model, tokenizer, TEXT) == pytest.approx(
        nats / math.log(2) / told, rel=1e-5
    )


def test_a_text_is_cut_at_a_line(tmp_path):
    first, second = halves(TEXT)
    assert first + second == TEXT and first.endswith("\n") and abs(len(first) - len(second)) < 45
    (tmp_path / "a.txt").write_text(TEXT)
    assert read_text(str(tmp_path / "a.txt")) == TEXT
    assert "2889" in read_text("package:reasoning_gym/data/in_the_year_2889.txt")


@pytest.mark.parametrize(
    "place", ["no/such.txt", "package:no_such_package/a.txt", "package:reasoning_gym/no.txt"]
)
def test_a_text_that_is_not_there_is_named(place):
    with pytest.raises(
        RecipeError, match=r"edit.calibration_text: no (file|installed Python package) .*name a"
    ):
        read_text(place)
