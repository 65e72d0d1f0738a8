"""Requests to OpenAI-compatible servers: many in flight, spread over addresses, tried again when
they fail for a passing reason.
"""

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp

from distill.engines.served.answers import OddAnswer
from distill.engines.served.messages import Redactor, secrets_of, shown_address
from distill.engines.served.transport import base_address, join, read_body, retry_after
from distill.progress import show
from recipes.errors import ModelError
from recipes.schema import Server

T = TypeVar("T")
Read = Callable[[bytes, Mapping[str, str]], T]  # body and headers to what they say

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses that a later try may not meet
REFUSALS = {400, 413, 422}
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
SHOWN_WAIT_SECONDS, BETWEEN_LINES_SECONDS = (
    3.0,
    10.0,
)  # waits that people are told of, and how often
ODD_TRIES = 2  # of a request whose answers have another shape than was asked for
KINDS = 20  # of reasons that are counted apart
HINTS = {
    401: "set server.api_key_env to the variable that holds a valid key",
    403: "the key may not do this",
    404: "fix base_urls or server.model",
}
ERROR_BYTES, LISTING_BYTES = 2**16, 2**22


class Refused(Exception):
    """The server will not answer this request, however often it is asked: 400, 413, 422, or its
    answers cannot be used.
    """


class _Retry(Exception):
    """What passed wrong, as "kind: detail"; a later try may not meet it.

    Args:
        wait_seconds: that the server asked for.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Client:
    """One process's line to the servers; every method runs in one event loop.

    Redirects are not followed: prompts go to the addresses of the recipe and nowhere else.

    Args:
        urls: base addresses, up to and with /v1.
        key: bearer token, or None; it is sent and never shown.
        died: says why a server of our own has ended, None while it lives; a dead one is not waited
            for.

    Raises:
        ModelError: an address is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        server: Server,
        key: str | None,
        died: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.urls, self.server, self.died = [base_address(url) for url in urls], server, died
        self.counts: Counter[str] = Counter()
        self.redactor = Redactor([key, *(word for url in self.urls for word in secrets_of(url))])
        self._headers = {"Accept-Encoding": "gzip, deflate"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._in_flight = dict.fromkeys(self.urls, 0)
        # until when an address that failed is passed over
        self._resting = dict.fromkeys(self.urls, 0.0)
        self._next_slot, self._heard, self._told = 0.0, time.monotonic(), -math.inf
        self._random = random.Random()
        self._opened: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)  # the semaphore of the caller limits
        self._opened = aiohttp.ClientSession(
            headers=self._headers,
            connector=connector,
            json_serialize=json.dumps,
            auto_decompress=False,  # a small body may hold gigabytes
        )
        self._room = asyncio.Semaphore(self.server.concurrency)

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._opened is not None, "open() comes first"
        return self._opened

    async def get(self, url: str, path: str, timeout_seconds: float = 10.0) -> Any:
        """A GET at one address, once.

        Raises:
            ModelError: no answer, or no JSON.
        """
        where = shown_address(url) + path
        try:
            async with self._session.get(
                join(url, path),
                timeout=aiohttp.ClientTimeout(timeout_seconds),
                allow_redirects=False,
            ) as answer:
                body = await read_body(answer, LISTING_BYTES)
                if answer.status != 200:
                    raise ModelError(self._said(where, answer, body))
                return json.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError, OddAnswer) as fault:
            raise ModelError(
                f"no server answers at {where} ({self.redactor.fault(fault)}); start it, or fix base_urls"
            ) from fault

    async def post(
        self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T], most_bytes: int
    ) -> T:
        """What `read` finds in the JSON answer to a request, which is sent again until it is
        answered.

        A server that cannot be reached is waited for (server.start_seconds since anything was
        heard); every other passing fault uses up one of server.retries.

        Args:
            read: takes an object with a list of choices; raises OddAnswer.
            most_bytes: that an answer may have.

        Raises:
            Refused: the request itself is at fault, or its answers are odd.
            ModelError: retries used up, or key, model or path are wrong.
        """
        return await self.fetch(path, body, lambda said, _: read(self._parsed(said)), most_bytes)

    async def fetch(self, path: str, body: dict[str, Any], read: Read[T], most_bytes: int) -> T:
        """As `post`, of an answer that need be no JSON."""
        async with self._room:
            tried = odd = 0
            while True:
                await self._slot()
                url, wait = self._pick(), None
                try:
                    found = await self._once(url, path, body, read, most_bytes)
                    self.counts["answered"] += 1
                    return found
                except _Retry as fault:
                    reason, wait = str(fault), fault.wait_seconds
                except OddAnswer as fault:
                    odd += 1
                    if odd >= ODD_TRIES or not fault.again:
                        self._count(f"odd: {fault}")
                        raise Refused(f"the server's answer cannot be used: {fault}") from fault
                    reason = f"odd: {fault}"
                kind = reason.partition(": ")[0]
                self.counts[f"retried: {kind}"] += 1
                self._resting[url] = time.monotonic() + (wait or FIRST_WAIT_SECONDS)
                tried += kind not in ("unreachable", "odd")
                self._give_up(url, path, reason, tried)
                # a connection that the server closed while it was idle: nothing is wrong
                again = kind == "dropped" and tried == 1
                wait = 0.0 if again else wait if wait is not None else self._backoff(tried)
                self._tell(shown_address(url) + path, reason, tried, wait)
                await asyncio.sleep(wait)

    def _give_up(self, url: str, path: str, reason: str, tried: int) -> None:
        """Raises ModelError where nobody is to be waited for any more."""
        kind, _, detail = reason.partition(": ")
        where = shown_address(url) + path
        if kind in ("unreachable", "dropped") and (why := self.died()) is not None:
            raise ModelError(why)
        silent = time.monotonic() - self._heard
        if kind == "unreachable" and silent > self.server.start_seconds:
            raise ModelError(
                f"{where}: no server was reached for {silent:.0f} s ({detail}); start it and run again"
            )
        if tried > self.server.retries:
            raise ModelError(
                f"{where}: {reason}, after {tried} tries; look at the server, then run again: answers are kept"
            )

    def _tell(self, where: str, reason: str, tried: int, wait: float) -> None:
        """Says what is waited for, now and then."""
        now = time.monotonic()
        if wait >= SHOWN_WAIT_SECONDS and now - self._told >= BETWEEN_LINES_SECONDS:
            self._told, of = now, self.server.retries + 1
            show(f"{where}: {reason}; waiting {wait:.0f} s (try {tried} of {of})")

    def refuse(self, reason: str) -> None:
        """Counts a request that was refused, by its reason."""
        self.counts["refused"] += 1
        self._count(f"refused: {reason}")

    def _count(self, name: str) -> None:
        """Counts a reason; numbers in it do not make another."""
        alike = "".join("#" if one.isdigit() else one for one in name)[:120]
        while "##" in alike:
            alike = alike.replace("##", "#")
        group = name.partition(":")[0]
        known = sum(one.startswith(f"{group}: ") for one in self.counts)
        new = alike not in self.counts and known >= KINDS
        self.counts[f"{group}: other" if new else alike] += 1

    async def _once(
        self, url: str, path: str, body: dict[str, Any], read: Read[T], most_bytes: int
    ) -> T:
        """One request.

        Raises:
            _Retry, OddAnswer: another try may help.
            Refused, ModelError: none will.
        """
        self._in_flight[url] += 1
        self.counts["sent"] += 1
        try:
            timeout = aiohttp.ClientTimeout(self.server.timeout_seconds)
            async with self._session.post(
                join(url, path), json=body, timeout=timeout, allow_redirects=False
            ) as answer:
                well = answer.status == 200
                said = await read_body(answer, most_bytes if well else ERROR_BYTES)
                self._heard = time.monotonic()
                if well:
                    return read(said, answer.headers)
                self._refusal(shown_address(url) + path, answer, said)
                message = f"status {answer.status}: {self.redactor.body(said)}"
                raise _Retry(message, retry_after(answer.headers.get("Retry-After")))
        except TimeoutError as fault:
            raise _Retry(f"timeout: {self.server.timeout_seconds:g} s") from fault
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
        ) as fault:
            reached = not isinstance(fault, aiohttp.ClientConnectorError)
            kind = "dropped" if reached else "unreachable"
            raise _Retry(f"{kind}: {self.redactor.fault(fault)}") from fault
        except aiohttp.ClientError as fault:  # half an answer, broken chunks
            raise _Retry(f"half an answer: {self.redactor.fault(fault)}") from fault
        finally:
            self._in_flight[url] -= 1

    def _refusal(self, where: str, answer: aiohttp.ClientResponse, said: bytes) -> None:
        """Raises what no later try would help with."""
        if answer.status in REFUSALS:
            raise Refused(self.redactor.body(said))
        if answer.status not in PASSING:
            raise ModelError(self._said(where, answer, said))

    def _parsed(self, said: bytes) -> dict[str, Any]:
        """An object with choices; without the key, should a server repeat it."""
        try:
            found = json.loads(self.redactor.answer(said.decode(errors="replace")))
        except (ValueError, RecursionError) as fault:
            raise _Retry(f"malformed JSON: {self.redactor.body(said)}") from fault
        choices = found.get("choices") if isinstance(found, dict) else None
        if not isinstance(choices, list) or not choices:
            raise _Retry(f"no choices: {self.redactor.body(said)}")
        return dict(found)

    def _said(self, where: str, answer: aiohttp.ClientResponse, body: bytes) -> str:
        if 300 <= answer.status < 400:
            to = self.redactor.line(shown_address(answer.headers.get("Location", "nowhere")))
            return (
                f"{where} answers {answer.status} and sends on to {to}, which is not followed; "
                "name the address that answers in base_urls"
            )
        hint = HINTS.get(answer.status, "mend the recipe or the server")
        return f"{where} answers {answer.status}: {self.redactor.body(body)}; {hint}"

    def _pick(self) -> str:
        """The address with the fewest requests in flight, of those that have not just failed where
        there are such.
        """
        now = time.monotonic()
        return min(self.urls, key=lambda url: (self._resting[url] > now, self._in_flight[url]))

    async def _slot(self) -> None:
        """Waits for its turn under server.requests_per_second."""
        if self.server.requests_per_second <= 0:
            return
        now = time.monotonic()
        mine = max(now, self._next_slot)
        self._next_slot = mine + 1 / self.server.requests_per_second
        if mine > now:
            await asyncio.sleep(mine - now)

    def _backoff(self, tried: int) -> float:
        """Doubles from half a second up to a minute, with jitter, seconds."""
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(max(0, tried - 1), 10))
        return longest * self._random.uniform(0.5, 1.0)
