"""A server's words, and what this process knows of its address, in a form that may be shown: one
short line, without keys, passwords or control characters.
"""

import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

SHOWN = 300  # characters of a server's message
HIDDEN = "[hidden]"
# what looks like a key, whoever it belongs to, and user:password@ in an address
_KEY = re.compile(
    r"(?i)\b(?P<kind>bearer|basic|api[-_ ]?key|token|password)(?P<mark>\W{1,4})"
    r"(?=[\w.~+/-]*\d)[\w.~+/=-]{8,}|\b(?:sk|pk|hf|gsk|xai|key|rk)[-_][\w-]{8,}"
)
_ACCOUNT = re.compile(r"(?<=//)[^/\s@]+@")
_SHORTEST_SECRET, _NO_WORD = 4, 12  # characters


class Redactor:
    """Takes what must not be shown out of texts.

    Args:
        secrets: keys and passwords of this process; shorter ones than four characters are words.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        known = {secret for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET}
        longest_first = sorted(known - {"EMPTY", "none"}, key=len, reverse=True)
        self._secrets = _either(longest_first)
        self._unmistakable = _either([one for one in longest_first if len(one) >= _NO_WORD])

    def answer(self, text: str) -> str:
        """A model's answer without secrets that are too long to be words of it."""
        return self._unmistakable.sub(HIDDEN, text)

    def line(self, text: str) -> str:
        """One short line of printable characters, without secrets and whatever looks like one."""
        printable = "".join(one if one.isprintable() else " " for one in text)
        text = self._secrets.sub(HIDDEN, " ".join(printable.split()))
        text = _ACCOUNT.sub("", _KEY.sub(_without_key, text))
        return text[:SHOWN]

    def body(self, body: bytes) -> str:
        """What an error page says, as a line; the message alone where it is JSON."""
        text = body[: 64 * SHOWN].decode(errors="replace")
        try:
            found = json.loads(text)
            found = found.get("error", found) if isinstance(found, dict) else found
            text = str(found.get("message", found)) if isinstance(found, dict) else str(found)
        except (ValueError, RecursionError):
            pass
        return self.line(text)

    def fault(self, fault: BaseException) -> str:
        """The kind of an exception and what it says."""
        return self.line(f"{type(fault).__name__}: {fault}".rstrip(": "))


def _either(secrets: Sequence[str]) -> re.Pattern[str]:
    """Finds each of them, in any case; nothing where there are none."""
    return re.compile("|".join(map(re.escape, secrets)) or r"(?!)", re.IGNORECASE)


def _without_key(found: re.Match[str]) -> str:
    kind, mark = found["kind"], found["mark"]
    return f"{kind}{mark}{HIDDEN}" if kind else HIDDEN


def shown_address(url: str) -> str:
    """An address without account and query."""
    return re.split(r"[?#]", _ACCOUNT.sub("", url))[0].rstrip("/")


def secrets_of(url: str) -> list[str]:
    """Passwords and values of the query of an address, as written and as meant."""
    try:
        parts = urlsplit(url)
        password, query = parts.password, parts.query
    except ValueError:
        return []
    values = [part.partition("=")[2] for part in query.split("&")]
    found = [value for value in (password, *values) if value]
    return [*found, *map(unquote, found)]
