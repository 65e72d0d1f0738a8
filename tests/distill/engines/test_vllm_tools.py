"""A published student that calls, served by vLLM with its parser `hermes`: the server gives the
calls apart, and the loop runs them.
"""

import json

import pytest
import torch

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.lookup.toolbox import Toolbox
from data_filters.records.tool_calls import call_message, result_message, tool_schemas
from distill.engines.endpoint import EndpointEngine
from distill.engines.local import LocalEngine
from distill.engines.protocol import Sampling, written
from distill.engines.tool_loop import Limits, run_conversations
from distill.engines.vllm_server import serving
from distill.models import build_model, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from recipes.schema import Model, Server, Shape

pytestmark = pytest.mark.vllm

TOOLS, LIMITS = tool_schemas("lookup"), Limits()
SHAPE = Shape(
    hidden_size=128, num_layers=2, num_heads=4, num_kv_heads=2, head_size=32, intermediate_size=128
)
ANSWERS = {
    "Where does Mara live?": "Oslo",
    'What is the job of "Ida"?': 'a "cook" {really}',
    "How old is Timo?": "41",
}
BASE = KnowledgeBase(f"{question} {answer}." for question, answer in ANSWERS.items())


def talk_about(question):
    said = [{"role": "user", "content": question}, call_message("lookup", question)]
    return [
        *said,
        result_message("\n".join(BASE.search(question, 3))),
        {"role": "assistant", "content": f"{ANSWERS[question]}."},
    ]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A model that has learned three conversations by heart."""
    texts = [
        m["content"] + m.get("tool_calls", "") for question in ANSWERS for m in talk_about(question)
    ]
    tokenizer = train_tokenizer(texts * 20, vocab_size=420, tools=True)
    model, rows = (
        build_model(SHAPE, tokenizer, seed=1),
        [written(tokenizer, talk_about(question), TOOLS) for question in ANSWERS],
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        for row in rows:
            ids_1T = torch.tensor([tokenizer.encode(row, add_special_tokens=False)])
            model(input_ids=ids_1T, labels=ids_1T).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("student")
    save_model(model.eval(), tokenizer, folder)
    return folder, LocalEngine(model, tokenizer, batch_sequences=8), tokenizer


@pytest.fixture(scope="module")
def served(student, tmp_path_factory):
    folder, _, tokenizer = student
    options = {"enforce-eager": "", "enable-auto-tool-choice": "", "tool-call-parser": "hermes"}
    spec = Model(
        path=str(folder),
        engine="endpoint",
        serve=True,
        server=Server(options=options, start_seconds=240.0, api="chat"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        with serving(folder, spec, log=tmp_path_factory.mktemp("log") / "server.log") as server:
            client = EndpointEngine(server.urls, spec.server, tokenizer)
            client.check(24, 0)
            yield client
            client.close()


def talks(engine):
    asked = ([{"role": "user", "content": question}] for question in ANSWERS)
    found = run_conversations(
        engine, asked, Toolbox(base=BASE), Sampling(max_new_tokens=60), LIMITS, at_once=8
    )
    return sorted(found, key=lambda talk: talk.number)


def test_the_parser_gives_the_calls_that_ours_reads(student, served):
    for question, there, here in zip(ANSWERS, talks(served), talks(student[1]), strict=True):
        assert there.text == here.text == f"{ANSWERS[question]}." and there.calls == here.calls == {
            "lookup": 1
        }
        ours, theirs = (json.loads(talk.messages[1]["tool_calls"]) for talk in (here, there))
        assert (
            ours
            == theirs
            == [
                {
                    "type": "function",
                    "function": {"name": "lookup", "arguments": {"query": question}},
                }
            ]
        )
        assert not there.events
