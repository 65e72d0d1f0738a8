"""The gap between two real models, token by token."""

import pytest
import torch

from data_filters.records.traces import Trace
from distill.engines.local import LocalEngine
from distill.engines.logprob_gap import of_engine, of_model, token_gaps
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


def scored(model, tokenizer):
    return of_model(model, tokenizer.pad_token_id)


def test_gaps_are_those_of_one_row_at_a_time(tiny_model, tokenizer):
    other = build_model(TINY, tokenizer, seed=7).eval()
    traces = [trace("<think> Mara Oslo.</think> Oslo."), trace("Oslo."), trace("3 + 5 = 8. " * 5)]
    mine, theirs = scored(tiny_model, tokenizer), scored(other, tokenizer)
    for one, gaps in zip(traces, token_gaps(mine, theirs, tokenizer, traces, 2), strict=True):
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
        assert [gap for *_, gap in gaps] == pytest.approx((found[0] - found[1]).tolist(), abs=1e-4)
        text = one.messages[1]["content"]
        assert "".join(text[start:end] for start, end, _ in gaps).split() == text.split()
    (same,) = token_gaps(mine, mine, tokenizer, traces[:1], 3)
    assert [gap for *_, gap in same] == pytest.approx([0.0] * len(same), abs=1e-5)


def test_an_engine_gives_the_same_gaps_where_it_lists_the_token(tiny_model, tokenizer):
    other = build_model(TINY, tokenizer, seed=7).eval()
    traces = [trace("<think> Mara Oslo.</think> Oslo."), trace("Oslo.")]
    theirs, engine = scored(other, tokenizer), LocalEngine(tiny_model, tokenizer, batch_sequences=2)
    exact = token_gaps(scored(tiny_model, tokenizer), theirs, tokenizer, traces, 2)
    whole = token_gaps(of_engine(engine, len(tokenizer)), theirs, tokenizer, traces, 2)
    few = token_gaps(of_engine(engine, 5), theirs, tokenizer, traces, 2)
    unlisted = 0
    for mine, all_of_them, some in zip(exact, whole, few, strict=True):
        for one, same, listed in zip(mine, all_of_them, some, strict=True):
            assert one[:2] == same[:2] == listed[:2]
            assert same[2] == pytest.approx(one[2], abs=1e-4)
            assert listed[2] == float("-inf") or listed[2] == pytest.approx(one[2], abs=1e-4)
            unlisted += listed[2] == float("-inf")
    assert unlisted


def test_a_conversation_without_an_answer_has_no_gap(tiny_model, tokenizer):
    alone = Trace(
        id="a", problem_id="p", source="x", seed=1, messages=[{"role": "user", "content": "?"}]
    )
    score = scored(tiny_model, tokenizer)
    assert token_gaps(score, score, tokenizer, [alone], batch=2) == [None]
