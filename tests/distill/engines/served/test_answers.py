"""What servers write is read where it can be; what cannot costs one answer, and never a traceback."""

import asyncio
import gzip
import json
import math
import random
import string
import threading
from contextlib import contextmanager

import pytest
from aiohttp import web

from distill.engines.endpoint import EndpointEngine
from distill.engines.protocol import Sampling
from distill.engines.served.answers import OddAnswer, count, read_answer, read_logprobs, read_models
from distill.engines.served.messages import Redactor, shown_address
from distill.engines.served.transport import retry_after
from recipes.errors import ModelError
from recipes.schema import Server
from recipes.vocabulary import FinishReason

PLAIN = Sampling(max_new_tokens=16)
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def chat(message, reason="stop", usage=USAGE):
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


class Replies:
    """A real server that answers the first request soundly, and then as it is told.

    Args:
        reply: makes (status, body, headers) from the number of a request, 0 for the first, and its
            JSON.
    """

    def __init__(self, reply):
        self.reply, self.asked, self.seen = reply, 0, []

    async def post(self, request):
        self.seen.append(await request.json())
        status, body, headers = self.reply(self.asked, self.seen[-1])
        self.asked += 1
        return web.Response(status=status, body=body, headers=headers)

    async def models(self, _):
        return web.json_response({"data": [{"id": "m"}]})


@contextmanager
def serving(reply):
    """The server in a thread; gives it and its address."""
    replies, loop, ready, ports = Replies(reply), asyncio.new_event_loop(), threading.Event(), []
    runners = []

    async def start():
        app = web.Application()
        app.router.add_post("/{tail:.*}", replies.post)
        app.router.add_get("/v1/models", replies.models)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        ports.append(runner.addresses[0][1])
        ready.set()

    def run():
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield replies, f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def speaking(url, key=None, **server):
    made = EndpointEngine([url], Server(api="chat", **{"retries": 1} | server), None, key)
    try:
        yield made
    finally:
        made.close()


def one(reply, key=None):
    """What becomes of an answer: its end and text."""
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    with (
        serving(lambda *_: (200, body, {"Content-Type": "application/json"})) as (_, url),
        speaking(url, key) as engine,
    ):
        (found,) = engine.complete([[{"role": "user", "content": "2 + 3?"}]], PLAIN)
    return found


def read(message, reason="stop", usage=USAGE, asked=16):
    return read_answer(chat(message, reason, usage), asked)


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": "5"}, "5", ""),
        ({"content": None, "reasoning_content": "3 + 2"}, "", "3 + 2"),
        ({"content": "5", "reasoning": {"text": "3 + 2"}}, "5", "3 + 2"),
        ({"content": "5", "thinking": "3 + 2"}, "5", "3 + 2"),
        ({"content": "5", "reasoning_details": [{"type": "x", "text": "3"}]}, "5", "3"),
        ({"content": [{"type": "text", "text": "5"}, " euros"]}, "5 euros", ""),
        (
            {"content": [{"type": "thinking", "thinking": [{"text": "3 + 2"}]}, {"text": "5"}]},
            "5",
            "3 + 2",
        ),
        ({"content": "half \ud83d"}, "half \ufffd", ""),
        ({"content": "whole \U0001f600"}, "whole \U0001f600", ""),
        ({"content": ""}, "", ""),
    ],
)
def test_content_and_thought_are_read_in_every_shape(message, text, thought):
    found = read(message)
    assert (found.text, found.thought) == (text, thought)


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("tool_calls", "stop"),
        ({"type": "stop", "matched": 2}, "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        (None, "stop"),
    ],
)
def test_ends_have_many_names(reason, end):
    assert read({"content": "5"}, reason).finish_reason == end


def test_an_end_that_is_not_told_is_a_cut_where_the_limit_is_used_up():
    assert read({"content": "5"}, None, asked=4).finish_reason == FinishReason.LENGTH


@pytest.mark.parametrize("reason", ["content_filter", "abort", "error", "cancelled", "x\x1b[2J", 0])
def test_what_did_not_end_by_itself_is_no_whole_answer(reason):
    with pytest.raises(OddAnswer, match="finish_reason") as fault:
        read({"content": "half"}, reason)
    assert not fault.value.again and str(fault.value).isprintable()


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(5, 5), (5.0, 5), ("5", 5), (None, 0), (-1, 0), (True, 0), (2**40, 0), (math.nan, 0), ([], 0)],
)
def test_counts_are_whole_numbers_or_nothing(value, tokens):
    assert count(value) == tokens


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "1", "function": {"name": "python", "arguments": '{"code": "1"}'}}],
        [{"function": {"name": "python", "arguments": {"code": "1"}}}],
        [{"name": "python", "parameters": {"code": "1"}}],
        {"name": "python", "arguments": {"code": "1"}},
        '[{"name": "python", "arguments": {"code": "1"}}]',
        [{"type": "custom", "custom": {"name": "python", "input": {"code": "1"}}}],
    ],
)
def test_calls_are_read_in_every_shape(calls):
    assert read({"content": None, "tool_calls": calls}).calls == (
        {"name": "python", "arguments": {"code": "1"}},
    )


