"""Through a template a student must learn what it will have to write: small templates, one habit
each.
"""

import json
from collections import Counter

import pytest
from tokenizers import AddedToken

from data_filters.records.tool_calls import LOOKUP, call_message, result_message, tool_schemas
from data_filters.records.traces import Span, Trace
from distill.chat_templates.forms import Unrenderable, form_of
from distill.chat_templates.reading import reader_of
from distill.chat_templates.turns import Renderer
from distill.data.encode import Teaching, encode_traces
from distill.engines.protocol import render
from distill.problems.planted_tokenizer import train_tokenizer

ASKED = {"role": "user", "content": "Where does Mara live?"}
TURN = "<|assistant|>"
LOOP = "{% for m in messages %}{% if m.role == 'assistant' %}ASSISTANT{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|assistant|>OPENED{% endif %}"


def template(assistant, opened="", before=""):
    return before + LOOP.replace("ASSISTANT", assistant) + PROMPT.replace("OPENED", opened)


THINKING = "{% set t = m.reasoning_content or '' %}<|assistant|><think>\n{{ t }}\n</think>\n\n{{ m.content }}<|end|>"
PLAIN = template("<|assistant|>{{ m.content }}<|end|>")
EMPTY_THOUGHT = template(THINKING)
OPENED = template(THINKING, opened="<think>\n")
LEFT_OUT = template("<|assistant|>{{ m.content.split('</think>')[-1] }}<|end|>", opened="<think>\n")
CHANNELS = template(
    "{% if m.thinking %}<|assistant|>thinks<|pad|>{{ m.thinking }}<|end|>{% endif %}<|assistant|>says<|pad|>{{ m.content }}"
    "{{ '<|user|>' if loop.last else '<|end|>' }}"
)
ENDLESS = template("<|assistant|>{{ m.content }}")
TRIMMED = template("<|assistant|>{{ m.content | trim }}<|end|>").replace(
    "<|user|>{{ m.content }}", "<|user|>{{ m.content | trim }}"
)
NO_SYSTEM = template(
    "<|assistant|>{{ m.content }}<|end|>",
    before="{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
)
EARLIER_LEFT_OUT = template(
    "<|assistant|>{{ m.content if loop.last else m.content.split('</think>')[-1].strip() }}<|end|>"
)
PARTS = template("<|assistant|>{% for p in m.content %}{{ p.text }}{% endfor %}<|end|>").replace(
    "<|user|>{{ m.content }}", "<|user|>{% for p in m.content %}{{ p.text }}{% endfor %}"
)


@pytest.fixture
def made(tokenizer):
    """The planted tokenizer with another template; its own comes back."""
    own, end = tokenizer.chat_template, tokenizer.eos_token

    def set_to(template, eos=end):
        tokenizer.chat_template, tokenizer.eos_token = template, eos
        return tokenizer

    yield set_to
    tokenizer.chat_template, tokenizer.eos_token = own, end


def said(content):
    return {"role": "assistant", "content": content}


def taught(tokenizer, messages, tools=None):
    """What the model must write of each turn, by rendering."""
    found = Renderer(tokenizer).renderings(messages, tools)
    return [one.text[turn.begin : turn.end] for one in found for turn in one.turns]


@pytest.mark.parametrize(
    ("template", "declines", "thinks"),
    [
        (PLAIN, "No.<|end|>", "<think>\nSo.\n</think>\n\nYes.<|end|>"),
        (
            EMPTY_THOUGHT,
            "<think>\n\n</think>\n\nNo.<|end|>",
            "<think>\nSo.\n</think>\n\nYes.<|end|>",
        ),
        (OPENED, "\n</think>\n\nNo.<|end|>", "So.\n</think>\n\nYes.<|end|>"),
        (LEFT_OUT, "\n</think>\n\nNo.<|end|>", "So.\n</think>\n\nYes.<|end|>"),
        (
            CHANNELS,
            "says<|pad|>No.<|user|>",
            "thinks<|pad|>So.<|end|><|assistant|>says<|pad|>Yes.<|user|>",
        ),
        (ENDLESS, "No.<|end|>", "<think>\nSo.\n</think>\n\nYes.<|end|>"),
        (PARTS, "No.<|end|>", "<think>\nSo.\n</think>\n\nYes.<|end|>"),
    ],
    ids=["plain", "empty", "opened", "left_out", "channels", "endless", "parts"],
)
def test_all_behind_the_prompt_is_taught_to_the_end(made, template, declines, thinks):
    tokenizer = made(template)
    assert taught(tokenizer, [ASKED, said("No.")]) == [declines]
    assert taught(tokenizer, [ASKED, said("<think>\nSo.\n</think>\n\nYes.")]) == [thinks]
    trace = Trace(id="t", problem_id="", source="", seed=0, messages=[ASKED, said("No.")])
    (encoded,) = encode_traces([trace], tokenizer, Teaching())
    prompt = tokenizer.encode(render(tokenizer, [ASKED]), add_special_tokens=False)
    assert encoded.ids[: len(prompt)].tolist() == prompt
    assert not encoded.kl[: len(prompt)].any() and encoded.kl[len(prompt) :].all()


