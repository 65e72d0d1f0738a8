"""Spans become weights at predicted tokens; packing changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
)

from data_filters.records.tool_calls import LOOKUP, call_message, result_message, tool_schemas
from data_filters.records.traces import Span, Trace
from data_filters.scrub.arms import arm_view
from data_filters.scrub.scrub import Scrubber
from data_filters.text.curriculum import load_curriculum
from distill.data.encode import Encoded, Teaching, encode_traces
from distill.data.packing import EncodedFile, counts_of, pack, write_encoded
from distill.forward import hidden_states, logit_scale
from distill.loss.dense_loss import logits
from distill.loss.signals import output_of
from distill.models import build_model
from recipes.errors import ModelError, ShardError
from tests.distill.conftest import TINY_MOE


def trace(answer, spans=(), prompt="Where does Mara live?", id="t"):
    return Trace(
        id=id,
        problem_id="p",
        source="planted/closed",
        seed=0,
        spans=list(spans),
        messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
    )


def span(text, part, action, weight=1.0):
    start = text.index(part)
    return Span(
        message=1,
        start=start,
        end=start + len(part),
        kind="name",
        grounding="ungrounded",
        action=action,
        weight=weight,
    )


def weights_by_token(encoded, tokenizer):
    tokens = [tokenizer.decode([i]) for i in encoded.ids]
    return list(zip(tokens, encoded.kl.tolist(), encoded.ce.tolist(), strict=True))


def test_only_the_assistant_is_taught_and_so_is_its_end(tokenizer):
    (encoded,) = encode_traces(
        [trace("<think> Mara Oslo.</think> Oslo.")], tokenizer, Teaching(kl=1.0, ce=0.5)
    )
    rows = weights_by_token(encoded, tokenizer)
    first = next(i for i, (token, *_) in enumerate(rows) if token == "<think>")
    assert all(kl == ce == 0 for _, kl, ce in rows[:first])
    assert all((kl, ce) == (1.0, 0.5) for _, kl, ce in rows[first:])
    assert rows[-1][0] == "<|end|>"


def test_a_masked_value_has_no_loss_of_any_kind(tokenizer):
    answer = "<think> Mara Oslo.</think> Oslo."
    (encoded,) = encode_traces(
        [trace(answer, [span(answer, "Oslo", "mask")])], tokenizer, Teaching(kl=1.0, ce=0.5)
    )
    rows = weights_by_token(encoded, tokenizer)
    first = next(i for i, row in enumerate(rows) if row[0] == "<think>")
    hidden = "".join(token for token, kl, ce in rows[first:] if kl == ce == 0)
    assert hidden.strip() == "Oslo"
    assert all((kl, ce) == (1.0, 0.5) for token, kl, ce in rows[first:] if kl)


def test_replaced_text_is_taught_by_cross_entropy_only_to_its_end(tokenizer):
    said = "I do not know."
    (encoded,) = encode_traces(
        [trace(said, [span(said, said, "abstain")])], tokenizer, Teaching(kl=1.0, ce=0.0)
    )
    assert encoded.kl.sum() == 0
    assert encoded.ce.sum() == len(tokenizer.encode(" " + said, add_special_tokens=False)) + 1


def flat_by_token(encoded, tokenizer):
    """The last weights of each token's text."""
    columns = zip(encoded.ids, encoded.kl, encoded.ce, encoded.flat, strict=True)
    return {tokenizer.decode([i]).strip(): tuple(map(float, weights)) for i, *weights in columns}


