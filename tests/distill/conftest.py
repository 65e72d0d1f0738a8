"""Small real things: a tokenizer trained on the planted world, models of a few thousand weights."""

import random

import pytest

from distill.models import build_model
from distill.problems.planted_tokenizer import train_tokenizer
from distill.problems.planted_world import World
from recipes.schema import Planted, Shape


@pytest.fixture(scope="session")
def world():
    return World(Planted(people=20, teacher_only=8, strangers=8))


@pytest.fixture(scope="session")
def tokenizer(world):
    rng = random.Random(0)
    families = ("read", "closed", "sums", "basics", "follow")
    texts = [
        m["content"]
        for _ in range(400)
        for m in world.draw(rng, rng.choice(families), "training").messages()
    ]
    return train_tokenizer(texts, vocab_size=700)


TINY = Shape(
    hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_size=16, intermediate_size=48
)
TINY_MOE = Shape(
    family="qwen3_moe",
    hidden_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_size=16,
    intermediate_size=24,
    num_experts=4,
)


@pytest.fixture
def tiny_model(tokenizer):
    return build_model(TINY, tokenizer, seed=1).eval()


@pytest.fixture
def tiny_moe(tokenizer):
    return build_model(TINY_MOE, tokenizer, seed=2).eval()