def test_a_call_without_arguments_has_none_and_one_without_a_name_is_odd():
    assert read({"tool_calls": [{"function": {"name": "f"}}]}).calls == (
        {"name": "f", "arguments": {}},
    )
    for calls in ([{"function": {}}], [None], ["f"], 5, [{"name": 3}]):
        with pytest.raises(OddAnswer):
            read({"tool_calls": calls})


def logprobs(*rows):
    return {"choices": [{"text": "", "prompt_logprobs": [None, *rows]}]}


def test_logprobs_come_with_and_without_ranks_and_are_finite():
    ranked = {"5": {"logprob": -0.1, "rank": 1}, "7": {"logprob": -2.0, "rank": 2}}
    bare = {"7": {"logprob": -math.inf}, "5": {"logprob": -0.1}, "9": {"logprob": -0.5}}
    found = read_logprobs(logprobs(ranked, bare), 3, 2)
    assert found.ids_TK.tolist() == [[5, 7], [5, 9]] and found.logprobs_TK.isfinite().all()
    assert read_logprobs(logprobs(bare), 2, 3).logprobs_TK[0, 2] == -100


@pytest.mark.parametrize(
    "row",
    [
        None,
        {"5": {"logprob": None}, "7": {"logprob": -1}},
        {"5": {"logprob": math.nan}, "7": {"logprob": -1}},
        {"5": {"logprob": 2.0}, "7": {"logprob": -1}},
        {"5": {"logprob": "-1"}, "7": {"logprob": -1}},
        {"5": {}, "7": {"logprob": -1}},
        {"x": {"logprob": -1}, "7": {"logprob": -1}},
        {"5": {"logprob": -1}},
    ],
)
def test_holes_in_logprobs_are_told(row):
    with pytest.raises(OddAnswer):
        read_logprobs(logprobs(row), 2, 2)


def test_too_few_positions_are_told():
    with pytest.raises(OddAnswer, match="of 2 tokens for a prompt of 3"):
        read_logprobs(logprobs({"5": {"logprob": -1}}), 3, 1)


def test_lists_of_models_are_read_in_every_shape():
    assert read_models({"data": [{"id": "m", "max_model_len": "4096"}]}) == {"m": 4096}
    assert read_models([{"id": "m"}, "n", None, 3]) == {"m": None, "n": None}
    assert read_models({"models": [{"name": "m", "max_model_len": None}]}) == {"m": None}
    for nothing in (None, 3, "m", {"data": None}, {"data": [{}]}):
        assert read_models(nothing) == {}


def test_a_thought_stands_once_and_one_that_was_cut_stays_open():
    assert one(chat({"content": "5", "reasoning": "3 + 2"})).text == (
        "<think>\n3 + 2\n</think>\n\n5"
    )
    cut = one(chat({"content": None, "reasoning_content": "3 + 2 is"}, "length"))
    assert (cut.text, cut.finish_reason) == ("<think>\n3 + 2 is", "length")
    assert one(chat({"content": "3 + 2</think>5"})).text == "<think>\n3 + 2</think>5"
    both = {"content": "<think>\n3 + 2\n</think>\n\n5", "reasoning": "3 + 2"}
    assert one(chat(both)).text == both["content"]


def test_an_odd_answer_is_asked_for_again_once_and_counted():
    replies = [chat({"content": "5"}), chat("hi"), chat({"content": "6"})] + [chat("hi")] * 2
    with (
        serving(lambda n, _: (200, json.dumps(replies[n]).encode(), {})) as (server, url),
        speaking(url) as engine,
    ):
        engine.check(16)
        found = [engine.complete([[{"role": "user", "content": "?"}]], PLAIN)[0] for _ in range(2)]
        counts = dict(engine.client.counts)
    assert [one.finish_reason for one in found] == ["stop", "refused"] and server.asked == 5
    assert counts["odd: no message in a choice"] == 1 and counts["refused"] == 1


def test_waits_that_servers_ask_for_are_capped():
    assert retry_after("31536000") == retry_after("inf") == 30.0
    assert retry_after("nan") is retry_after("soon") is retry_after(None) is None
    assert retry_after("-3") == retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Wed, 21 Oct 2099 07:28:00 GMT") == 30.0


def test_a_small_body_that_unpacks_to_a_big_one_costs_one_answer():
    bomb = gzip.compress(json.dumps(chat({"content": "x" * 30_000_000})).encode())
    with (
        serving(lambda *_: (200, bomb, {"Content-Encoding": "gzip"})) as (_, url),
        speaking(url) as engine,
    ):
        (found,) = engine.complete([[{"role": "user", "content": "?"}]], PLAIN)
    assert found.finish_reason == "refused" and "a body of more than" in found.text
    packed = gzip.compress(json.dumps(chat({"content": "5"})).encode())
    with (
        serving(lambda *_: (200, packed, {"Content-Encoding": "gzip"})) as (_, url),
        speaking(url) as engine,
    ):
        assert engine.complete([[{"role": "user", "content": "?"}]], PLAIN)[0].text == "5"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_prompts_go_to_no_other_address(status):
    with serving(lambda *_: (200, json.dumps(chat({"content": "5"})).encode(), {})) as (other, to):
        where = {"Location": to.replace("http://", "http://me:secret@") + "/chat?key=secret"}
        with (
            serving(lambda *_: (status, b"", where)) as (_, url),
            speaking(url) as engine,
            pytest.raises(ModelError) as fault,
        ):
            engine.check(16)
    assert other.asked == 0 and "secret" not in str(fault.value)
    assert f"answers {status} and sends on to http://127.0.0.1" in str(fault.value)
    assert "which is not followed; name the address that answers" in str(fault.value)


