"""How long to wait: for an answer, and between two attempts."""

from __future__ import annotations

import math
import random
import time

FIRST_RETRY, LAST_RETRY = 0.1, 15.0  # seconds, doubled each time (scheduler-http-api.md asks for 15 at most)
LAST_RETRY_AT_FIRST = 2.0  # until the first success: somebody is waiting for it
STEADY = 10.0  # seconds that an attempt must last to have been a success


class Patience:
    """Ends after `limit` seconds without a first success (math.inf: never), and never after it."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.failures = 0
        self._succeeded = False
        self._succeeded_at = 0.0
        self._end = time.monotonic() + limit

    @property
    def endless(self) -> bool:
        """At least one success is behind us, or there was no end from the start."""
        return self._succeeded or math.isinf(self.limit)

    @property
    def left(self) -> float | None:
        """Seconds; None when there is no end."""
        return None if self.endless else self._end - time.monotonic()

    def until(self, seconds: float) -> float:
        """The time.monotonic() of `seconds` from now, or of the end."""
        until = time.monotonic() + seconds
        return until if self.endless else min(until, self._end)

    def success(self) -> None:
        self._succeeded = True
        self._succeeded_at = time.monotonic()

    def over(self) -> None:
        """The success is over. One that lasted makes the failures before it forgotten."""
        if self._succeeded and time.monotonic() - self._succeeded_at > STEADY:
            self.failures = 0

    def failure(self) -> float:
        """The seconds to wait before the next attempt: jittered, lest all clients come back to a master at once."""
        last = LAST_RETRY if self.endless else LAST_RETRY_AT_FIRST
        seconds = min(last, FIRST_RETRY * 2.0 ** min(self.failures, 16)) * random.uniform(0.5, 1.0)
        self.failures += 1
        left = self.left
        return seconds if left is None else max(0.0, min(seconds, left))