@pytest.mark.parametrize(
    ("soften", "wanted"),
    [(1.0, (0, 0, 1.5)), (0.25, (0.75, 0.375, 0.375)), (0.0, (1, 0.5, 0)), (None, (0, 0, 0))],
)
def test_a_masked_value_may_be_pulled_toward_flat(tokenizer, soften, wanted):
    answer = "<think> Mara Oslo.</think> So."
    (encoded,) = encode_traces(
        [trace(answer, [span(answer, "Mara", "mask")])],
        tokenizer,
        Teaching(kl=1.0, ce=0.5, soften=soften),
    )
    rows = flat_by_token(encoded, tokenizer)
    assert all(rows[piece] == pytest.approx(wanted) for piece in rows if piece and piece in "Mara")
    assert rows["</think>"] == (1.0, 0.5, 0.0)


def test_a_kept_span_may_weigh_less(tokenizer):
    answer = "<think> Mara Oslo.</think> So."
    (encoded,) = encode_traces(
        [trace(answer, [span(answer, "<think>", "keep", weight=0.25)])],
        tokenizer,
        Teaching(kl=1.0, ce=0.5),
    )
    assert flat_by_token(encoded, tokenizer)["<think>"] == (0.25, 0.125, 0.0)


def test_roles_have_weights_and_tools_never_have(tokenizer):
    talk = [
        {"role": role, "content": f"{role} says x."}
        for role in ("system", "user", "tool", "assistant")
    ]
    made = Trace(id="t", problem_id="p", source="s", seed=0, messages=talk)
    weights = {}
    for roles in ({"assistant": 1.0}, {"assistant": 0.5, "user": 0.25, "tool": 9.0}):
        (encoded,) = encode_traces([made], tokenizer, Teaching(roles=roles))
        text = [tokenizer.decode([i]) for i in encoded.ids]
        cuts = [i for i, t in enumerate(text) if t in ("<|user|>", "<|assistant|>")]
        weights[len(roles)] = [
            encoded.kl[a + 1 : b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)
        ]
    system, user, tool, assistant = weights[1]
    assert not system.any() and not user.any() and not tool.any() and (assistant == 1).all()
    system, user, tool, assistant = weights[3]
    assert not system.any() and not tool.any() and user.max() == 0.25 and (assistant == 0.5).all()


def test_a_template_that_drops_thoughts_is_refused(tokenizer):
    plain = tokenizer.chat_template
    tokenizer.chat_template = plain.replace(
        "{{ space }}{{ content }}", "{{ content.split('</think>')[-1] }}"
    )
    try:
        with pytest.raises(ModelError, match="leaves out or changes the thought"):
            list(
                encode_traces(
                    [trace("<think> Mara Oslo.</think> Oslo.")], tokenizer, Teaching(kl=1, ce=0)
                )
            )
    finally:
        tokenizer.chat_template = plain


def sequences(lengths, vocab=50):
    g = torch.Generator().manual_seed(len(lengths))
    ids = [torch.randint(1, vocab, (n,), generator=g).numpy().astype("int32") for n in lengths]
    ones = [torch.ones(n).numpy() for n in lengths]
    return [Encoded(i, w, 0 * w, 0 * w) for i, w in zip(ids, ones, strict=True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 16), min_size=1, max_size=20))
def test_packing_keeps_every_token_and_every_weight(lengths):
    rows = sequences(lengths)
    for packing in (True, False):
        packed = pack(rows, 16, packing=packing)
        assert int((packed.segments_BT > 0).sum()) == sum(lengths)
        assert packed.kl_BT.sum() == sum(n - 1 for n in lengths)
        assert packed.ids_BT.shape[1] <= 16
    assert len(pack(rows, 16).ids_BT) <= len(rows)


def test_packed_sequences_do_not_see_each_other(tiny_model):
    rows = sequences([5, 7, 4], vocab=30)
    together = hidden_states(tiny_model, packed := pack(rows, 16))
    for sequence in rows:
        alone = hidden_states(tiny_model, pack([sequence], 16))[0, : len(sequence.ids)]
        where = [
            (r, c)
            for r in range(len(packed.ids_BT))
            for c in range(16)
            if packed.ids_BT[r, c : c + len(sequence.ids)].tolist() == sequence.ids.tolist()
        ]
        row, column = where[0]
        torch.testing.assert_close(
            together[row, column : column + len(sequence.ids)], alone, rtol=1e-4, atol=1e-5
        )


