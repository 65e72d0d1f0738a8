"""A server that fails as servers do: every answer comes, once, and what cannot be fixed is one
line.
"""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill.engines.endpoint import EndpointEngine, api_key
from distill.engines.protocol import Sampling
from recipes.errors import ModelError
from recipes.schema import Server
from tests.distill.engines.small_server import answer

PLAIN = Sampling(max_new_tokens=16)
QUICK = {"timeout_seconds": 1.0, "start_seconds": 20.0}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def small_server(*options, port=None):
    """The server in a process of its own; gives its base address."""
    port = port or free_port()
    script = Path(__file__).with_name("small_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(port), *map(str, options)], stdout=subprocess.PIPE
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models")
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.kill()
        process.wait()


def wait_for(url, seconds=30):
    until = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            assert time.monotonic() < until, f"{url} does not answer"
            time.sleep(0.05)


@contextmanager
def engine(url, tokenizer=None, **server):
    made = EndpointEngine([url] if isinstance(url, str) else url, Server(**server), tokenizer)
    try:
        yield made
    finally:
        made.close()


def talks(count):
    return [[{"role": "user", "content": f"{n} and {n + 1}"}] for n in range(count)]


def test_prompts_are_rendered_here_and_answers_come_in_order(tokenizer):
    with small_server() as (url, _), engine(url, tokenizer) as speaker:
        assert speaker.check(16) == "small at 1 address(es), context 4096 tokens"
        seen = []
        found = speaker.complete(talks(50), PLAIN, finished=lambda i, c: seen.append((i, c.text)))
        ids = [
            tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
            for talk in talks(50)
        ]
    assert [c.text for c in found] == [answer(str(i)) for i in ids]
    assert sorted(seen) == [(i, c.text) for i, c in enumerate(found)]
    assert [c.prompt_tokens for c in found] == [len(i) for i in ids]
    assert {(c.completion_tokens, c.finish_reason) for c in found} == {(5, "stop")}


def test_a_thought_that_a_server_gives_apart_is_put_back():
    with small_server() as (url, _), engine(url, api="chat") as speaker:
        speaker.check(16)
        (whole,) = speaker.complete(talks(1), PLAIN)
        (begun,) = speaker.complete(talks(1), PLAIN, prefixes=["5 and 6 make: "])
    assert whole.text == "<think>\nI add.\n</think>\n\nThe answer is 1."
    # the server goes on from the last message
    assert begun.text == "5 and 6 make: The answer is 1."


def test_top_logprobs_are_the_likeliest_without_the_token_that_followed(tokenizer):
    with small_server() as (url, _), engine(url, tokenizer) as speaker:
        speaker.check(16, top_k=3)
        (found,) = speaker.score([[7, 8, 9]], 3)
        with pytest.raises(
            ModelError,
            match=r"max allowed: 20; 30 log-probabilities.*raise --max-logprobs of the server",
        ):
            speaker.check(16, top_k=30)
    assert found.ids_TK.tolist() == [[8, 9, 10], [9, 10, 11]]
    assert found.logprobs_TK.tolist() == [[-1.0, -2.0, -3.0]] * 2


@pytest.mark.timeout(120)
def test_a_thousand_requests_meet_every_fault_and_a_restart_and_each_is_answered_once(tokenizer):
    port, seen = free_port(), []
    faulty = ("--fail", 0.1, "--seconds", 0.02)
    with (
        small_server(*faulty, port=port) as (url, process),
        engine(url, tokenizer, concurrency=64, **QUICK) as speaker,
    ):
        speaker.check(16)
        again = threading.Timer(0.5, process.kill)
        found = []
        work = threading.Thread(
            target=lambda: found.extend(
                speaker.complete(talks(1000), PLAIN, finished=lambda i, c: seen.append(i))
            )
        )
        again.start()
        work.start()
        process.wait()
        with small_server(*faulty, "--seed", 1, port=port):
            work.join()
        counts = speaker.client.counts
    assert sorted(seen) == list(range(1000))
    assert [c.text for c in found] == [
        answer(
            str(tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False))
        )
        for talk in talks(1000)
    ]
    kinds = {name for name in counts if name.startswith("retried")}
    assert {
        "retried: unreachable",
        "retried: dropped",
        "retried: status 500",
        "retried: malformed JSON",
        "retried: no choices",
    } <= kinds
    assert counts["answered"] == 1001 and counts["sent"] == 1001 + sum(
        counts[name] for name in kinds
    )