KEY = "tok-4f9a88c1d2e3b4"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 500])
def test_a_key_is_never_shown(status):
    pages = [
        json.dumps({"error": {"message": f"Incorrect API key: {KEY}."}}),
        json.dumps({"error": f"{'x' * 290}{KEY}"}),
        f"<html>Authorization: Bearer {KEY.upper()} </html>",
        json.dumps({"detail": [{"input": {"headers": {"authorization": f"Bearer {KEY}"}}}]}),
    ]
    for page in pages:
        with (
            serving(lambda *_, page=page: (status, page.encode(), {})) as (_, url),
            speaking(url, KEY, retries=0) as engine,
            pytest.raises(ModelError) as fault,
        ):
            engine.check(16)
        assert KEY[4:].lower() not in str(fault.value).lower() and len(str(fault.value)) < 600
        assert str(fault.value).isprintable()


def test_an_answer_that_repeats_the_key_is_kept_without_it():
    assert KEY not in one(chat({"content": f"Your key is {KEY}."}), KEY).text


def test_what_looks_like_a_secret_is_hidden_and_words_are_not():
    clean = Redactor([]).line
    assert clean("bad key sk-abcdefgh12345678 given") == "bad key [hidden] given"
    assert clean("http://user:pass@host/v1 is down") == "http://host/v1 is down"
    said = "This model's maximum context length is 4096 tokens. Basic authentication is off."
    assert clean(said) == said
    assert clean("a\x1b[31mred\x07\nline") == "a [31mred line"
    assert shown_address("http://me:pw@host:1/v1/?api_key=abc") == "http://host:1/v1"


@pytest.mark.parametrize(
    "url", ["", "host:8000", "ftp://h/v1", "http://", "http://h:x/v1", "http://h h"]
)
def test_what_is_no_address_is_told(url):
    with pytest.raises(ModelError, match=r"base_urls: .* is no address; expected one as http"):
        EndpointEngine([url], Server(), None)


# --- the fuzz


SEED = chat(
    {
        "role": "assistant",
        "content": "It is 5.",
        "reasoning_content": "3 + 2",
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
    }
) | {"model": "m", "created": 5}
ODD_VALUES = [None, True, 0, -1, 1e400, math.nan, 10**30, "", "x", "\ud83d", "\x00\x1b[2J", [], {}]
ODD_VALUES += [[None], [[[]]], {"text": None}, {"a": {"b": []}}, KEY, [{"type": "image_url"}]]


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for name, each in inner:
        yield from places(each, (*path, name))


def mutated(rng):
    """A copy of a sound answer with one to three things changed, as bytes."""
    whole = json.loads(json.dumps(SEED))
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([path for path in places(whole) if path])
        spot = whole
        for name in path[:-1]:
            spot = spot[name]
        act = rng.random()
        if act < 0.2:
            del spot[path[-1]]
        elif act < 0.3 and isinstance(path[-1], str):
            spot["".join(rng.choices(string.ascii_lowercase, k=5))] = spot.pop(path[-1])
        else:
            spot[path[-1]] = rng.choice(ODD_VALUES)
    body = json.dumps(whole).encode()
    act = rng.random()
    if act < 0.05:
        body = body[: rng.randrange(len(body))]
    elif act < 0.1:
        body = b"[" * 100_000
    elif act < 0.15:
        body = bytes(rng.randrange(256) for _ in range(200))
    return body


def test_three_hundred_odd_answers_cost_an_answer_each_or_end_in_one_line():
    """Each is an answer of known end that a file can hold, or one printable line; no key in either."""
    rng, ends = random.Random(20), {"stop": 0, "length": 0, "refused": 0, "told": 0}
    bodies = [mutated(rng) for _ in range(300)]
    turn = [b""]
    with (
        serving(lambda *_: (200, turn[0], {"Content-Type": "application/json"})) as (_, url),
        speaking(url, KEY, retries=0) as engine,
    ):
        for body in bodies:
            turn[0] = body
            try:
                (found,) = engine.complete([[{"role": "user", "content": "?"}]], PLAIN)
                ends[found.finish_reason] += 1
                said = json.dumps({"text": found.text}, ensure_ascii=False).encode().decode()
                assert 0 <= found.prompt_tokens < 2**31 and 0 <= found.completion_tokens < 2**31
            except ModelError as fault:
                ends["told"] += 1
                said = str(fault)
                assert said.isprintable() and len(said) < 600
            assert KEY not in said
    assert sum(ends.values()) == 300 and min(ends["stop"], ends["refused"], ends["told"]) > 20
