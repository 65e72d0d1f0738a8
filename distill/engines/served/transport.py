"""Parts of HTTP that a client of strange servers must bound: addresses, bodies, waits."""

import math
import time
import zlib
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from distill.engines.served.answers import OddAnswer
from distill.engines.served.messages import Redactor, secrets_of, shown_address
from recipes.errors import ModelError

BESIDE = {"/pooling"}
ASKED_WAIT_SECONDS = 30.0  # the longest wait that a server may ask for


async def read_body(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The body of an answer, unpacked.

    Raises:
        OddAnswer: it is longer than may be, or packed in another way than was asked for.
    """
    packed = bytearray()
    async for part in answer.content.iter_chunked(2**16):
        packed += part
        if len(packed) > most_bytes:
            raise OddAnswer(f"a body of more than {most_bytes} bytes")
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return bytes(packed)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise OddAnswer("a body in an encoding that was not asked for")
    try:
        unpacked = zlib.decompressobj(wbits=47).decompress(packed, most_bytes + 1)
    except zlib.error as fault:
        raise OddAnswer("a body that cannot be unpacked") from fault
    if len(unpacked) > most_bytes:
        raise OddAnswer(f"a body of more than {most_bytes} bytes")
    return unpacked


def base_address(url: str) -> str:
    """A base address without a slash at its end.

    Raises:
        ModelError: it is none.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(one.isspace() or not one.isprintable() for one in url):
        shown = Redactor(secrets_of(url)).line(shown_address(url))
        raise ModelError(
            f"models.teacher.base_urls: {shown!r} is no address; expected one as http://localhost:8000/v1"
        )
    return url.rstrip("/")


def join(url: str, path: str) -> str:
    """A path behind a base address, before its query; some stand beside /v1, not below it."""
    base, mark, query = url.partition("?")
    if path in BESIDE:
        base = base.rstrip("/").removesuffix("/v1")
    return f"{base.rstrip('/')}{path}{mark}{query}"


def retry_after(header: str | None) -> float | None:
    """Seconds that a server asked for, at most ASKED_WAIT_SECONDS; both forms of RFC 9110."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), ASKED_WAIT_SECONDS)
