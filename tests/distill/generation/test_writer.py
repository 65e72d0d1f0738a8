"""The teacher at its desk: samples, more of them where needed, thoughts on a budget, reviews; every
problem ends with its traces.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from data_filters.lookup.toolbox import Toolbox
from data_filters.records.shards import iter_traces, read_shard
from data_filters.records.tool_calls import calls_of
from data_filters.verify.sandbox import Sandbox
from data_filters.verify.verifiers import Verifiers, verify
from distill.data.encode import Teaching, encode_traces
from distill.engines.endpoint import EndpointEngine
from distill.engines.protocol import Completion
from distill.engines.tool_calls import call_text
from distill.engines.tool_loop import Limits, ToolEngine
from distill.generation.journal import Journal
from distill.generation.outputs import num_shards, write_report
from distill.generation.writer import CUT, Writer, _closed
from recipes.errors import ShardError
from recipes.schema import Generate, Review, Server, Source
from tests.distill.engines.test_endpoint import small_server


def judge(items):
    with Verifiers() as verifiers:
        return [
            (said.verdict, said.answer)
            for said in verifiers.judge([(text, problem.check()) for text, problem in items])
        ]


def desk(engine, config, folder, **how):
    return Writer(
        engine=engine,
        config=config,
        world=None,
        seed=1,
        teacher="small",
        judge=judge,
        judging=ThreadPoolExecutor(1),
        engine_name="endpoint",
        journals=folder / "journal",
        **how,
    )


@pytest.fixture
def sums(tmp_path):
    """A file of problems, and the settings that ask them."""
    path = tmp_path / "sums.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"Add {n} and {n + 1}.", "answer": str(2 * n + 1)}) + "\n"
            for n in range(40)
        )
    )
    source = Source(name="sums", path=str(path), answer="answer")
    return Generate(
        sources=[source], count=40, samples_per_problem=2, shard_problems=20, max_new_tokens=32
    )


def written(tmp_path, config, *options, **how):
    """Traces, problem rows and how many requests they took."""
    with small_server(*options) as (url, _):
        engine = EndpointEngine(
            [url], Server(api="chat", concurrency=16, timeout_seconds=1.0), None
        )
        engine.check(config.max_new_tokens)
        writer = desk(engine, config, tmp_path, **how)
        for shard in range(num_shards(config)):
            writer.write(shard, tmp_path / "generate", writer.problems(shard))
        engine.close()
    problems = [
        row
        for path in sorted((tmp_path / "generate" / "problems").glob("*.parquet"))
        for row in read_shard(path)
    ]
    return list(iter_traces(tmp_path / "generate")), problems, engine.client.counts


def test_every_problem_ends_with_exactly_its_samples_under_faults(tmp_path, sums):
    traces, problems, counts = written(tmp_path, sums, "--fail", 0.1, "--slow-seconds", 1.2)
    assert Counter(Counter(trace.problem_id for trace in traces).values()) == {2: 40}
    assert len({trace.id for trace in traces}) == 80 and {trace.verdict for trace in traces} == {
        "correct"
    }
    assert counts["answered"] == 81  # one to say hello
    assert [row["solve_rate"] for row in problems] == [1.0] * 40
    assert not list((tmp_path / "journal").iterdir())


def test_problems_are_asked_again_until_they_are_solved(tmp_path, sums):
    traces, problems, _ = written(
        tmp_path, replace(sums, samples_per_problem=1, max_samples=6), "--right", 0.5
    )
    tried = Counter(row["attempts"] for row in problems)
    assert set(tried) <= set(range(1, 7)) and 10 < tried[1] < 30 and max(tried) > 2
    for row in problems:
        assert (
            row["correct"] == (1 if row["attempts"] < 6 else row["correct"])
            and row["wrong"] == row["attempts"] - row["correct"]
        )
    assert (
        len(traces)
        == sum(row["attempts"] for row in problems)
        == len({trace.id for trace in traces})
    )


def test_a_thought_over_its_budget_is_closed_and_the_answer_asked_for(tmp_path, sums):
    traces, _, _ = written(tmp_path, replace(sums, thinking_tokens=8), "--ramble")
    assert {trace.verdict for trace in traces} == {"correct"} and {
        trace.finish_reason for trace in traces
    } == {"stop"}
    said = traces[0].messages[-1]["content"]
    assert json.loads(traces[0].sampling)["thought_cut"] is True
    assert said.endswith(f".{CUT}The answer is {traces[0].gold}.") and "Then I go on" not in said


def test_a_truncated_answer_is_marked_and_has_no_verdict(tmp_path, sums):
    traces, problems, _ = written(tmp_path, sums, "--ramble")
    assert {(trace.verdict, trace.finish_reason) for trace in traces} == {("unknown", "length")}
    assert {row["truncated"] for row in problems} == {2}


def test_styles_and_personas_are_asked_with_and_not_kept(tmp_path, sums):
    asked = {
        "styles": ["{prompt}", "{prompt} Also count 0."],
        "personas": ["You are a clerk.", "You are a sailor."],
    }
    config = replace(sums, samples_per_problem=4, **asked)
    traces, _, _ = written(tmp_path, config)
    assert {tuple(m["role"] for m in trace.messages) for trace in traces} == {("user", "assistant")}
    assert all(
        trace.messages[0]["content"].startswith("Add")
        and "Also" not in trace.messages[0]["content"]
        for trace in traces
    )
    assert Counter(json.loads(trace.sampling)["style"] for trace in traces) == {0: 80, 1: 80}


@pytest.mark.parametrize("of", ["wrong", "lucky", "both"])
def test_reviews_add_verified_rewrites_and_never_change_a_verdict(tmp_path, sums, of):
    config = replace(sums, review=Review(of=of, lucky_rate=0.5, unsound_weight=0.25))
    traces, _, _ = written(tmp_path, config, "--right", 0.4)
    rewrites = [trace for trace in traces if "rewrite_of" in json.loads(trace.sampling)]
    originals = {
        trace.id: trace for trace in traces if "rewrite_of" not in json.loads(trace.sampling)
    }
    reviewed = [originals[json.loads(trace.sampling)["rewrite_of"]] for trace in rewrites]
    assert rewrites and {trace.verdict for trace in rewrites} == {"correct"}
    assert {trace.verdict for trace in reviewed} == {
        "wrong": {"wrong"},
        "lucky": {"correct"},
        "both": {"wrong", "correct"},
    }[of]
    for trace in originals.values():
        assert trace.verdict == verify(trace.messages[-1]["content"], trace.gold)[0]
    for trace in reviewed:
        (span,) = trace.spans
        text = trace.messages[span.message]["content"]
        assert (span.kind, span.weight, span.action, text[span.start : span.end]) == (
            "step",
            0.25,
            "keep",
            "That is it.",
        )
    assert all(not trace.spans for trace in originals.values() if trace not in reviewed)


def test_degenerate_text_earns_nothing_and_is_not_reviewed(tmp_path):
    path = tmp_path / "dh.jsonl"
    path.write_text(json.dumps({"question": "dh" * 100 + " Add 1 and 2.", "answer": "3"}) + "\n")
    config = Generate(
        sources=[Source(name="dh", path=str(path), answer="answer")],
        count=1,
        max_new_tokens=32,
        review=Review(of="wrong"),
    )
    # the rambling repeats the question
    (trace,), _, _ = written(tmp_path, replace(config, thinking_tokens=8), "--ramble")
    assert (
        trace.verdict == "wrong"
        and trace.finish_reason == "stop"
        and "The answer is 3." in trace.messages[-1]["content"]
    )


def test_the_report_counts_and_shows(tmp_path, sums):
    written(tmp_path, sums, "--right", 0.5)
    report = write_report(tmp_path / "generate", requests={"sent": 80})
    assert (
        report["traces"] == 80
        and report["correct"] + report["wrong"] == 80
        and report["requests"] == {"sent": 80}
    )
    assert report["repeated_skeletons"] == pytest.approx(1 - 1 / 80, abs=1e-4)  # "add 0 and 0."
    assert report["sources"]["sums"]["traces"] == 80 and 0 < report["distinct_n"]["2"] < 1
    page = (tmp_path / "generate" / "samples.md").read_text()
    assert "## correct: sums" in page and "## wrong: sums" in page and "    The answer is" in page


def test_where_a_thought_is_cut():
    assert _closed("<think>\nOne is 1. Two is") == "<think>\nOne is 1." + CUT
    assert _closed("<think>\nOne\nTwo") == "<think>\nOne" + CUT
    assert _closed("<think>\nOnly words") == "<think>\nOnly words" + CUT
    assert _closed("<think>a</think> So the ans") == "<think>a</think> So the ans"
    assert _closed("No thought at") == "No thought at"


# --- the journal


def said(n):
    return Completion(
        text=f"answer {n}\nwith \u00e9 and \ufffd",
        prompt_tokens=n,
        completion_tokens=1,
        finish_reason="stop",
    )


def test_a_journal_gives_back_what_it_was_given_also_after_a_cut_off_line(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for n in range(10):
            journal.add(f"k{n}", said(n))
        journal.add("k3", said(99))
        assert journal.get("k3") == said(3) and journal.get("other") is None
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with Journal(path) as journal:
        assert journal.count == 9 and journal.get("k9") is None and journal.get("k8") == said(8)
        journal.add("k9", said(9))
        assert journal.get("k9") == said(9)
    assert path.read_bytes() == whole


def test_what_is_no_journal_is_named(tmp_path):
    (tmp_path / "j.jsonl").write_text("something else\n[1]\n")
    with pytest.raises(ShardError, match=r"j.jsonl: no line of it is one of a journal; delete"):
        Journal(tmp_path / "j.jsonl")


def test_lines_that_no_shard_could_hold_are_asked_for_again(tmp_path):
    good = {"text": "a", "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "stop"}
    odd = {
        "surrogate": good | {"text": "\ud83d"},
        "null": good | {"prompt_tokens": None},
        "float": good | {"completion_tokens": 1.5},
        "huge": good | {"completion_tokens": 2**40},
        "reason": good | {"finish_reason": "content_filter"},
        "other": {"text": "a"},
        "said": good | {"said": [{"role": "user", "content": "\ud83d"}]},
    }
    path = tmp_path / "j.jsonl"
    lines = [json.dumps({"key": key} | one) for key, one in (odd | {"good": good}).items()]
    path.write_text("\n".join([*lines, "no JSON", "[1]"]) + "\n")
    with Journal(path) as journal:
        assert {key: journal.get(key) for key in odd} == dict.fromkeys(odd)
        assert journal.get("good") == Completion(**good)
        for key in odd:
            journal.add(key, said(7))
    with Journal(path) as journal:
        assert {key: journal.get(key) for key in odd} == dict.fromkeys(odd, said(7))


class Calculator:
    """An engine that has every sum worked out by a program, and never answers by itself."""

    def complete(self, conversations, sampling, *, tools=None, **_):
        said = []
        for talk in conversations:
            first, second = (
                word.strip(".") for word in talk[0]["content"].split() if word.strip(".").isdigit()
            )
            call = call_text({"name": "python", "arguments": {"code": f"{first} + {second}"}})
            said.append(
                f"It is {talk[-1]['content']}."
                if talk[-1]["role"] == "tool"
                else f"<think> I compute.</think> {call}"
            )
        return [
            Completion(text=text, prompt_tokens=9, completion_tokens=9, finish_reason="stop")
            for text in said
        ]


def test_a_teacher_with_tools_writes_its_own_calls(tmp_path, sums, tokenizer):
    """Calls and results stand in its traces, are verified like any other, and its calls are taught
    by divergence, results never.
    """
    config = replace(sums, tools=["python"], samples_per_problem=1)
    with Sandbox() as sandbox:
        engine = ToolEngine(Calculator(), Toolbox(sandbox=sandbox), Limits(), at_once=7)
        writer = replace(desk(engine, config, tmp_path), journals=tmp_path / "journal")
        for shard in range(num_shards(config)):
            writer.write(shard, tmp_path / "generate", writer.problems(shard))
    traces = list(iter_traces(tmp_path / "generate"))
    assert len(traces) == 40 and {trace.verdict for trace in traces} == {"correct"}
    assert all(
        [m["role"] for m in trace.messages] == ["user", "assistant", "tool", "assistant"]
        and trace.tools
        for trace in traces
    )
    encoded = next(encode_traces(traces, tokenizer, Teaching(kl=1, ce=0)))
    taught = tokenizer.decode(
        [i for i, weight in zip(encoded.ids, encoded.kl, strict=True) if weight]
    )
    call = calls_of(traces[0].messages[1])[0]
    said = f"<think> I compute.</think>{call_text(call)}<|end|> {traces[0].messages[-1]['content']}<|end|>"
    assert taught == said