@pytest.mark.parametrize("template", [PLAIN, EMPTY_THOUGHT, OPENED, LEFT_OUT, CHANNELS, ENDLESS])
@pytest.mark.parametrize("content", ["No.", "<think>\nSo it is.\n</think>\n\nYes."])
def test_what_is_taught_is_read_back_as_the_record_has_it(made, template, content):
    tokenizer = made(template)
    (text,) = taught(tokenizer, [ASKED, said(content)])
    ids = tokenizer.encode(text, add_special_tokens=False)
    begun = "<think>\n" if render(tokenizer, [ASKED]).endswith("<think>\n") else ""
    read = begun + reader_of(tokenizer).said(ids, [ids[-1]])
    assert read.removeprefix("<think>\n\n</think>\n\n") == content


@pytest.mark.parametrize(
    "content",
    [
        "<think>So.</think>Yes.",
        "<think>\nSo.\n</think>\nYes.",
        "<think>\n\nSo.\n\n\n</think>\n\n\n\nYes.\n",
    ],
)
def test_white_space_around_marks_loses_nothing(made, content):
    wanted = ["<think>\nSo.\n</think>\n\nYes.<|end|>"]
    assert taught(made(EMPTY_THOUGHT), [ASKED, said(content)]) == wanted


def test_trimmed_messages_are_kept(made):
    talk = [{"role": "system", "content": "Be brief.\n"}, ASKED, said("Yes. \n")]
    assert taught(made(TRIMMED), talk) == ["Yes.<|end|>"]


def test_a_refused_system_message_goes_before_the_question_in_training_and_asking(made):
    tokenizer = made(NO_SYSTEM)
    system = {"role": "system", "content": "Be brief."}
    assert form_of(tokenizer).folds_system
    (rendering,) = Renderer(tokenizer).renderings([system, ASKED, said("Yes.")])
    assert rendering.text.startswith("<|user|>Be brief.\n\nWhere does Mara live?")
    assert rendering.text.startswith(render(tokenizer, [system, ASKED]))


def test_each_turn_is_taught_as_it_is_written_last(made):
    """Earlier thoughts are left out of a prompt, so the turns stand in texts of their own."""
    thought = "<think>\nSo.\n</think>\n\nYes."
    talk = [ASKED, said(thought), ASKED, said(thought), ASKED, said("No.")]
    found = Renderer(made(EARLIER_LEFT_OUT)).renderings(talk)
    assert [len(one.turns) for one in found] == [1, 1, 1]
    wanted = [f"{thought}<|end|>", f"{thought}<|end|>", "No.<|end|>"]
    assert taught(made(EARLIER_LEFT_OUT), talk) == wanted
    assert [len(one.turns) for one in Renderer(made(PLAIN)).renderings(talk)] == [3]


