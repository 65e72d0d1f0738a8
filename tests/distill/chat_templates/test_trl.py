"""Every chat template that the package trl carries: what is taught is read back as the record has
it, and stands behind the prompt that asks for it.
"""

import importlib.util

import pytest

from benchmarks.templates import KINDS, talk, templates, tokenizer_for
from data_filters.records.tool_calls import LOOKUP, tool_schemas
from distill.chat_templates.forms import Unrenderable
from distill.chat_templates.reading import reader_of
from distill.chat_templates.thoughts import parts
from distill.chat_templates.turns import Renderer
from distill.engines.protocol import render
from distill.engines.tool_calls import parse

FOUND = list(templates(set())) if importlib.util.find_spec("trl") else []
NO_THOUGHT = {"qwen3_5_nothink", "qwen3_5_nothink_training"}  # their prompt closes the thought

pytestmark = pytest.mark.skipif(not FOUND, reason="needs the templates of trl")


@pytest.mark.parametrize(("name", "template"), FOUND, ids=[name for name, _ in FOUND])
def test_what_is_taught_stands_behind_the_prompt_and_is_read_back(name, template):
    tokenizer = tokenizer_for(template)
    renderer, reader = Renderer(tokenizer), reader_of(tokenizer)
    for kind in KINDS[:-1]:
        messages = talk(kind, "Ada", "Kiel")
        if kind == "thinks" and name in NO_THOUGHT:
            with pytest.raises(Unrenderable, match="which no such answer follows"):
                renderer.renderings(messages)
            continue
        (rendering,) = renderer.renderings(messages)
        (turn,) = rendering.turns
        prompt = render(tokenizer, messages[:-1])
        assert rendering.text[: turn.begin] == prompt
        ids = tokenizer.encode(rendering.text[turn.begin : turn.end], add_special_tokens=False)
        assert ids[-1] == tokenizer.eos_token_id
        begun = "<think>\n" if prompt.rstrip().endswith("<think>") else ""
        said, wanted = begun + reader.said(ids, [ids[-1]]), messages[-1]["content"]
        for one, other in zip(parts(said), parts(wanted), strict=True):
            assert (one is None) == (other is None)
            assert one is None or said[one.start : one.stop] == wanted[other.start : other.stop]
    if renderer.form.calls:
        messages = talk("calls", "Ada", "Kiel")
        turn, text = next(
            (turn, one.text)
            for one in renderer.renderings(messages, tool_schemas(LOOKUP))
            for turn in one.turns
        )
        ids = tokenizer.encode(text[turn.begin : turn.end], add_special_tokens=False)
        (call,) = parse(reader.said(ids, [ids[-1]]))[1]
        assert (call.name, call.arguments) == (LOOKUP, {"query": "Ada home"})