def test_requests_go_where_fewest_wait_and_not_where_nobody_is(tokenizer):
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with small_server("--seconds", 0.05) as (one, _), small_server("--seconds", 0.05) as (two, _):
        with engine([one, two], tokenizer, concurrency=8) as speaker:
            speaker.check(16)
            speaker.complete(talks(64), PLAIN)
            shares = [
                json.loads(wait_for(url.replace("/v1", "/counts")))["requests"]
                for url in (one, two)
            ]
        with engine([nobody, two], tokenizer, model="small") as speaker:
            assert len(speaker.complete(talks(20), PLAIN)) == 20
    assert min(shares) > 20


def test_a_limit_of_requests_a_second_is_kept(tokenizer):
    with small_server() as (url, _), engine(url, tokenizer, requests_per_second=50) as speaker:
        speaker.check(16)
        began = time.monotonic()
        speaker.complete(talks(30), PLAIN)
        assert time.monotonic() - began > 0.5  # 30 slots of 20 ms


def test_a_prompt_that_the_server_refuses_is_an_outcome_of_its_own(tokenizer):
    long = [[{"role": "user", "content": "1 " * 300}], *talks(1)]
    with small_server("--context", 120) as (url, _), engine(url, tokenizer) as speaker:
        refused, plain = speaker.complete(long, PLAIN) if speaker.check(16) else ()
    assert refused.finish_reason == "refused" and "maximum context length is 120" in refused.text
    assert plain.finish_reason == "stop"


def refusal(*options, check=16, key=None, **server):
    with small_server(*options) as (url, _):
        made = EndpointEngine([url], Server(**server), None, key)
        with pytest.raises(ModelError) as fault:
            made.check(check)
        made.close()
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_what_cannot_be_mended_by_waiting_is_one_line_before_any_work(monkeypatch):
    assert "serves small, server.model is 'smal'; did you mean 'small'?" in refusal(
        model="smal", api="chat"
    )
    assert "serves a, b, server.model is not set" in refusal("--models", "a,b", api="chat")
    assert "the server's context is 100 tokens, max_new_tokens is 100; lower it" in refusal(
        "--context", 100, check=100, api="chat"
    )
    assert "you must provide a chat template; fix the server" in refusal(
        "--no-template", api="chat"
    )
    said = refusal("--key", "s3cret", key="wr0ng", api="chat")
    assert "answers 401: Unauthorized; set server.api_key_env" in said and "wr0ng" not in said
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(
        ModelError, match=r"server.api_key_env: the environment has no NO_KEY; export it"
    ):
        api_key(Server(api_key_env="NO_KEY"))


def test_a_server_that_is_down_is_told_at_once():
    made = EndpointEngine([f"http://127.0.0.1:{free_port()}/v1"], Server(), None)
    with pytest.raises(
        ModelError,
        match=r"no server answers at http://127.0.0.1:\d+/v1/models .*start it, or fix base_urls",
    ):
        made.check(16)
    made.close()


def test_a_server_of_our_own_that_died_is_not_waited_for(tokenizer):
    with small_server("--seconds", 0.2) as (url, process):
        died = lambda: (
            "server of teacher ended with code -9: its last word"
            if process.poll() is not None
            else None
        )
        made = EndpointEngine([url], Server(concurrency=4), tokenizer, died=died)
        made.check(16)
        threading.Timer(0.5, process.kill).start()
        with pytest.raises(ModelError, match="server of teacher ended with code -9: its last word"):
            made.complete(talks(400), PLAIN)
        made.close()


def test_retries_end(tokenizer):
    said = r"after 2 tries; look at the server, then run again: answers are kept"
    with (
        small_server("--fail", 1.0, "--slow-seconds", 0.1) as (url, _),
        engine(url, tokenizer, retries=1, model="small", **QUICK) as speaker,
        pytest.raises(ModelError, match=said),
    ):
        speaker.complete(talks(4), PLAIN)