def test_eager_attention_hides_what_sdpa_hides(tiny_moe):
    packed = pack(sequences([5, 7, 4, 9, 3, 8], vocab=30), 16)
    real = packed.segments_BT > 0
    sdpa = hidden_states(tiny_moe, packed)[real]
    tiny_moe.set_attn_implementation("eager")
    torch.testing.assert_close(hidden_states(tiny_moe, packed)[real], sdpa, rtol=1e-4, atol=1e-5)


def test_files_count_what_they_leave_out(tmp_path):
    rows = [
        *sequences([4, 30, 6]),
        Encoded(*(a * 0 for a in (lambda s: (s.ids, s.kl, s.ce, s.flat))(sequences([5])[0]))),
    ]
    counts = write_encoded(rows, tmp_path / "e.arrow", longest=16)
    assert counts_of(tmp_path / "e.arrow") == counts
    assert counts == {"written": 2, "too_long": 1, "untaught": 1, "taught_tokens": 10}
    assert [len(s.ids) for s in EncodedFile(tmp_path / "e.arrow").take([1, 0])] == [6, 4]


def test_a_pool_is_of_some_families_and_may_leave_out_conversations_that_offer_tools(tmp_path):
    plain, other = sequences([4, 6, 5]), sequences([7, 8])
    named = [
        replace(s, source=f"planted/{name}")
        for s, name in zip(plain, ("read", "sums", "read"), strict=True)
    ]
    named += [replace(s, source="planted/read", tools=True) for s in other]
    write_encoded(named, tmp_path / "e.arrow", longest=16)
    file = EncodedFile(tmp_path / "e.arrow")
    assert [*file.pool(["read"])] == [0, 2, 3, 4] and [*file.pool(["read"], tools=False)] == [0, 2]
    assert [*file.pool([])] == [0, 1, 2, 3, 4] and [*file.pool([], tools=False)] == [0, 1, 2]


def test_a_trace_that_offers_tools_says_so_in_its_sequence(tokenizer):
    talk = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    traces = [
        Trace(id="t", problem_id="", source="s", seed=0, messages=talk, tools=tools)
        for tools in (None, tool_schemas(LOOKUP))
    ]
    assert [one.tools for one in encode_traces(traces, tokenizer, Teaching())] == [False, True]


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(ShardError, match="no sequence to train on"):
        write_encoded(sequences([30]), tmp_path / "e.arrow", longest=16)


def test_a_truncated_file_is_named(tmp_path):
    write_encoded(sequences([4, 6]), tmp_path / "e.arrow", longest=16)
    whole = (tmp_path / "e.arrow").read_bytes()
    (tmp_path / "e.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardError, match=r"e\.arrow"):
        EncodedFile(tmp_path / "e.arrow")


def varlen_reference(
    module,
    query,
    key,
    value,
    attention_mask,
    cu_seq_lens_q=None,
    max_length_q=None,
    scaling=None,
    **_,
):
    """Causal attention inside each sequence, as flash_attn_varlen_func does it; in plain torch,
    sequence by sequence.
    """
    assert (
        attention_mask is None
        and query.shape[0] == 1
        and max_length_q == int(cu_seq_lens_q.diff().max())
    )
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(x[:, :, a:b] for x in (query, key, value)), is_causal=True, scale=scaling
        )
        for a, b in zip(cu_seq_lens_q[:-1].tolist(), cu_seq_lens_q[1:].tolist(), strict=True)
    ]
    return torch.cat(parts, 2).transpose(1, 2), None


