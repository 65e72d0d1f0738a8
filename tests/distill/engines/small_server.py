"""A real HTTP server with the API of OpenAI and a sum for a model; it can be told to fail: python
small_server.py PORT [options].
"""

import argparse
import asyncio
import json
import random
import re
from collections import Counter

from aiohttp import web

FAULTS = ("429", "500", "503", "drop", "malformed", "half", "slow", "empty")


class SmallServer:
    """Answers "The answer is SUM." to prompts with numbers in them.

    Args:
        fail: share of requests that meet one of FAULTS, 0..1.
        slow_seconds: how long a slow answer takes.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.random, self.counts = given, random.Random(given.seed), Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/counts", lambda _: self._reply(dict(self.counts)))
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "data": [
                    {"id": name, "max_model_len": self.given.context}
                    for name in self.given.models.split(",")
                ]
            }
        )

    async def _reply(self, found: dict) -> web.Response:
        return web.json_response(found)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.counts["requests"] += 1
        if (refusal := self._refusal(request, body)) is not None:
            return refusal
        if self.given.fail and self.random.random() < self.given.fail:
            return await self._fail(request)
        await asyncio.sleep(self.given.seconds)
        text = answer(str(body["prompt"]))
        choice = {
            "index": 0,
            "text": text,
            "finish_reason": "length" if body["max_tokens"] == 1 else "stop",
        }
        if "prompt_logprobs" in body:
            asked, most = body["prompt_logprobs"], self.given.max_logprobs
            if asked > most:
                return self._bad(
                    f"Requested prompt logprobs of {asked}, which is greater than max allowed: {most}"
                )
            choice["prompt_logprobs"] = [
                None,
                *(likeliest(n, body["prompt_logprobs"]) for n in body["prompt"][1:]),
            ]
        return web.json_response(
            {
                "choices": [choice],
                "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": 5},
            }
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.counts["requests"] += 1
        if (refusal := self._refusal(request, body)) is not None:
            return refusal
        if self.given.no_template:
            return self._bad(
                "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template"
            )
        if self.given.fail and self.random.random() < self.given.fail:
            return await self._fail(request)
        await asyncio.sleep(self.given.seconds)
        said, reason = self._say(body)
        found = {"choices": [{"message": {"role": "assistant", **said}, "finish_reason": reason}]}
        return web.json_response(
            found | {"usage": {"prompt_tokens": 7, "completion_tokens": min(5, body["max_tokens"])}}
        )

    def _say(self, body: dict) -> tuple[dict, str]:
        """The message and its finish_reason: a sum, a thought that never ends, or marks and a
        rewrite, as the last message asks.
        """
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if body.get("continue_final_message"):
            return {"content": answer(first)}, "stop"
        if self.given.ramble:
            return {"content": f"<think>\nFirst {first} Then I go on and"}, "length"
        if "Rewrite:" in last:
            return {
                "content": f"1: sound\n2: unsound, because it is off\nRewrite:\nI add.\n{answer(first)}"
            }, "stop"
        right = random.Random(body["seed"]).random() < self.given.right
        thought = "I add.\nThat is it." if self.given.right < 1 else "I add."
        return {
            "content": answer(first if right else first + " 1"),
            "reasoning_content": thought,
        }, "stop"

    def _refusal(self, request: web.Request, body: dict) -> web.Response | None:
        if self.given.key and request.headers.get("Authorization") != f"Bearer {self.given.key}":
            return web.json_response({"error": {"message": "Unauthorized"}}, status=401)
        if body["model"] not in self.given.models.split(","):
            return web.json_response(
                {"error": {"message": f"The model `{body['model']}` does not exist."}}, status=404
            )
        if len(body.get("prompt", ())) + body["max_tokens"] > self.given.context:
            return self._bad(f"This model's maximum context length is {self.given.context} tokens.")
        if self.given.refuse and body["max_tokens"] > 1:
            return self._bad(self.given.refuse)
        return None

    def _bad(self, message: str) -> web.Response:
        return web.json_response({"error": {"message": message, "code": 400}}, status=400)

    async def _fail(self, request: web.Request) -> web.StreamResponse:
        fault = self.random.choice(FAULTS)
        self.counts[fault] += 1
        if fault.isdigit():
            headers = {"Retry-After": "0"} if fault == "429" else {}
            return web.json_response(
                {"error": {"message": "try later"}}, status=int(fault), headers=headers
            )
        if fault == "slow":
            await asyncio.sleep(self.given.slow_seconds)
        if fault in ("drop", "slow"):
            if request.transport is not None:  # the client has not left by itself
                request.transport.close()
            return web.Response()
        if fault == "malformed":
            return web.Response(
                text='{"choices": [{"text": "The ans', content_type="application/json"
            )
        if fault == "empty":
            return web.json_response({"choices": []})
        half = web.StreamResponse(
            headers={"Content-Length": "500", "Content-Type": "application/json"}
        )
        await half.prepare(request)
        await half.write(b'{"choices": [')
        request.transport.close()
        return half


def answer(prompt: str) -> str:
    """The sum of the numbers of a prompt; of token ids, where it is a list of them."""
    return f"The answer is {sum(map(int, re.findall(r'[0-9]+', prompt)))}."


def likeliest(token: int, top_k: int) -> dict:
    """The `top_k` ids from the token up, and the one that follows, as vLLM adds it."""
    rows = {
        str(token + i): {"logprob": -1.0 - i, "rank": i + 1, "decoded_token": "x"}
        for i in range(top_k)
    }
    return rows | {str(token + 900): {"logprob": -30.0, "rank": 500, "decoded_token": "y"}}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("port", type=int)
    made.add_argument("--models", default="small")
    made.add_argument("--context", type=int, default=4096)
    made.add_argument("--fail", type=float, default=0.0)
    made.add_argument("--seconds", type=float, default=0.0, help="that an answer takes")
    made.add_argument("--slow-seconds", type=float, default=3.0)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--max-logprobs", type=int, default=20)
    made.add_argument("--key", default="")
    made.add_argument(
        "--refuse", default="", help="what is said to all that ask for more than a token"
    )
    made.add_argument("--no-template", action="store_true")
    made.add_argument(
        "--right", type=float, default=1.0, help="share of right sums, by the request's seed"
    )
    made.add_argument("--ramble", action="store_true", help="thoughts that use up their budget")
    return made


if __name__ == "__main__":
    options = parser().parse_args()
    print(json.dumps({"port": options.port}), flush=True)
    web.run_app(
        SmallServer(options).app(), host="127.0.0.1", port=options.port, print=None, access_log=None
    )
