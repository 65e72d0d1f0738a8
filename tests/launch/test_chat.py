"""The chat in the terminal, as a user runs it: piped questions, commands, and faults in one
line.
"""

import json
import subprocess
import sys

import pytest

from data_filters.lookup.knowledge_base import KnowledgeBase
from data_filters.lookup.toolbox import Toolbox
from distill.engines.protocol import Completion
from distill.engines.tool_calls import call_text
from distill.engines.tool_loop import Limits
from distill.models import build_model, save_model
from distill.problems.planted_tokenizer import train_tokenizer
from launch.chat_session import Chat
from recipes.schema import Shape
from tests.launch.street import ROOT, environment

TEXTS = ["Where does Mara live? Oslo.", "What does Mara do? baker."]


class Reader:
    """An engine that looks every question up and repeats what it reads."""

    def complete(self, conversations, sampling, *, tools=None, **_):
        said = [
            "I do not know."
            if not tools
            else c[-1]["content"].splitlines()[0]
            if c[-1]["role"] == "tool"
            else call_text({"name": "lookup", "arguments": {"query": c[-1]["content"]}})
            for c in conversations
        ]
        return [
            Completion(text=text, prompt_tokens=9, completion_tokens=9, finish_reason="stop")
            for text in said
        ]


@pytest.fixture
def chat():
    return Chat(Reader(), Toolbox(base=KnowledgeBase(TEXTS)), Limits(), 16)


def test_look_ups_are_shown_and_edits_are_followed(chat):
    assert list(chat.answer("Where does Mara live?")) == [
        "  [lookup: Where does Mara live?] Where does Mara live? Oslo. | What does Mara do? baker.",
        TEXTS[0],
    ]
    list(chat.answer(f"/change {TEXTS[0]} => Where does Mara live? Rome."))
    assert list(chat.answer("Where does Mara live?"))[-1] == "Where does Mara live? Rome."
    list(chat.answer("/change Where does Mara live? Rome. =>"))
    assert list(chat.answer("Where does Mara live?"))[-1] == TEXTS[1], "the entry is gone"
    assert list(chat.answer("/find Mara")) == [TEXTS[1]]


def test_without_the_base_there_is_no_call(chat):
    assert "base off" in next(chat.answer("/base off")) and list(
        chat.answer("Where does Mara live?")
    ) == ["I do not know."]
    assert (
        "base on" in next(chat.answer("/base on"))
        and len(list(chat.answer("Where does Mara live?"))) == 2
    )


def test_a_wrong_command_says_what_is_wanted(chat):
    assert list(chat.answer("/fly")) == [
        "no such command; there are /base, /find, /change, /new, /quit"
    ]
    assert "did you mean 'Where does Mara live? Oslo.'" in next(
        chat.answer("/change Where does Mara live => Rome")
    )
    assert list(chat.answer("/new")) == ["forgotten"]


def test_questions_follow_each_other_only_where_asked(chat):
    for history, messages in ((False, 4), (True, 8)):
        chat.history, chat.said = history, []
        list(chat.answer("Where does Mara live?"))
        list(chat.answer("What does Mara do?"))
        assert len(chat.said) == messages


def chatting(*words, said=""):
    command = [sys.executable, "-m", "launch.chat", *map(str, words)]
    return subprocess.run(
        command,
        input=said,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_piped_questions_are_answered_by_a_real_model(tmp_path):
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=400, tools=True)
    shape = Shape(
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        num_kv_heads=2,
        head_size=16,
        intermediate_size=32,
    )
    save_model(build_model(shape, tokenizer, seed=1), tokenizer, tmp_path / "model")
    (tmp_path / "base.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    words = (tmp_path / "model", "--base", tmp_path / "base.jsonl", "--max-new-tokens", "8")
    done = chatting(
        *words, said="/find \x1b[2JMara\nWhere does Mara live?\n/base off\n/quit\nnever asked\n"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout, "an escape sequence reaches no terminal"
    assert (
        lines[0].startswith("base on: 2 passages")
        and lines[1] == "> /find [2JMara"
        and "> Where does Mara live?" in lines
    )
    assert lines[-1].startswith("base off") and "never asked" not in done.stdout


def test_faults_and_help(tmp_path):
    done = chatting(tmp_path / "nowhere")
    assert (
        done.returncode == 2
        and done.stderr.startswith("error: ")
        and len(done.stderr.splitlines()) == 1
    )
    assert "/change OLD => NEW" in chatting("--help").stdout
