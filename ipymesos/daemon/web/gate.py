"""What the REST API checks before it does anything: who asks, how often, and with what."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .logins import Logins

HERE = {"127.0.0.1", "localhost", "::1"}  # hosts that are always allowed
DEEPEST = 10  # levels of JSON in a body; an engine set's options have three


class Bucket:
    """Lets `burst` through at once and `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._seen = float(burst), clock()

    def wait(self) -> float:
        """0 when one more is let through, and it counts then; else the seconds until it would be."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0


class Gate:
    """The checks of one daemon. Whoever lacks the token has a bucket of their own, so that they can't use up ours.

    That one keeps a flood out of the log, and cheap; what keeps guessers out is the token's 256 bits. The other one is
    far above what launchers ask for, who come back after each change of the status and after ten seconds.
    """

    def __init__(self, token: str, hosts: frozenset[str]) -> None:
        self._token, self._hosts = token.encode(), hosts
        self.strangers, self.users = Bucket(rate=2, burst=60), Bucket(rate=300, burst=3000)
        self.anybody = Bucket(rate=50, burst=500)  # the dashboard's files, and whether one is logged in
        self.logins = Logins()

    def is_token(self, given: str) -> bool:
        """In a time that doesn't tell how much of it is right."""
        same = hmac.compare_digest(given.encode("utf-8", "replace"), self._token)
        return same and bool(self._token)

    def is_host(self, header: str) -> bool:
        """Does a Host header name this daemon? A web page whose own name leads here (DNS rebinding) can't."""
        return host_of(header) in self._hosts

    def is_origin(self, header: str | None, host: str) -> bool:
        """Does the Origin header, which browsers send with what a page makes them do, name this very server?

        Or a proxy before it, by one of its own names; "localhost" may be anybody's server on another port.
        """
        if header is None:
            return True
        where = header.partition("://")[2].lower()
        return where != "" and (where == host.lower() or host_of(where) in self._hosts - HERE)


def host_of(header: str) -> str:
    """The host in a Host header, without its port, brackets or capitals; empty if it is malformed."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def too_deep(content: Any) -> bool:
    """Has this JSON more than DEEPEST levels?"""
    layer = [content]
    for _ in range(DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in layer if isinstance(one, (dict, list))]
        if not inner:
            return False
        layer = [item for items in inner for item in items]
    return True