def test_what_a_template_refuses_or_drops_is_left_out_and_counted(made):
    drops = made(template("<|assistant|>{{ m.content.split('</think>')[-1].strip() }}<|end|>"))
    traces = [
        Trace(id=str(n), problem_id="", source="", seed=0, messages=[ASKED, said(content)])
        for n, content in enumerate(("<think>\nSo.\n</think>\n\nYes.", "No."))
    ]
    left_out = Counter()
    kept = list(encode_traces(traces, drops, Teaching(), left_out=left_out))
    assert len(kept) == 1 and left_out == {"the chat template leaves out or changes the thought": 1}
    raises = made("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(Unrenderable, match="refuses it: roles must alternate"):
        Renderer(raises).renderings([ASKED, said("No.")])


def test_spans_stand_on_their_words_whatever_the_template_puts_between(made):
    content = "<think>\nMara Oslo.\n</think>\n\nOslo."
    start = content.rindex("Oslo")
    span = Span(
        message=1, start=start, end=start + 4, kind="name", grounding="ungrounded", action="mask"
    )
    for one in (PLAIN, EMPTY_THOUGHT, OPENED, CHANNELS):
        tokenizer = made(one)
        trace = Trace(
            id="t", problem_id="", source="", seed=0, messages=[ASKED, said(content)], spans=[span]
        )
        (encoded,) = encode_traces([trace], tokenizer, Teaching())
        first = next(n for n, weight in enumerate(encoded.kl) if weight)
        hidden = [i for i, w in zip(encoded.ids[first:], encoded.kl[first:], strict=True) if not w]
        assert tokenizer.decode(hidden).strip() == "Oslo"


@pytest.fixture(scope="module")
def with_tools():
    """A tokenizer with marks of calls as special tokens."""
    made = train_tokenizer(["Look up where Mara lives."], vocab_size=300)
    made.add_tokens([AddedToken(name, special=True) for name in ("<|call|>", "<|called|>")])
    return made


ITEMS = "{% for k, v in c.function.arguments|items %}ITEM{% endfor %}"
CALL_TEXTS = {
    "json": "<tool_call>{{ c.function | tojson }}</tool_call>",
    "text": "<|call|>{{ c.function.name + ' ' + c.function.arguments }}",
    "xml": "<f={{ c.function.name }}>"
    + ITEMS.replace("ITEM", "<p={{ k }}>\n{{ v }}\n</p>")
    + "</f>",
    "python": "<|call|>[{{ c.function.name }}("
    + ITEMS.replace("ITEM", "{{ k }}='{{ v }}'")
    + ")]<|called|>",
}
CALLS = {
    kind: "{% for c in m.tool_calls %}" + text + "{% endfor %}" for kind, text in CALL_TEXTS.items()
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("given", [{"query": 'Mara "M" home'}, '{"query": "Mara \\"M\\" home"}'])
def test_calls_are_handed_over_in_the_form_that_is_written_and_read_back(with_tools, kind, given):
    with_tools.chat_template = template(f"<|assistant|>{{{{ m.content }}}}{CALLS[kind]}<|end|>")
    call = call_message(LOOKUP, "")
    inner = json.loads(call["tool_calls"])
    inner[0]["function"]["arguments"] = given
    call["tool_calls"] = json.dumps(inner)
    talk = [ASKED, call, result_message("Mara Oslo."), said("Oslo.")]
    assert form_of(with_tools).calls
    first, second = taught(with_tools, talk, tool_schemas(LOOKUP))
    ids = with_tools.encode(first, add_special_tokens=False)
    read = reader_of(with_tools).said(ids, [with_tools.eos_token_id])
    found = json.loads(read.strip().removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert found == {"name": LOOKUP, "arguments": {"query": 'Mara "M" home'}}
    assert second == "Oslo.<|end|>"


def test_a_template_without_calls_leaves_out_traces_that_call(with_tools):
    with_tools.chat_template = PLAIN
    assert not form_of(with_tools).calls
    with pytest.raises(Unrenderable, match="a call of lookup"):
        Renderer(with_tools).renderings(
            [ASKED, call_message(LOOKUP, "Mara"), result_message("x"), said("y")]
        )


def test_a_template_for_tools_is_used_where_tools_are_offered(with_tools):
    call = "<|assistant|>{{ m.content }}" + CALLS["json"] + "<|end|>"
    with_tools.chat_template = {"default": PLAIN, "tool_use": template(call)}
    assert form_of(with_tools).calls
    (first, _) = taught(
        with_tools,
        [ASKED, call_message(LOOKUP, "Mara"), result_message("x"), said("y")],
        tool_schemas(LOOKUP),
    )
    assert first.startswith("<tool_call>")
