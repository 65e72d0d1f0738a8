"""The gap between two real models, token by token."""

import pytest
import torch

from data_filters.records.traces import Trace
from distill.engines.logprob_gap import largest_gaps
from distill.models import build_model
from tests.distill.conftest import TINY


def trace(text, question="The home of Mara is Oslo. Where does Mara live?"):
    return Trace(
        id=text,
        problem_id="p",
        source="x",
        seed=1,
        messages=[{"role": "user", "content": question}, {"role": "assistant", "content": text}],
    )


def test_gaps_are_those_of_one_row_at_a_time(tiny_model, tokenizer):
    other = build_model(TINY, tokenizer, seed=7).eval()
    traces = [trace("<think> Mara Oslo.</think> Oslo."), trace("Oslo."), trace("3 + 5 = 8. " * 5)]
    gaps = largest_gaps(tiny_model, other, tokenizer, traces, batch=2)
    for one, gap in zip(traces, gaps, strict=True):
        ids = tokenizer.apply_chat_template(
            one.messages[:1], add_generation_prompt=True, tokenize=False
        )
        asked = tokenizer.encode(ids, add_special_tokens=False)
        said = tokenizer.encode(one.messages[1]["content"], add_special_tokens=False)
        found = []
        for model in (tiny_model, other):
            with torch.inference_mode():
                logprobs_TV = (
                    model(input_ids=torch.tensor([asked + said])).logits[0].log_softmax(-1)
                )
            found.append(
                torch.stack(
                    [logprobs_TV[len(asked) - 1 + n, token] for n, token in enumerate(said)]
                )
            )
        assert gap == pytest.approx(float((found[0] - found[1]).max()), abs=1e-4)
    assert largest_gaps(tiny_model, tiny_model, tokenizer, traces, batch=3) == pytest.approx(
        [0.0] * 3, abs=1e-5
    )


def test_a_conversation_without_an_answer_has_no_gap(tiny_model, tokenizer):
    alone = Trace(
        id="a", problem_id="p", source="x", seed=1, messages=[{"role": "user", "content": "?"}]
    )
    assert largest_gaps(tiny_model, tiny_model, tokenizer, [alone], batch=2) == [None]
