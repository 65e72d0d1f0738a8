"""Requests to OpenAI-compatible servers: many in flight, spread over addresses, tried again when
they fail for a passing reason.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from recipes.errors import ModelError
from recipes.schema import Server

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses that a later try may not meet
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
HINTS = {
    401: "set server.api_key_env to the variable that holds a valid key",
    403: "the key may not do this",
    404: "fix base_urls or server.model",
}
SHOWN = 300  # characters of a server's message


class Refused(Exception):
    """The server will not take this request, however often it is asked: 400, 413 or 422."""


class Client:
    """One process's line to the servers; every method runs in one event loop.

    Args:
        urls: base addresses, up to and with /v1.
        key: bearer token, or None; it is sent and never shown.
        died: says why a server of our own has ended, None while it lives; a dead one is not waited
            for.
    """

    def __init__(
        self,
        urls: Sequence[str],
        server: Server,
        key: str | None,
        died: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.urls, self.server, self.died = [url.rstrip("/") for url in urls], server, died
        self.counts: Counter[str] = Counter()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._in_flight = dict.fromkeys(self.urls, 0)
        # until when an address that failed is passed over
        self._resting = dict.fromkeys(self.urls, 0.0)
        self._next_slot, self._heard = 0.0, time.monotonic()
        self._random = random.Random()
        self._opened: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)  # the semaphore of the caller limits
        self._opened = aiohttp.ClientSession(
            headers=self._headers, connector=connector, json_serialize=json.dumps
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
        try:
            async with self._session.get(
                f"{url}{path}", timeout=aiohttp.ClientTimeout(timeout_seconds)
            ) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise ModelError(_said(url, answer.status, body))
                return json.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise ModelError(
                f"no server answers at {url}{path} ({_name(fault)}); start it, or fix base_urls"
            ) from fault

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer to a request, which is sent again until it is answered.

        A server that cannot be reached is waited for (server.start_seconds since anything was
        heard); every other passing fault uses up one of server.retries.

        Raises:
            Refused: the request itself is at fault.
            ModelError: retries used up, or key, model or path are wrong.
        """
        async with self._room:
            tried = 0
            while True:
                await self._slot()
                url = self._pick()
                fault, wait = await self._once(url, path, body)
                if not isinstance(fault, str):
                    self.counts["answered"] += 1
                    return fault
                kind, _, detail = fault.partition(": ")
                self.counts[f"retried: {kind}"] += 1
                self._resting[url] = time.monotonic() + (wait or FIRST_WAIT_SECONDS)
                if kind in ("unreachable", "dropped") and (why := self.died()) is not None:
                    raise ModelError(why)
                if kind == "unreachable":
                    silent = time.monotonic() - self._heard
                    if silent > self.server.start_seconds:
                        raise ModelError(
                            f"{url}{path}: no server was reached for {silent:.0f} s ({detail}); start it and run again"
                        )
                else:
                    tried += 1
                    if tried > self.server.retries:
                        raise ModelError(
                            f"{url}{path}: {fault}, after {tried} tries; look at the server, then run again: answers are kept"
                        )
                # a connection that the server closed while it was idle: nothing is wrong
                again = kind == "dropped" and tried == 1
                await asyncio.sleep(
                    0 if again else wait if wait is not None else self._backoff(tried)
                )

    async def _once(
        self, url: str, path: str, body: dict[str, Any]
    ) -> tuple[dict[str, Any] | str, float | None]:
        """(The answer, None), or (what passed wrong, how long to wait or None)."""
        self._in_flight[url] += 1
        self.counts["sent"] += 1
        try:
            timeout = aiohttp.ClientTimeout(self.server.timeout_seconds)
            async with self._session.post(f"{url}{path}", json=body, timeout=timeout) as answer:
                said = await answer.read()
                self._heard = time.monotonic()
                if answer.status == 200:
                    return self._parsed(said), None
                if answer.status in PASSING:
                    return f"status {answer.status}: {_short(said)}", _retry_after(
                        answer.headers.get("Retry-After")
                    )
                if answer.status in (400, 413, 422):
                    raise Refused(_short(said))
                raise ModelError(_said(url + path, answer.status, said))
        except TimeoutError:
            return f"timeout: {self.server.timeout_seconds:g} s", None
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
        ) as fault:
            reached = not isinstance(fault, aiohttp.ClientConnectorError)
            return f"{'dropped' if reached else 'unreachable'}: {_name(fault)}", None
        except aiohttp.ClientError as fault:  # half an answer, broken chunks
            return f"half an answer: {_name(fault)}", None
        finally:
            self._in_flight[url] -= 1

    @staticmethod
    def _parsed(said: bytes) -> dict[str, Any] | str:
        try:
            found = json.loads(said)
        except ValueError:
            return f"malformed JSON: {_short(said)}"
        if not isinstance(found, dict) or not found.get("choices"):
            return f"no choices: {_short(said)}"
        return found

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
        return min(
            LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** max(0, tried - 1)
        ) * self._random.uniform(0.5, 1.0)


def _retry_after(header: str | None) -> float | None:
    """Seconds that a server asked for, at most a minute; both forms of RFC 9110."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def _said(where: str, status: int, body: bytes) -> str:
    return f"{where} answers {status}: {_short(body)}; {HINTS.get(status, 'mend the recipe or the server')}"


def _short(body: bytes) -> str:
    """A server's message in one line."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
        found = found.get("error", found) if isinstance(found, dict) else found
        text = found.get("message", str(found)) if isinstance(found, dict) else str(found)
    except ValueError:
        pass
    return " ".join(str(text).split())[:SHOWN]


def _name(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}".rstrip(": ").replace("\n", " ")[:SHOWN]