def test_kernels_without_a_mask_get_one_row_without_padding_and_see_no_neighbour(tiny_moe):
    """Several rows of several sequences each: what transformers would silently let see each
    other.
    """
    AttentionInterface.register("varlen_reference", varlen_reference)
    AttentionMaskInterface.register("varlen_reference", lambda *_, **__: None)
    packed = pack(sequences([5, 7, 4, 9, 3, 8], vocab=30), 16)
    assert len(packed.ids_BT) > 1 and int(packed.segments_BT.max()) > 1
    real = packed.segments_BT > 0
    with_mask = hidden_states(tiny_moe, packed)[real]
    tiny_moe.set_attn_implementation("varlen_reference")
    without = hidden_states(tiny_moe, packed)
    torch.testing.assert_close(without[real], with_mask, rtol=1e-4, atol=1e-5)
    assert not without[~real].any()
    with_mask.sum().backward()


KINDS = {
    "mistral": {"sliding_window": 4},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    "cohere2": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_oss": {
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_local_experts": 4,
    },
    "llama4_text": {
        "attention_chunk_size": 4,
        "layer_types": ["chunked_attention", "full_attention"],
        "num_local_experts": 2,
    },
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention"],
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
}


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("family", KINDS)
@torch.no_grad()
def test_every_kind_of_layer_sees_what_its_model_lets_it_see(family, packing):
    """Windows and chunks shorter than the sequences; each is compared with the model's own reading
    of it alone.
    """
    sizes = dict(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    config = AutoConfig.for_model(
        family, **sizes, **KINDS[family], head_dim=16, pad_token_id=0, bos_token_id=1
    )
    torch.manual_seed(0)
    attention = "eager" if family == "gpt_oss" else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    rows = sequences([9, 14, 11, 12, 6], vocab=30)
    numbered = [Encoded(s.ids, s.kl, s.ce, s.flat, row=n) for n, s in enumerate(rows)]
    packed = pack(numbered, 24, packing=packing)
    together, worst = hidden_states(model, packed), 0.0
    for number, sequence in enumerate(rows):
        own = model.model(torch.from_numpy(sequence.ids).long()[None]).last_hidden_state[
            0
        ] * logit_scale(model.config)
        here = (packed.sources_BT == number) & (packed.segments_BT > 0)
        worst = max(worst, float((together[here] - own).abs().max() / own.abs().max()))
    if family == "qwen3_next" and packing:
        assert worst > 1e-3, (
            "recurrent layers keep packed sequences apart now: distill.preflight.check_layers need not refuse them"
        )
    else:
        assert worst < 2e-5


@pytest.mark.parametrize("family", ["gemma2", "granite", "cohere"])
def test_families_with_capped_or_scaled_logits_are_read_as_they_are(family):
    """Hidden states times the output matrix, with the cap, are the model's own logits."""
    sizes = dict(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    extra = {
        "gemma2": {"final_logit_softcapping": 1.5},
        "granite": {"logits_scaling": 8.0},
        "cohere": {"logit_scale": 0.25},
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **sizes, **extra[family], head_dim=16, pad_token_id=0, bos_token_id=1
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    batch = pack(sequences([9], vocab=30), 9)
    ours = logits(hidden_states(model, batch)[0], output_of(model, None))
    torch.testing.assert_close(ours, model(batch.ids_BT).logits[0].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["flash_attention_2", "flash_attention_3", "flash_attention_4"])
def test_flash_attention_sees_what_sdpa_sees(tokenizer, kernel):
    """bfloat16 on a GPU; a kernel that is not installed is left out."""
    model = build_model(TINY_MOE, tokenizer, seed=2, dtype="bfloat16").eval().cuda()
    packed = pack(sequences([50, 70, 40, 90, 30, 80], vocab=30), 128).to(torch.device("cuda"))
    real = packed.segments_BT > 0
    sdpa = hidden_states(model, packed)[real].float()
    try:
        model.set_attn_implementation(kernel)
    except (ImportError, ValueError) as fault:
        pytest.skip(str(fault).splitlines()[0])
    assert (hidden_states(model, packed)[real].float() - sdpa).norm() < 0.02 * sdpa.norm()


def test_marks_of_a_review_outlive_scrubbing_and_weigh_in_every_arm(tokenizer):
    text = "<think> Mara Rex lives in Oslo. I add 2 and 3.</think> 5."
    step = text.index("I add")
    marked = Span(
        message=1,
        start=step,
        end=step + 14,
        kind="step",
        grounding="common",
        weight=0.25,
        detector="review",
    )
    messages = [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": text},
    ]
    trace = Trace(id="t", problem_id="p", source="s", seed=0, messages=messages, spans=[marked])
    scrubber = Scrubber(
        detectors=["numbers", "names", "answer"],
        curriculum=load_curriculum(None),
        ungrounded_action="mask",
    )
    scrubbed = scrubber.scrub(trace)
    assert marked in scrubbed.spans and any(span.action == "mask" for span in scrubbed.spans)
    for arm in ("student", "control", "scrub_only", "random_mask"):
        seen = arm_view(scrubber, scrubbed, arm, 1, 0.1)
        assert marked in seen.spans
        marks = replace(seen, spans=[span for span in seen.spans if span.kind == "step"])
        (encoded,) = encode_traces([marks], tokenizer, Teaching(kl=1.0, ce=0.0))
        assert set(np.unique(encoded.kl)) == {0.0, 0.25, 1.0}


TALK = [
    {"role": "user", "content": "Where does Mara live?"},
    call_message("lookup", "Where does Mara live?"),
    result_message("Where does Mara live? Oslo."),
    {"role": "assistant", "content": "<think> Mara Oslo.</think> Oslo."},
]
CHATML = (  # as Qwen writes calls
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}{{ '\\n' if m['content'] else '' }}<tool_call>\n"
    '{"name": "{{ c[\'function\'][\'name\'] }}", "arguments": '
    "{{ c['function']['arguments'] | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def taught_text(tokenizer, weights, encoded):
    return tokenizer.decode([i for i, weight in zip(encoded.ids, weights, strict=True) if weight])


def test_a_call_is_taught_and_its_result_is_not(tokenizer):
    """The teacher's own call by divergence, one that was put in by cross-entropy only; no token of
    a result has any weight.
    """
    whole = replace(trace(""), messages=TALK)
    own = next(encode_traces([whole], tokenizer, Teaching(kl=1, ce=0)))
    call = '<tool_call>{"name": "lookup", "arguments": {"query": "Where does Mara live?"}}</tool_call><|end|>'
    assert (
        taught_text(tokenizer, own.kl, own) == f"{call}<think> Mara Oslo.</think> Oslo.<|end|>"
        and not own.ce.any()
    )
    span = {"grounding": "ungrounded", "action": "lookup"}
    places = ((1, 0, "call"), (3, len(TALK[3]["content"]), "message"))
    spans = [
        Span(message=message, start=0, end=end, kind=kind, **span) for message, end, kind in places
    ]
    put_in = next(encode_traces([replace(whole, spans=spans)], tokenizer, Teaching(kl=1, ce=0)))
    assert (put_in.ce == own.kl).all() and not put_in.kl.any()


def test_calls_of_other_templates_are_found_too(tokenizer):
    plain, end = tokenizer.chat_template, tokenizer.eos_token
    tokenizer.chat_template = CHATML.replace("<|im_end|>", end)
    try:
        found = next(
            encode_traces([replace(trace(""), messages=TALK)], tokenizer, Teaching(kl=1, ce=0))
        )
        call = (
            '<tool_call>\n{"name": "lookup", "arguments": {"query": "Where does Mara live?"}}\n</tool_call>'
            + end
        )
        assert (
            taught_text(tokenizer, found.kl, found)
            == f"{call}<think> Mara Oslo.</think> Oslo.{end}"
        )
    finally:
        tokenizer.chat_template = plain
