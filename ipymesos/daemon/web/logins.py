"""Who has shown the token once, and is known by a cookie from then on; and codes that do so once, for links.

All of it lives in the daemon's memory and ends with it. Of what opens something only digests are kept.

Browsers send a cookie to every port of a host, so to other people's servers on this machine too, if one is visited.
So it only opens what is shown; who wants to change something has to say a word as well, which the page keeps where no
other origin can read it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

LOGIN_LASTS = 12 * 3600.0  # seconds since the last request
CODE_LASTS = 120.0  # seconds
MOST_LOGINS, MOST_CODES = 100, 10  # at a time; a new one takes the place of the oldest


@dataclass
class Login:
    word: bytes  # its digest
    until: float


class Logins:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logins: dict[bytes, Login] = {}  # by the cookie's digest
        self._codes: dict[bytes, float] = {}  # until when

    def code(self) -> str:
        """A new code, for somebody who has the token."""
        code = secrets.token_urlsafe(24)
        self._codes[_digest(code)] = self._clock() + CODE_LASTS
        while len(self._codes) > MOST_CODES:
            del self._codes[next(iter(self._codes))]
        return code

    def redeem(self, code: str) -> bool:
        """Is it good? Never twice."""
        return self._codes.pop(_digest(code), 0.0) > self._clock()

    def begin(self) -> tuple[str, str]:
        """A login: its cookie and its word."""
        cookie, word = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._logins[_digest(cookie)] = Login(_digest(word), self._clock() + LOGIN_LASTS)
        while len(self._logins) > MOST_LOGINS:
            del self._logins[min(self._logins, key=lambda known: self._logins[known].until)]
        return cookie, word

    def may_read(self, cookie: str) -> bool:
        login = self._logins.get(_digest(cookie))
        if login is None or login.until <= self._clock():
            return False
        login.until = self._clock() + LOGIN_LASTS
        return True

    def may_write(self, cookie: str, word: str) -> bool:
        return self.may_read(cookie) and secrets.compare_digest(self._logins[_digest(cookie)].word, _digest(word))

    def end(self, cookie: str) -> None:
        self._logins.pop(_digest(cookie), None)


def _digest(secret: str) -> bytes:
    """What can be looked up without telling by the time it takes how much of a guess is right."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
