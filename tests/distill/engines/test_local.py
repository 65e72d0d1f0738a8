"""The engine against transformers' own generation and against plain forward passes."""

import copy

import pytest
import torch

from distill.engines.local import LocalEngine, choose
from distill.engines.protocol import Sampling, render

TALKS = [
    [{"role": "user", "content": text}]
    for text in ("Where does Mara live?", "Sort 3 1 2.", "What is 2 + 3?", "Reverse a b c d e.")
]


@pytest.fixture(params=["dense", "mixture"])
def engine(request, tokenizer, tiny_model, tiny_moe):
    return LocalEngine(
        tiny_model if request.param == "dense" else tiny_moe, tokenizer, batch_sequences=3
    )


OPENS = "{%- if add_generation_prompt %}A: <think>\n{% endif %}"  # the template opens the thought
TURN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
TIGHT = (  # a template that writes thoughts in a form of its own
    "{% for m in messages %}{{ m.role }}: "
    "{{ m.content.replace('\n</think>\n\n', '</think>') }}\n{% endfor %}"
    "{%- if add_generation_prompt %}A: <think>{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TURN + OPENS, "A: <think>\nTwo.\n</think>\n\n"),
        (TURN, "Two?\n<think>\nTwo.\n</think>\n\n"),
        (TIGHT, "A: <think>Two.</think>"),
    ],
)
def test_a_cut_thought_goes_on_in_the_form_of_its_template_once(tokenizer, template, end):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = template
    text = render(tokenizer, [{"role": "user", "content": "Two?"}], "<think>\nTwo.\n</think>\n\n")
    assert text.endswith(end) and text.count("<think>") == 1
    open_ = render(tokenizer, [{"role": "user", "content": "Two?"}], "<think>\nTwo and")
    assert open_.count("<think>") == 1 and open_.endswith("Two and")


def test_greedy_equals_transformers_generate(engine):
    ours = engine.complete(TALKS, Sampling(max_new_tokens=12))
    for talk, completion in zip(TALKS, ours, strict=True):
        ids = torch.tensor([engine.render(talk)])
        theirs = engine.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )[0, ids.shape[1] :]
        assert completion.text == engine.tokenizer.decode(theirs, skip_special_tokens=True).strip()
        assert completion.completion_tokens == len(theirs)


def test_what_was_written_is_seen_by_what_follows(engine):
    """Log-probabilities of a batch with padding equal those of each row read at once, in a model
    whose attention is sharp: a nearly random one says much the same whatever it sees.
    """
    with torch.no_grad():
        for parameter in engine.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    prompts = [engine.render(talk) for talk in TALKS]
    sampling = Sampling(max_new_tokens=10, temperature=1.0, seed=3)
    for prompt, (ids, logprobs) in zip(
        prompts, engine._decode(prompts, sampling, torch.Generator().manual_seed(3)), strict=True
    ):
        logits = engine.model(torch.tensor([prompt + ids])).logits[0].float()
        alone = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        theirs = alone.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
        assert logprobs == pytest.approx(theirs, abs=1e-3)


def test_sampling_is_the_same_for_the_same_seed_only(engine):
    write = lambda seed: [
        c.text
        for c in engine.complete(TALKS, Sampling(max_new_tokens=12, temperature=1.0, seed=seed))
    ]
    assert write(1) == write(1)
    assert write(1) != write(2)


def test_a_row_that_never_ends_is_truncated(engine):
    done = engine.complete(TALKS, Sampling(max_new_tokens=3))
    assert {c.finish_reason for c in done if c.completion_tokens == 3} <= {"length", "stop"}
    cut = [c for c in done if c.finish_reason == "length"]
    assert cut and all(c.completion_tokens == 3 for c in cut)


def test_a_prefix_begins_the_answer(engine):
    (completion,) = engine.complete(
        TALKS[:1], Sampling(max_new_tokens=2), prefixes=["<think> Mara"]
    )
    assert completion.text.startswith("<think> Mara")


def test_a_forced_choice_is_the_likeliest_whole_continuation(engine):
    choices = [" Oslo", " 34", " 35", " a", " 4"]
    prompts = [engine.render(talk, "<think> Mara") for talk in TALKS]
    picked = engine.choose_among(prompts, [choices] * len(prompts))
    for prompt, pick in zip(prompts, picked, strict=True):
        totals = []
        for choice in choices:
            tail = engine.tokenizer.encode(choice, add_special_tokens=False)
            logprobs = torch.log_softmax(
                engine.model(torch.tensor([prompt + tail])).logits[0].float(), -1
            )
            totals.append(
                sum(logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(tail))
            )
        assert pick == max(range(len(choices)), key=totals.__getitem__)


def test_a_nucleus_leaves_the_tail_out():
    logits = torch.tensor([[2.0, 1.0, 0.0, -5.0]]).repeat(500, 1)
    drawn = choose(
        logits,
        Sampling(max_new_tokens=1, temperature=1.0, top_p=0.6),
        torch.Generator().manual_seed(0),
    )
    assert set(drawn.tolist()) == {0}  # softmax gives .66 to the first: the nucleus is that one
    assert (
        len(
            set(
                choose(
                    logits,
                    Sampling(max_new_tokens=1, temperature=1.0),
                    torch.Generator().manual_seed(0),
                ).tolist()
            )
        )
        > 1
    )
